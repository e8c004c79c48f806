//! Which columns of each stage somebody needs.

use std::collections::BTreeSet;

use datafusion_common::{DataFusionError, Result};
use datafusion_expr::LogicalPlan;

use super::{
    input::{Input, input},
    reads,
};
use crate::sql::{canonical::Room, error::SqlError, segment, stage::Stage};

pub(super) struct Needs {
    /// For each stage the columns needed, in order; `None` if nobody reads it.
    pub(super) columns: Vec<Option<BTreeSet<usize>>>,
}

impl Needs {
    pub(super) fn new(stages: &[Stage]) -> Self {
        Self { columns: vec![None; stages.len()] }
    }

    /// Notes what an optimised segment reads.
    pub(super) fn read(&mut self, plan: &LogicalPlan) -> Result<()> {
        let segment = segment::compile(plan)?;
        if let Some(columns) = self.columns.get_mut(segment.stage) {
            columns.get_or_insert_default().extend(segment.reads);
        }
        Ok(())
    }

    /// The input of every stage that is needed, with only the columns that are; readers come before what they read.
    pub(super) fn inputs(&mut self, stages: &[Stage]) -> Result<Vec<Option<Input>>, SqlError> {
        let mut room = Room::of_a_job();
        let mut inputs: Vec<Option<Input>> = Vec::new();
        for (index, stage) in stages.iter().enumerate().rev() {
            let Some(needed) = self.columns.get_mut(index).and_then(Option::as_mut) else {
                inputs.push(None);
                continue;
            };
            // A batch without columns has no rows; and a source's event time makes its watermarks.
            if !reads(stage) {
                needed.extend(stage.table.event_time);
            }
            if needed.is_empty() {
                needed.insert(0);
            }
            let failed = |error: DataFusionError| SqlError::planning(&error, stage.at);
            let input = input(stage, needed, &mut room).map_err(failed)?;
            if let Some(input) = &input {
                self.read(&input.plan).map_err(failed)?;
            }
            inputs.push(input);
        }
        inputs.reverse();
        Ok(inputs)
    }
}
