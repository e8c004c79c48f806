//! The records of the log: small JSON objects with a checksum, each created once and never changed.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::Error as _};

use super::{checked_json, committed::Committed, store::ObjectPath};
use crate::{
    env,
    ids::{Attempt, Epoch, Revision, Seq},
};

/// One record, with the identity by which its author knows it again.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Unique: a create whose answer was lost is recognised by it.
    pub record_id: String,
    /// Where it was written: a copy of it elsewhere is no record. Builds before this one did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<ObjectPath>,
    /// Milliseconds since 1970, UTC, by the author's clock; for people.
    pub at_ms: u64,
    #[serde(flatten)]
    pub body: Body,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum Body {
    /// Seq 0: whose attempt this is, and what it goes on from.
    AttemptStarted {
        attempt: Attempt,
        revision: Revision,
        /// SHA-256 of the job's spec, hexadecimal.
        spec_digest: String,
        /// The job's identity in chunk ids.
        lineage: String,
        /// How many subtasks each operator has; a job that was rescaled keeps it for as long as its spec stays.
        parallelism: u32,
        restored_from: Option<CheckpointRef>,
        owner: Owner,
    },
    /// The epoch is owned.
    CheckpointCompleted { checkpoint: CheckpointRef, trigger: Trigger },
    /// Every chunk up to and including this epoch is published; 0 when there is none.
    EpochCommitted {
        epoch: Epoch,
        /// What single sinks have beyond that; builds before this one neither wrote nor read it.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        sinks: BTreeMap<String, Epoch>,
    },
    /// A clean end: whoever comes next may start at once.
    Released { finished: bool },
    /// A clean end, and the job's: what it has kept is deleted. Whoever comes next begins anew.
    Deleted {},
    /// Ended by the process `by`, as its owner record would name it: the old owner appends nothing any more.
    Sealed { by: String },
}

/// How a claimant reaches the owner of an attempt, to ask whether it is still there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    /// `host:port` of its HTTP API.
    pub address: String,
    /// The process, by a name that a restart of the same pod keeps: its pod name, else host, process id and a random number.
    pub pod: String,
    /// The `StreamJob` that it runs, by its uid in Kubernetes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_uid: Option<String>,
}

/// A checkpoint, by its manifest.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckpointRef {
    pub epoch: Epoch,
    pub manifest: ObjectPath,
    /// SHA-256 of the manifest, hexadecimal.
    pub sha256: String,
}

/// Why a checkpoint was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Trigger {
    Interval,
    /// For a savepoint, while the job goes on.
    Savepoint,
    /// The last one of an attempt: the job goes on with another parallelism.
    Rescale,
    /// The last one before a stop.
    Stop,
    /// The last one before a stop, after what windows held was put out: nothing may go on from it.
    Drain,
    /// The last one of a bounded job: nothing follows it, ever.
    Finish,
}

impl Trigger {
    /// Sources read nothing more after it.
    pub fn is_last(self) -> bool {
        matches!(self, Self::Rescale | Self::Stop | Self::Drain | Self::Finish)
    }
}

impl Body {
    /// What is published, by this record alone.
    pub fn committed(committed: &Committed) -> Self {
        Self::EpochCommitted { epoch: committed.all.unwrap_or_default(), sinks: committed.sinks.clone() }
    }
}

impl Record {
    pub fn new(body: Body) -> Self {
        Self { record_id: env::unique_id(), path: None, at_ms: env::wall_clock_ms(), body }
    }

    /// As it is written at a path.
    #[must_use]
    pub fn at(&self, path: &ObjectPath) -> Self {
        Self { path: Some(path.clone()), ..self.clone() }
    }

    /// The record that was found at a path.
    pub fn read(bytes: &[u8], path: &ObjectPath) -> serde_json::Result<Self> {
        let record = Self::from_bytes(bytes)?;
        match &record.path {
            Some(written) if written != path => {
                Err(serde_json::Error::custom(format!("it is the record of `{written}`, and was copied here")))
            }
            _ => Ok(record),
        }
    }

    pub fn to_bytes(&self) -> serde_json::Result<Bytes> {
        checked_json::to_bytes(self)
    }

    pub fn from_bytes(bytes: &[u8]) -> serde_json::Result<Self> {
        checked_json::from_bytes(bytes)
    }
}

/// Folder of all records.
pub const LOG: &str = "log/";

/// Path of a record.
pub fn path(attempt: Attempt, seq: Seq) -> ObjectPath {
    ObjectPath(format!("{}{:012}", folder(attempt), seq.0))
}

/// Folder of an attempt's records.
pub fn folder(attempt: Attempt) -> String {
    format!("{LOG}{:08}/", attempt.0)
}

/// The place that a path of the log names.
pub fn parse_path(path: &ObjectPath) -> Option<(Attempt, Seq)> {
    let (attempt, seq) = path.0.strip_prefix(LOG)?.split_once('/')?;
    Some((Attempt(attempt.parse().ok()?), Seq(seq.parse().ok()?)))
}

/// The hint's path.
pub fn hint_path() -> ObjectPath {
    ObjectPath("hint".to_owned())
}

/// Where to start looking; may be stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hint {
    pub attempt: Attempt,
    pub seq: Seq,
}

#[cfg(test)]
mod tests;
