//! The part of a checkpoint that happens behind the task's back: encoding and uploading.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use futures::future::try_join_all;
use thiserror::Error;
use tidegate_crds::api::{CheckpointTimes, FailureReason, InFlightRecords};
use tokio::runtime::Handle;

use super::{
    at_hand::Copied,
    chain::FrozenLink,
    held::{Held, HeldChunk},
    in_flight::{self, Overtaken},
    parts::Parts,
    protocol::{Ack, TaskId},
    report::{Report, Reports},
    tables::{self, Destination},
};
use crate::{
    checkpoint::{
        manifest::{ChunkRef, FileRef, PartRef, SubtaskState, folder},
        pack::{Life, Packer},
        store::{ObjectPath, Store, StoreError},
    },
    element::Barrier,
    env,
    failure::Reason,
    fault,
    ids::{Attempt, Epoch, EventTime, OperatorId},
    operator::Frozen,
    sink::{Chunk, ChunkId, SinkError},
    state::{
        ChunkRows, StateError, StateSnapshot, WriteAhead,
        file::{self, FileError},
        table::rocks::FrozenTable,
    },
};

/// Uploads what a task has frozen, and reports.
#[derive(Debug, Clone)]
pub struct Snapshotter {
    pub task: TaskId,
    pub attempt: Attempt,
    pub lineage: String,
    pub store: Arc<dyn Store>,
    /// Writes the files of all subtasks of the attempt in this process.
    pub packer: Packer,
    pub io: Handle,
    /// Of the subtask's run.
    pub reports: Reports,
    /// Held while somebody looks where the subtask's parts are, and while some move together.
    pub moving: Arc<Mutex<()>>,
}

/// By chunk: the epoch that it was cut in, and which of its slot's chunks it is there.
type Numbers = Vec<(Epoch, u32)>;

/// What one operator or sink of the chain adds to a checkpoint.
#[derive(Default)]
struct Share {
    operator: Option<(OperatorId, SubtaskState)>,
    /// Uploaded, without those of chunks.
    bytes: u64,
    held: Held,
}

/// What a task has spent before the upload, and what has to be waited for beside its state.
#[derive(Debug, Default)]
pub struct Cut {
    /// Waiting for the barrier on all channels.
    pub alignment: Duration,
    /// Freezing, and sending the barrier on.
    pub sync: Duration,
    /// What the barrier has overtaken.
    pub overtaken: Option<Overtaken>,
}

#[derive(Debug, Error)]
pub(super) enum SnapshotError {
    #[error("failed to encode rows")]
    Encode(#[from] arrow::error::ArrowError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Flush(#[from] SinkError),
}

impl Reason for SnapshotError {
    fn reason(&self) -> FailureReason {
        match self {
            Self::Encode(_) => FailureReason::TaskFailed,
            Self::File(error) => error.reason(),
            Self::Store(error) => error.reason(),
            Self::State(error) => error.reason(),
            Self::Flush(error) => error.reason(),
        }
    }
}

impl Snapshotter {
    /// Starts the upload and returns at once.
    pub fn start(&self, barrier: Barrier, cut: Cut, links: Vec<FrozenLink>) {
        let this = self.clone();
        // Here, since a later cut must find them numbered.
        let numbers: Vec<Numbers> = links.iter().map(|link| numbers(barrier.epoch, &link.frozen.chunks)).collect();
        let links = links.into_iter().zip(numbers).collect();
        let epoch = barrier.epoch;
        let begun = env::monotonic();
        self.io.spawn(async move {
            let report = match this.upload(barrier, links, cut.overtaken).await {
                // Nobody waits for it.
                Ok(None) => return,
                Ok(Some((mut ack, held))) => {
                    ack.times = CheckpointTimes {
                        alignment_ms: cut.alignment.as_millis() as u64,
                        sync_ms: cut.sync.as_millis() as u64,
                        async_ms: env::monotonic().saturating_sub(begun).as_millis() as u64,
                    };
                    Report::Acked(ack, held)
                }
                Err(error) => Report::Declined { epoch, failure: error.failure() },
            };
            this.reports.send(report);
        });
    }

