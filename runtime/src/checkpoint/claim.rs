//! Taking a job: reads the log, follows the rules of [`super::log`], and carries the decisions out.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use thiserror::Error;
use tidegate_crds::api::{Failure, FailureReason};

use super::{
    committed::Committed,
    compact,
    hand_over::{HandOver, Inheritance, run_by},
    journal::{Journal, LogLost, create_known, outlived, write_hint},
    log::{self, AttemptLog, Claim, Claimant, OwnerAnswer},
    manifest::{Manifest, ManifestError},
    record::{self, Body, CheckpointRef, Owner, Record},
    store::{Store, StoreError},
};
use crate::{
    env,
    failure::Reason,
    ids::{Attempt, Epoch, Revision, Seq},
};

mod newest;
mod recent;
mod rivals;
mod seen;

pub(super) use newest::ask_all;
pub use newest::read_newest;
pub use recent::{Recent, began_with, read_recent};
pub use seen::NewestSeen;

/// How long a claimant that stands by waits before it asks the owner again.
const STAND_BY: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 2000 });

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

    /// Whether it would publish what waits of that checkpoint, everything that is not `committed`, where it was to go.
    /// What does not may do so later: its owner publishes.
    fn publishes(&self, manifest: &Manifest, committed: &Committed) -> Result<(), Failure>;

    /// Fails if a sink has more of the lineage than its log owns: then the log is older than what was published from it.
    /// A sink that does not answer is asked again before rows are published to it.
    async fn compare(&self, owned: Epoch, lineage: &str) -> Result<(), Failure>;
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
    /// The newest attempt that this process has had.
    pub has_had: Option<Attempt>,
    /// The newest attempt that this process has found in the log: a log without it is not the one of before.
    pub seen: NewestSeen,
    /// The `StreamJob`, by its uid in Kubernetes.
    pub job_uid: Option<String>,
    /// How often another process has ended an attempt of this one that was well.
    pub deposed: u32,
}

/// A job that is ours.
#[derive(Debug)]
pub struct Claimed {
    pub journal: Journal,
    pub lineage: String,
    pub parallelism: u32,
    pub restored_from: Option<CheckpointRef>,
    /// What the attempt before knew to be published.
    pub committed: Committed,
}

/// What came of a claim.
#[derive(Debug)]
pub enum Claiming {
    Ours(Claimed),
    /// There is nothing to run: this attempt read its bounded sources to the end and published everything.
    Finished {
        attempt: Attempt,
        /// It was another document that it ran.
        is_changed: bool,
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
    #[error(
        "the job was cancelled, and its checkpoints are deleted (attempt {attempt}); a process that is started now begins it \
         anew"
    )]
    Deleted { attempt: Attempt },
    #[error("{}", .0.message)]
    Unfit(Failure),
    #[error(
        "the log is damaged: {0}; bring the file back from a copy of the storage, or begin under another `jobId` with \
         `restoreFrom` a savepoint"
    )]
    Damaged(String),
    #[error(transparent)]
    Lost(#[from] LogLost),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Reason for ClaimError {
    fn reason(&self) -> FailureReason {
        match self {
            Self::Owned { .. } => FailureReason::OwnedElsewhere,
            Self::Superseded { .. } | Self::Deleted { .. } => FailureReason::Superseded,
            Self::Unfit(failure) => failure.reason,
            Self::Damaged(_) => FailureReason::StateUnfit,
            Self::Lost(lost) => lost.reason(),
            Self::Manifest(error) => error.reason(),
            Self::Store(error) => error.reason(),
        }
    }
}

