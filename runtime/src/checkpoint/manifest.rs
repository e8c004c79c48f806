//! A checkpoint's table of contents: which file holds which state, and what waits to be published.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;
use tidegate_crds::api::FailureReason;

use super::{
    checked_json,
    destination::Destinations,
    record::{CheckpointRef, Trigger},
    store::{ObjectPath, Store, StoreError},
};
use crate::{
    failure::Reason,
    ids::{Attempt, Epoch, OperatorId, Revision},
    sink::ChunkId,
};

mod file_ref;

pub use self::file_ref::{FileRef, bytes_of};

/// The version this code writes, and reads.
const FORMAT: u32 = 1;
/// That of a manifest with tables. A program that does not know of them must not go on without them.
const FORMAT_WITH_TABLES: u32 = 2;
/// That of a manifest with rows in flight; the same holds for them.
const FORMAT_WITH_ROWS_IN_FLIGHT: u32 = 3;
/// That of a manifest that names pieces of files; a program that does not know of them would take the whole file for each.
const FORMAT_WITH_PIECES: u32 = 4;
/// That of a manifest whose operators say where they are written, and whose aggregates are named by what they compute. A
/// program that names them by the places of their columns would find none, and begin them anew.
const FORMAT_WITH_NAMES: u32 = 5;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    pub format: u32,
    pub job: String,
    pub lineage: String,
    pub epoch: Epoch,
    pub attempt: Attempt,
    pub revision: Revision,
    pub trigger: Trigger,
    pub max_parallelism: u32,
    /// Milliseconds since 1970, UTC.
    pub created_at_ms: u64,
    pub operators: Vec<OperatorState>,
    /// Chunks of all epochs not known to be published when this was written, by epoch.
    pub chunks: Vec<ChunkRef>,
    /// Where the chunks of each sink go; builds before this one did not say so.
    #[serde(default, skip_serializing_if = "Destinations::is_empty")]
    pub sinks: Destinations,
    /// Of a copy that a job began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beginning: Option<Beginning>,
}

/// What a job began with that had no checkpoint of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Beginning {
    /// Where it was, for people.
    pub from: String,
    /// SHA-256 of its manifest, hexadecimal.
    pub sha256: String,
}

/// What manifests of all formats have in common.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// What one operator remembers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OperatorState {
    pub id: OperatorId,
    pub kind: StateKind,
    /// What it is found by when the SQL has changed; earlier versions went by the id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_as: Option<WrittenAs>,
    /// By subtask index; as many as the operator's parallelism was.
    pub subtasks: Vec<SubtaskState>,
}

/// How an operator is written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WrittenAs {
    /// What it does, reads and goes by: such as a window over a view, its keys and its length.
    pub name: String,
    /// The statements that it is written in; several if they are the same there.
    pub within: Vec<String>,
    /// The source that its rows come from, of a keyed operator; formats before 5 did not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The columns of the rows that a keyed operator reads; formats before 5 did not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<ReadColumn>>,
}

/// A column that an operator reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadColumn {
    /// As rows in files have it.
    pub name: String,
    /// What it is, casts included, down to the columns of the source.
    pub text: String,
}

/// What kind of operator remembers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum StateKind {
    Source,
    Deduplicate,
    WindowAggregate,
    /// An exchange, of rows that a barrier has overtaken.
    InFlight,
}

/// What one subtask remembers: a small value, and references to rows in files.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SubtaskState {
    pub value: serde_json::Value,
    pub parts: Vec<PartRef>,
    /// The files of its table on the local disk, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub table: Vec<TableFile>,
}

/// A file of a table as it was on the local disk, in pieces that follow each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TableFile {
    pub name: String,
    pub pieces: Vec<FileRef>,
}

/// Some rows of state: one record batch of an Arrow IPC file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PartRef {
    /// Which of the operator's collections the rows belong to.
    pub kind: String,
    /// What the rows have in common, such as the start of their window.
    pub tag: i64,
    pub rows: u64,
    pub file: FileRef,
    /// Which of the file's record batches.
    pub batch: u32,
}