    /// `None` when the epoch was given up before all of it could be there.
    async fn upload(
        &self,
        barrier: Barrier,
        links: Vec<(FrozenLink, Numbers)>,
        overtaken: Option<Overtaken>,
    ) -> Result<Option<(Ack, Held)>, SnapshotError> {
        fault::reach("before-state-upload");
        fault::upload().await;
        let epoch = barrier.epoch;
        let (operators, chunks, times) = (Vec::new(), Vec::new(), CheckpointTimes::default());
        let mut ack = Ack { task: self.task, epoch, operators, chunks, bytes: 0, times, unaligned: None };
        let mut held = Held::default();
        // At the same time, so that what is small goes together.
        let links = links.into_iter().map(|(link, numbers)| self.upload_link(barrier, link, numbers));
        for Share { operator, bytes, held: Held { parts, files, chunks } } in try_join_all(links).await? {
            ack.operators.extend(operator);
            ack.bytes += bytes;
            held.parts.extend(parts);
            held.files.extend(files);
            held.chunks.extend(chunks);
        }
        if let Some(Overtaken { operator, as_of, rows }) = overtaken {
            let Some(caught) = rows.caught().await else { return Ok(None) };
            let state = self.upload_in_flight(epoch, &operator, in_flight::gather(caught, as_of)?).await?;
            let rows = state.parts.iter().map(|part| part.rows).sum();
            let bytes = state.parts.first().map_or(0, |part| part.file.bytes);
            ack.bytes += bytes;
            ack.unaligned = Some(InFlightRecords { rows, bytes });
            if !state.parts.is_empty() {
                ack.operators.push((operator, state));
            }
        }
        ack.chunks.extend(held.chunks.iter().map(|chunk| chunk.reference.clone()));
        // Those of earlier epochs count there.
        let own = ack.chunks.iter().filter(|chunk| chunk.id.epoch == epoch);
        ack.bytes += own.map(|chunk| chunk.file.bytes).sum::<u64>();
        fault::reach("after-state-upload");
        Ok(Some((ack, held)))
    }

    async fn upload_link(&self, barrier: Barrier, link: FrozenLink, numbers: Numbers) -> Result<Share, SnapshotError> {
        let FrozenLink { id, sink, ahead, frozen: Frozen { state, chunks, flush } } = link;
        let mut share = Share::default();
        if let Some(flush) = flush {
            flush.await?;
        }
        if let Some(StateSnapshot { value, parts, table }) = state {
            let uploaded = Parts::new(self, barrier.epoch, &id).upload(parts).await?;
            let mut subtask = SubtaskState { value, parts: uploaded.references(), table: Vec::new() };
            share.bytes += uploaded.bytes;
            share.held.parts = uploaded.parts;
            if let Some(table) = table {
                let table = table.frozen().await.map_err(StateError::from)?;
                let (bytes, files) = self.upload_table(barrier, &id, table, &mut subtask).await?;
                share.bytes += bytes;
                share.held.files = files;
            }
            share.operator = Some((id, subtask));
        }
        share.bytes += ahead.map_or(0, |ahead| ahead.take_bytes());
        if let Some(sink) = sink {
            share.held.chunks = self.upload_chunks(&sink, chunks.into_iter().zip(numbers)).await?;
        }
        Ok(share)
    }

    /// Rows in flight are of this checkpoint alone: the next one finds others.
    async fn upload_in_flight(
        &self,
        epoch: Epoch,
        exchange: &OperatorId,
        rows: Vec<(EventTime, RecordBatch)>,
    ) -> Result<SubtaskState, SnapshotError> {
        let Some((_, first)) = rows.first() else { return Ok(SubtaskState::default()) };
        let (name, batches) =
            (format!("in-flight-{exchange}-{}.arrow", self.task.subtask), rows.iter().map(|(_, batch)| batch));
        let file = self.write(Life::Passing, epoch, &name, &first.schema(), batches).await?;
        fault::reach("rows-in-flight-uploaded");
        let reference = |(batch, (as_of, rows)): (u32, &(EventTime, RecordBatch))| PartRef {
            kind: in_flight::ROWS.to_owned(),
            tag: as_of.0,
            rows: rows.num_rows() as u64,
            file: file.clone(),
            batch,
        };
        Ok(SubtaskState { parts: (0..).zip(&rows).map(reference).collect(), ..SubtaskState::default() })
    }

