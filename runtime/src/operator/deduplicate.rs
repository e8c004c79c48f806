//! Keeps of the rows with equal keys the one with the smallest event time.
//!
//! A row is put out when the watermark has passed it, so the choice does not depend on the order in which partitions are
//! read, and a replay makes the same one. A row that comes when the watermark has already passed it is late and dropped.
//!
//! What is remembered of a key is a 128-bit hash of it and its smallest event time: of 10 million keys, two share a hash
//! with a probability of 10⁻²⁵. With a time to live, a key is forgotten when the watermark is that far past it.

use std::{collections::BTreeSet, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, FixedSizeBinaryArray, Int64Array, RecordBatch,
        TimestampMillisecondArray,
    },
    compute::filter_record_batch,
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef},
    error::ArrowError,
};
use hashbrown::{HashTable, hash_table::Entry};
use prometheus_client::metrics::counter::Counter;
use serde::Deserialize;

use super::{Frozen, KeyRange, Named, Operator, OperatorError, Output, RestoredState, rowtime, snapshot};
use crate::{
    exchange::partition::hash_rows,
    ids::EventTime,
    state::{Spill, StatePart, adapt, retain_distinct},
};

/// Kind of the parts that hold keys; their tag is the newest event time in them.
const KEYS: &str = "keys";
/// Kind of the parts that hold rows the watermark has not passed yet.
const WAITING: &str = "waiting";
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
    seen: HashTable<Seen>,
    /// Keys that no part has yet.
    fresh: Keys,
    written: Vec<Arc<StatePart>>,
    spill: Spill,
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

