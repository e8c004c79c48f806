//! Stages: what can't be folded into a chain of projections and filters.
//!
//! A stage reads one segment and is itself a table for the segments behind it ([`StageTable`]). Its table's name is made
//! of what the stage does, down to the sources, so two plans are equal exactly if they mean the same rows, and a stage
//! that is planned twice is found again.

use std::sync::Arc;

use arrow::datatypes::{Field, Fields, Schema, SchemaRef};
use datafusion_common::{Result, TableReference};
use datafusion_expr::{AggregateUDF, Expr, LogicalPlan, LogicalPlanBuilder, TableSource};

use super::operator_id;
use crate::graph::WindowColumn;

#[derive(Debug)]
pub(super) struct Stage {
    /// What the operator id is made of.
    pub(super) name: String,
    /// The whole of what the stage does, as text.
    pub(super) definition: String,
    pub(super) work: Work,
    pub(super) table: Arc<StageTable>,
}

#[derive(Debug)]
pub(super) enum Work {
    Source,
    /// Columns are those of `input`; `keys` and `time` are indexes into them.
    Deduplicate {
        input: LogicalPlan,
        keys: Vec<usize>,
        time: usize,
    },
    Window(Window),
}

/// Expressions are over the columns of `input`.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) input: LogicalPlan,
    pub(super) size_ms: i64,
    pub(super) time: Expr,
    pub(super) keys: Vec<Expr>,
    pub(super) calls: Vec<Call>,
    /// One for each column of the stage's table.
    pub(super) output: Vec<WindowColumn>,
}

/// One aggregate.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) function: Arc<AggregateUDF>,
    pub(super) args: Vec<Expr>,
    pub(super) distinct: bool,
    pub(super) name: String,
}

/// A stage as a table.
#[derive(Debug)]
pub(super) struct StageTable {
    /// Index of the stage.
    pub(super) stage: usize,
    pub(super) schema: SchemaRef,
    /// The column that watermarks speak of.
    pub(super) event_time: Option<usize>,
    /// Source whose event time this is.
    pub(super) source: String,
    /// Rows are the results of windows.
    pub(super) windowed: bool,
}

impl TableSource for StageTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

impl Stage {
    /// All columns of the stage, unnamed relation and all.
    pub(super) fn scan(&self) -> Result<LogicalPlan> {
        let source: Arc<dyn TableSource> = Arc::<StageTable>::clone(&self.table);
        LogicalPlanBuilder::scan(self.table_name(), source, None)?.build()
    }

    pub(super) fn table_name(&self) -> TableReference {
        match self.work {
            Work::Source => TableReference::bare(self.name.clone()),
            _ => TableReference::bare(format!("{}#{}", self.name, operator_id::digest(&self.definition))),
        }
    }
}

/// The stage with this definition: an earlier one if there is one.
pub(super) fn intern(
    stages: &mut Vec<Stage>,
    name: String,
    definition: String,
    columns: impl IntoIterator<Item = Field>,
    event_time: Option<usize>,
    source: &str,
    work: Work,
) -> usize {
    if let Some(known) = stages.iter().position(|stage| stage.name == name && stage.definition == definition) {
        return known;
    }
    let index = stages.len();
    let schema = Arc::new(Schema::new(columns.into_iter().collect::<Fields>()));
    let table = Arc::new(StageTable {
        stage: index,
        schema,
        event_time,
        source: source.to_owned(),
        windowed: matches!(work, Work::Window(_)),
    });
    stages.push(Stage { name, definition, work, table });
    index
}