    /// Adds what a subtask keeps on the local disk: the files of its table, or, for a savepoint, its rows. Gives the bytes
    /// that were new, and the files.
    async fn upload_table(
        &self,
        barrier: Barrier,
        operator: &OperatorId,
        table: FrozenTable,
        subtask: &mut SubtaskState,
    ) -> Result<(u64, Vec<Copied>), SnapshotError> {
        let name = format!("table-{operator}-{}", self.task.subtask);
        let run = self.reports.run();
        let to = Destination { packer: &self.packer, attempt: self.attempt, run, epoch: barrier.epoch, name };
        if barrier.open {
            let parts = tables::write_rows(&to, table).await?;
            let bytes = parts.iter().map(|part| part.file.bytes).sum();
            subtask.parts.extend(parts);
            return Ok((bytes, Vec::new()));
        }
        let (files, bytes) = tables::upload(&to, &table).await?;
        let copies = files.iter().map(|(file, copy)| (file.pieces.clone(), copy.clone())).collect();
        subtask.table = files.into_iter().map(|(file, _)| file).collect();
        Ok((bytes, copies))
    }

    async fn upload_chunks(
        &self,
        sink: &str,
        chunks: impl Iterator<Item = (Arc<ChunkRows>, (Epoch, u32))>,
    ) -> Result<Vec<HeldChunk>, SnapshotError> {
        let slot = self.task.subtask.0;
        let uploads = chunks.map(|(rows, (epoch, index))| async move {
            // Whichever checkpoint writes it, it is the same file.
            let path = ObjectPath(format!("{}wal-{sink}-{slot}-{index}.arrow", folder(self.attempt, epoch)));
            let file = rows.write(&self.packer, path).await?;
            let id = ChunkId { lineage: self.lineage.clone(), sink: sink.to_owned(), slot, epoch, index };
            let reference = ChunkRef { id: id.clone(), rows: rows.rows(), file };
            let batches = rows.batches().await.unwrap_or_default();
            let checksum = reference.file.xxh3.clone();
            let schema = batches.first().map(RecordBatch::schema);
            let chunk = schema.map(|schema| Chunk { id, schema, rows: batches, checksum });
            Ok(HeldChunk { reference, chunk, rows })
        });
        try_join_all(uploads).await
    }

    /// Writes rows ahead of their barrier: into the folder of no epoch, since they do not know theirs. An earlier run of the
    /// subtask may have files there that still are on their way. In an epoch's folder it has none: no checkpoint that a run
    /// was told of goes on when the next begins.
    pub fn write_ahead(&self, name: &str) -> WriteAhead {
        let (folder, run) = (folder(self.attempt, Epoch(0)), self.reports.run());
        let prefix = format!("{folder}{name}-{}-{run}-", self.task.subtask);
        WriteAhead::new(self.packer.clone(), self.io.clone(), prefix)
    }

    /// Until it is dropped, no parts of the subtask move.
    pub(super) fn moves(&self) -> MutexGuard<'_, ()> {
        self.moving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes batches of one schema to a file of this name, or a piece of a shared one, when there is room in memory for it.
    pub(super) async fn write<'a>(
        &self,
        life: Life,
        epoch: Epoch,
        name: &str,
        schema: &SchemaRef,
        batches: impl IntoIterator<Item = &'a RecordBatch>,
    ) -> Result<FileRef, FileError> {
        file::write(&self.packer, life, self.path(epoch, name), schema, batches).await
    }

    pub(super) fn path(&self, epoch: Epoch, name: &str) -> ObjectPath {
        ObjectPath(format!("{}{name}", folder(self.attempt, epoch)))
    }
}

/// The numbers of chunks. Those that no barrier has cut before are of this epoch.
fn numbers(epoch: Epoch, chunks: &[Arc<ChunkRows>]) -> Numbers {
    let mut next = 0;
    let number = |chunk: &Arc<ChunkRows>| {
        let (of, index) = chunk.cut(epoch, next);
        next += u32::from(of == epoch);
        (of, index)
    };
    chunks.iter().map(number).collect()
}

#[cfg(test)]
mod tests;
