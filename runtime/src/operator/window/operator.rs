//! The operator: places rows in windows, keeps partials, closes windows.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, TimestampMillisecondArray, UInt32Array},
    compute::{cast, filter_record_batch, take},
    datatypes::{DataType, Field, FieldRef, Schema, SchemaRef},
};
use datafusion_common::Result;
use prometheus_client::metrics::counter::Counter;
use serde::Deserialize;

use super::{
    accumulate::{Groups, state_fields},
    evolve::{Wanted, Written, evolve},
    late::LateEncoder,
};
use crate::{
    graph::{WindowAggregate, WindowColumn},
    ids::EventTime,
    operator::{
        Frozen, KeyRange, Named, Operator, OperatorError, Output, RestoredPart, RestoredState, rowtime, snapshot,
    },
    state::StatePart,
};

/// Kind of the parts that hold partial states; their tag is the window's start.
pub const PARTIAL: &str = "partial";
/// A window has at least so many partials before any are merged.
const MERGE_FROM: usize = 4;

/// What happens to rows whose window has closed.
pub struct LateRows {
    pub counted: Counter,
    /// Put them out on the side, too.
    pub encode: Option<LateEncoder>,
}

/// What a subtask remembers beside its partials.
#[derive(Deserialize)]
struct Remembered {
    watermark: EventTime,
    aggregates: Vec<Written>,
}

pub struct Window {
    name: Named,
    spec: WindowAggregate,
    range: KeyRange,
    /// The window's start, then the keys: what a group is.
    group_fields: Vec<FieldRef>,
    partial_schema: SchemaRef,
    /// The aggregates, as checkpoints name them.
    written: Vec<Written>,
    input_schema: SchemaRef,
    output_schema: SchemaRef,
    late: LateRows,
    watermark: EventTime,
    /// This epoch's groups, by window start and key.
    current: Groups,
    /// First window that `current` has a group of.
    first_current: Option<i64>,
    /// By window start.
    partials: BTreeMap<i64, Vec<Arc<StatePart>>>,
}

impl Window {
    pub fn new(
        name: Named,
        spec: WindowAggregate,
        range: KeyRange,
        input: &SchemaRef,
        output_schema: SchemaRef,
        late: LateRows,
    ) -> Result<Self> {
        let mut group_fields: Vec<FieldRef> = vec![Arc::new(Field::new("window_start", DataType::Int64, false))];
        group_fields.extend(spec.keys.iter().map(|key| input.fields()[*key].clone()));
        let mut partial_fields = group_fields.clone();
        partial_fields.extend(state_fields(&spec.aggregates)?);
        let current = Groups::new(&group_fields, &spec.aggregates)?;
        let written = spec.aggregates.iter().map(|aggregate| Written::of(aggregate)).collect::<Result<_>>()?;
        Ok(Self {
            name,
            written,
            input_schema: input.clone(),
            spec,
            range,
            group_fields,
            partial_schema: Arc::new(Schema::new(partial_fields)),
            output_schema,
            late,
            watermark: EventTime::MIN,
            current,
            first_current: None,
            partials: BTreeMap::new(),
        })
    }

    /// Takes over the share of `states` that is in this subtask's key range.
    pub fn restore(&mut self, states: Vec<RestoredState>) -> std::result::Result<(), OperatorError> {
        for state in states {
            let Remembered { watermark, aggregates } = serde_json::from_value(state.value)
                .map_err(|error| self.name.restore(format!("its value: {error}")))?;
            self.watermark = self.watermark.max(watermark);
            for part in state.parts {
                self.restore_part(part, &aggregates)?;
            }
        }
        Ok(())
    }

