//! Groups and their accumulators: DataFusion's, put together.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch},
    datatypes::{Field, FieldRef, Schema, SchemaRef},
};
use datafusion_common::Result;
use datafusion_expr::{EmitTo, GroupsAccumulator};
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::GroupsAccumulatorAdapter;
use datafusion_physical_expr::{PhysicalExpr, aggregate::AggregateFunctionExpr};
use datafusion_physical_plan::aggregates::{
    group_values::{GroupValues, new_group_values},
    order::GroupOrdering,
};

/// What groups and their partial states look like.
#[derive(Debug)]
pub struct Shape {
    /// The window's start, then the keys: what a group is.
    pub groups: Vec<FieldRef>,
    pub aggregates: Vec<Arc<AggregateFunctionExpr>>,
    /// Of partial states: the groups, then what the aggregates have.
    pub partial: SchemaRef,
}

impl Shape {
    pub fn new(groups: Vec<FieldRef>, aggregates: Vec<Arc<AggregateFunctionExpr>>) -> Result<Self> {
        let mut partial = groups.clone();
        partial.extend(state_fields(&aggregates)?);
        Ok(Self { groups, aggregates, partial: Arc::new(Schema::new(partial)) })
    }

    /// The keys of partial states.
    pub fn keys<'a>(&self, partial: &'a RecordBatch) -> &'a [ArrayRef] {
        partial.columns().get(1..self.groups.len()).unwrap_or_default()
    }

    /// No groups yet.
    pub fn nothing(&self) -> Result<Groups> {
        Groups::new(&self.groups, &self.aggregates)
    }

    /// The groups of partial states, each once.
    pub fn merge(&self, partials: &[RecordBatch]) -> Result<Groups> {
        let mut groups = self.nothing()?;
        for partial in partials.iter().filter(|partial| partial.num_rows() > 0) {
            groups.merge(partial.columns(), self.groups.len())?;
        }
        Ok(groups)
    }

    /// Empties groups into partial states.
    pub fn partial(&self, mut groups: Groups) -> Result<RecordBatch> {
        Ok(RecordBatch::try_new(self.partial.clone(), groups.take_states()?)?)
    }
}

/// The groups seen so far, with one accumulator an aggregate.
pub struct Groups {
    groups: Box<dyn GroupValues>,
    aggregates: Vec<Aggregate>,
    indices: Vec<usize>,
}

struct Aggregate {
    arguments: Vec<Arc<dyn PhysicalExpr>>,
    accumulator: Box<dyn GroupsAccumulator>,
    /// How many arrays its partial state has.
    state_width: usize,
}

impl Groups {
    /// No groups yet, of keys with these fields.
    fn new(keys: &[FieldRef], aggregates: &[Arc<AggregateFunctionExpr>]) -> Result<Self> {
        let schema: SchemaRef = Arc::new(Schema::new(keys.to_vec()));
        let aggregates = aggregates
            .iter()
            .map(|aggregate| {
                Ok(Aggregate {
                    arguments: aggregate.expressions(),
                    accumulator: accumulator(aggregate)?,
                    state_width: aggregate.state_fields()?.len(),
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self { groups: new_group_values(schema, &GroupOrdering::None)?, aggregates, indices: Vec::new() })
    }

    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Bytes in memory.
    pub fn size(&self) -> u64 {
        let accumulators: usize = self.aggregates.iter().map(|aggregate| aggregate.accumulator.size()).sum();
        (self.groups.size() + accumulators) as u64
    }

    /// Adds rows: `keys` are their groups, `batch` has the columns that the aggregates' arguments read.
    pub fn update(&mut self, keys: &[ArrayRef], batch: &RecordBatch) -> Result<()> {
        self.groups.intern(keys, &mut self.indices)?;
        let total = self.groups.len();
        for aggregate in &mut self.aggregates {
            let values = aggregate
                .arguments
                .iter()
                .map(|argument| argument.evaluate(batch)?.into_array(batch.num_rows()))
                .collect::<Result<Vec<_>>>()?;
            aggregate.accumulator.update_batch(&values, &self.indices, None, total)?;
        }
        Ok(())
    }

    /// Adds partial states: of each row the first columns are its keys, the rest its states.
    pub fn merge(&mut self, partial: &[ArrayRef], keys: usize) -> Result<()> {
        let (keys, mut states) = partial.split_at(keys);
        self.groups.intern(keys, &mut self.indices)?;
        let total = self.groups.len();
        for aggregate in &mut self.aggregates {
            let (own, rest) = states.split_at(aggregate.state_width);
            aggregate.accumulator.merge_batch(own, &self.indices, total)?;
            states = rest;
        }
        Ok(())
    }

    /// Emitting leaves the groups' hash table as it was; clearing it, with room for as many again, is a call of its own.
    fn take_keys(&mut self) -> Result<Vec<ArrayRef>> {
        let groups = self.groups.len();
        let keys = self.groups.emit(EmitTo::All)?;
        self.groups.clear_shrink(groups);
        Ok(keys)
    }

    /// Empties into keys followed by partial states.
    pub fn take_states(&mut self) -> Result<Vec<ArrayRef>> {
        let mut columns = self.take_keys()?;
        for aggregate in &mut self.aggregates {
            columns.extend(aggregate.accumulator.state(EmitTo::All)?);
        }
        Ok(columns)
    }

    /// Empties into keys and final values.
    pub fn take_values(&mut self) -> Result<(Vec<ArrayRef>, Vec<ArrayRef>)> {
        let keys = self.take_keys()?;
        let values = self
            .aggregates
            .iter_mut()
            .map(|aggregate| aggregate.accumulator.evaluate(EmitTo::All))
            .collect::<Result<_>>()?;
        Ok((keys, values))
    }
}

/// The fields of partial states, aggregate by aggregate.
fn state_fields(aggregates: &[Arc<AggregateFunctionExpr>]) -> Result<Vec<FieldRef>> {
    let mut fields: Vec<FieldRef> = Vec::new();
    for aggregate in aggregates {
        for field in aggregate.state_fields()? {
            // States of groups without values are null whatever the function says of its field.
            fields.push(Arc::new(Field::new(field.name(), field.data_type().clone(), true)));
        }
    }
    Ok(fields)
}

/// An accumulator without any groups.
pub fn accumulator(aggregate: &Arc<AggregateFunctionExpr>) -> Result<Box<dyn GroupsAccumulator>> {
    if aggregate.groups_accumulator_supported() {
        return aggregate.create_groups_accumulator();
    }
    let aggregate = aggregate.clone();
    Ok(Box::new(GroupsAccumulatorAdapter::new(move || aggregate.create_accumulator())))
}
