//! Rows that wait until the watermark has passed them.
//!
//! They wait in batches, as they came, and each batch is a part of every checkpoint that finds it waiting: so it is
//! uploaded once. When memory is short, those that are due last wait on the local disk.
//!
//! How many parts a checkpoint names does not depend on how the rows came. Many small batches that no checkpoint had are
//! joined, time slice by time slice, so that each slice leaves as a whole; and when the watermark stands and small ones become
//! many all the same, neighbours in time are joined, which writes a row anew a logarithmic number of times.
//!
//! A row that an earlier one of its key has replaced is not looked for at once: it is left out when its batch is put out,
//! leaves memory or is in a checkpoint. Which of two equal rows was meant, one that came after the other's key had been
//! forgotten, is told by when their batches came.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, BooleanArray, RecordBatch, TimestampMillisecondArray, UInt32Array},
    compute::{concat_batches, filter_record_batch, take_record_batch},
    error::ArrowError,
};

use super::{Columns, WAITING};
use crate::{
    checkpoint::manifest::PartRef,
    exchange::partition::hash_rows,
    ids::EventTime,
    memory::{Share, footprint},
    operator::{Output, rowtime},
    state::{Backend, Departed, Rows, StateError, StatePart, spilled::SpillFolder, table::TableError},
};

/// A batch that only partly lies behind the watermark is cut when the watermark is so far past its first row.
const CUT_AFTER_MS: i64 = 1_000;
/// Batches of fewer bytes are small.
const SMALL_BYTES: u64 = 1 << 20;
/// So many small batches are few: they stay as they came.
const FEW: usize = 16;
/// So many small ones, which checkpoints had, are joined by two.
const MANY: usize = 64;
/// Into how many slices of time new batches are joined, about.
const SLICES: i64 = 16;
/// Batches that leave memory are put together until they have so many bytes.
const FILE_BYTES: u64 = 8 << 20;

pub struct Waiting {
    keys: Vec<usize>,
    time: usize,
    batches: Vec<Batch>,
    superseded: BTreeSet<Superseded>,
    /// Batches that have come.
    came: u64,
    departed: Departed,
    share: Share,
    backend: Backend,
    /// What the local folder is named by.
    name: String,
    folder: Option<SpillFolder>,
}

struct Batch {
    part: Arc<StatePart>,
    /// How many had come before it.
    came: u64,
    /// Event times.
    first: i64,
    last: i64,
    /// In memory; none of one on the local disk.
    bytes: u64,
}

/// A row that does not count, in a batch that had come when this was found out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Superseded {
    time: i64,
    hash: u128,
    came: u64,
}

impl Batch {
    fn has_superseded(&self, superseded: &BTreeSet<Superseded>) -> bool {
        let from = Superseded { time: self.first, hash: 0, came: 0 };
        let to = Superseded { time: self.last, hash: u128::MAX, came: u64::MAX };
        superseded.range(from..=to).next().is_some()
    }

    fn is_on_disk(&self) -> bool {
        self.bytes == 0
    }

    fn is_small(&self) -> bool {
        !self.is_on_disk() && self.bytes < SMALL_BYTES
    }

    fn rows(&self) -> Result<RecordBatch, StateError> {
        match self.part.at_hand() {
            Some(Rows::Memory(batch)) => Ok(batch),
            Some(Rows::Spilled(rows)) => Ok(rows.read()?),
            None => Err(StateError::Fault("rows that wait are neither in memory nor on the local disk")),
        }
    }
}

impl Waiting {
    /// What it writes on the local disk is in a folder whose name begins with `name`.
    pub fn new(columns: &Columns, backend: &Backend, name: String) -> Self {
        Self {
            keys: columns.keys.clone(),
            time: columns.time,
            batches: Vec::new(),
            superseded: BTreeSet::new(),
            came: 0,
            departed: Departed::default(),
            share: backend.budget().share(),
            backend: backend.clone(),
            name,
            folder: None,
        }
    }

    /// In the next batch, or one before it, a row was replaced.
    pub fn supersede(&mut self, hash: u128, time: i64) {
        self.superseded.insert(Superseded { time, hash, came: self.came });
    }

    /// Rows that count by now.
    pub fn add(&mut self, rows: RecordBatch) -> Result<(), StateError> {
        self.push(rows, self.came, |tag, rows| StatePart::new(WAITING, tag, rows))?;
        self.came += 1;
        self.keep_bounded()
    }

    /// Rows as a checkpoint had them; `durable` says where, if it had the very same ones.
    pub fn restore(&mut self, rows: RecordBatch, durable: Option<PartRef>) -> Result<(), StateError> {
        self.push(rows, self.came, |tag, rows| match durable {
            Some(durable) => StatePart::restored(WAITING, tag, rows, durable),
            None => StatePart::new(WAITING, tag, rows),
        })?;
        self.keep_bounded()
    }

