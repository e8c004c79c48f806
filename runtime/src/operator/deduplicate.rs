//! Keeps of the rows with equal keys the one with the smallest event time.
//!
//! A row is put out when the watermark has passed it, so the choice does not depend on the order in which partitions are
//! read, and a replay makes the same one. A row that comes when the watermark has already passed it is late and dropped.
//!
//! What is remembered of a key is a 128-bit hash of it and its smallest event time: of 10 million keys, two share a hash
//! with a probability of 10⁻²⁵. With a time to live, a key is forgotten when the watermark is that far past it. Where that
//! is kept, in memory or on the local disk, is not the operator's business ([`Seen`]).

use std::collections::BTreeSet;

use arrow::{
    array::{Array, ArrayRef, BooleanArray, RecordBatch, TimestampMillisecondArray},
    compute::filter_record_batch,
    datatypes::SchemaRef,
    error::ArrowError,
};
use prometheus_client::metrics::counter::Counter;
use serde::Deserialize;

use super::{Frozen, KeyRange, Named, Operator, OperatorError, Output, RestoredState, rowtime};
use crate::{
    exchange::partition::hash_rows,
    ids::EventTime,
    state::{StateError, StatePart, StateSnapshot, adapt},
};

mod filter;
mod in_memory;
mod in_table;
mod keys;
mod overflowing;
mod recent;
mod seen;

use self::seen::{FormerKeys, Noted, Remembers, Sights};
pub use self::{
    in_table::{InTable, entry as table_entry},
    keys::{KEYS, all_keys},
    overflowing::Overflowing,
    seen::Seen,
};

/// Kind of the parts that hold rows the watermark has not passed yet.
pub const WAITING: &str = "waiting";
/// Forgetting is worth a walk over all keys when the watermark has moved by this share of the time to live.
const SWEEPS_PER_LIFE: i64 = 4;

/// Counters of what is left out.
#[derive(Debug, Clone, Default)]
pub struct Dropped {
    pub duplicates: Counter,
    pub late: Counter,
}

/// What the operator reads.
#[derive(Debug, Clone)]
pub struct Columns {
    pub input: SchemaRef,
    /// Those that make a row's key.
    pub keys: Vec<usize>,
    /// That of the event time.
    pub time: usize,
}

pub struct Deduplicate {
    name: Named,
    keys: Vec<usize>,
    time: usize,
    /// Columns of the rows.
    input: SchemaRef,
    range: KeyRange,
    ttl_ms: Option<i64>,
    dropped: Dropped,
    watermark: EventTime,
    emitted: EventTime,
    seen: Box<dyn Seen>,
    /// What it said of the rows of a batch. Kept over calls to save allocations.
    noted: Vec<Noted>,
    waiting: Vec<Waiting>,
    /// Rows in `waiting` that an earlier one has replaced since.
    superseded: BTreeSet<(u128, i64)>,
    swept_at: EventTime,
}

/// What a subtask remembers beside its parts.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Remembered {
    watermark: EventTime,
    key_types: Vec<String>,
}

/// Rows that came together, with what is needed to tell which of them count.
struct Waiting {
    batch: RecordBatch,
    hashes: Vec<u128>,
    times: TimestampMillisecondArray,
    first: i64,
    last: i64,
}

impl Deduplicate {
    pub fn new(
        name: Named,
        Columns { input, keys, time }: Columns,
        range: KeyRange,
        ttl_ms: Option<i64>,
        dropped: Dropped,
        seen: Box<dyn Seen>,
    ) -> Self {
        Self {
            name,
            keys,
            time,
            input,
            range,
            ttl_ms,
            dropped,
            watermark: EventTime::MIN,
            emitted: EventTime::MIN,
            seen,
            noted: Vec::new(),
            waiting: Vec::new(),
            superseded: BTreeSet::new(),
            swept_at: EventTime::MIN,
        }
    }

