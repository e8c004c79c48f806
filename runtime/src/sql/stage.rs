//! Stages: what can't be folded into a chain of projections and filters.
//!
//! A stage reads one segment and is itself a table for the segments behind it ([`StageTable`]). Its table's name is made
//! of what the stage does, down to the sources, so two plans are equal exactly if they mean the same rows, and a stage
//! that is planned twice is found again.

use std::{fmt, sync::Arc};

use arrow::datatypes::{Field, Fields, Schema, SchemaRef};
use datafusion_common::{Result, TableReference};
use datafusion_expr::{AggregateUDF, Expr, LogicalPlan, LogicalPlanBuilder, TableSource};

use super::{
    error::Position,
    lineage,
    operator_id::{self, Named},
};
use crate::graph::WindowColumn;

#[derive(Debug)]
pub(super) struct Stage {
    /// What the operator id is made of.
    pub(super) name: String,
    /// The whole of what the stage does, as text.
    pub(super) definition: String,
    /// Where the text has it: a stage that is written several times is one.
    pub(super) places: Vec<Place>,
    /// The first `SELECT` that has it.
    pub(super) at: Option<Position>,
    pub(super) work: Work,
    pub(super) table: Arc<StageTable>,
}

/// Where a stage is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// From the statement inwards.
    pub(super) inside: Vec<Inside>,
    /// Of the stages of one name there, which: the innermost is the first.
    pub(super) number: usize,
}

/// What has a name and a `SELECT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Inside {
    View(String),
    Insert(String),
    With(String),
}

impl Place {
    /// For an id.
    pub(super) fn short(&self) -> String {
        let names = self.inside.iter().map(|inside| match inside {
            Inside::View(name) | Inside::Insert(name) | Inside::With(name) => name.as_str(),
        });
        names.collect::<Vec<_>>().join("-")
    }
}

/// As checkpoints have it: these words must not change.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, inside) in self.inside.iter().enumerate() {
            let before = if index > 0 { ", " } else { "" };
            match inside {
                Inside::View(name) => write!(f, "{before}VIEW {name}")?,
                Inside::Insert(name) => write!(f, "{before}INSERT INTO {name}")?,
                Inside::With(name) => write!(f, "{before}WITH {name}")?,
            }
        }
        if self.number > 1 { write!(f, " ({})", self.number) } else { Ok(()) }
    }
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
    /// What a deduplication reads: it hands rows on as they are, so each of its columns is one of these.
    pub(super) below: Option<LogicalPlan>,
}

impl TableSource for StageTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

impl Stage {
    /// The stage that it reads.
    pub(super) fn reads(&self) -> Option<usize> {
        let input = match &self.work {
            Work::Source => return None,
            Work::Deduplicate { input, .. } => input,
            Work::Window(window) => &window.input,
        };
        lineage::leaf(input).map(|table| table.stage)
    }

    pub(super) fn named(&self) -> Named {
        Named { name: self.name.clone(), places: self.places.clone(), definition: self.definition.clone() }
    }

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
    let below = match &work {
        Work::Deduplicate { input, .. } => Some(input.clone()),
        Work::Source | Work::Window(_) => None,
    };
    let table = Arc::new(StageTable {
        stage: index,
        schema,
        event_time,
        source: source.to_owned(),
        windowed: matches!(work, Work::Window(_)),
        below,
    });
    stages.push(Stage { name, definition, places: Vec::new(), at: None, work, table });
    index
}