    fn push(
        &mut self,
        rows: RecordBatch,
        came: u64,
        part: impl FnOnce(i64, RecordBatch) -> Arc<StatePart>,
    ) -> Result<(), ArrowError> {
        let times = self.times(&rows)?;
        if let (Some(first), Some(last)) = (arrow::compute::min(&times), arrow::compute::max(&times)) {
            let bytes = footprint(&rows) as u64;
            self.batches.push(Batch { part: part(first, rows), came, first, last, bytes });
        }
        Ok(())
    }

    /// Puts out what the watermark has passed; gives what may be promised downstream, or nothing while there is more to put
    /// out than should be in memory at a time. A batch waits as a whole until its last row is passed, which delays the
    /// watermark a little and saves cutting the batch; only one that has waited for long is cut.
    pub fn put_out(&mut self, watermark: EventTime, out: &mut Output) -> Result<Option<EventTime>, StateError> {
        let EventTime(watermark) = watermark;
        let is_due = |batch: &Batch| {
            let waits = watermark.saturating_sub(batch.first);
            batch.last <= watermark || batch.first <= watermark && (waits >= CUT_AFTER_MS || watermark == i64::MAX)
        };
        let (due, kept): (Vec<Batch>, Vec<Batch>) = std::mem::take(&mut self.batches).into_iter().partition(is_due);
        self.batches = kept;
        let (limit, mut from_disk, mut is_all) = (self.share.even() / 4, 0, true);
        for batch in due {
            if batch.is_on_disk() && from_disk > limit {
                is_all = false;
                self.batches.push(batch);
                continue;
            }
            let rows = self.counting(&batch)?;
            from_disk += if batch.is_on_disk() { footprint(&rows) as u64 } else { 0 };
            self.departed.add(&batch.part, batch.bytes);
            if batch.last <= watermark {
                out.batch(rows);
                continue;
            }
            let passed: BooleanArray =
                self.times(&rows)?.values().iter().map(|time| Some(*time <= watermark)).collect();
            out.batch(filter_record_batch(&rows, &passed)?);
            let rest = filter_record_batch(&rows, &arrow::compute::not(&passed)?)?;
            self.push(rest, batch.came, |tag, rows| StatePart::new(WAITING, tag, rows))?;
        }
        self.keep_bounded()?;
        let held = self.batches.iter().map(|batch| batch.first.saturating_sub(1)).min();
        Ok(is_all.then_some(EventTime(held.map_or(watermark, |held| held.min(watermark)))))
    }

    /// What a checkpoint has to name. All rows in it count.
    pub fn parts(&mut self) -> Result<Vec<Arc<StatePart>>, StateError> {
        let has_superseded = |batch: &Batch| batch.has_superseded(&self.superseded);
        let (touched, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.batches).into_iter().partition(has_superseded);
        self.batches = others;
        for batch in touched {
            let rows = self.counting(&batch)?;
            if rows.num_rows() == batch.part.rows() {
                self.batches.push(batch);
            } else if batch.is_on_disk() {
                self.write(&rows, batch.came)?;
            } else {
                self.push(rows, batch.came, |tag, rows| StatePart::new(WAITING, tag, rows))?;
            }
        }
        self.gather()?;
        Ok(self.batches.iter().map(|batch| batch.part.clone()).collect())
    }

    /// Joins small batches, where they are many. All their rows count.
    fn gather(&mut self) -> Result<(), StateError> {
        let is_new = |batch: &Batch| batch.is_small() && batch.part.durable().is_none();
        if self.batches.iter().filter(|batch| is_new(batch)).count() > FEW {
            let (new, others) = std::mem::take(&mut self.batches).into_iter().partition(is_new);
            self.batches = others;
            let rows = self.take_together(new)?;
            for slice in self.slices(&rows)? {
                self.push(take_record_batch(&rows, &slice)?, self.came, |tag, rows| {
                    StatePart::new(WAITING, tag, rows)
                })?;
            }
        }
        if self.batches.iter().filter(|batch| batch.is_small()).count() > MANY {
            let (mut small, others): (Vec<_>, Vec<_>) =
                std::mem::take(&mut self.batches).into_iter().partition(Batch::is_small);
            self.batches = others;
            small.sort_by_key(|batch| batch.first);
            let mut small = small.into_iter();
            while let Some(one) = small.next() {
                let Some(next) = small.next() else {
                    self.batches.push(one);
                    break;
                };
                let rows = self.take_together(vec![one, next])?;
                self.push(rows, self.came, |tag, rows| StatePart::new(WAITING, tag, rows))?;
            }
        }
        self.keep_bounded()
    }

