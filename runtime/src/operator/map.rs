//! Filter and projection: no state, one batch in, one batch out.
//!
//! Expressions are computed a batch at a time. Of `a <> 0 AND b / a > 1` both sides are then computed for rows that the
//! first has ruled out, and what can't be computed for them would fail the job. So a batch that fails is halved until
//! each failure is of one row: what can be computed for a row alone is, and what can't is an error that names the row.

use std::sync::Arc;

use arrow::{
    array::{Array, AsArray, RecordBatch, RecordBatchOptions},
    compute::filter_record_batch,
    datatypes::SchemaRef,
};
use datafusion_common::DataFusionError;
use datafusion_physical_expr::PhysicalExpr;

use super::{Named, Operator, OperatorError, Output};
use crate::{format::json, graph::is_computed, words};

/// What the planner calls an expression that it computes once for several.
const SHARED: &str = "__common_expr";
/// More of a row than this helps nobody.
const SHOWN: usize = 500;

pub struct Map {
    name: Named,
    predicate: Option<Arc<dyn PhysicalExpr>>,
    columns: Option<Vec<Arc<dyn PhysicalExpr>>>,
    schema: SchemaRef,
}

/// Which expression could not be computed.
enum Failed {
    Predicate(DataFusionError),
    Column(usize, DataFusionError),
    Rows(DataFusionError),
}

impl Map {
    pub fn new(
        name: Named,
        predicate: Option<Arc<dyn PhysicalExpr>>,
        columns: Option<Vec<Arc<dyn PhysicalExpr>>>,
        schema: SchemaRef,
    ) -> Self {
        Self { name, predicate, columns, schema }
    }

    fn apply(&self, batch: &RecordBatch) -> Result<RecordBatch, Failed> {
        let rows = match &self.predicate {
            None => batch.clone(),
            Some(predicate) => {
                let keep = predicate.evaluate(batch).and_then(|keep| keep.into_array(batch.num_rows()));
                let keep = keep.map_err(Failed::Predicate)?;
                let keep = keep.as_boolean();
                if keep.null_count() == 0 && keep.true_count() == keep.len() {
                    batch.clone()
                } else {
                    filter_record_batch(batch, keep).map_err(|error| Failed::Rows(error.into()))?
                }
            }
        };
        let Some(columns) = &self.columns else { return Ok(rows) };
        let computed = columns.iter().enumerate().map(|(index, column)| {
            let values = column.evaluate(&rows).and_then(|values| values.into_array(rows.num_rows()));
            values.map_err(|error| Failed::Column(index, error))
        });
        let arrays = computed.collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)
            .map_err(|error| Failed::Rows(error.into()))
    }

    /// Rows of a batch that failed as a whole, in order.
    fn piece_by_piece(&self, batch: &RecordBatch, failed: Failed, out: &mut Output) -> Result<(), OperatorError> {
        let rows = batch.num_rows();
        if rows <= 1 || matches!(failed, Failed::Rows(_)) {
            return Err(self.refused(batch, failed));
        }
        let half = rows / 2;
        for part in [batch.slice(0, half), batch.slice(half, rows - half)] {
            match self.apply(&part) {
                Ok(rows) => out.batch(rows),
                Err(failed) => self.piece_by_piece(&part, failed, out)?,
            }
        }
        Ok(())
    }

    fn refused(&self, row: &RecordBatch, failed: Failed) -> OperatorError {
        let (what, error) = match failed {
            Failed::Predicate(error) => {
                let condition = self.predicate.as_ref().map(|expr| text(expr.as_ref())).unwrap_or_default();
                (format!("the condition `{condition}`"), error)
            }
            Failed::Column(index, error) => (self.column(index), error),
            Failed::Rows(error) => return self.name.engine(error),
        };
        OperatorError::Row { operator: self.name.0.clone(), what, record: record(row), why: words::of(&error) }
    }

    /// A column as its reader knows it: by its name, or by what is computed where it has none.
    fn column(&self, index: usize) -> String {
        let name = self.schema.fields().get(index).map(|field| field.name().as_str()).unwrap_or_default();
        if !is_computed(name) && !name.starts_with('$') && !name.starts_with(SHARED) {
            return format!("the column `{name}`");
        }
        let column = self.columns.iter().flatten().nth(index);
        format!("`{}`", column.map(|expr| text(expr.as_ref())).unwrap_or_default())
    }
}

/// The first row as JSON, its columns called as in SQL; what the planner put between them is left out.
fn record(row: &RecordBatch) -> String {
    let schema = row.schema();
    let columns = schema.fields().iter().zip(row.columns()).filter(|(field, _)| !field.name().starts_with(SHARED));
    let columns = columns.map(|(field, column)| (words::shown(field.name()), column.clone()));
    let lines = RecordBatch::try_from_iter(columns).and_then(|row| json::encode(&row));
    // Names that are one when they are shortened, or a type that JSON has not: then there is nothing to show.
    let Ok(lines) = lines else { return "…".to_owned() };
    lines.rows().next().map(|record| shortened(&String::from_utf8_lossy(record))).unwrap_or_default()
}

/// An expression without the places of its columns.
fn text(expr: &dyn PhysicalExpr) -> String {
    let written = expr.to_string();
    let mut parts = written.split('@');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text.push_str(part.trim_start_matches(|digit: char| digit.is_ascii_digit()));
    }
    shortened(&words::shown(&text))
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= SHOWN { text.to_owned() } else { text.chars().take(SHOWN - 1).chain(['…']).collect() }
}

impl Operator for Map {
    fn on_batch(&mut self, batch: RecordBatch, out: &mut Output) -> Result<(), OperatorError> {
        match self.apply(&batch) {
            Ok(rows) => out.batch(rows),
            Err(failed) => self.piece_by_piece(&batch, failed, out)?,
        }
        Ok(())
    }
}