    fn restore_part(&mut self, part: RestoredPart, written: &[Written]) -> std::result::Result<(), OperatorError> {
        let batch = part.batch().map_err(|cause| self.name.state(cause))?;
        let reference = part.reference;
        if reference.kind != PARTIAL {
            return Err(self.name.restore(format!("found a part `{}`; accepted is {PARTIAL}", reference.kind)));
        }
        let wanted = Wanted {
            groups: self.group_fields.len(),
            aggregates: &self.spec.aggregates,
            schema: &self.partial_schema,
            input: &self.input_schema,
        };
        let now = evolve(&batch, written, &wanted).map_err(|error| self.name.restore(crate::error_chain(&error)))?;
        let types =
            |batch: &RecordBatch| batch.columns().iter().map(|column| column.data_type().clone()).collect::<Vec<_>>();
        let is_unchanged = written == self.written && types(&now) == types(&batch);
        let keys = &now.columns()[1..self.group_fields.len()];
        let own = self.range.filter(&now, keys).map_err(|cause| self.name.arrow(cause))?;
        let start = reference.tag;
        let part = if is_unchanged && own.num_rows() == batch.num_rows() {
            StatePart::restored(PARTIAL, start, own, reference)
        } else if own.num_rows() > 0 {
            StatePart::new(PARTIAL, start, own)
        } else {
            return Ok(());
        };
        self.partials.entry(start).or_default().push(part);
        Ok(())
    }

    /// Whether a window that starts at `start` has ended by the watermark.
    fn is_closed(&self, start: i64) -> bool {
        start.saturating_add(self.spec.size_ms - 1) <= self.watermark.0
    }

    fn add(&mut self, batch: RecordBatch, out: &mut Output) -> Result<()> {
        let times = rowtime::millis(batch.column(self.spec.time))?;
        rowtime::require_no_nulls(&times)?;
        let starts = window_starts(&times, self.spec.size_ms);
        let Some(first) = arrow::compute::min(&starts) else { return Ok(()) };
        let (batch, starts) =
            if self.is_closed(first) { self.drop_late(&batch, &starts, out)? } else { (batch, starts) };
        let Some(first) = arrow::compute::min(&starts) else { return Ok(()) };
        self.first_current = Some(self.first_current.map_or(first, |known| known.min(first)));
        let mut keys: Vec<ArrayRef> = vec![Arc::new(starts)];
        keys.extend(self.spec.keys.iter().map(|key| batch.column(*key).clone()));
        self.current.update(&keys, &batch)
    }

    fn drop_late(
        &self,
        batch: &RecordBatch,
        starts: &Int64Array,
        out: &mut Output,
    ) -> Result<(RecordBatch, Int64Array)> {
        let late: BooleanArray = starts.values().iter().map(|start| Some(self.is_closed(*start))).collect();
        self.late.counted.inc_by(late.true_count() as u64);
        if let Some(encode) = &self.late.encode {
            let rows = filter_record_batch(batch, &late)?;
            let ends: Int64Array = starts
                .values()
                .iter()
                .filter(|start| self.is_closed(**start))
                .map(|start| start + self.spec.size_ms)
                .collect();
            out.side(encode(&rows, &ends)?);
        }
        let on_time = arrow::compute::not(&late)?;
        let starts = arrow::compute::filter(starts, &on_time)?;
        let starts = Int64Array::from(starts.to_data());
        Ok((filter_record_batch(batch, &on_time)?, starts))
    }

    /// Empties the accumulators into partials, one for each window they have groups of.
    fn flush(&mut self) -> Result<()> {
        if self.current.is_empty() {
            return Ok(());
        }
        let columns = self.current.take_states()?;
        self.first_current = None;
        let starts = Int64Array::from(columns[0].to_data());
        let mut rows_of: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
        for (row, start) in starts.values().iter().enumerate() {
            rows_of.entry(*start).or_default().push(row as u32);
        }
        let single = rows_of.len() == 1;
        for (start, rows) in rows_of {
            let columns = if single {
                columns.clone()
            } else {
                let rows = UInt32Array::from(rows);
                columns.iter().map(|column| Ok(take(column, &rows, None)?)).collect::<Result<_>>()?
            };
            let batch = RecordBatch::try_new(self.partial_schema.clone(), columns)?;
            self.partials.entry(start).or_default().push(StatePart::new(PARTIAL, start, batch));
            self.merge_tiers(start)?;
        }
        Ok(())
    }

