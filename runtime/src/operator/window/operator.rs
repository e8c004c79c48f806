//! The operator: places rows in windows, keeps partials, closes windows.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, TimestampMillisecondArray, UInt32Array},
    compute::{cast, filter_record_batch, take},
    datatypes::{DataType, Field, FieldRef, SchemaRef, TimeUnit},
    error::ArrowError,
};
use prometheus_client::metrics::counter::Counter;
use serde::Deserialize;

use super::{
    accumulate::{Groups, Shape},
    closing::Closing,
    error::WindowError,
    evolve::{Wanted, evolve},
    late::LateEncoder,
    partials::Partials,
    run::PARTIAL,
    written::Written,
};
use crate::{
    graph::{WindowAggregate, WindowColumn},
    ids::EventTime,
    operator::{
        Frozen, KeyRange, Named, Operator, OperatorError, Output, RestoredPart, RestoredState, float, rowtime, snapshot,
    },
    state::{Backend, StatePart},
};

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
    /// What each key is. Earlier versions did not tell.
    keys: Option<Vec<String>>,
    aggregates: Vec<Written>,
}

pub struct Window {
    name: Named,
    spec: WindowAggregate,
    range: KeyRange,
    shape: Arc<Shape>,
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
    partials: Partials,
    closing: Closing,
    /// What is said when the last window that has ended is put out.
    promised: Option<EventTime>,
}

impl Window {
    pub fn new(
        name: Named,
        spec: WindowAggregate,
        range: KeyRange,
        input: &SchemaRef,
        output_schema: SchemaRef,
        late: LateRows,
        backend: &Backend,
    ) -> Result<Self, OperatorError> {
        let mut groups: Vec<FieldRef> = vec![Arc::new(Field::new("window_start", DataType::Int64, false))];
        groups.extend(spec.keys.iter().map(|key| input.fields()[*key].clone()));
        let failed = |cause| name.engine(cause);
        let shape = Arc::new(Shape::new(groups, spec.aggregates.clone()).map_err(failed)?);
        let aggregates = spec.called.iter().zip(&spec.aggregates);
        let written = aggregates.map(|(called, aggregate)| Written::of(called, aggregate)).collect::<Result<_, _>>();
        Ok(Self {
            written: written.map_err(failed)?,
            current: shape.nothing().map_err(failed)?,
            partials: Partials::new(shape.clone(), backend, format!("{}-{}", name.0, range.subtask)),
            input_schema: input.clone(),
            name,
            spec,
            range,
            shape,
            output_schema,
            late,
            watermark: EventTime::MIN,
            first_current: None,
            closing: Closing::default(),
            promised: None,
        })
    }

    /// Takes over the share of `states` that is in this subtask's key range.
    pub fn restore(&mut self, states: Vec<RestoredState>) -> Result<(), OperatorError> {
        for state in states {
            let Remembered { watermark, keys, aggregates } = serde_json::from_value(state.value)
                .map_err(|error| self.name.restore(format!("its value: {error}")))?;
            self.name.same_keys(keys.as_deref(), &self.spec.key_names)?;
            self.watermark = self.watermark.max(watermark);
            for part in state.parts {
                self.restore_part(part, &aggregates)?;
            }
        }
        Ok(())
    }

    fn restore_part(&mut self, part: RestoredPart, written: &[Written]) -> Result<(), OperatorError> {
        let batch = part.batch().map_err(|cause| self.name.state(cause))?;
        let reference = part.reference;
        if reference.kind != PARTIAL {
            return Err(self.name.restore(format!("found a part `{}`; accepted is {PARTIAL}", reference.kind)));
        }
        let wanted = Wanted {
            groups: self.shape.groups.len(),
            aggregates: &self.shape.aggregates,
            written: &self.written,
            schema: &self.shape.partial,
            input: &self.input_schema,
        };
        let now = evolve(&batch, written, &wanted).map_err(|error| self.name.restore(crate::error_chain(&error)))?;
        let is_unchanged = now.num_columns() == batch.num_columns()
            && now.columns().iter().zip(batch.columns()).all(|(now, then)| Arc::ptr_eq(now, then));
        let own = self.range.filter(&now, self.shape.keys(&now)).map_err(|cause| self.name.arrow(cause))?;
        let start = reference.tag;
        let part = if is_unchanged && own.num_rows() == batch.num_rows() {
            StatePart::restored(PARTIAL, start, own, reference)
        } else if own.num_rows() > 0 {
            StatePart::new(PARTIAL, start, own)
        } else {
            return Ok(());
        };
        self.partials.restore(start, part);
        self.partials.keep_bounded(0).map_err(|error| error.of(&self.name))
    }

    /// Whether a window that starts at `start` has ended by the watermark.
    fn is_closed(&self, start: i64) -> bool {
        has_ended(start, self.spec.size_ms, self.watermark)
    }

    fn add(&mut self, batch: RecordBatch, out: &mut Output) -> Result<(), WindowError> {
        let times = rowtime::millis(batch.column(self.spec.time))?;
        rowtime::require_no_nulls(&times)?;
        let starts = window_starts(&times, self.spec.size_ms);
        let Some(first) = arrow::compute::min(&starts) else { return Ok(()) };
        let (batch, starts) =
            if self.is_closed(first) { self.drop_late(&batch, &starts, out)? } else { (batch, starts) };
        let Some(first) = arrow::compute::min(&starts) else { return Ok(()) };
        self.first_current = Some(self.first_current.map_or(first, |known| known.min(first)));
        let mut keys: Vec<ArrayRef> = vec![Arc::new(starts)];
        keys.extend(self.spec.keys.iter().map(|key| float::canonical(batch.column(*key))));
        self.current.update(&keys, &batch)?;
        self.keep_bounded()
    }

