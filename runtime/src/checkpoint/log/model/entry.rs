//! Records, and who writes them.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
};

use crate::{
    checkpoint::{
        manifest::ChunkRef,
        record::{Body, CheckpointRef, Record},
    },
    ids::{Attempt, Epoch, Seq},
};

/// Where a record is.
pub type Place = (Attempt, Seq);

/// A record, with the manifest that was written before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub author: Name,
    pub record: Record,
    /// What the manifest of a `CheckpointCompleted` names.
    pub chunks: Vec<ChunkRef>,
    /// The newest epoch that was owned before: what was cut up to it was, too.
    owned_before: Epoch,
    /// Hash of the above. Every state is hashed, and its entries, which never change, are most of it.
    digest: u64,
}

/// One go at the job, from a look at the log until nothing of that is remembered; by the number of those that wrote
/// before. A coordinator that begins anew writes as somebody else. Which of the two it was matters to nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(pub u64);

impl Entry {
    /// As `author` writes it. What somebody else writes at the same place is another record.
    pub fn new(author: Name, (attempt, seq): Place, body: Body, chunks: Vec<ChunkRef>) -> Self {
        let kind = match body {
            Body::AttemptStarted { .. } => "started",
            Body::CheckpointCompleted { .. } => "completed",
            Body::EpochCommitted { .. } => "committed",
            Body::Released { .. } => "released",
            Body::Deleted {} => "deleted",
            Body::Sealed { .. } => "sealed",
        };
        let record_id = format!("{author}/{attempt}.{seq} {kind}");
        let record = Record { record_id, path: None, at_ms: 0, body };
        let mut hasher = DefaultHasher::new();
        (author, &record, &chunks).hash(&mut hasher);
        Self { author, record, chunks, owned_before: Epoch(0), digest: hasher.finish() }
    }

    /// Says which epoch was owned before.
    pub fn behind(self, owned_before: Epoch) -> Self {
        Self { owned_before, ..self }
    }

    pub fn checkpoint(&self) -> Option<&CheckpointRef> {
        if let Body::CheckpointCompleted { checkpoint, .. } = &self.record.body { Some(checkpoint) } else { None }
    }

    /// The chunks that are owned with it, and were not before.
    pub fn own_chunks(&self) -> impl Iterator<Item = &ChunkRef> {
        self.chunks.iter().filter(|chunk| chunk.id.epoch > self.owned_before)
    }
}

impl Hash for Entry {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