/// Claims the job.
///
/// Before anything is taken, a checkpoint of another version of the job is looked at: who can't go on from it leaves the
/// job to its owner. So are the sinks: a log that is older than they are stays as it is, until the newest one is back.
pub async fn claim(
    store: Arc<dyn Store>,
    me: &Identity,
    neighbours: &dyn Neighbours,
    heir: &dyn Heir,
) -> Result<Claiming, ClaimError> {
    let mut asked: Option<(String, OwnerAnswer)> = None;
    let mut inheritance = Inheritance::default();
    let mut hand_over: Option<HandOver> = None;
    let mut has_waited = me.has_had.is_some();
    loop {
        let newest = read_newest(store.as_ref()).await?;
        if let Some(log) = newest.as_ref().filter(|log| log.is_deleted())
            && (has_waited || me.job_uid.is_some() && me.job_uid == log.owner.job_uid)
        {
            return Err(ClaimError::Deleted { attempt: log.attempt });
        }
        if let Some(lost) = me.seen.lost(newest.as_ref().map(|log| log.attempt)) {
            return Err(LogLost::new(store.as_ref(), lost).into());
        }
        if let Some(log) = &newest
            && !inheritance.look(&store, log, me, heir).await?
        {
            continue;
        }
        let misplaced = match &newest {
            Some(log) => inheritance.misplaced(&store, log, me, heir).await?,
            None => None,
        };
        let answer = match (&newest, &asked) {
            (Some(log), Some((record_id, answer))) if log.record_id == *record_id => *answer,
            _ => OwnerAnswer::NotAsked,
        };
        let decision = log::claim(newest.as_ref(), &me.claimant, answer);
        if let (Claim::Seal { .. } | Claim::Start { .. }, Some(failure)) = (&decision, &misplaced) {
            return Err(ClaimError::Unfit(failure.clone()));
        }
        if let (Claim::Seal { .. } | Claim::Start { .. }, Some(log)) = (&decision, &newest)
            && !log.is_deleted()
            && let Err(failure) = heir.compare(log.owned(), &log.lineage).await
        {
            // Its owner may have owned and published more meanwhile.
            if read_newest(store.as_ref()).await?.as_ref() == Some(log) {
                return Err(ClaimError::Unfit(failure));
            }
            continue;
        }
        match decision {
            Claim::Superseded { by } => return Err(ClaimError::Superseded { by, mine: me.claimant.revision }),
            Claim::Finished { attempt } => {
                let is_changed = newest.is_some_and(|log| log.spec_digest != me.spec_digest);
                return Ok(Claiming::Finished { attempt, is_changed });
            }
            Claim::Ask { owner, record_id } => {
                let mut answer = neighbours.ask(&owner, &record_id).await;
                if answer == OwnerAnswer::Gone
                    && me.deposed > 0
                    && let Some(log) = &newest
                    && rivals::writes_on(store.as_ref(), log, me.deposed, false, neighbours).await?
                {
                    answer = OwnerAnswer::Alive;
                }
                asked = Some((record_id, answer));
            }
            Claim::Owned { owner, attempt } => {
                has_waited = true;
                if !me.stand_by {
                    return Err(ClaimError::Owned { pod: owner.pod, address: owner.address, attempt });
                }
                if me.deposed == 0 {
                    neighbours.waits(run_by(&owner, attempt, "it is healthy, and this process stands by"));
                }
                asked = None;
                env::sleep(STAND_BY).await;
            }
            Claim::HandOver { owner, attempt, record_id } => {
                has_waited = true;
                let known = hand_over.take().filter(|known| known.attempt == attempt);
                let under_way = hand_over.insert(known.unwrap_or_else(|| HandOver::begin(attempt, me.patience)));
                // Before there is a checkpoint, nobody knows whether one would fit.
                let can_inherit = newest.as_ref().is_some_and(|log| log.checkpoint.is_some());
                let obstacle = match misplaced {
                    Some(failure) if under_way.is_over() => return Err(ClaimError::Unfit(failure)),
                    Some(failure) => Some(failure.message),
                    None if can_inherit => None,
                    None => Some("it has no checkpoint yet that the new one could go on from".to_owned()),
                };
                asked = Some((record_id, under_way.go_on(neighbours, &owner, obstacle).await));
            }
            // A namesake of this process has taken the job from it, and is well.
            Claim::Seal { .. }
                if me.deposed > 0
                    && let Some(log) = newest.as_ref().filter(|log| log.owner.pod == me.claimant.pod)
                    && rivals::writes_on(store.as_ref(), log, me.deposed, true, neighbours).await? => {}
            Claim::Seal { attempt, seal_at } => {
                compact::make_room(store.as_ref(), attempt).await?;
                let seal = Record::new(Body::Sealed { by: me.claimant.pod.clone() });
                // Whether it was us or somebody else who took the place: read again.
                create_known(store.as_ref(), &record::path(attempt, seal_at), &seal).await?;
            }
            Claim::Start { next, restored_from, lineage } => {
                if newest.as_ref().is_some_and(AttemptLog::is_deleted) {
                    tracing::warn!(
                        "the job was cancelled, and its checkpoints are deleted: it begins anew, and its output comes again"
                    );
                }
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
                    owner: Owner {
                        address: me.address.clone(),
                        pod: me.claimant.pod.clone(),
                        job_uid: me.job_uid.clone(),
                    },
                });
                neighbours.announce(&started.record_id);
                let is_ours = create_known(store.as_ref(), &record::path(next, Seq(0)), &started).await?;
                // Created where an attempt was deleted, it is nobody's.
                if is_ours && !outlived(store.as_ref(), next).await? {
                    me.seen.note(next);
                    write_hint(store.as_ref(), next, Seq(0)).await;
                    let inherited = restored_from.as_ref().map(|checkpoint| checkpoint.epoch);
                    return Ok(Claiming::Ours(Claimed {
                        journal: Journal::new(store, next, started.record_id, inherited),
                        lineage,
                        parallelism,
                        restored_from,
                        committed: newest.map(|log| log.committed).unwrap_or_default(),
                    }));
                }
            }
        }
    }
}

/// A job that was rescaled stays so, until its spec says something else.
fn parallelism(newest: Option<&AttemptLog>, me: &Identity) -> u32 {
    let goes_on = |log: &&AttemptLog| log.spec_digest == me.spec_digest && !log.is_deleted();
    let of_before = newest.filter(goes_on).map(|log| log.parallelism);
    me.rescaled.or(of_before).unwrap_or(me.parallelism)
}

#[cfg(test)]
mod cost;
#[cfg(test)]
mod tests;