    /// The rows of several batches, which are there no more, in the order in which they came.
    fn take_together(&mut self, mut batches: Vec<Batch>) -> Result<RecordBatch, StateError> {
        batches.sort_by_key(|batch| batch.came);
        let rows: Vec<RecordBatch> = batches.iter().map(Batch::rows).collect::<Result<_, _>>()?;
        batches.iter().for_each(|batch| self.departed.add(&batch.part, batch.bytes));
        let schema = rows.first().map(RecordBatch::schema);
        Ok(concat_batches(&schema.ok_or(StateError::Fault("no batches are to be joined"))?, &rows)?)
    }

    /// Which rows are in the same slice of time, in order. Slices begin at the same times in every checkpoint.
    fn slices(&self, rows: &RecordBatch) -> Result<Vec<UInt32Array>, ArrowError> {
        let times = self.times(rows)?;
        let least = arrow::compute::min(&times).unwrap_or_default();
        let span = arrow::compute::max(&times).unwrap_or_default().saturating_sub(least);
        let mut width = CUT_AFTER_MS;
        while width < span / SLICES {
            width = width.saturating_mul(2);
        }
        let mut slices: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
        for (row, time) in (0..).zip(times.values()) {
            slices.entry(time.div_euclid(width)).or_default().push(row);
        }
        Ok(slices.into_values().map(UInt32Array::from).collect())
    }

    /// The rows of a batch that count.
    fn counting(&mut self, batch: &Batch) -> Result<RecordBatch, StateError> {
        let rows = batch.rows()?;
        if !batch.has_superseded(&self.superseded) {
            return Ok(rows);
        }
        let keys: Vec<ArrayRef> = self.keys.iter().map(|key| rows.column(*key).clone()).collect();
        let (hashes, times) = (hash_rows(&keys, rows.num_rows())?, self.times(&rows)?);
        let mut count = |(hash, time): (u128, &i64)| {
            let from = Superseded { time: *time, hash, came: batch.came };
            let to = Superseded { came: u64::MAX, ..from };
            let mark = self.superseded.range(from..=to).next().copied();
            Some(!mark.is_some_and(|mark| self.superseded.remove(&mark)))
        };
        let count: BooleanArray = hashes.into_iter().zip(times.values()).map(&mut count).collect();
        Ok(filter_record_batch(&rows, &count)?)
    }

    fn times(&self, rows: &RecordBatch) -> Result<TimestampMillisecondArray, ArrowError> {
        rowtime::millis(rows.column(self.time))
    }

    fn in_memory(&self) -> u64 {
        self.batches.iter().map(|batch| batch.bytes).sum()
    }

    /// Sees to it that what waits does not take more memory than there is for it.
    fn keep_bounded(&mut self) -> Result<(), StateError> {
        self.count();
        if self.share.is_over() {
            self.departed.release();
            self.count();
        }
        if self.share.is_over() {
            self.spill(self.share.even() / 2)?;
            self.departed.release();
            self.count();
        }
        Ok(())
    }

    fn count(&mut self) {
        let marks = (self.superseded.len() * size_of::<Superseded>()) as u64;
        self.share.set(self.in_memory() + self.departed.bytes() + marks);
    }

    /// Writes batches to the local disk, those that are due last first, until so many bytes are left in memory.
    fn spill(&mut self, wanted: u64) -> Result<(), StateError> {
        let mut left = self.in_memory();
        self.batches.sort_by_key(|batch| (!batch.is_on_disk(), batch.first));
        while left > wanted && self.batches.last().is_some_and(|batch| !batch.is_on_disk()) {
            let (mut together, mut bytes) = (Vec::new(), 0);
            while bytes < FILE_BYTES
                && left > wanted
                && let Some(batch) = self.batches.pop_if(|batch| !batch.is_on_disk())
            {
                together.push(self.counting(&batch)?);
                (bytes, left) = (bytes + batch.bytes, left - batch.bytes);
                self.departed.add(&batch.part, batch.bytes);
            }
            if let Some(first) = together.first() {
                // What does not count by now is not in there.
                self.write(&concat_batches(&first.schema(), &together)?, self.came)?;
            }
        }
        Ok(())
    }

    /// Adds a batch that is on the local disk alone, in front of those in memory.
    fn write(&mut self, rows: &RecordBatch, came: u64) -> Result<(), StateError> {
        let times = self.times(rows)?;
        let (Some(first), Some(last)) = (arrow::compute::min(&times), arrow::compute::max(&times)) else {
            return Ok(());
        };
        let folder = match self.folder.take() {
            Some(folder) => folder,
            None => SpillFolder::create(&self.backend, &self.name).map_err(TableError::from)?,
        };
        let part = StatePart::spilled(WAITING, first, self.folder.insert(folder).write_whole(rows)?);
        self.batches.insert(0, Batch { part, came, first, last, bytes: 0 });
        Ok(())
    }
}
