//! The part of a checkpoint that happens behind the task's back: encoding and uploading.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use arrow::array::RecordBatch;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, future::try_join_all, stream};
use thiserror::Error;
use tidegate_crds::api::{CheckpointTimes, FailureReason, InFlightRecords};
use tokio::runtime::Handle;

use super::{
    at_hand::Copied,
    chain::FrozenLink,
    held::{Held, HeldChunk},
    in_flight::{self, Overtaken},
    merge,
    protocol::{Ack, TaskId},
    report::{Report, Reports},
    tables::{self, Destination},
};
use crate::{
    checkpoint::{
        manifest::{ChunkRef, FileRef, PartRef, SubtaskState, folder},
        store::{ObjectPath, Store, StoreError},
    },
    element::Barrier,
    env,
    failure::Reason,
    fault,
    ids::{Attempt, Epoch, EventTime, OperatorId},
    sink::{Chunk, ChunkId, SinkError},
    state::{
        ChunkRows, Found, Rows, Spill, StateError, StatePart, StateSnapshot, bytes_of,
        file::{self, FileError},
        spilled::SpilledRows,
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
    pub io: Handle,
    /// Of the subtask's run.
    pub reports: Reports,
}

/// Parts are put into files of about so many bytes at most: a file is in memory while it is uploaded.
const FILE_BYTES: u64 = 32 << 20;
/// Files of one kind of parts that are uploaded at the same time.
const FILES_AT_ONCE: usize = 2;

/// Parts with the rows that are to be uploaded, and with where they are.
type Fresh<R> = Vec<(Arc<StatePart>, R)>;
type PartsAt = Vec<(Arc<StatePart>, PartRef)>;

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
enum SnapshotError {
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
        links: Vec<FrozenLink>,
        overtaken: Option<Overtaken>,
    ) -> Result<Option<(Ack, Held)>, SnapshotError> {
        fault::reach("before-state-upload");
        let epoch = barrier.epoch;
        let (operators, chunks, times) = (Vec::new(), Vec::new(), CheckpointTimes::default());
        let mut ack = Ack { task: self.task, epoch, operators, chunks, bytes: 0, times, unaligned: None };
        let mut held = Held::default();
        for link in links {
            if let Some(flush) = link.frozen.flush {
                flush.await?;
            }
            if let Some(mut state) = link.frozen.state {
                let table = state.table.take();
                let (mut subtask, uploaded, named) = self.upload_state(epoch, &link.id, state).await?;
                if let Some(table) = table {
                    let (bytes, files) = self.upload_table(barrier, &link.id, table, &mut subtask).await?;
                    ack.bytes += bytes;
                    held.files.extend(files);
                }
                ack.operators.push((link.id.clone(), subtask));
                held.parts.extend(uploaded);
                held.named.extend(named);
            }
            ack.bytes += link.spill.map_or(0, |spill| spill.take_bytes());
            if let Some(sink) = link.sink {
                held.chunks.extend(self.upload_chunks(epoch, &sink, link.frozen.chunks).await?);
            }
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
        let files = held.parts.iter().map(|(_, part)| &part.file).chain(ack.chunks.iter().map(|chunk| &chunk.file));
        let sizes: BTreeMap<&ObjectPath, u64> = files.map(|file| (&file.path, file.bytes)).collect();
        ack.bytes += sizes.values().sum::<u64>();
        fault::reach("after-state-upload");
        Ok(Some((ack, held)))
    }

    /// Rows in flight are of this checkpoint alone: the next one finds others.
    async fn upload_in_flight(
        &self,
        epoch: Epoch,
        exchange: &OperatorId,
        rows: Vec<(EventTime, RecordBatch)>,
    ) -> Result<SubtaskState, SnapshotError> {
        let Some((_, first)) = rows.first() else { return Ok(SubtaskState::default()) };
        let bytes = file::encode(&first.schema(), rows.iter().map(|(_, batch)| batch))?;
        let file = self.put(epoch, &format!("in-flight-{exchange}-{}.arrow", self.task.subtask), bytes).await?;
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
        let to = Destination { store: &self.store, attempt: self.attempt, run, epoch: barrier.epoch, name };
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

    /// Uploads the parts that no completed checkpoint holds yet. Gives those, and the others.
    async fn upload_state(
        &self,
        epoch: Epoch,
        operator: &OperatorId,
        state: StateSnapshot,
    ) -> Result<(SubtaskState, PartsAt, PartsAt), SnapshotError> {
        let (mut durable, mut spilled) = (Vec::new(), Vec::new());
        let mut fresh: BTreeMap<&'static str, Fresh<RecordBatch>> = BTreeMap::new();
        for part in state.parts {
            match part.settled().await {
                Found::Durable(reference) => durable.push((part, reference)),
                Found::Here(Rows::Memory(batch)) => fresh.entry(part.kind).or_default().push((part, batch)),
                Found::Here(Rows::Spilled(rows)) => spilled.push((part, rows)),
            }
        }
        let files = fresh.into_iter().map(|(kind, parts)| self.upload_parts(epoch, operator, kind, parts));
        let spilled = self.upload_spilled(epoch, operator, spilled);
        let merged = self.merge(epoch, operator, &mut durable);
        let (uploaded, spilled, merged) = tokio::join!(try_join_all(files), spilled, merged);
        let mut uploaded: PartsAt = uploaded?.into_iter().flatten().collect();
        uploaded.extend(spilled?);
        uploaded.extend(merged);
        let mut parts: Vec<PartRef> = Vec::new();
        let mut named = BTreeSet::new();
        for (_, reference) in durable.iter().chain(&uploaded) {
            // Parts that were merged have one place.
            if named.insert((&reference.file.path, reference.batch)) {
                parts.push(reference.clone());
            }
        }
        Ok((SubtaskState { value: state.value, parts, table: Vec::new() }, uploaded, durable))
    }

    /// Writes small durable parts anew as one, if it is time. Those it takes out of `durable` and returns with their new
    /// place, which they have from this checkpoint on; if it fails, they stay where they are.
    async fn merge(&self, epoch: Epoch, operator: &OperatorId, durable: &mut PartsAt) -> PartsAt {
        // Operators list parts that were merged before once (`state::retain_distinct`).
        let candidates = durable.iter().filter(|(part, _)| part.is_write_only());
        let due = merge::due(&candidates.map(|(_, reference)| reference.clone()).collect::<Vec<_>>());
        let Some(first) = due.first() else { return Vec::new() };
        let merged = async {
            let batch = merge::read(&self.store, &due).await?;
            let bytes = file::encode(&batch.schema(), [&batch])?;
            let name = format!("state-{operator}-{}-{}-merged.arrow", self.task.subtask, first.kind);
            let file = self.put(epoch, &name, bytes).await?;
            let tag = due.iter().map(|part| part.tag).max().unwrap_or(first.tag);
            Ok::<_, FileError>(PartRef { kind: first.kind.clone(), tag, rows: batch.num_rows() as u64, file, batch: 0 })
        };
        match merged.await {
            Ok(merged) => {
                let (replaced, rest) =
                    std::mem::take(durable).into_iter().partition(|(_, reference)| due.contains(reference));
                *durable = rest;
                let replaced: PartsAt = replaced;
                replaced.into_iter().map(|(part, _)| (part, merged.clone())).collect()
            }
            Err(error) => {
                tracing::warn!(%operator, %epoch, error = crate::error_chain(&error), "files of state were not merged; the next checkpoint tries again");
                Vec::new()
            }
        }
    }

    /// Uploads parts of one kind, as many in a file as fit.
    async fn upload_parts(
        &self,
        epoch: Epoch,
        operator: &OperatorId,
        kind: &'static str,
        parts: Fresh<RecordBatch>,
    ) -> Result<PartsAt, SnapshotError> {
        let mut files: Vec<Fresh<RecordBatch>> = Vec::new();
        let mut bytes = 0;
        for (part, batch) in parts {
            let own = bytes_of(&batch);
            match files.last_mut() {
                Some(file) if bytes + own <= FILE_BYTES => file.push((part, batch)),
                _ => {
                    files.push(vec![(part, batch)]);
                    bytes = 0;
                }
            }
            bytes += own;
        }
        let uploads = files.into_iter().enumerate().map(|(number, parts)| {
            let name = format!("state-{operator}-{}-{kind}-{number}.arrow", self.task.subtask);
            self.upload_file(epoch, name, parts)
        });
        let uploaded: Vec<PartsAt> = stream::iter(uploads).buffered(FILES_AT_ONCE).try_collect().await?;
        Ok(uploaded.into_iter().flatten().collect())
    }

    async fn upload_file(
        &self,
        epoch: Epoch,
        name: String,
        parts: Fresh<RecordBatch>,
    ) -> Result<PartsAt, SnapshotError> {
        let Some(schema) = parts.first().map(|(_, batch)| batch.schema()) else { return Ok(Vec::new()) };
        let bytes = file::encode(&schema, parts.iter().map(|(_, batch)| batch))?;
        let file = self.put(epoch, &name, bytes).await?;
        let reference = |(index, (part, _)): (usize, (Arc<StatePart>, RecordBatch))| {
            let (tag, rows, file) = (part.tag(), part.rows() as u64, file.clone());
            let reference = PartRef { kind: part.kind.to_owned(), tag, rows, file, batch: index as u32 };
            (part, reference)
        };
        Ok(parts.into_iter().enumerate().map(reference).collect())
    }

    /// Uploads parts that are on the local disk, one after the other, so that few of their rows are in memory.
    async fn upload_spilled(
        &self,
        epoch: Epoch,
        operator: &OperatorId,
        parts: Fresh<Arc<SpilledRows>>,
    ) -> Result<PartsAt, SnapshotError> {
        let mut uploaded = PartsAt::new();
        for (number, (part, rows)) in parts.into_iter().enumerate() {
            let name = format!("state-{operator}-{}-{}-spilled-{number}.arrow", self.task.subtask, part.kind);
            let batch = rows.read()?;
            uploaded.extend(self.upload_file(epoch, name, vec![(part, batch)]).await?);
        }
        Ok(uploaded)
    }

    async fn upload_chunks(
        &self,
        epoch: Epoch,
        sink: &str,
        chunks: Vec<Arc<ChunkRows>>,
    ) -> Result<Vec<HeldChunk>, SnapshotError> {
        let slot = self.task.subtask.0;
        let uploads = chunks.into_iter().enumerate().map(|(index, rows)| async move {
            let path = ObjectPath(format!("{}wal-{sink}-{slot}-{index}.arrow", folder(self.attempt, epoch)));
            let file = rows.write(self.store.as_ref(), path).await?;
            let id = ChunkId { lineage: self.lineage.clone(), sink: sink.to_owned(), slot, epoch, index: index as u32 };
            let reference = ChunkRef { id: id.clone(), rows: rows.rows(), file };
            let batches = rows.batches().await.unwrap_or_default();
            let chunk = batches.first().map(RecordBatch::schema).map(|schema| Chunk { id, schema, rows: batches });
            Ok(HeldChunk { reference, chunk, rows })
        });
        try_join_all(uploads).await
    }

    /// Writes rows ahead of their barrier: into the folder of no epoch, since they do not know theirs. An earlier run of the
    /// subtask may have files there that still are on their way. In an epoch's folder it has none: no checkpoint that a run
    /// was told of goes on when the next begins.
    pub fn spill(&self, name: &str) -> Spill {
        let (folder, run) = (folder(self.attempt, Epoch(0)), self.reports.run());
        let prefix = format!("{folder}{name}-{}-{run}-", self.task.subtask);
        Spill::new(self.store.clone(), self.io.clone(), prefix)
    }

    async fn put(&self, epoch: Epoch, name: &str, bytes: Bytes) -> Result<FileRef, StoreError> {
        let path = ObjectPath(format!("{}{name}", folder(self.attempt, epoch)));
        let file = FileRef::of(path.clone(), &bytes);
        self.store.put(&path, bytes).await?;
        Ok(file)
    }
}
