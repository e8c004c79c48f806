//! What this process still has of the newest checkpoint, so that a restart need not fetch it.
//!
//! A worker outlives the attempts that it has a share of: when another worker dies, its tasks end and soon begin again,
//! from a checkpoint that it has just uploaded itself. So the rows that its operators had in memory and the files that its
//! tables were frozen as stay until the next checkpoint has completed. The next attempt asks for them by what the manifest
//! names: path, size and checksum of a file, and of rows the batch within it. Which subtask had them, and how many there
//! were, does not matter.
//!
//! **Trust.** What is here was uploaded by this process under that name, or fetched and verified. Paths are used once, so
//! nothing else can have it; a local file is taken only while it is the very same one ([`KnownFile`]).
//!
//! **Bounds.** While the tasks run: what the newest completed checkpoint names, and what those under way hold anyway. Rows
//! are kept by their parts, so what an operator writes elsewhere or forgets is not kept here in its stead. When it is told
//! what to go on from, the worker keeps nothing else; when it is told that it has no share, nothing at all.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arrow::array::RecordBatch;

use crate::{
    checkpoint::manifest::{FileRef, Manifest, PartRef},
    state::{StatePart, known_file::KnownFile},
};

/// A table's file, or one of rows, on the local disk, and the pieces that the checkpoint storage has it in.
pub type Copied = (Vec<FileRef>, KnownFile);

/// Parts, and where the storage has them.
pub type PartsAt = Vec<(Arc<StatePart>, PartRef)>;

/// What a process has of the newest checkpoint. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct AtHand {
    shelf: Arc<Mutex<Shelf>>,
}

#[derive(Debug, Default)]
struct Shelf {
    /// By file and batch.
    parts: BTreeMap<(FileRef, u32), Arc<StatePart>>,
    /// By pieces.
    files: BTreeMap<Vec<FileRef>, KnownFile>,
}

/// What subtasks have uploaded or named for a checkpoint.
#[derive(Debug, Default)]
pub struct Named {
    pub parts: PartsAt,
    pub files: Vec<Copied>,
}

impl Named {
    pub fn add(&mut self, mut other: Self) {
        self.parts.append(&mut other.parts);
        self.files.append(&mut other.files);
    }
}

impl Shelf {
    fn add(&mut self, named: Named) {
        // Of those that nobody reads the rows have left memory, or are about to.
        let read = named.parts.into_iter().filter(|(part, _)| !part.is_write_only());
        self.parts.extend(read.map(|(part, PartRef { file, batch, .. })| ((file, batch), part)));
        self.files.extend(named.files);
    }
}

impl AtHand {
    /// A checkpoint has completed, and this is our share of it. What was kept for an earlier one goes.
    pub fn completed(&self, named: Named) {
        let mut shelf = Shelf::default();
        shelf.add(named);
        *self.lock() = shelf;
    }

    /// The tasks have ended. Checkpoints that had our share may have completed without our being told.
    pub fn ended(&self, named: Named) {
        self.lock().add(named);
    }

    /// The next attempt goes on from this checkpoint: what it does not name goes.
    pub fn retain(&self, manifest: &Manifest) {
        let named: BTreeSet<&FileRef> = manifest.file_refs().collect();
        let mut shelf = self.lock();
        shelf.parts.retain(|(file, _), _| named.contains(file));
        shelf.files.retain(|pieces, _| pieces.iter().all(|piece| named.contains(piece)));
    }

    /// Nothing of it is needed here.
    pub fn forget(&self) {
        *self.lock() = Shelf::default();
    }

    /// The rows of a part, while they are in memory.
    pub fn rows(&self, part: &PartRef) -> Option<RecordBatch> {
        let kept = self.lock().parts.get(&(part.file.clone(), part.batch)).cloned();
        kept?.batch().filter(|batch| batch.num_rows() as u64 == part.rows)
    }

