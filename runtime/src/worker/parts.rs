//! Parts of state on their way to the checkpoint storage.
//!
//! A checkpoint names each part where the storage has it, uploads what it does not have, and waits for what somebody else is
//! about to upload: a checkpoint before it or behind it, of which several may be under way. If that one fails, it uploads
//! the part itself. While it waits it has nothing claimed, so nobody waits for one who waits.
//!
//! Each part is named once. So where parts have been merged it names the file that all of them are in, if it was cut late
//! enough to have them all, and else the files that they were in before; and what it has waited for where it was first.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use arrow::array::RecordBatch;
use futures::{StreamExt, TryStreamExt, stream};
use tidegate_crds::api::FailureReason;

use super::{
    at_hand::PartsAt,
    merge,
    snapshot::{SnapshotError, Snapshotter},
};
use crate::{
    checkpoint::{manifest::PartRef, pack::Life},
    failure::Reason,
    ids::{Epoch, OperatorId},
    state::{
        Claim, Look, Rows, StatePart, bytes_of,
        file::{self, FileError},
        spilled::SpilledRows,
    },
};

/// Parts are put into files of about so many bytes at most: a file is in memory while it is uploaded.
const FILE_BYTES: u64 = 32 << 20;
/// Files of one kind of parts that are uploaded at the same time.
const FILES_AT_ONCE: usize = 2;
/// Parts on the local disk that are uploaded at the same time, where there is room in memory for so many.
const SPILLED_AT_ONCE: usize = 16;

/// Claimed parts, with the rows that are to be uploaded.
type Fresh<R> = Vec<(Claim, R)>;

/// What there is to do about the parts of a checkpoint.
#[derive(Default)]
struct Found {
    durable: PartsAt,
    fresh: Fresh<RecordBatch>,
    /// Fresh ones that are on the local disk.
    spilled: Fresh<Arc<SpilledRows>>,
    /// Somebody else is about to upload them.
    theirs: Vec<Arc<StatePart>>,
}

impl Found {
    /// For a checkpoint of this epoch.
    fn of(parts: Vec<Arc<StatePart>>, epoch: Epoch) -> Self {
        let mut found = Self::default();
        for part in parts {
            match part.look(epoch) {
                Look::Durable(reference) => found.durable.push((part, reference)),
                Look::Ours(claim, Rows::Memory(batch)) => found.fresh.push((claim, batch)),
                Look::Ours(claim, Rows::Spilled(rows)) => found.spilled.push((claim, rows)),
                Look::Theirs => found.theirs.push(part),
            }
        }
        found
    }
}

/// One operator's parts of one subtask, for one checkpoint.
pub(super) struct Parts<'a> {
    snapshotter: &'a Snapshotter,
    epoch: Epoch,
    operator: &'a OperatorId,
    /// Files that it has written: part of their names.
    files: AtomicUsize,
}

/// Where all parts are, and how many bytes were uploaded.
#[derive(Default)]
pub(super) struct Uploaded {
    pub parts: PartsAt,
    pub bytes: u64,
}

impl Uploaded {
    fn add(&mut self, parts: PartsAt) {
        self.bytes += parts.first().map_or(0, |(_, reference)| reference.file.bytes);
        self.parts.extend(parts);
    }

    /// As a manifest names them. Parts that were merged have one place.
    pub(super) fn references(&self) -> Vec<PartRef> {
        let mut named = BTreeSet::new();
        let references = self.parts.iter().map(|(_, reference)| reference);
        references.filter(|part| named.insert((&part.file, part.batch))).cloned().collect()
    }
}

impl<'a> Parts<'a> {
    pub(super) fn new(snapshotter: &'a Snapshotter, epoch: Epoch, operator: &'a OperatorId) -> Self {
        Self { snapshotter, epoch, operator, files: AtomicUsize::new(0) }
    }

    /// Sees to it that the storage has every part, and says where.
    pub(super) async fn upload(&self, parts: Vec<Arc<StatePart>>) -> Result<Uploaded, SnapshotError> {
        let Found { mut durable, fresh, spilled, mut theirs } = {
            let _nothing_moves = self.snapshotter.moves();
            Found::of(parts, self.epoch)
        };
        let (mut uploaded, merged) = {
            let (uploaded, merged) = tokio::join!(self.write(fresh, spilled), self.merge(&mut durable));
            (uploaded?, merged?)
        };
        uploaded.add(merged);
        while !theirs.is_empty() {
            for part in &theirs {
                part.released().await;
            }
            let again = Found::of(theirs, Epoch(0));
            let written = self.write(again.fresh, again.spilled).await?;
            uploaded.bytes += written.bytes;
            uploaded.parts.extend(written.parts);
            durable.extend(again.durable);
            theirs = again.theirs;
        }
        durable.append(&mut uploaded.parts);
        Ok(Uploaded { parts: durable, ..uploaded })
    }

    async fn write(
        &self,
        fresh: Fresh<RecordBatch>,
        spilled: Fresh<Arc<SpilledRows>>,
    ) -> Result<Uploaded, SnapshotError> {
        let files = self.files(fresh).into_iter().map(|(name, parts)| self.write_file(name, parts));
        let files = async { stream::iter(files).buffered(FILES_AT_ONCE).try_collect::<Vec<PartsAt>>().await };
        let from_disk = spilled.into_iter().map(|(claim, rows)| self.write_spilled(claim, rows));
        let from_disk = async { stream::iter(from_disk).buffered(SPILLED_AT_ONCE).try_collect::<Vec<PartsAt>>().await };
        let (files, from_disk) = tokio::try_join!(files, from_disk)?;
        let mut written = Uploaded::default();
        files.into_iter().chain(from_disk).for_each(|file| written.add(file));
        Ok(written)
    }

