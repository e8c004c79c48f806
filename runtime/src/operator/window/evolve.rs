//! Partial results of a window whose aggregates have changed since they were written.
//!
//! Each aggregate is known by what it computes. One that is there again takes up its states; one that is new begins, in
//! windows that are open, with what comes from now on; the states of one that is gone are left out.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, BooleanArray, RecordBatch, new_null_array},
    buffer::BooleanBuffer,
    datatypes::SchemaRef,
};
use datafusion_common::Result;
use datafusion_expr::EmitTo;
use datafusion_physical_expr::{PhysicalExpr, aggregate::AggregateFunctionExpr, expressions::Column};
use serde::{Deserialize, Serialize};

use super::accumulate::accumulator;
use crate::state::{Misfit, widen};

/// An aggregate as a checkpoint names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Written {
    /// What it computes, such as `sum(amount)`.
    pub computes: String,
    /// How many columns of states it has.
    pub states: usize,
}

impl Written {
    pub fn of(aggregate: &AggregateFunctionExpr) -> Result<Self> {
        // Without the names of tables, which an alias changes.
        let argument = |argument: &Arc<dyn PhysicalExpr>| match argument.downcast_ref::<Column>() {
            Some(column) => column.name().to_owned(),
            None => argument.to_string(),
        };
        let arguments: Vec<String> = aggregate.expressions().iter().map(argument).collect();
        let distinct = if aggregate.is_distinct() { "DISTINCT " } else { "" };
        let computes = format!("{}({distinct}{})", aggregate.fun().name(), arguments.join(", "));
        Ok(Self { computes, states: aggregate.state_fields()?.len() })
    }
}

/// What partial results look like now.
pub struct Wanted<'a> {
    /// Columns that come before the states.
    pub groups: usize,
    pub aggregates: &'a [Arc<AggregateFunctionExpr>],
    /// Of the partial results.
    pub schema: &'a SchemaRef,
    /// Of the rows that are aggregated.
    pub input: &'a SchemaRef,
}

#[derive(Debug, thiserror::Error)]
pub enum EvolveError {
    #[error("found {found} columns, and the checkpoint names states for {named}")]
    Columns { found: usize, named: usize },
    #[error(
        "`{computes}` was written with {found} columns of states, and has {wanted}: by another version of the engine"
    )]
    States { computes: String, found: usize, wanted: usize },
    #[error("key `{column}` was {found} and is {wanted}; the type of a key can't change while a window has state")]
    Key { column: String, found: String, wanted: String },
    #[error(transparent)]
    Misfit(#[from] Misfit),
    #[error(transparent)]
    Engine(#[from] datafusion_common::DataFusionError),
}

/// Partial results as the operator wants them, of those that a checkpoint has.
pub fn evolve(
    partial: &RecordBatch,
    written: &[Written],
    wanted: &Wanted<'_>,
) -> std::result::Result<RecordBatch, EvolveError> {
    let (fields, found) = (wanted.schema.fields(), partial.schema());
    let named = wanted.groups + written.iter().map(|aggregate| aggregate.states).sum::<usize>();
    if partial.num_columns() != named {
        return Err(EvolveError::Columns { found: partial.num_columns(), named });
    }
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(fields.len());
    for (index, field) in fields.iter().take(wanted.groups).enumerate() {
        let kind = found.field(index).data_type();
        if kind != field.data_type() {
            let (found, wanted) = (kind.to_string(), field.data_type().to_string());
            return Err(EvolveError::Key { column: field.name().clone(), found, wanted });
        }
        columns.push(partial.column(index).clone());
    }
    for aggregate in wanted.aggregates {
        let own = Written::of(aggregate)?;
        let states = match known(written, &own)? {
            Some(first) => partial.columns().iter().skip(wanted.groups + first).take(own.states).cloned().collect(),
            None => nothing_yet(aggregate, partial.num_rows(), wanted.input)?,
        };
        for state in states {
            let Some(field) = fields.get(columns.len()) else { break };
            columns.push(widen(&own.computes, &state, field.data_type())?);
        }
    }
    RecordBatch::try_new(wanted.schema.clone(), columns).map_err(|error| EvolveError::Engine(error.into()))
}

/// The first column of an aggregate's states, counted behind the groups; none for one that is new.
fn known(written: &[Written], aggregate: &Written) -> std::result::Result<Option<usize>, EvolveError> {
    let Some(index) = written.iter().position(|known| known.computes == aggregate.computes) else { return Ok(None) };
    let found = written.get(index).map_or(0, |known| known.states);
    if found != aggregate.states {
        let (computes, wanted) = (aggregate.computes.clone(), aggregate.states);
        return Err(EvolveError::States { computes, found, wanted });
    }
    Ok(Some(written.iter().take(index).map(|known| known.states).sum()))
}

/// The states of an aggregate that has seen no row, of so many groups.
fn nothing_yet(aggregate: &Arc<AggregateFunctionExpr>, groups: usize, input: &SchemaRef) -> Result<Vec<ArrayRef>> {
    let arguments = aggregate.expressions();
    let nulls = arguments.iter().map(|argument| Ok(new_null_array(&argument.data_type(input)?, groups)));
    let (values, of): (Vec<ArrayRef>, Vec<usize>) = (nulls.collect::<Result<_>>()?, (0..groups).collect());
    let mut accumulator = accumulator(aggregate)?;
    // A row for each group that does not count: without any, some accumulators take every group for one with values.
    let none = BooleanArray::new(BooleanBuffer::new_unset(groups), None);
    accumulator.update_batch(&values, &of, Some(&none), groups)?;
    accumulator.state(EmitTo::All)
}
