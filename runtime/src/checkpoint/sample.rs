//! For tests: checkpoints in a store, planted there.

use std::ops::RangeInclusive;

use bytes::Bytes;

use super::{
    destination::Destinations,
    manifest::{ChunkRef, FileRef, Manifest, OperatorState, PartRef, StateKind, SubtaskState, folder},
    record::{self, Body, CheckpointRef, Owner, Record, Trigger},
    store::{ObjectPath, memory::MemoryStore},
};
use crate::{
    ids::{Attempt, Epoch, OperatorId, Revision, Seq},
    sink::ChunkId,
};

/// Writes a file of 20 bytes that begins with its epoch.
pub fn file(store: &MemoryStore, attempt: u64, epoch: u64, name: &str) -> FileRef {
    let path = format!("{}{name}", folder(Attempt(attempt), Epoch(epoch)));
    let bytes = Bytes::from(format!("{epoch:020}"));
    store.plant(&path, bytes.clone());
    FileRef::of(ObjectPath(path), &bytes)
}

/// Writes a file that two share: 20 bytes for each, which begin with the epoch.
pub fn shared(store: &MemoryStore, attempt: u64, epoch: u64, name: &str) -> [FileRef; 2] {
    let path = format!("{}{name}", folder(Attempt(attempt), Epoch(epoch)));
    let pieces = [format!("{epoch:020}"), format!("{epoch:0<20}")];
    store.plant(&path, pieces.concat());
    let piece = |number: usize| FileRef {
        offset: Some(20 * number as u64),
        ..FileRef::of(ObjectPath(path.clone()), pieces[number].as_bytes())
    };
    [piece(0), piece(1)]
}

/// The manifest of a checkpoint with one operator whose state is in `files`.
pub fn manifest(attempt: u64, epoch: u64, files: Vec<FileRef>) -> Manifest {
    let part = |file| PartRef { kind: "rows".into(), tag: 0, rows: 1, file, batch: 0 };
    let subtask = SubtaskState { parts: files.into_iter().map(part).collect(), ..SubtaskState::default() };
    let id = OperatorId("operator".into());
    let operators = vec![OperatorState { id, kind: StateKind::Deduplicate, written_as: None, subtasks: vec![subtask] }];
    Manifest {
        format: Manifest::format_of(&operators, &[]),
        job: "job".into(),
        lineage: "job".into(),
        epoch: Epoch(epoch),
        attempt: Attempt(attempt),
        revision: Revision(1),
        trigger: Trigger::Interval,
        max_parallelism: 128,
        created_at_ms: 0,
        operators,
        chunks: Vec::new(),
        sinks: Destinations::new(),
        beginning: None,
    }
}

/// The manifest of the last of these epochs, with a chunk of each that waits.
pub fn waiting(sink: &str, epochs: RangeInclusive<u64>) -> Manifest {
    let last = *epochs.end();
    let chunk = |epoch| {
        let id = ChunkId { lineage: "job".into(), sink: sink.into(), slot: 0, epoch: Epoch(epoch), index: 0 };
        ChunkRef { rows: 1, file: FileRef::of(ObjectPath(id.to_string()), b"rows"), id }
    };
    Manifest { chunks: epochs.map(chunk).collect(), ..manifest(1, last, Vec::new()) }
}

/// Writes a manifest.
pub fn write(store: &MemoryStore, manifest: &Manifest) -> CheckpointRef {
    let (bytes, reference) = manifest.encode().unwrap();
    store.plant(&reference.manifest.0, bytes);
    reference
}

/// Writes a record of the log.
pub fn log(store: &MemoryStore, attempt: u64, seq: u64, body: Body) {
    store.plant(&record::path(Attempt(attempt), Seq(seq)).0, Record::new(body).to_bytes().unwrap());
}

/// The first record of an attempt.
pub fn started(attempt: u64, restored_from: Option<CheckpointRef>) -> Body {
    Body::AttemptStarted {
        attempt: Attempt(attempt),
        revision: Revision(1),
        spec_digest: String::new(),
        lineage: "job".into(),
        parallelism: 1,
        restored_from,
        owner: Owner { address: "here".into(), pod: "pod".into(), job_uid: None },
    }
}
