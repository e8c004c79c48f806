//! The rules of the log, as pure functions over facts already read.
//!
//! Who wants to run a job ends the newest attempt by a seal at its next place, reads what it left, and creates the next
//! attempt's first record. Both creates are conditional: of two claimants, one wins each. From the seal on the old owner
//! can append nothing, so it owns no further epoch, and what it owned before, its successor has read. Safety rests on
//! these creates alone, never on who is alive.
//!
//! So that two healthy processes do not take a job from each other in turns, a claimant first asks the owner that
//! `AttemptStarted` names. One of the same revision is left alone; one of a lower revision is asked to hand the job over,
//! so that it can publish what it has read. That is politeness: it decides when to claim, never whether a claim is safe.

use super::{
    committed::Committed,
    record::{Body, CheckpointRef, Owner, Record},
};
use crate::ids::{Attempt, Epoch, Revision, Seq};

/// What was read of the newest attempt of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptLog {
    pub attempt: Attempt,
    pub revision: Revision,
    /// SHA-256 of the spec it ran, hexadecimal.
    pub spec_digest: String,
    pub lineage: String,
    pub parallelism: u32,
    pub owner: Owner,
    /// Record id of `AttemptStarted`.
    pub record_id: String,
    /// The first place without a record.
    pub next: Seq,
    /// How the attempt ended, if it has.
    pub ending: Option<Ending>,
    /// Newest checkpoint of the attempt, else the one it was restored from.
    pub checkpoint: Option<CheckpointRef>,
    /// What the attempt knew to be published.
    pub committed: Committed,
}

impl AttemptLog {
    /// The newest epoch that the job owns; 0 when there is none.
    pub fn owned(&self) -> Epoch {
        self.checkpoint.as_ref().map_or(Epoch(0), |checkpoint| checkpoint.epoch)
    }

    /// Whether nobody goes on from the job: who comes next begins another.
    pub fn is_deleted(&self) -> bool {
        self.ending == Some(Ending::Deleted)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Released {
        finished: bool,
    },
    /// What the job has kept is deleted, or is to be by its owner.
    Deleted,
    Sealed,
}

/// Who wants to run the job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimant {
    pub revision: Revision,
    pub pod: String,
}

/// What is known of the owner of an open attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnerAnswer {
    NotAsked,
    /// It runs this very attempt.
    Alive,
    /// It is gone, runs another attempt, has not answered in time, or not handed the job over in time.
    Gone,
}

/// What the newest log of a job tells a process that wants to run it.
#[derive(Debug, PartialEq, Eq)]
pub enum Claim {
    /// Nobody ran this job yet, or the last attempt has ended: create `next`.
    Start { next: Attempt, restored_from: Option<CheckpointRef>, lineage: Option<String> },
    /// The last attempt is still open: seal it at `seal_at`, then read again.
    Seal { attempt: Attempt, seal_at: Seq },
    /// Ask the owner whether it is there, then decide again.
    Ask { owner: Owner, record_id: String },
    /// A healthy owner of the same revision runs the job.
    Owned { owner: Owner, attempt: Attempt },
    /// A healthy owner of a lower revision runs the job: ask it to stop, then decide again.
    HandOver { owner: Owner, attempt: Attempt, record_id: String },
    /// All output of the bounded job is published; there is nothing to run.
    Finished { attempt: Attempt },
    /// A newer revision owns the job. Exit; never try again.
    Superseded { by: Revision },
}

/// The next step of a claim.
pub fn claim(newest: Option<&AttemptLog>, claimant: &Claimant, answer: OwnerAnswer) -> Claim {
    let Some(log) = newest else {
        return Claim::Start { next: Attempt(1), restored_from: None, lineage: None };
    };
    // Of whatever revision; but not while its owner deletes.
    if log.is_deleted() {
        let alive = Claim::Owned { owner: log.owner.clone(), attempt: log.attempt };
        let anew = Claim::Start { next: log.attempt.next(), restored_from: None, lineage: None };
        return once_asked(log, claimant, answer, alive, anew);
    }
    if log.revision > claimant.revision {
        return Claim::Superseded { by: log.revision };
    }
    match log.ending {
        Some(Ending::Released { finished: true }) if log.revision == claimant.revision => {
            Claim::Finished { attempt: log.attempt }
        }
        Some(_) => Claim::Start {
            next: log.attempt.next(),
            restored_from: log.checkpoint.clone(),
            lineage: Some(log.lineage.clone()),
        },
        None => claim_open(log, claimant, answer),
    }
}

