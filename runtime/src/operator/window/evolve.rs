//! Partial results of a window whose aggregates, or the types of whose columns, have changed since they were written.
//!
//! Each aggregate is known by what it computes ([`Called`]), whatever place its arguments have. One that is there again
//! takes up its states, converted if the type of its argument has changed ([`changes`]); one that is new begins, in windows
//! that are open, with what comes from now on; the states of one that is gone are left out.
//!
//! Programs that named an argument by the place of its column left checkpoints behind in which `sum($2)` may be anything.
//! These are taken over if all aggregates are the same as they would have named them, and refused otherwise.
//!
//! [`changes`]: crate::state::changes

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, BooleanArray, RecordBatch, new_null_array},
    buffer::BooleanBuffer,
    datatypes::SchemaRef,
};
use datafusion_common::Result;
use datafusion_expr::EmitTo;
use datafusion_physical_expr::{PhysicalExpr, aggregate::AggregateFunctionExpr, expressions::Column};

use super::{
    accumulate::accumulator,
    written::{Kept, Written, WrittenError, matched},
};
use crate::{
    graph::{is_computed, positional_name},
    state::{Misfit, convert},
};

/// What partial results look like now.
pub struct Wanted<'a> {
    /// Columns that come before the states.
    pub groups: usize,
    pub aggregates: &'a [Arc<AggregateFunctionExpr>],
    /// As checkpoints name them.
    pub written: &'a [Written],
    /// Of the partial results.
    pub schema: &'a SchemaRef,
    /// Of the rows that are aggregated.
    pub input: &'a SchemaRef,
}

#[derive(Debug, thiserror::Error)]
pub enum EvolveError {
    #[error("found {found} columns, and the checkpoint names states for {named}")]
    Columns { found: usize, named: usize },
    #[error("key `{column}` was {found} and is {wanted}; the type of a key can't change while a window has state")]
    Key { column: String, found: String, wanted: String },
    #[error(transparent)]
    Written(#[from] WrittenError),
    #[error("the states of `{computes}`: {cause}")]
    Misfit { computes: String, cause: Misfit },
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
    let positional: Vec<String> = wanted.aggregates.iter().map(|aggregate| positional(aggregate)).collect();
    let kept = matched(written, wanted.written, &positional)?;
    for ((aggregate, own), kept) in wanted.aggregates.iter().zip(wanted.written).zip(kept) {
        let states: Vec<ArrayRef> = match kept {
            Kept::Of(index) => {
                let before: usize = written.iter().take(index).map(|known| known.states).sum();
                partial.columns().iter().skip(wanted.groups + before).take(own.states).cloned().collect()
            }
            Kept::Nothing => nothing_yet(aggregate, partial.num_rows(), wanted.input)?,
        };
        for state in states {
            let Some(field) = fields.get(columns.len()) else { break };
            let converted = convert(&own.computes, &state, field.data_type());
            columns.push(converted.map_err(|cause| EvolveError::Misfit { computes: own.computes.clone(), cause })?);
        }
    }
    RecordBatch::try_new(wanted.schema.clone(), columns).map_err(|error| EvolveError::Engine(error.into()))
}

/// What the aggregate was called by programs that named computed arguments by their places.
fn positional(aggregate: &AggregateFunctionExpr) -> String {
    // Without the names of tables, which an alias changes.
    let argument = |argument: &Arc<dyn PhysicalExpr>| match argument.downcast_ref::<Column>() {
        Some(column) if is_computed(column.name()) => positional_name(column.index()),
        Some(column) => column.name().to_owned(),
        None => argument.to_string(),
    };
    let arguments: Vec<String> = aggregate.expressions().iter().map(argument).collect();
    let distinct = if aggregate.is_distinct() { "DISTINCT " } else { "" };
    format!("{}({distinct}{})", aggregate.fun().name(), arguments.join(", "))
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