#[derive(Debug, Clone, Copy)]
struct Seen {
    /// High and low half of the key's hash: two words, since a `u128` would be padded to 32 bytes with the time.
    hash: [u64; 2],
    time: i64,
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
        spill: Spill,
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
            seen: HashTable::new(),
            fresh: Keys::default(),
            written: Vec::new(),
            spill,
            waiting: Vec::new(),
            superseded: BTreeSet::new(),
            swept_at: EventTime::MIN,
        }
    }

    /// Takes over the share of `states` that is in this subtask's key range.
    pub fn restore(&mut self, states: Vec<RestoredState>) -> Result<(), OperatorError> {
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
        }
        let parts = || states.iter().flat_map(|state| &state.parts);
        let keys = parts().filter(|part| part.reference.kind == KEYS);
        let count = keys.map(|part| own_keys(&part.batch, self.range, self.oldest()).count()).sum();
        // At once: a table that grows is written anew each time.
        self.seen.reserve(count, |seen| seen.hash[0]);
        for part in states.into_iter().flat_map(|state| state.parts) {
            match part.reference.kind.as_str() {
                KEYS => self.restore_keys(&part.batch),
                WAITING => {
                    let rows = adapt(&part.batch, &self.input)
                        .map_err(|misfit| self.name.restore(crate::error_chain(&misfit)))?;
                    self.wait(&rows).map_err(|cause| self.name.arrow(cause))?;
                }
                other => {
                    let accepted = format!("found a part `{other}`; accepted are {KEYS} and {WAITING}");
                    return Err(self.name.restore(accepted));
                }
            }
            if part.reference.kind == KEYS {
                // Named again by the next checkpoint as it is, also when only a share of it is ours.
                self.written.push(StatePart::named(KEYS, part.reference));
            }
        }
        Ok(())
    }

    /// What was seen before this is forgotten.
    fn oldest(&self) -> i64 {
        self.ttl_ms.map_or(i64::MIN, |ttl| self.watermark.0.saturating_sub(ttl))
    }

    fn restore_keys(&mut self, batch: &RecordBatch) {
        for (hash, time) in own_keys(batch, self.range, self.oldest()) {
            insert(&mut self.seen, hash, time, i64::MIN);
        }
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

    fn add(&mut self, batch: RecordBatch) -> Result<(), ArrowError> {
        let times = rowtime::millis(batch.column(self.time))?;
        rowtime::require_no_nulls(&times)?;
        let hashes = hash_rows(&self.key_columns(&batch), batch.num_rows())?;
        let oldest = self.oldest();
        let (mut late, mut duplicates) = (0, 0);
        let mut keep = Vec::with_capacity(hashes.len());
        for (hash, time) in hashes.iter().zip(times.values()) {
            if *time <= self.watermark.0 {
                late += 1;
                keep.push(false);
                continue;
            }
            let wins = match insert(&mut self.seen, *hash, *time, oldest) {
                Inserted::New => true,
                Inserted::Earlier { replaced } => {
                    self.superseded.insert((*hash, replaced));
                    duplicates += 1;
                    true
                }
                Inserted::NotEarlier => {
                    duplicates += 1;
                    false
                }
            };
            if wins {
                self.fresh.push(*hash, *time);
            }
            keep.push(wins);
        }
        if self.spill.is_due(self.fresh.len()) {
            let part = self.fresh.take()?;
            self.spill.part(&part);
            self.written.push(part);
        }
        self.dropped.late.inc_by(late);
        self.dropped.duplicates.inc_by(duplicates);
        if late + duplicates == 0 {
            self.waiting.extend(Waiting::new(batch, hashes, times));
        } else {
            let mask = BooleanArray::from(keep);
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
    fn sweep(&mut self) {
        let Some(ttl) = self.ttl_ms else { return };
        let due = self.swept_at.0.saturating_add(ttl / SWEEPS_PER_LIFE);
        if self.watermark.0 < due || self.watermark == EventTime::MAX {
            return;
        }
        self.swept_at = self.watermark;
        let oldest = self.watermark.0.saturating_sub(ttl);
        self.seen.retain(|seen| seen.time >= oldest);
        self.written.retain(|part| part.tag() >= oldest);
    }

    fn snapshot(&mut self) -> Result<Frozen, ArrowError> {
        if self.fresh.len() > 0 {
            self.written.push(self.fresh.take()?);
        }
        retain_distinct(&mut self.written);
        let mut parts = self.written.clone();
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
        Ok(snapshot(value, parts))
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

enum Inserted {
    New,
    Earlier { replaced: i64 },
    NotEarlier,
}

/// Notes that a key was seen. What was seen before `oldest` is forgotten.
fn insert(table: &mut HashTable<Seen>, hash: u128, time: i64, oldest: i64) -> Inserted {
    let key = halves(hash);
    // By the high half: of the low one, which makes the key group, a subtask sees only a share of the values.
    match table.entry(key[0], |seen| seen.hash == key, |seen| seen.hash[0]) {
        Entry::Vacant(entry) => {
            entry.insert(Seen { hash: key, time });
            Inserted::New
        }
        Entry::Occupied(mut entry) if entry.get().time < oldest => {
            entry.get_mut().time = time;
            Inserted::New
        }
        Entry::Occupied(mut entry) if entry.get().time > time => {
            let replaced = std::mem::replace(&mut entry.get_mut().time, time);
            Inserted::Earlier { replaced }
        }
        Entry::Occupied(_) => Inserted::NotEarlier,
    }
}

fn halves(hash: u128) -> [u64; 2] {
    [(hash >> 64) as u64, hash as u64]
}

/// The keys of a part that are in `range` and not forgotten. A key that was forgotten and seen again is there twice, and
/// the forgotten sight must not win.
fn own_keys(part: &RecordBatch, range: KeyRange, oldest: i64) -> impl Iterator<Item = (u128, i64)> {
    let hashes = part.column(0).as_fixed_size_binary().iter().flatten().map(|hash| {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(hash);
        u128::from_le_bytes(bytes)
    });
    let times = part.column(1).as_primitive::<Int64Type>().values().iter().copied();
    hashes.zip(times).filter(move |(hash, time)| *time >= oldest && range.contains_hash(*hash))
}

/// Keys as they are stored: hashes and event times, column by column.
#[derive(Debug, Default)]
struct Keys {
    /// 16 bytes each, little-endian.
    hashes: Vec<u8>,
    times: Vec<i64>,
}

impl Keys {
    fn len(&self) -> usize {
        self.times.len()
    }

    fn push(&mut self, hash: u128, time: i64) {
        self.hashes.extend_from_slice(&hash.to_le_bytes());
        self.times.push(time);
    }

    /// What was pushed, as a part; its tag is the newest event time.
    fn take(&mut self) -> Result<Arc<StatePart>, ArrowError> {
        let Self { hashes, times } = std::mem::take(self);
        let newest = times.iter().copied().max().unwrap_or(i64::MIN);
        let hashes = FixedSizeBinaryArray::try_new(16, hashes.into(), None)?;
        let schema: SchemaRef = Arc::new(Schema::new(vec![
            Field::new("key_xxh3_128", DataType::FixedSizeBinary(16), false),
            Field::new("time_ms", DataType::Int64, false),
        ]));
        let batch = RecordBatch::try_new(schema, vec![Arc::new(hashes), Arc::new(Int64Array::from(times))])?;
        Ok(StatePart::write_only(KEYS, newest, batch))
    }
}

impl Operator for Deduplicate {
    fn on_batch(&mut self, batch: RecordBatch, _: &mut Output) -> Result<(), OperatorError> {
        self.add(batch).map_err(|cause| self.name.arrow(cause))
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut Output) -> Result<(), OperatorError> {
        self.watermark = self.watermark.max(watermark);
        self.emit(out).map_err(|cause| self.name.arrow(cause))?;
        self.sweep();
        Ok(())
    }

    fn freeze(&mut self) -> Result<Frozen, OperatorError> {
        self.snapshot().map_err(|cause| self.name.arrow(cause))
    }
}

#[cfg(test)]
mod tests;
