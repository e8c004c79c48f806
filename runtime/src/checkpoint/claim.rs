//! Taking a job: reads the log, follows the rules of [`super::log`], and carries the decisions out.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use thiserror::Error;
use tidegate_crds::api::{Failure, FailureReason};

use super::{
    hand_over::{HandOver, Inheritance, run_by},
    journal::{Journal, create_known, write_hint},
    log::{self, AttemptLog, Claim, Claimant, OwnerAnswer},
    manifest::{Manifest, ManifestError},
    record::{self, Body, CheckpointRef, Hint, LOG, Owner, Record},
    store::{ObjectPath, Store, StoreError},
};
use crate::{
    env,
    failure::Reason,
    ids::{Attempt, Epoch, Revision, Seq},
};

/// How long a claimant that stands by waits before it asks the owner again.
const STAND_BY: Duration = Duration::from_secs(2);

/// How processes that want the same job speak with each other.
#[async_trait]
pub trait Neighbours: Send + Sync {
    /// Asks the owner of an attempt whether it still runs it.
    async fn ask(&self, owner: &Owner, record_id: &str) -> OwnerAnswer;

    /// Asks an owner to stop, with a last checkpoint. `Gone` when it does not take that in.
    async fn ask_to_stop(&self, owner: &Owner) -> OwnerAnswer;

    /// What the claim waits for, for people.
    fn waits(&self, reason: Failure);

    /// This process is about to write the record: who finds it there and asks at once must be told that it runs.
    fn announce(&self, record_id: &str);
}

/// Knows what this process can go on from, and what it can begin with.
#[async_trait]
pub trait Heir: Send + Sync {
    /// What a job without any checkpoint begins with, copied to `store`; nothing, for most.
    async fn beginning(&self, store: &Arc<dyn Store>) -> Result<Option<CheckpointRef>, Failure>;

    /// Whether the job as this process would run it can go on from a checkpoint that it took in another version.
    async fn fits(&self, store: &Arc<dyn Store>, manifest: &Manifest) -> Result<(), Failure>;
}

/// What a process says of itself when it claims.
#[derive(Debug, Clone)]
pub struct Identity {
    pub claimant: Claimant,
    pub address: String,
    /// Digest of the spec it would run.
    pub spec_digest: String,
    /// The spec's.
    pub parallelism: u32,
    /// What this process was asked to run the job with instead.
    pub rescaled: Option<u32>,
    /// The job's identity, where the log does not have one yet.
    pub lineage: String,
    /// Wait while a healthy owner runs the job, instead of giving up.
    pub stand_by: bool,
    /// How long an owner of a lower revision has to hand the job over.
    pub patience: Duration,
}

/// A job that is ours.
#[derive(Debug)]
pub struct Claimed {
    pub journal: Journal,
    pub lineage: String,
    pub parallelism: u32,
    pub restored_from: Option<CheckpointRef>,
    /// Newest epoch the attempt before knew to be published.
    pub committed: Option<Epoch>,
}

/// What came of a claim.
#[derive(Debug)]
pub enum Claiming {
    Ours(Claimed),
    /// There is nothing to run: this attempt read its bounded sources to the end and published everything.
    Finished {
        attempt: Attempt,
    },
}

#[derive(Debug, Error)]
pub enum ClaimError {
    #[error(
        "the job is being run by {pod} at {address} (attempt {attempt}), which is healthy; stop it first, or start this one with --stand-by"
    )]
    Owned { pod: String, address: String, attempt: Attempt },
    #[error("the job was taken over by revision {by}; this process runs revision {mine} and must not take it back")]
    Superseded { by: Revision, mine: Revision },
    #[error("{}", .0.message)]
    Unfit(Failure),
    #[error("the log is damaged: {0}")]
    Damaged(String),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Reason for ClaimError {
    fn reason(&self) -> FailureReason {
        match self {
            Self::Owned { .. } => FailureReason::OwnedElsewhere,
            Self::Superseded { .. } => FailureReason::Superseded,
            Self::Unfit(failure) => failure.reason,
            Self::Damaged(_) => FailureReason::StateUnfit,
            Self::Manifest(error) => error.reason(),
            Self::Store(error) => error.reason(),
        }
    }
}