/// A chunk of the write-ahead log.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChunkRef {
    pub id: ChunkId,
    pub rows: u64,
    pub file: FileRef,
}

#[derive(Debug, Error)]
pub enum ManifestError {
    #[error("the manifest `{path}` is missing")]
    Missing { path: ObjectPath },
    #[error("the manifest `{path}` is damaged: {message}")]
    Damaged { path: ObjectPath, message: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Reason for ManifestError {
    fn reason(&self) -> FailureReason {
        match self {
            Self::Missing { .. } | Self::Damaged { .. } => FailureReason::StateUnfit,
            Self::Store(error) => error.reason(),
        }
    }
}

/// Folder of all that checkpoints need.
pub const DATA: &str = "data/";

/// Folder of everything an epoch of an attempt writes.
pub fn folder(attempt: Attempt, epoch: Epoch) -> String {
    format!("{DATA}{:08}/{:012}/", attempt.0, epoch.0)
}

/// The epoch and attempt whose folder a path is in.
pub fn parse_folder(path: &ObjectPath) -> Option<(Attempt, Epoch)> {
    let mut segments = path.0.strip_prefix(DATA)?.split('/');
    Some((Attempt(segments.next()?.parse().ok()?), Epoch(segments.next()?.parse().ok()?)))
}

impl SubtaskState {
    /// Every file or piece that it needs; one is named as often as it is used.
    pub fn files(&self) -> impl Iterator<Item = &FileRef> {
        let pieces = self.table.iter().flat_map(|file| &file.pieces);
        self.parts.iter().map(|part| &part.file).chain(pieces)
    }

    fn files_mut(&mut self) -> impl Iterator<Item = &mut FileRef> {
        let pieces = self.table.iter_mut().flat_map(|file| &mut file.pieces);
        self.parts.iter_mut().map(|part| &mut part.file).chain(pieces)
    }
}

impl Manifest {
    pub const FORMAT: u32 = FORMAT;

    /// The format of a manifest that names this state and these chunks.
    pub fn format_of(operators: &[OperatorState], chunks: &[ChunkRef]) -> u32 {
        if operators.iter().any(|operator| operator.written_as.is_some()) {
            return FORMAT_WITH_NAMES;
        }
        let of_state = operators.iter().flat_map(|operator| &operator.subtasks).flat_map(SubtaskState::files);
        if of_state.chain(chunks.iter().map(|chunk| &chunk.file)).any(|file| file.offset.is_some()) {
            return FORMAT_WITH_PIECES;
        }
        if operators.iter().any(|operator| operator.kind == StateKind::InFlight) {
            return FORMAT_WITH_ROWS_IN_FLIGHT;
        }
        let has_table = |subtask: &SubtaskState| !subtask.table.is_empty();
        let has_tables = operators.iter().flat_map(|operator| &operator.subtasks).any(has_table);
        if has_tables { FORMAT_WITH_TABLES } else { FORMAT }
    }

    pub fn path(&self) -> ObjectPath {
        let folder = folder(self.attempt, self.epoch);
        match &self.beginning {
            None => ObjectPath(format!("{folder}manifest.json")),
            // Two savepoints may be of one epoch.
            Some(Beginning { sha256, .. }) => {
                ObjectPath(format!("{folder}{}/manifest.json", sha256.get(..16).unwrap_or(sha256)))
            }
        }
    }

    /// The bytes to write, and the reference that the log will hold.
    pub fn encode(&self) -> serde_json::Result<(Bytes, CheckpointRef)> {
        let bytes = Bytes::from(serde_json::to_vec(self)?);
        let reference = CheckpointRef { epoch: self.epoch, manifest: self.path(), sha256: sha256(&bytes) };
        Ok((bytes, reference))
    }

    /// Reads and verifies the manifest of a checkpoint.
    pub async fn read(store: &dyn Store, checkpoint: &CheckpointRef) -> Result<Self, ManifestError> {
        let path = checkpoint.manifest.clone();
        let bytes = store.get(&path).await?.ok_or_else(|| ManifestError::Missing { path: path.clone() })?;
        if sha256(&bytes) != checkpoint.sha256 {
            let message = format!("its SHA-256 is {}, the log says {}", sha256(&bytes), checkpoint.sha256);
            return Err(ManifestError::Damaged { path, message });
        }
        Self::decode(&path, &bytes)
    }

    /// What an object at `path` has: the manifest of a checkpoint, which the log vouches for, or of a savepoint, whose last
    /// field is its checksum.
    pub fn decode(path: &ObjectPath, bytes: &[u8]) -> Result<Self, ManifestError> {
        let damaged = |message| ManifestError::Damaged { path: path.clone(), message };
        let parse = |error: serde_json::Error| damaged(error.to_string());
        checked_json::check(bytes).map_err(parse)?;
        // The number first: another format may have other fields.
        let Format { format } = serde_json::from_slice(bytes).map_err(parse)?;
        if !(FORMAT..=FORMAT_WITH_NAMES).contains(&format) {
            let known = format!("this program reads formats {FORMAT} to {FORMAT_WITH_NAMES}");
            return Err(damaged(format!("it is of format {format}, {known}")));
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(parse)?;
        if manifest.epoch > LAST_EPOCH {
            return Err(damaged(format!(
                "its epoch is {}, and no job comes to more than {LAST_EPOCH}",
                manifest.epoch
            )));
        }
        if manifest.adds_up() {
            Ok(manifest)
        } else {
            Err(damaged("the bytes or the rows of what it names are more than there can be".to_owned()))
        }
    }

    /// Whether sizes can be added without a look at each: nothing vouches for those of an older build's savepoint.
    fn adds_up(&self) -> bool {
        let subtasks = self.operators.iter().flat_map(|operator| &operator.subtasks);
        let of_parts = subtasks.flat_map(|subtask| &subtask.parts).map(|part| part.rows);
        let mut rows = of_parts.chain(self.chunks.iter().map(|chunk| chunk.rows));
        let mut files = self.file_refs();
        rows.try_fold(0, u64::checked_add).is_some()
            && files
                .try_fold(0, |sum: u64, file| sum.checked_add(file.offset.unwrap_or(0).checked_add(file.bytes)?))
                .is_some()
    }

    /// Names state by the files that it was copied to, where it was: whole ones, of what may have been pieces.
    pub fn place_files(&mut self, place: impl Fn(&FileRef) -> Option<ObjectPath>) {
        let subtasks = self.operators.iter_mut().flat_map(|operator| &mut operator.subtasks);
        for file in subtasks.flat_map(SubtaskState::files_mut) {
            if let Some(path) = place(file) {
                (file.path, file.offset) = (path, None);
            }
        }
        self.format = Self::format_of(&self.operators, &self.chunks);
    }

    /// Every file that the checkpoint needs, its own manifest included.
    pub fn files(&self) -> impl Iterator<Item = ObjectPath> + '_ {
        self.file_refs().map(|file| file.path.clone()).chain(std::iter::once(self.path()))
    }

    /// The files and pieces of state and chunks; one is named as often as it is used.
    pub fn file_refs(&self) -> impl Iterator<Item = &FileRef> {
        let subtasks = self.operators.iter().flat_map(|operator| &operator.subtasks);
        subtasks.flat_map(SubtaskState::files).chain(self.chunks.iter().map(|chunk| &chunk.file))
    }

    /// Bytes of all state and chunks.
    pub fn bytes(&self) -> u64 {
        bytes_of(self.file_refs())
    }

    pub fn operator(&self, id: &OperatorId) -> Option<&OperatorState> {
        self.operators.iter().find(|operator| operator.id == *id)
    }
}

/// An epoch a microsecond takes 292,000 years to come here.
const LAST_EPOCH: Epoch = Epoch(u64::MAX / 2);

/// SHA-256, hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
