//! The columns that sources had when the checkpoint was taken.
//!
//! A source's state names them, so that a column which nobody read is told from one that its source did not have, and a
//! time that is read in another unit, or from another column, is noticed.

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::{DataType, FieldRef};
use serde::{Deserialize, Serialize};

use super::{RestoreError, Restored};
use crate::{
    checkpoint::manifest::{ReadColumn, SubtaskState},
    graph::{Node, NodeKind, SourceColumn, is_computed},
    ids::OperatorId,
    job::{JobPlan, SourceTable},
    state::{FormerNames, Lacking, changes::spoken},
};

/// The columns of a source, as its state has them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceColumns {
    /// All, also those that nobody reads, with their types.
    pub columns: BTreeMap<String, String>,
    pub event_time: Option<String>,
}

impl SourceColumns {
    pub fn of(table: &SourceTable) -> Self {
        let named = |field: &FieldRef| (field.name().clone(), field.data_type().to_string());
        let event_time = table.watermark.as_ref().map(|watermark| watermark.column.clone());
        Self { columns: table.schema.fields().iter().map(named).collect(), event_time }
    }
}

impl Restored {
    /// What a source had; `None` if the checkpoint does not tell, as those of earlier versions.
    fn columns(&self, source: &OperatorId) -> Result<Option<SourceColumns>, RestoreError> {
        let tells = |subtask: &&SubtaskState| subtask.value.get("columns").is_some();
        let told = self.operators.get(source).and_then(|state| state.subtasks.iter().find(tells));
        told.map(|subtask| SourceColumns::deserialize(&subtask.value))
            .transpose()
            .map_err(|cause| RestoreError::Columns { operator: source.clone(), cause })
    }

    /// Refuses a source one of whose times is read in another unit than before, or whose event time is another column while
    /// operators remember the time.
    pub fn reads_times_as_before(&self, plan: &JobPlan, node: &Node, table: &SourceTable) -> Result<(), RestoreError> {
        let (NodeKind::Source { projection, .. }, Some(known)) = (&node.kind, self.columns(&node.id)?) else {
            return Ok(());
        };
        let now = table.watermark.as_ref().map(|watermark| &watermark.column);
        let goes_by_time = |node: &Node| node.exchange_id().is_some() && self.operators.contains_key(&node.id);
        if let (Some(before), Some(now)) = (&known.event_time, now)
            && before != now
            && plan.graph.nodes.iter().any(goes_by_time)
        {
            let (source_name, found, wanted) = (table.name.clone(), before.clone(), now.clone());
            return Err(RestoreError::EventTime { source_name, found, wanted });
        }
        for field in projection.iter().filter_map(|column| table.schema.fields().get(*column)) {
            let found = known.columns.get(field.name()).and_then(|known| known.parse().ok());
            let (Some(DataType::Timestamp(before, _)), DataType::Timestamp(now, _)) = (&found, field.data_type())
            else {
                continue;
            };
            if before != now {
                return Err(RestoreError::Precision {
                    source_name: table.name.clone(),
                    column: field.name().clone(),
                    found: found.as_ref().map(spoken).unwrap_or_default(),
                    wanted: spoken(field.data_type()),
                });
            }
        }
        Ok(())
    }

    /// Columns that a node reads and that rows of the checkpoint may lack: those that their source did not have, or all that
    /// may be null, if the job takes that.
    pub fn lacking(&self, plan: &JobPlan, node: &Node) -> Result<Lacking, RestoreError> {
        let Some(input) = node.inputs.first().and_then(|input| plan.graph.nodes.get(input.0)) else {
            return Ok(Lacking::default());
        };
        let mut lacking = BTreeSet::new();
        for (index, field) in input.schema.fields().iter().enumerate() {
            let is_new = match plan.graph.origin(input, index) {
                Some(SourceColumn { operator, source, column }) => {
                    let name = plan.source(source).and_then(|table| table.schema.fields().get(column));
                    let known = self.columns(operator)?;
                    known.zip(name).is_some_and(|(known, column)| !known.columns.contains_key(column.name()))
                }
                None => false,
            };
            if is_new || plan.spec.allow_non_restored_state {
                lacking.insert(field.name().clone());
            }
        }
        Ok(Lacking { columns: lacking, former: self.former_names(node) })
    }

    /// What the columns that a node reads were called in rows of the checkpoint: one is the same if it is the same down to
    /// the source, whatever views call it.
    fn former_names(&self, node: &Node) -> FormerNames {
        let own = node.known_as.written_as.columns.as_deref().unwrap_or_default();
        let written_as = self.operators.get(&node.id).and_then(|state| state.written_as.as_ref());
        let Some(was) = written_as.and_then(|written_as| written_as.columns.as_ref()) else {
            let is_told_by_name = |column: &ReadColumn| column.name == column.text || is_computed(&column.name);
            return if own.iter().all(is_told_by_name) { FormerNames::AsNow } else { FormerNames::Untold };
        };
        let then = |column: &ReadColumn| {
            let same = || was.iter().filter(|was| was.text == column.text);
            let found = same().find(|was| was.name == column.name).or_else(|| same().next());
            (column.name.clone(), found.map(|was| was.name.clone()))
        };
        FormerNames::Told(own.iter().map(then).collect())
    }
}