    /// Sees to it that what is remembered does not take more memory than there is for it.
    fn keep_bounded(&mut self) -> Result<(), WindowError> {
        if self.current.size() > self.partials.at_once() {
            self.flush()?;
        }
        let others = self.current.size() + self.closing.in_memory();
        self.partials.keep_bounded(others)
    }

    fn drop_late(
        &self,
        batch: &RecordBatch,
        starts: &Int64Array,
        out: &mut Output,
    ) -> Result<(RecordBatch, Int64Array), WindowError> {
        let late: BooleanArray = starts.values().iter().map(|start| Some(self.is_closed(*start))).collect();
        if self.late.encode.is_none() && self.late.counted.get() == 0 {
            tracing::warn!(window = %self.name.0, "records came after their window had closed: they are left out, and counted");
        }
        self.late.counted.inc_by(late.true_count() as u64);
        if let Some(encode) = &self.late.encode {
            let rows = filter_record_batch(batch, &late)?;
            let ends: Int64Array = starts
                .values()
                .iter()
                .filter(|start| self.is_closed(**start))
                .map(|start| start.saturating_add(self.spec.size_ms))
                .collect();
            out.side(encode(&rows, &ends)?);
        }
        let on_time = arrow::compute::not(&late)?;
        let starts = arrow::compute::filter(starts, &on_time)?;
        let starts = Int64Array::from(starts.to_data());
        Ok((filter_record_batch(batch, &on_time)?, starts))
    }

    /// Empties the accumulators into partials, one for each window they have groups of.
    fn flush(&mut self) -> Result<(), WindowError> {
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
                columns.iter().map(|column| take(column, &rows, None)).collect::<Result<_, _>>()?
            };
            self.partials.add(start, &RecordBatch::try_new(self.shape.partial.clone(), columns)?)?;
        }
        Ok(())
    }

    /// Collects the windows that the watermark has passed.
    fn close(&mut self) -> Result<(), WindowError> {
        if self.first_current.is_some_and(|first| self.is_closed(first)) {
            self.flush()?;
        }
        let (size, watermark) = (self.spec.size_ms, self.watermark);
        while let Some(runs) = self.partials.take_ended(|start| has_ended(start, size, watermark)) {
            self.closing.add(runs, self.partials.at_once());
        }
        Ok(())
    }

    /// Puts out some of what has ended, and in the end the watermark that said so. Whether there is more.
    fn put_out(&mut self, out: &mut Output) -> Result<bool, WindowError> {
        if let Some(mut groups) = self.closing.next(&self.shape, self.partials.departed())? {
            let (keys, values) = groups.take_values()?;
            out.batch(self.output(&keys, &values)?);
        }
        if !self.closing.is_empty() {
            return Ok(true);
        }
        if let Some(watermark) = self.promised.take() {
            out.watermark(watermark);
            self.keep_bounded()?;
        }
        Ok(false)
    }

    fn output(&self, groups: &[ArrayRef], values: &[ArrayRef]) -> Result<RecordBatch, WindowError> {
        let starts = Int64Array::from(groups[0].to_data());
        let columns = self
            .spec
            .output
            .iter()
            .zip(self.output_schema.fields())
            .map(|(column, field)| {
                let edge = |offset: i64| {
                    let millis: TimestampMillisecondArray = starts.unary(|start| start.saturating_add(offset));
                    instants(millis, field.data_type())
                };
                match column {
                    WindowColumn::Start => edge(0),
                    WindowColumn::End => edge(self.spec.size_ms),
                    WindowColumn::Key(index) => Ok(groups[index + 1].clone()),
                    WindowColumn::Aggregate(index) => Ok(values[*index].clone()),
                }
            })
            .collect::<Result<_, _>>()?;
        Ok(RecordBatch::try_new(self.output_schema.clone(), columns)?)
    }
}

impl Operator for Window {
    fn on_batch(&mut self, batch: RecordBatch, out: &mut Output) -> Result<(), OperatorError> {
        self.add(batch, out).map_err(|error| error.of(&self.name))
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut Output) -> Result<bool, OperatorError> {
        self.watermark = self.watermark.max(watermark);
        self.promised = Some(watermark);
        self.close().and_then(|()| self.put_out(out)).map_err(|error| error.of(&self.name))
    }

    fn go_on(&mut self, out: &mut Output) -> Result<bool, OperatorError> {
        self.put_out(out).map_err(|error| error.of(&self.name))
    }

    fn watermark(&self) -> EventTime {
        self.watermark
    }

    fn set_watermark(&mut self, watermark: EventTime) {
        self.watermark = watermark;
    }

    fn freeze(&mut self) -> Result<Frozen, OperatorError> {
        self.flush().and_then(|()| self.keep_bounded()).map_err(|error| error.of(&self.name))?;
        let value = serde_json::json!({
            "watermark": self.watermark,
            "sizeMs": self.spec.size_ms,
            "keys": self.spec.key_names,
            "aggregates": self.written,
        });
        Ok(snapshot(value, self.partials.parts()))
    }
}

/// Milliseconds as a column of this type. A zone is only a name: a cast would go by way of a calendar, which ends.
fn instants(millis: TimestampMillisecondArray, kind: &DataType) -> Result<ArrayRef, ArrowError> {
    match kind {
        DataType::Timestamp(TimeUnit::Millisecond, zone) => Ok(Arc::new(millis.with_timezone_opt(zone.clone()))),
        _ => cast(&millis, kind),
    }
}

/// Whether the watermark has passed a window.
fn has_ended(start: i64, size_ms: i64, watermark: EventTime) -> bool {
    start.saturating_add(size_ms - 1) <= watermark.0
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