/// Claims the job.
///
/// A checkpoint of another version of the job is looked at before anything is taken: who can't go on from it leaves the
/// job to its owner.
pub async fn claim(
    store: Arc<dyn Store>,
    me: &Identity,
    neighbours: &dyn Neighbours,
    heir: &dyn Heir,
) -> Result<Claiming, ClaimError> {
    let mut asked: Option<(String, OwnerAnswer)> = None;
    let mut inheritance = Inheritance::default();
    let mut hand_over: Option<HandOver> = None;
    loop {
        let newest = read_newest(store.as_ref()).await?;
        if let Some(log) = &newest
            && !inheritance.look(&store, log, me, heir).await?
        {
            continue;
        }
        let answer = match (&newest, &asked) {
            (Some(log), Some((record_id, answer))) if log.record_id == *record_id => *answer,
            _ => OwnerAnswer::NotAsked,
        };
        match log::claim(newest.as_ref(), &me.claimant, answer) {
            Claim::Superseded { by } => return Err(ClaimError::Superseded { by, mine: me.claimant.revision }),
            Claim::Finished { attempt } => return Ok(Claiming::Finished { attempt }),
            Claim::Ask { owner, record_id } => {
                let answer = neighbours.ask(&owner, &record_id).await;
                asked = Some((record_id, answer));
            }
            Claim::Owned { owner, attempt } => {
                if !me.stand_by {
                    return Err(ClaimError::Owned { pod: owner.pod, address: owner.address, attempt });
                }
                neighbours.waits(run_by(&owner, attempt, "it is healthy, and this process stands by"));
                asked = None;
                env::sleep(STAND_BY).await;
            }
            Claim::HandOver { owner, attempt, record_id } => {
                let known = hand_over.take().filter(|known| known.attempt == attempt);
                let under_way = hand_over.insert(known.unwrap_or_else(|| HandOver::begin(attempt, me.patience)));
                // Before there is a checkpoint, nobody knows whether one would fit.
                let can_inherit = newest.as_ref().is_some_and(|log| log.checkpoint.is_some());
                asked = Some((record_id, under_way.go_on(neighbours, &owner, can_inherit).await));
            }
            Claim::Seal { attempt, seal_at } => {
                let seal = Record::new(Body::Sealed { by: me.claimant.pod.clone() });
                // Whether it was us or somebody else who took the place: read again.
                create_known(store.as_ref(), &record::path(attempt, seal_at), &seal).await?;
            }
            Claim::Start { next, restored_from, lineage } => {
                let lineage = lineage.unwrap_or_else(|| me.lineage.clone());
                let parallelism = parallelism(newest.as_ref(), me);
                let restored_from = match restored_from {
                    None => heir.beginning(&store).await.map_err(ClaimError::Unfit)?,
                    own => own,
                };
                let started = Record::new(Body::AttemptStarted {
                    attempt: next,
                    revision: me.claimant.revision,
                    spec_digest: me.spec_digest.clone(),
                    lineage: lineage.clone(),
                    parallelism,
                    restored_from: restored_from.clone(),
                    owner: Owner { address: me.address.clone(), pod: me.claimant.pod.clone() },
                });
                neighbours.announce(&started.record_id);
                if create_known(store.as_ref(), &record::path(next, Seq(0)), &started).await? {
                    write_hint(store.as_ref(), next, Seq(0)).await;
                    let inherited = restored_from.as_ref().map(|checkpoint| checkpoint.epoch);
                    return Ok(Claiming::Ours(Claimed {
                        journal: Journal::new(store, next, inherited),
                        lineage,
                        parallelism,
                        restored_from,
                        committed: newest.and_then(|log| log.committed),
                    }));
                }
            }
        }
    }
}

/// A job that was rescaled stays so, until its spec says something else.
fn parallelism(newest: Option<&AttemptLog>, me: &Identity) -> u32 {
    let of_before = newest.filter(|log| log.spec_digest == me.spec_digest).map(|log| log.parallelism);
    me.rescaled.or(of_before).unwrap_or(me.parallelism)
}

/// Reads what the newest attempt says; `None` if nobody ran the job yet.
pub async fn read_newest(store: &dyn Store) -> Result<Option<AttemptLog>, ClaimError> {
    let places = list_from_hint(store).await?;
    let Some((attempt, last)) = places else { return Ok(None) };
    let mut records = Vec::new();
    let mut next = Some(last);
    while let Some(seq) = next {
        let record = read(store, attempt, seq).await?;
        next = log::read_next(seq, &record);
        records.push(record);
    }
    records.reverse();
    log::summarize(attempt, last.next(), &records).map(Some).map_err(ClaimError::Damaged)
}

/// The newest attempt and its last place. The hint only says where a listing may begin.
async fn list_from_hint(store: &dyn Store) -> Result<Option<(Attempt, Seq)>, ClaimError> {
    let hint: Option<Hint> =
        store.get(&record::hint_path()).await?.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    if let Some(Hint { attempt, seq }) = hint
        && seq.0 > 0
    {
        let newest = newest_place(store, Some(&record::path(attempt, Seq(seq.0 - 1)))).await?;
        if newest.is_some() {
            return Ok(newest);
        }
    }
    newest_place(store, None).await
}

async fn newest_place(store: &dyn Store, after: Option<&ObjectPath>) -> Result<Option<(Attempt, Seq)>, ClaimError> {
    let listed = store.list(LOG, after).await?;
    Ok(listed.iter().filter_map(|object| record::parse_path(&object.path)).max())
}

async fn read(store: &dyn Store, attempt: Attempt, seq: Seq) -> Result<Record, ClaimError> {
    let path = record::path(attempt, seq);
    let bytes = store.get(&path).await?.ok_or_else(|| ClaimError::Damaged(format!("`{path}` is missing")))?;
    Record::from_bytes(&bytes).map_err(|error| ClaimError::Damaged(format!("`{path}`: {error}")))
}

#[cfg(test)]
mod tests;
