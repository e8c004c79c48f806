//! Groups and their accumulators: DataFusion's, put together.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch, new_empty_array},
    datatypes::{DataType, Field, FieldRef, Int64Type, Schema, SchemaRef},
    util::display::{ArrayFormatter, FormatOptions},
};
use datafusion_common::{DataFusionError, Result};
use datafusion_expr::{EmitTo, GroupsAccumulator};
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::GroupsAccumulatorAdapter;
use datafusion_physical_expr::{PhysicalExpr, aggregate::AggregateFunctionExpr};
use datafusion_physical_plan::aggregates::{
    group_values::{GroupValues, new_group_values},
    order::GroupOrdering,
};

use crate::{format::instant, operator::float, sql::Overflow, words};

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
    /// Of what they are made.
    fields: Vec<FieldRef>,
    groups: Box<dyn GroupValues>,
    aggregates: Vec<Aggregate>,
    indices: Vec<usize>,
}

struct Aggregate {
    /// For people.
    name: String,
    /// It tells values apart, so equal ones must look alike.
    is_distinct: bool,
    arguments: Vec<Arc<dyn PhysicalExpr>>,
    accumulator: Box<dyn GroupsAccumulator>,
    /// Types of its partial state.
    states: Vec<DataType>,
    /// Type of its value.
    value: DataType,
}

impl Aggregate {
    fn new(aggregate: &Arc<AggregateFunctionExpr>) -> Result<Self> {
        let states = aggregate.state_fields()?;
        Ok(Self {
            name: words::plain(aggregate.name()),
            is_distinct: aggregate.is_distinct(),
            arguments: aggregate.expressions(),
            accumulator: accumulator(aggregate)?,
            states: states.iter().map(|field| field.data_type().clone()).collect(),
            value: aggregate.field().data_type().clone(),
        })
    }

    /// The partial states of so many groups, which are all. Of none an accumulator does not know the types.
    fn take_states(&mut self, groups: usize) -> Result<Vec<ArrayRef>> {
        if groups == 0 { Ok(nothing(&self.states)) } else { self.accumulator.state(EmitTo::All) }
    }

    /// As [`Aggregate::take_states`], of the values.
    fn take_values(&mut self, groups: usize) -> Result<ArrayRef> {
        if groups == 0 { Ok(new_empty_array(&self.value)) } else { self.accumulator.evaluate(EmitTo::All) }
    }
}

fn nothing(types: &[DataType]) -> Vec<ArrayRef> {
    types.iter().map(new_empty_array).collect()
}

impl Groups {
    /// No groups yet, of keys with these fields.
    fn new(keys: &[FieldRef], aggregates: &[Arc<AggregateFunctionExpr>]) -> Result<Self> {
        let schema: SchemaRef = Arc::new(Schema::new(keys.to_vec()));
        let aggregates = aggregates.iter().map(Aggregate::new).collect::<Result<_>>()?;
        let groups = new_group_values(schema, &GroupOrdering::None)?;
        Ok(Self { fields: keys.to_vec(), groups, aggregates, indices: Vec::new() })
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
                .map(|argument| {
                    let values = argument.evaluate(batch)?.into_array(batch.num_rows())?;
                    Ok(if aggregate.is_distinct { float::canonical(&values) } else { values })
                })
                .collect::<Result<Vec<_>>>()?;
            let updated = aggregate.accumulator.update_batch(&values, &self.indices, None, total);
            updated.map_err(|error| in_group(error, &aggregate.name, &self.fields, keys))?;
        }
        Ok(())
    }

    /// Adds partial states: of each row the first columns are its keys, the rest its states.
    pub fn merge(&mut self, partial: &[ArrayRef], keys: usize) -> Result<()> {
        let (keys, mut states) = partial.split_at(keys);
        self.groups.intern(keys, &mut self.indices)?;
        let total = self.groups.len();
        for aggregate in &mut self.aggregates {
            let (own, rest) = states.split_at(aggregate.states.len());
            let merged = if aggregate.is_distinct {
                let own: Vec<ArrayRef> = own.iter().map(float::canonical).collect();
                aggregate.accumulator.merge_batch(&own, &self.indices, total)
            } else {
                aggregate.accumulator.merge_batch(own, &self.indices, total)
            };
            merged.map_err(|error| in_group(error, &aggregate.name, &self.fields, keys))?;
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
        let groups = self.groups.len();
        let mut columns = self.take_keys()?;
        for aggregate in &mut self.aggregates {
            columns.extend(aggregate.take_states(groups)?);
        }
        Ok(columns)
    }

    /// Empties into keys and final values.
    pub fn take_values(&mut self) -> Result<(Vec<ArrayRef>, Vec<ArrayRef>)> {
        let groups = self.groups.len();
        let keys = self.take_keys()?;
        let values = self
            .aggregates
            .iter_mut()
            .map(|aggregate| {
                let values = aggregate.take_values(groups);
                values.map_err(|error| in_group(error, &aggregate.name, &self.fields, &keys))
            })
            .collect::<Result<_>>()?;
        Ok((keys, values))
    }
}

/// The error with the aggregate, the window and the keys that it is about, if it says which row's.
fn in_group(error: DataFusionError, aggregate: &str, fields: &[FieldRef], keys: &[ArrayRef]) -> DataFusionError {
    let Some(overflow) = Overflow::of(&error) else { return error };
    let row = overflow.at;
    let group = fields.iter().zip(keys).enumerate().map(|(place, (field, key))| {
        if place == 0 {
            let start = key.as_primitive_opt::<Int64Type>().filter(|starts| row < starts.len());
            let start = start.map(|starts| instant(starts.value(row))).unwrap_or_default();
            return format!("the window that begins at {start}");
        }
        let formatter = ArrayFormatter::try_new(key, &FormatOptions::default().with_null("NULL"));
        let value = formatter.ok().filter(|_| row < key.len()).map(|formatter| formatter.value(row).to_string());
        format!("{} = {}", field.name(), value.unwrap_or_default())
    });
    let group: Vec<String> = group.collect();
    DataFusionError::Execution(format!("`{aggregate}` of {}: {overflow}", group.join(", ")))
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