    /// Merges a window's newest partials as long as the older one is not much larger: their number stays logarithmic,
    /// and a row is merged, and uploaded again, a logarithmic number of times.
    fn merge_tiers(&mut self, start: i64) -> Result<()> {
        let Some(parts) = self.partials.get_mut(&start) else { return Ok(()) };
        if parts.len() < MERGE_FROM {
            return Ok(());
        }
        let mut from = parts.len() - 1;
        let mut rows = parts[from].rows();
        while from > 0 && parts[from - 1].rows() <= 2 * rows {
            from -= 1;
            rows += parts[from].rows();
        }
        if from + 1 >= parts.len() {
            return Ok(());
        }
        let merging = parts.split_off(from);
        let mut groups = Groups::new(&self.group_fields, &self.spec.aggregates)?;
        merge_all(&mut groups, &merging, self.group_fields.len())?;
        let batch = RecordBatch::try_new(self.partial_schema.clone(), groups.take_states()?)?;
        parts.push(StatePart::new(PARTIAL, start, batch));
        Ok(())
    }

    /// Puts out the windows that the watermark has passed.
    fn close(&mut self, out: &mut Output) -> Result<()> {
        if self.first_current.is_some_and(|first| self.is_closed(first)) {
            self.flush()?;
        }
        let mut closed = Vec::new();
        while let Some(entry) = self.partials.first_entry()
            && entry.key().saturating_add(self.spec.size_ms - 1) <= self.watermark.0
        {
            closed.extend(entry.remove());
        }
        if closed.is_empty() {
            return Ok(());
        }
        let mut groups = Groups::new(&self.group_fields, &self.spec.aggregates)?;
        merge_all(&mut groups, &closed, self.group_fields.len())?;
        let (keys, values) = groups.take_values()?;
        out.batch(self.output(&keys, &values)?);
        Ok(())
    }

    fn output(&self, groups: &[ArrayRef], values: &[ArrayRef]) -> Result<RecordBatch> {
        let starts = Int64Array::from(groups[0].to_data());
        let columns = self
            .spec
            .output
            .iter()
            .zip(self.output_schema.fields())
            .map(|(column, field)| {
                let instants = |offset: i64| -> Result<ArrayRef> {
                    let millis: TimestampMillisecondArray = starts.unary(|start| start + offset);
                    Ok(cast(&millis, field.data_type())?)
                };
                match column {
                    WindowColumn::Start => instants(0),
                    WindowColumn::End => instants(self.spec.size_ms),
                    WindowColumn::Key(index) => Ok(groups[index + 1].clone()),
                    WindowColumn::Aggregate(index) => Ok(values[*index].clone()),
                }
            })
            .collect::<Result<_>>()?;
        Ok(RecordBatch::try_new(self.output_schema.clone(), columns)?)
    }
}

impl Operator for Window {
    fn on_batch(&mut self, batch: RecordBatch, out: &mut Output) -> std::result::Result<(), OperatorError> {
        self.add(batch, out).map_err(|cause| self.name.engine(cause))
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut Output) -> std::result::Result<(), OperatorError> {
        self.watermark = self.watermark.max(watermark);
        self.close(out).map_err(|cause| self.name.engine(cause))?;
        out.watermark(watermark);
        Ok(())
    }

    fn freeze(&mut self) -> std::result::Result<Frozen, OperatorError> {
        self.flush().map_err(|cause| self.name.engine(cause))?;
        let parts = self.partials.values().flatten().cloned().collect();
        let value =
            serde_json::json!({ "watermark": self.watermark, "sizeMs": self.spec.size_ms, "aggregates": self.written });
        Ok(snapshot(value, parts))
    }
}

/// The start of each row's window. Neighbouring rows are mostly of one window, so the division is mostly saved.
fn window_starts(times: &TimestampMillisecondArray, size: i64) -> Int64Array {
    let mut start = i64::MIN;
    let mut end = i64::MIN;
    let starts: Vec<i64> = times
        .values()
        .iter()
        .map(|time| {
            if *time < start || *time >= end {
                start = time.saturating_sub(time.rem_euclid(size));
                end = start.saturating_add(size);
            }
            start
        })
        .collect();
    Int64Array::from(starts)
}

fn merge_all(groups: &mut Groups, parts: &[Arc<StatePart>], keys: usize) -> Result<()> {
    for part in parts {
        let batch = part.batch().ok_or_else(|| {
            datafusion_common::DataFusionError::Internal("a partial has left memory before its window closed".into())
        })?;
        groups.merge(batch.columns(), keys)?;
    }
    Ok(())
}