    fn name(&self, what: &str) -> String {
        let (operator, subtask) = (self.operator, self.snapshotter.task.subtask);
        format!("state-{operator}-{subtask}-{what}-{}.arrow", self.files.fetch_add(1, Ordering::Relaxed))
    }

    /// Parts of one kind in files of their own, as many in one as fit.
    fn files(&self, parts: Fresh<RecordBatch>) -> Vec<(String, Fresh<RecordBatch>)> {
        let mut by_kind: BTreeMap<&'static str, Fresh<RecordBatch>> = BTreeMap::new();
        for (claim, batch) in parts {
            by_kind.entry(claim.part().kind).or_default().push((claim, batch));
        }
        let mut files: Vec<(String, Fresh<RecordBatch>)> = Vec::new();
        for (kind, parts) in by_kind {
            let mut left = 0;
            for (claim, batch) in parts {
                let own = bytes_of(&batch);
                match files.last_mut() {
                    Some((_, file)) if left > 0 && own <= left => file.push((claim, batch)),
                    _ => {
                        files.push((self.name(kind), vec![(claim, batch)]));
                        left = FILE_BYTES;
                    }
                }
                left = left.saturating_sub(own);
            }
        }
        files
    }

    /// Rows that are on the local disk are read when there is room for them in memory.
    async fn write_spilled(&self, claim: Claim, rows: Arc<SpilledRows>) -> Result<PartsAt, SnapshotError> {
        let name = self.name(&format!("{}-spilled", claim.part().kind));
        let _room = self.snapshotter.packer.room(rows.bytes()).await;
        self.write_in_room(name, vec![(claim, rows.read()?)]).await
    }

    async fn write_file(&self, name: String, parts: Fresh<RecordBatch>) -> Result<PartsAt, SnapshotError> {
        let _room = self.snapshotter.packer.room(parts.iter().map(|(_, batch)| bytes_of(batch)).sum()).await;
        self.write_in_room(name, parts).await
    }

    async fn write_in_room(&self, name: String, parts: Fresh<RecordBatch>) -> Result<PartsAt, SnapshotError> {
        let Some(schema) = parts.first().map(|(_, batch)| batch.schema()) else { return Ok(Vec::new()) };
        let bytes = file::encode(&schema, parts.iter().map(|(_, batch)| batch))?;
        let path = self.snapshotter.path(self.epoch, &name);
        let file = self.snapshotter.packer.put(Life::Lasting, path, bytes).await?;
        let is_at = |(batch, (claim, _)): (u32, (Claim, RecordBatch))| {
            let part = claim.part();
            let (kind, tag, rows) = (part.kind.to_owned(), part.tag(), part.rows() as u64);
            let reference = PartRef { kind, tag, rows, file: file.clone(), batch };
            (claim.is_at(reference.clone(), self.epoch), reference)
        };
        Ok((0..).zip(parts).map(is_at).collect())
    }

    /// Writes small durable parts anew as one, if it is time. Those it takes out of `durable` and returns with their new
    /// place; if the storage fails, they stay where they are. If it has lost one, there is no checkpoint: none that names it
    /// could be gone on from.
    async fn merge(&self, durable: &mut PartsAt) -> Result<PartsAt, SnapshotError> {
        let mut distinct = BTreeSet::new();
        let candidates = durable.iter().filter(|(part, _)| part.is_write_only()).map(|(_, reference)| reference);
        let candidates = candidates.filter(|part| distinct.insert((&part.file, part.batch)));
        let due = merge::due(&candidates.cloned().collect::<Vec<_>>());
        let Some(first) = due.first() else { return Ok(PartsAt::new()) };
        let replaced = durable.iter().filter(|(_, reference)| due.contains(reference));
        // Where one of them has moved since, or is about to, another checkpoint merges.
        let claims =
            replaced.map(|(part, reference)| part.claim().filter(|_| part.durable().as_ref() == Some(reference)));
        let Some(claims) = claims.collect::<Option<Vec<Claim>>>() else { return Ok(PartsAt::new()) };
        let (kind, name) = (first.kind.clone(), self.name(&format!("{}-merged", first.kind)));
        let merged = async {
            let batch = merge::read(&self.snapshotter.store, &due).await?;
            let file = self.snapshotter.write(Life::Lasting, self.epoch, &name, &batch.schema(), [&batch]).await?;
            let tag = due.iter().map(|part| part.tag).max().unwrap_or_default();
            Ok::<_, FileError>(PartRef { kind, tag, rows: batch.num_rows() as u64, file, batch: 0 })
        };
        match merged.await {
            Ok(merged) => {
                durable.retain(|(_, reference)| !due.contains(reference));
                let _together = self.snapshotter.moves();
                Ok(claims.into_iter().map(|claim| (claim.is_at(merged.clone(), self.epoch), merged.clone())).collect())
            }
            Err(error) if error.reason() == FailureReason::StateUnfit => Err(error.into()),
            Err(error) => {
                let (operator, epoch) = (self.operator, self.epoch);
                tracing::warn!(%operator, %epoch, error = crate::error_chain(&error), "files of state were not merged; the next checkpoint tries again");
                Ok(PartsAt::new())
            }
        }
    }
}