    /// Takes over the share of `states` that is in this subtask's key range.
    pub fn restore(&mut self, states: Vec<RestoredState>) -> Result<(), OperatorError> {
        let mut least = EventTime::MAX;
        for state in &states {
            let Remembered { watermark, key_types } = serde_json::from_value(state.value.clone())
                .map_err(|error| self.name.restore(format!("its value: {error}")))?;
            if key_types != self.key_types() {
                return Err(self.name.restore(format!(
                    "its keys were of types {}, and are of {}; they can't change while keys are remembered",
                    key_types.join(", "),
                    self.key_types().join(", ")
                )));
            }
            self.watermark = self.watermark.max(watermark);
            least = least.min(watermark);
        }
        let mut former = FormerKeys::default();
        for state in states {
            former.tables.extend(state.table);
            for part in state.parts {
                match part.reference.kind.as_str() {
                    KEYS => former.parts.push(part),
                    WAITING => {
                        let rows = part.batch().map_err(|cause| self.name.state(cause))?;
                        let rows = adapt(&rows, &self.input)
                            .map_err(|misfit| self.name.restore(crate::error_chain(&misfit)))?;
                        self.wait(&rows).map_err(|cause| self.name.arrow(cause))?;
                    }
                    other => {
                        let accepted = format!("found a part `{other}`; accepted are {KEYS} and {WAITING}");
                        return Err(self.name.restore(accepted));
                    }
                }
            }
        }
        // Rows may be in flight for which the one that is least far has not forgotten anything yet.
        let oldest = self.oldest_at(least.min(self.watermark));
        self.seen.restore(former, oldest).map_err(|cause| self.name.state(cause))
    }

    /// What was seen before this is forgotten.
    fn oldest(&self) -> i64 {
        self.oldest_at(self.watermark)
    }

    fn oldest_at(&self, watermark: EventTime) -> i64 {
        self.ttl_ms.map_or(i64::MIN, |ttl| watermark.0.saturating_sub(ttl))
    }

    /// Puts rows of a checkpoint back among those that wait. Each is the winner of its key.
    fn wait(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let batch = self.range.filter(batch, &self.key_columns(batch))?;
        if batch.num_rows() > 0 {
            let hashes = hash_rows(&self.key_columns(&batch), batch.num_rows())?;
            let times = rowtime::millis(batch.column(self.time))?;
            self.waiting.extend(Waiting::new(batch, hashes, times));
        }
        Ok(())
    }

    /// Of the keys that are remembered, a hash is kept, which depends on their types.
    fn key_types(&self) -> Vec<String> {
        let fields = self.input.fields();
        self.keys.iter().filter_map(|key| fields.get(*key)).map(|field| field.data_type().to_string()).collect()
    }

    fn key_columns(&self, batch: &RecordBatch) -> Vec<ArrayRef> {
        self.keys.iter().map(|key| batch.column(*key).clone()).collect()
    }

    fn add(&mut self, batch: RecordBatch) -> Result<(), StateError> {
        let times = rowtime::millis(batch.column(self.time))?;
        rowtime::require_no_nulls(&times)?;
        let hashes = hash_rows(&self.key_columns(&batch), batch.num_rows())?;
        let sights = Sights { hashes: &hashes, times: times.values(), passed: self.watermark.0, oldest: self.oldest() };
        self.noted.clear();
        self.seen.note(&sights, &mut self.noted)?;
        let (mut late, mut duplicates) = (0, 0);
        for (row, noted) in self.noted.iter().enumerate() {
            match noted {
                Noted::Late => late += 1,
                Noted::New => {}
                Noted::Earlier { replaced } => {
                    self.superseded.insert((hashes[row], *replaced));
                    duplicates += 1;
                }
                Noted::NotEarlier => duplicates += 1,
            }
        }
        self.dropped.late.inc_by(late);
        self.dropped.duplicates.inc_by(duplicates);
        if late + duplicates == 0 {
            self.waiting.extend(Waiting::new(batch, hashes, times));
        } else {
            let mask: BooleanArray = self.noted.iter().map(|noted| Some(noted.wins())).collect();
            self.waiting
                .extend(Waiting::new(batch, hashes, times).map(|rows| rows.filter(&mask)).transpose()?.flatten());
        }
        Ok(())
    }

