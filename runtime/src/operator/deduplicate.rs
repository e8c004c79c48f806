//! Keeps of the rows with equal keys the one with the smallest event time.
//!
//! A row is put out when the watermark has passed it, so the choice does not depend on the order in which partitions are
//! read, and a replay makes the same one. A row that comes when the watermark has already passed it is late and dropped.
//!
//! What is remembered of a key is a 128-bit hash of it and its smallest event time: of 10 million keys, two share a hash
//! with a probability of 10⁻²⁵. With a time to live, a key is forgotten when the watermark is that far past it. Where that
//! is kept, in memory or on the local disk, is not the operator's business ([`Seen`]).

use arrow::{
    array::{ArrayRef, BooleanArray, RecordBatch},
    compute::filter_record_batch,
    datatypes::SchemaRef,
};
use prometheus_client::metrics::counter::Counter;
use serde::Deserialize;

use super::{Frozen, KeyRange, Named, Operator, OperatorError, Output, RestoredState, rowtime};
use crate::{
    checkpoint::manifest::PartRef,
    exchange::partition::hash_rows,
    ids::EventTime,
    state::{Lacking, StateError, StateSnapshot, adapt},
};

mod filter;
mod in_memory;
mod in_table;
mod keys;
mod overflowing;
mod recent;
mod seen;
mod waiting;

use self::seen::{FormerKeys, Noted, OldestOfGroup, Remembers, Sights};
pub use self::{
    in_table::{InTable, entry as table_entry},
    keys::{KEYS, REPLACED, all_keys},
    overflowing::Overflowing,
    seen::Seen,
    waiting::Waiting,
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
    /// What each of them is, as state is named by.
    pub key_names: Vec<String>,
    /// That of the event time.
    pub time: usize,
}

pub struct Deduplicate {
    name: Named,
    keys: Vec<usize>,
    key_names: Vec<String>,
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
    waiting: Waiting,
    swept_at: EventTime,
}

/// What a subtask remembers beside its parts.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Remembered {
    watermark: EventTime,
    key_types: Vec<String>,
    /// What each key is. Earlier versions did not tell.
    keys: Option<Vec<String>>,
}

impl Deduplicate {
    pub fn new(
        name: Named,
        Columns { input, keys, key_names, time }: Columns,
        range: KeyRange,
        ttl_ms: Option<i64>,
        dropped: Dropped,
        seen: Box<dyn Seen>,
        waiting: Waiting,
    ) -> Self {
        Self {
            name,
            keys,
            key_names,
            time,
            input,
            range,
            ttl_ms,
            dropped,
            watermark: EventTime::MIN,
            emitted: EventTime::MIN,
            seen,
            noted: Vec::new(),
            waiting,
            swept_at: EventTime::MIN,
        }
    }

    /// Takes over the share of `states` that is in this subtask's key range. Rows that wait may lack some columns.
    pub fn restore(&mut self, states: Vec<RestoredState>, lacking: &Lacking) -> Result<(), OperatorError> {
        let mut limits = Vec::new();
        for state in &states {
            let Remembered { watermark, key_types, keys } = serde_json::from_value(state.value.clone())
                .map_err(|error| self.name.restore(format!("its value: {error}")))?;
            if key_types != self.key_types() {
                return Err(self.name.restore(format!(
                    "its keys were of types {}, and are of {}; they can't change while keys are remembered",
                    key_types.join(", "),
                    self.key_types().join(", ")
                )));
            }
            self.name.same_keys(keys.as_deref(), &self.key_names)?;
            self.watermark = self.watermark.max(watermark);
            limits.push((state.groups.clone(), self.oldest_at(watermark)));
        }
        let mut former =
            FormerKeys { oldest: OldestOfGroup::new(limits, self.range.max_parallelism), ..FormerKeys::default() };
        for state in states {
            former.tables.extend(state.table);
            for part in state.parts {
                match part.reference.kind.as_str() {
                    KEYS => former.parts.push(part),
                    REPLACED => former.replaced.push(part),
                    WAITING => {
                        let written = part.batch().map_err(|cause| self.name.state(cause))?;
                        let rows = adapt(&written, &self.input, lacking)
                            .map_err(|misfit| self.name.restore(crate::error_chain(&misfit)))?;
                        let is_as_it_was = rows.schema() == written.schema() && lacking.keeps_names();
                        let durable = is_as_it_was.then_some(part.reference);
                        self.wait(&rows, durable).map_err(|cause| self.name.state(cause))?;
                    }
                    other => {
                        let accepted = format!("found a part `{other}`; accepted are {KEYS}, {REPLACED} and {WAITING}");
                        return Err(self.name.restore(accepted));
                    }
                }
            }
        }
        self.seen.restore(former).map_err(|cause| self.name.state(cause))
    }

