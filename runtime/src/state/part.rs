//! A part of state, in memory, durable, or both.
//!
//! Who wants to write a part's rows to the storage, or to write them anew beside others, [claims](StatePart::look) it first.
//! Several checkpoints may be under way that have the part, and it may be written ahead of them all: one writes it, the
//! others wait, and name what that one wrote. If it fails, another one claims it. A file stays, whatever becomes of the
//! checkpoint that it was written for: what is garbage is told by what manifests name.
//!
//! Where parts are merged, the file has all that the merging checkpoint knew. One that was cut before does not know all of it,
//! and must not name that file; so a part remembers from which epoch on it is where.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use arrow::array::{Array, ArrayRef, RecordBatch};
use tokio::sync::Notify;

use super::{
    file::{self, FileError},
    spilled::SpilledRows,
    table::rocks::Freezing,
};
use crate::{
    checkpoint::{
        manifest::PartRef,
        pack::{Life, Packer},
        store::ObjectPath,
    },
    ids::Epoch,
};

/// Some rows of an operator's state; see the module above.
#[derive(Debug)]
pub struct StatePart {
    /// Which of the operator's collections the rows belong to.
    pub kind: &'static str,
    tag: i64,
    rows: usize,
    /// Nobody reads the rows in this process once they are durable.
    forget: bool,
    inner: Mutex<Inner>,
    /// A claim is over.
    released: Notify,
}

#[derive(Debug)]
struct Inner {
    place: Place,
    is_claimed: bool,
}

/// The right to write a part's rows; nobody else does before it is dropped.
#[derive(Debug)]
pub struct Claim(Arc<StatePart>);

/// What a checkpoint finds where it wants to have a part.
#[derive(Debug)]
pub enum Look {
    Durable(PartRef),
    /// It is for the one who looked to write it.
    Ours(Claim, Rows),
    /// Somebody else writes it: look again when that is [over](StatePart::released).
    Theirs,
}

/// Where a part's rows are. They never are nowhere.
#[derive(Debug, Clone)]
enum Place {
    Here(Rows),
    Both(Rows, Written),
    Durable(Written),
}

/// Where the storage has a part's rows.
#[derive(Debug, Clone)]
struct Written {
    first: PartRef,
    /// With others, in the order in which it was merged with them: since which epoch.
    merged: Vec<(Epoch, PartRef)>,
}

impl Written {
    fn at(first: PartRef) -> Self {
        Self { first, merged: Vec::new() }
    }

    fn merged_into(&self, place: PartRef, since: Epoch) -> Self {
        let merged = self.merged.iter().cloned().chain([(since, place)]).collect();
        Self { first: self.first.clone(), merged }
    }

    fn newest(&self) -> &PartRef {
        self.merged.last().map_or(&self.first, |(_, place)| place)
    }

    /// Where a checkpoint of this epoch may name it.
    fn of(&self, epoch: Epoch) -> &PartRef {
        self.merged.iter().rev().find(|(since, _)| *since <= epoch).map_or(&self.first, |(_, place)| place)
    }
}

/// Rows that this process has.
#[derive(Debug, Clone)]
pub enum Rows {
    Memory(RecordBatch),
    Spilled(Arc<SpilledRows>),
}

impl StatePart {
    /// A new part that the operator goes on reading.
    pub fn new(kind: &'static str, tag: i64, batch: RecordBatch) -> Arc<Self> {
        Self::build(kind, tag, batch.num_rows(), Place::Here(Rows::Memory(batch)), false)
    }

    /// As [`StatePart::new`], of rows that are on the local disk.
    pub fn spilled(kind: &'static str, tag: i64, rows: SpilledRows) -> Arc<Self> {
        Self::build(kind, tag, rows.rows(), Place::Here(Rows::Spilled(Arc::new(rows))), false)
    }

    /// A new part that is only written: its rows leave memory when they are durable.
    pub fn write_only(kind: &'static str, tag: i64, batch: RecordBatch) -> Arc<Self> {
        Self::build(kind, tag, batch.num_rows(), Place::Here(Rows::Memory(batch)), true)
    }