    /// The file that these pieces make.
    pub fn file(&self, pieces: &[FileRef]) -> Option<KnownFile> {
        self.lock().files.get(pieces).cloned()
    }

    /// A file was fetched and verified: until the next checkpoint completes it need not be fetched again.
    pub fn fetched(&self, pieces: &[FileRef], file: KnownFile) {
        self.lock().files.insert(pieces.to_vec(), file);
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        // An entry is put in or taken out as a whole: a panic elsewhere leaves the shelf usable.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;

    use super::*;
    use crate::checkpoint::{sample, store::ObjectPath};

    fn rows(name: &str, batch: u32) -> (Arc<StatePart>, PartRef) {
        let column = Arc::new(Int64Array::from(vec![1, 2, 3]));
        let part = StatePart::new("rows", 0, RecordBatch::try_from_iter([("n", column as _)]).unwrap());
        let file = FileRef::of(ObjectPath(name.to_owned()), b"as it was written");
        (part, PartRef { kind: "rows".into(), tag: 0, rows: 3, file, batch })
    }

    fn named(parts: impl IntoIterator<Item = (Arc<StatePart>, PartRef)>) -> Named {
        Named { parts: parts.into_iter().collect(), files: Vec::new() }
    }

    #[test]
    fn rows_are_had_by_file_checksum_and_batch_alone() {
        let at_hand = AtHand::default();
        let (part, reference) = rows("file", 1);
        at_hand.completed(named([(part.clone(), reference.clone())]));
        let had = at_hand.rows(&reference).unwrap();
        assert!(Arc::ptr_eq(had.column(0), part.batch().unwrap().column(0)), "by reference, not as a copy");
        let other_bytes = FileRef::of(reference.file.path.clone(), b"as somebody else has written");
        for other in [
            PartRef { batch: 0, ..reference.clone() },
            PartRef { file: other_bytes, ..reference.clone() },
            PartRef { rows: 2, ..reference.clone() },
        ] {
            assert!(at_hand.rows(&other).is_none(), "{other:?}");
        }
    }

    #[test]
    fn what_only_an_earlier_checkpoint_named_goes_when_the_next_completes() {
        let at_hand = AtHand::default();
        let ((old, in_old), (both, in_both), (new, in_new)) = (rows("old", 0), rows("both", 0), rows("new", 0));
        at_hand.completed(named([(old.clone(), in_old.clone()), (both.clone(), in_both.clone())]));
        at_hand.completed(named([(both, in_both.clone()), (new, in_new.clone())]));
        assert!(at_hand.rows(&in_old).is_none());
        assert_eq!(Arc::strong_count(&old), 1, "nobody holds it any more");
        assert!(at_hand.rows(&in_both).is_some() && at_hand.rows(&in_new).is_some());
        at_hand.forget();
        assert!(at_hand.rows(&in_both).is_none());
    }

    #[test]
    fn a_share_of_a_checkpoint_that_may_have_completed_is_kept_until_it_is_known_which_did() {
        let at_hand = AtHand::default();
        let ((old, in_old), (new, in_new)) = (rows("data/1/1/old", 0), rows("data/1/2/new", 0));
        at_hand.completed(named([(old, in_old.clone())]));
        at_hand.ended(named([(new, in_new.clone())]));
        assert!(at_hand.rows(&in_old).is_some() && at_hand.rows(&in_new).is_some());
        at_hand.retain(&sample::manifest(1, 2, vec![in_new.file.clone()]));
        assert!(at_hand.rows(&in_old).is_none() && at_hand.rows(&in_new).is_some());
    }

    #[test]
    fn rows_that_nobody_reads_are_not_kept_in_memory() {
        let at_hand = AtHand::default();
        let (part, reference) = rows("file", 0);
        let forgotten = StatePart::write_only("rows", 0, part.batch().unwrap());
        at_hand.completed(named([(forgotten.clone(), reference.clone())]));
        assert_eq!(Arc::strong_count(&forgotten), 1);
        assert!(at_hand.rows(&reference).is_none());
    }
}