    /// What was seen before this is forgotten.
    fn oldest(&self) -> i64 {
        self.oldest_at(self.watermark)
    }

    fn oldest_at(&self, watermark: EventTime) -> i64 {
        self.ttl_ms.map_or(i64::MIN, |ttl| watermark.0.saturating_sub(ttl))
    }

    /// Puts rows of a checkpoint back among those that wait. Each is the winner of its key.
    fn wait(&mut self, batch: &RecordBatch, durable: Option<PartRef>) -> Result<(), StateError> {
        let own = self.range.filter(batch, &self.key_columns(batch))?;
        let durable = durable.filter(|_| own.num_rows() == batch.num_rows());
        self.waiting.restore(own, durable)
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
        let sights = Sights {
            hashes: &hashes,
            times: times.values(),
            passed: self.watermark.0,
            oldest: self.oldest(),
            live_for_ever: self.ttl_ms.is_none(),
        };
        self.noted.clear();
        self.seen.note(&sights, &mut self.noted)?;
        let (mut late, mut duplicates) = (0, 0);
        for (row, noted) in self.noted.iter().enumerate() {
            match noted {
                Noted::Late => late += 1,
                Noted::New => {}
                Noted::Earlier { replaced } => {
                    self.waiting.supersede(hashes[row], *replaced);
                    duplicates += 1;
                }
                Noted::NotEarlier => duplicates += 1,
            }
        }
        if late > 0 && self.dropped.late.get() == 0 {
            tracing::warn!(deduplication = %self.name.0, "records came after the watermark had passed them: they are left out, and counted");
        }
        self.dropped.late.inc_by(late);
        self.dropped.duplicates.inc_by(duplicates);
        if late + duplicates == 0 {
            return self.waiting.add(batch);
        }
        let wins: BooleanArray = self.noted.iter().map(|noted| Some(noted.wins())).collect();
        self.waiting.add(filter_record_batch(&batch, &wins)?)
    }

    /// Puts out what the watermark has passed. Whether there is more of it.
    fn put_out(&mut self, out: &mut Output) -> Result<bool, StateError> {
        let Some(promised) = self.waiting.put_out(self.watermark, out)? else { return Ok(true) };
        if promised > self.emitted {
            self.emitted = promised;
            out.watermark(promised);
        }
        self.sweep()?;
        Ok(false)
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
        parts.extend(self.waiting.parts()?);
        let value = serde_json::json!({
            "watermark": self.watermark,
            "keyTypes": self.key_types(),
            "keys": self.key_names,
        });
        Ok(Frozen { state: Some(StateSnapshot { value, parts, table }), ..Frozen::default() })
    }
}

impl Operator for Deduplicate {
    fn on_batch(&mut self, batch: RecordBatch, _: &mut Output) -> Result<(), OperatorError> {
        self.add(batch).map_err(|cause| self.name.state(cause))
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut Output) -> Result<bool, OperatorError> {
        self.watermark = self.watermark.max(watermark);
        self.put_out(out).map_err(|cause| self.name.state(cause))
    }

    fn go_on(&mut self, out: &mut Output) -> Result<bool, OperatorError> {
        self.put_out(out).map_err(|cause| self.name.state(cause))
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