    /// A part read from a checkpoint; it needs no upload.
    pub fn restored(kind: &'static str, tag: i64, batch: RecordBatch, durable: PartRef) -> Arc<Self> {
        Self::build(kind, tag, batch.num_rows(), Place::Both(Rows::Memory(batch), Written::at(durable)), false)
    }

    /// A part of a checkpoint whose rows the operator has taken into its own structures.
    pub fn named(kind: &'static str, durable: PartRef) -> Arc<Self> {
        Self::build(kind, durable.tag, durable.rows as usize, Place::Durable(Written::at(durable)), true)
    }

    fn build(kind: &'static str, tag: i64, rows: usize, place: Place, forget: bool) -> Arc<Self> {
        let inner = Mutex::new(Inner { place, is_claimed: false });
        Arc::new(Self { kind, tag, rows, forget, inner, released: Notify::new() })
    }

    /// What the rows have in common, such as the start of their window in milliseconds.
    pub fn tag(&self) -> i64 {
        match &self.lock().place {
            Place::Here(_) => self.tag,
            // Merged with others, it has what they all have in common.
            Place::Both(_, written) | Place::Durable(written) => written.newest().tag,
        }
    }

    /// Nobody reads the rows in this process: they may be merged with others where they are durable.
    pub fn is_write_only(&self) -> bool {
        self.forget
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The rows, while they are in memory.
    pub fn batch(&self) -> Option<RecordBatch> {
        match self.at_hand() {
            Some(Rows::Memory(batch)) => Some(batch),
            Some(Rows::Spilled(_)) | None => None,
        }
    }

    /// The rows, while this process has them.
    pub fn at_hand(&self) -> Option<Rows> {
        match &self.lock().place {
            Place::Here(rows) | Place::Both(rows, _) => Some(rows.clone()),
            Place::Durable(_) => None,
        }
    }

    /// Where the storage has the rows, if it does.
    pub fn durable(&self) -> Option<PartRef> {
        match &self.lock().place {
            Place::Here(_) => None,
            Place::Both(_, written) | Place::Durable(written) => Some(written.newest().clone()),
        }
    }

    /// Where a checkpoint of this epoch may name the rows in the storage; if they are not there, claims them, unless somebody
    /// else has. With epoch 0, where they were written first.
    pub fn look(self: &Arc<Self>, epoch: Epoch) -> Look {
        let mut inner = self.lock();
        match &inner.place {
            Place::Both(_, written) | Place::Durable(written) => Look::Durable(written.of(epoch).clone()),
            Place::Here(_) if inner.is_claimed => Look::Theirs,
            Place::Here(rows) => {
                let rows = rows.clone();
                inner.is_claimed = true;
                Look::Ours(Claim(self.clone()), rows)
            }
        }
    }

    /// Claims rows that the storage has, to write them anew elsewhere; none if somebody else does.
    pub fn claim(self: &Arc<Self>) -> Option<Claim> {
        let mut inner = self.lock();
        let was_claimed = std::mem::replace(&mut inner.is_claimed, true);
        (!was_claimed).then(|| Claim(self.clone()))
    }

    /// Waits until nobody has a claim.
    pub async fn released(&self) {
        loop {
            let released = self.released.notified();
            if !self.lock().is_claimed {
                return;
            }
            released.await;
        }
    }

    /// The rows are on the local disk now, and leave memory.
    pub fn is_spilled(&self, rows: SpilledRows) {
        let rows = Rows::Spilled(Arc::new(rows));
        let mut inner = self.lock();
        inner.place = match &inner.place {
            Place::Here(_) => Place::Here(rows),
            Place::Both(_, written) | Place::Durable(written) => Place::Both(rows, written.clone()),
        };
    }

    /// Its operator does not read the rows any more: they leave this process if the storage has them.
    pub fn let_go(&self) {
        let mut inner = self.lock();
        if let Place::Both(_, written) = &inner.place {
            inner.place = Place::Durable(written.clone());
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        // A place is replaced as a whole: a panic elsewhere leaves it usable.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim {
    pub fn part(&self) -> &Arc<StatePart> {
        &self.0
    }

    /// Writes the rows, if they are in memory, ahead of their barrier: to a file of their own, or a shared one.
    pub(super) async fn write(self, packer: &Packer, path: ObjectPath) -> Result<u64, FileError> {
        let Some(batch) = self.0.batch() else { return Ok(0) };
        let file = file::write(packer, Life::Lasting, path, &batch.schema(), [&batch]).await?;
        let written = file.bytes;
        let part = &self.0;
        let (kind, tag, rows) = (part.kind.to_owned(), part.tag, part.rows as u64);
        self.is_at(PartRef { kind, tag, rows, file, batch: 0 }, Epoch(0));
        Ok(written)
    }

    /// The storage has the rows at `durable`; beside others if they were there before, for checkpoints from `since` on. Gives
    /// the part.
    pub fn is_at(self, durable: PartRef, since: Epoch) -> Arc<StatePart> {
        let mut inner = self.0.lock();
        inner.place = match &inner.place {
            Place::Here(_) if self.0.forget => Place::Durable(Written::at(durable)),
            Place::Here(rows) => Place::Both(rows.clone(), Written::at(durable)),
            Place::Both(rows, written) => Place::Both(rows.clone(), written.merged_into(durable, since)),
            Place::Durable(written) => Place::Durable(written.merged_into(durable, since)),
        };
        drop(inner);
        self.0.clone()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.lock().is_claimed = false;
        self.0.released.notify_waiters();
    }
}

/// Bytes that the rows of a batch take, whatever else is in their buffers.
pub fn bytes_of(batch: &RecordBatch) -> u64 {
    let of_column =
        |column: &ArrayRef| column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size());
    batch.columns().iter().map(of_column).sum::<usize>() as u64
}

/// Lists parts that were merged in one place once.
pub fn retain_distinct(parts: &mut Vec<Arc<StatePart>>) {
    let mut places = BTreeSet::new();
    parts.retain(|part| part.durable().is_none_or(|reference| places.insert((reference.file, reference.batch))));
}

/// What an operator's subtask remembers at a barrier.
#[derive(Debug, Default)]
pub struct StateSnapshot {
    /// A small value, as JSON.
    pub value: serde_json::Value,
    pub parts: Vec<Arc<StatePart>>,
    /// What it keeps on the local disk.
    pub table: Option<Freezing>,
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;

    use super::*;
    use crate::checkpoint::manifest::FileRef;

    fn part() -> Arc<StatePart> {
        let column = Arc::new(Int64Array::from(vec![1, 2, 3]));
        StatePart::new("rows", 0, RecordBatch::try_from_iter([("n", column as _)]).unwrap())
    }

    fn at(name: &str) -> PartRef {
        let file = FileRef::of(ObjectPath(name.to_owned()), b"rows");
        PartRef { kind: "rows".into(), tag: 0, rows: 3, file, batch: 0 }
    }

    #[tokio::test]
    async fn one_writes_a_part_and_the_others_name_what_it_wrote() {
        let part = part();
        let Look::Ours(claim, _) = part.look(Epoch(1)) else { panic!("nobody has it") };
        assert!(matches!(part.look(Epoch(2)), Look::Theirs));
        let mut over = Box::pin(part.released());
        assert!(futures::poll!(&mut over).is_pending());
        claim.is_at(at("written"), Epoch(1));
        over.await;
        assert!(matches!(part.look(Epoch(2)), Look::Durable(found) if found == at("written")));
    }

    #[tokio::test]
    async fn what_could_not_be_written_is_for_the_next_one() {
        let part = part();
        let failed = part.look(Epoch(1));
        let over = part.released();
        drop(failed);
        over.await;
        assert!(matches!(part.look(Epoch(2)), Look::Ours(..)));
    }

    #[test]
    fn a_part_is_where_it_was_until_it_has_moved_and_for_older_checkpoints_still() {
        let part = part();
        let names = |epoch, place| matches!(part.look(Epoch(epoch)), Look::Durable(found) if found == at(place));
        part.claim().unwrap().is_at(at("first"), Epoch(1));
        let moving = part.claim().unwrap();
        assert!(part.claim().is_none(), "one at a time");
        assert!(names(3, "first"));
        moving.is_at(at("second"), Epoch(3));
        part.claim().unwrap().is_at(at("third"), Epoch(5));
        assert!(names(2, "first") && names(3, "second") && names(4, "second") && names(5, "third"));
        assert_eq!(part.durable(), Some(at("third")));
        assert!(part.at_hand().is_some() && part.claim().is_some());
    }
}