fn claim_open(log: &AttemptLog, claimant: &Claimant, answer: OwnerAnswer) -> Claim {
    let (owner, attempt) = (log.owner.clone(), log.attempt);
    let alive = if claimant.revision > log.revision {
        Claim::HandOver { owner, attempt, record_id: log.record_id.clone() }
    } else {
        Claim::Owned { owner, attempt }
    };
    once_asked(log, claimant, answer, alive, Claim::Seal { attempt, seal_at: log.next })
}

/// What follows when the owner has answered, or is gone. A process of its name is its successor, and asks nobody.
fn once_asked(log: &AttemptLog, claimant: &Claimant, answer: OwnerAnswer, alive: Claim, gone: Claim) -> Claim {
    match answer {
        _ if log.owner.pod == claimant.pod => gone,
        OwnerAnswer::NotAsked => Claim::Ask { owner: log.owner.clone(), record_id: log.record_id.clone() },
        OwnerAnswer::Alive => alive,
        OwnerAnswer::Gone => gone,
    }
}

/// As many as there can be key groups.
const MOST_SUBTASKS: u32 = 32_768;

/// What an attempt's records say together. `records` begin with seq 0; of the rest, those that matter are the newest
/// `CheckpointCompleted` and everything after it, so a reader may leave out what is before.
pub fn summarize<'a>(
    attempt: Attempt,
    next: Seq,
    records: impl IntoIterator<Item = &'a Record>,
) -> Result<AttemptLog, String> {
    let mut records = records.into_iter();
    let Some(Record {
        record_id,
        body:
            Body::AttemptStarted { attempt: written, revision, spec_digest, lineage, parallelism, owner, restored_from },
        ..
    }) = records.next()
    else {
        return Err(format!("attempt {attempt} does not begin with AttemptStarted"));
    };
    if *written != attempt {
        return Err(format!("attempt {attempt} begins with the record of attempt {written}"));
    }
    if !(1..=MOST_SUBTASKS).contains(parallelism) {
        return Err(format!(
            "attempt {attempt} has {parallelism} subtasks of each operator; 1 to {MOST_SUBTASKS} can be"
        ));
    }
    let mut log = AttemptLog {
        attempt,
        revision: *revision,
        spec_digest: spec_digest.clone(),
        lineage: lineage.clone(),
        parallelism: *parallelism,
        owner: owner.clone(),
        record_id: record_id.clone(),
        next,
        ending: None,
        checkpoint: restored_from.clone(),
        committed: Committed::default(),
    };
    for record in records {
        match &record.body {
            Body::AttemptStarted { .. } => return Err(format!("attempt {attempt} has a second AttemptStarted")),
            _ if log.ending.is_some() => return Err(format!("attempt {attempt} goes on after its end")),
            Body::CheckpointCompleted { checkpoint, .. } => {
                if log.checkpoint.as_ref().is_some_and(|last| last.epoch >= checkpoint.epoch) {
                    return Err(format!("attempt {attempt} owns epoch {} out of order", checkpoint.epoch));
                }
                log.checkpoint = Some(checkpoint.clone());
            }
            Body::EpochCommitted { epoch, sinks } => {
                // What is not owned is never published; to go on as if it were leaves out what was not.
                let owned = log.checkpoint.as_ref().map_or(Epoch(0), |newest| newest.epoch);
                if let Some(epoch) = sinks.values().chain([epoch]).find(|epoch| **epoch > owned) {
                    return Err(format!("attempt {attempt} has published epoch {epoch}, and owns {owned} at most"));
                }
                log.committed = Committed { all: Some(*epoch), sinks: sinks.clone() };
            }
            Body::Deleted {} => {
                log.ending = Some(Ending::Deleted);
                (log.checkpoint, log.committed) = (None, Committed::default());
            }
            Body::Released { finished } => log.ending = Some(Ending::Released { finished: *finished }),
            Body::Sealed { .. } => log.ending = Some(Ending::Sealed),
        }
    }
    Ok(log)
}

/// Which place to read next on the way back from an attempt's end, when `record` was read at `seq`; `None` when
/// [`summarize`] has what it needs.
pub fn read_next(seq: Seq, record: &Record) -> Option<Seq> {
    match record.body {
        _ if seq == Seq(0) => None,
        Body::CheckpointCompleted { .. } => Some(Seq(0)),
        _ => Some(Seq(seq.0 - 1)),
    }
}

/// Whether the record `found` where `sent` was to go is the one that was sent. A place that is taken says nothing by
/// itself: the create before, whose answer was lost, may have taken it.
pub fn is_ours(sent: &Record, found: &Record) -> bool {
    sent.record_id == found.record_id
}

pub mod reading;
pub mod segments;

#[cfg(test)]
mod compaction;
#[cfg(test)]
mod model;
#[cfg(test)]
mod races;
#[cfg(test)]
mod tests;