    /// Puts out what the watermark has passed. A batch waits as a whole until its last row is passed, which delays the
    /// watermark downstream a little and saves cutting the batch; only one that has waited for long is cut.
    fn emit(&mut self, out: &mut Output) -> Result<(), ArrowError> {
        let watermark = self.watermark.0;
        let mut waiting = Vec::with_capacity(self.waiting.len());
        let mut held = EventTime(watermark);
        for rows in std::mem::take(&mut self.waiting) {
            if rows.last <= watermark {
                self.put_out(rows, out)?;
            } else if rows.first > watermark || watermark - rows.first < CUT_AFTER_MS && watermark != i64::MAX {
                held = held.min(EventTime(rows.first.saturating_sub(1)));
                waiting.push(rows);
            } else {
                let passed: BooleanArray = rows.times.values().iter().map(|time| Some(*time <= watermark)).collect();
                let rest = arrow::compute::not(&passed)?;
                waiting.extend(rows.filter(&rest)?);
                if let Some(passed) = rows.filter(&passed)? {
                    self.put_out(passed, out)?;
                }
            }
        }
        self.waiting = waiting;
        if held > self.emitted {
            self.emitted = held;
            out.watermark(held);
        }
        Ok(())
    }

    fn put_out(&mut self, rows: Waiting, out: &mut Output) -> Result<(), ArrowError> {
        if self.superseded.is_empty() {
            out.batch(rows.batch);
            return Ok(());
        }
        let count: BooleanArray = rows
            .hashes
            .iter()
            .zip(rows.times.values())
            .map(|(hash, time)| Some(!self.superseded.remove(&(*hash, *time))))
            .collect();
        out.batch(filter_record_batch(&rows.batch, &count)?);
        Ok(())
    }

    /// Forgets keys whose time to live is over.
    fn sweep(&mut self) -> Result<(), StateError> {
        let Some(ttl) = self.ttl_ms else { return Ok(()) };
        let due = self.swept_at.0.saturating_add(ttl / SWEEPS_PER_LIFE);
        if self.watermark.0 < due || self.watermark == EventTime::MAX {
            return Ok(());
        }
        self.swept_at = self.watermark;
        self.seen.forget(self.watermark.0.saturating_sub(ttl))
    }

    fn snapshot(&mut self) -> Result<Frozen, StateError> {
        let Remembers { mut parts, table } = self.seen.freeze()?;
        let mut superseded = self.superseded.clone();
        for rows in &self.waiting {
            let batch = if superseded.is_empty() {
                rows.batch.clone()
            } else {
                // Each is one row: after its key was forgotten, a row with the same time may count again.
                let count = rows.hashes.iter().zip(rows.times.values());
                let count: BooleanArray = count.map(|(hash, time)| Some(!superseded.remove(&(*hash, *time)))).collect();
                filter_record_batch(&rows.batch, &count)?
            };
            parts.push(StatePart::new(WAITING, rows.first, batch));
        }
        let value = serde_json::json!({ "watermark": self.watermark, "keyTypes": self.key_types() });
        Ok(Frozen { state: Some(StateSnapshot { value, parts, table }), ..Frozen::default() })
    }
}

/// A batch that only partly lies behind the watermark is cut when the watermark is so far past its first row.
const CUT_AFTER_MS: i64 = 1_000;

impl Waiting {
    fn new(batch: RecordBatch, hashes: Vec<u128>, times: TimestampMillisecondArray) -> Option<Self> {
        let first = arrow::compute::min(&times)?;
        let last = arrow::compute::max(&times)?;
        Some(Self { batch, hashes, times, first, last })
    }

    fn filter(&self, keep: &BooleanArray) -> Result<Option<Self>, ArrowError> {
        let batch = filter_record_batch(&self.batch, keep)?;
        let hashes = self.hashes.iter().zip(keep.values()).filter(|(_, keep)| *keep).map(|(hash, _)| *hash).collect();
        let times = arrow::compute::filter(&self.times, keep)?;
        Ok(Self::new(batch, hashes, TimestampMillisecondArray::from(times.to_data())))
    }
}

impl Operator for Deduplicate {
    fn on_batch(&mut self, batch: RecordBatch, _: &mut Output) -> Result<(), OperatorError> {
        self.add(batch).map_err(|cause| self.name.state(cause))
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut Output) -> Result<bool, OperatorError> {
        self.watermark = self.watermark.max(watermark);
        self.emit(out).map_err(|cause| self.name.arrow(cause))?;
        self.sweep().map_err(|cause| self.name.state(cause))?;
        Ok(false)
    }

    fn watermark(&self) -> EventTime {
        self.watermark
    }

    fn set_watermark(&mut self, watermark: EventTime) {
        self.watermark = watermark;
    }

    fn freeze(&mut self) -> Result<Frozen, OperatorError> {
        self.snapshot().map_err(|cause| self.name.state(cause))
    }
}

#[cfg(test)]
mod tests;
