//! From one version of a job to the next, without a gap and without haste.
//!
//! The process of the new version looks at what the old one has kept before it asks for anything: a job that can't go on
//! from there is refused, and the old version runs on untouched. Then it asks the old one to stop, which takes a last
//! checkpoint, publishes its output and leaves the log; the new one goes on from there at once. None of this is needed
//! for safety: an owner that does not answer, or takes too long, is sealed.

use std::{sync::Arc, time::Duration};

use tidegate_crds::api::{Failure, FailureReason};

use super::{
    claim::{ClaimError, Heir, Identity, Neighbours},
    log::{AttemptLog, OwnerAnswer},
    manifest::{self, Manifest, ManifestError},
    pending::Pending,
    record::{CheckpointRef, Owner, Trigger},
    store::Store,
};
use crate::{
    env,
    ids::{Attempt, Epoch},
};

/// How long a claimant waits before it looks again whether the job was handed over.
const LOOK_AGAIN: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 200 });
/// How often checkpoints are looked at that turn out not to fit: their owner deletes files while they are looked at.
const LOOKS: u32 = 3;

/// What is known of the checkpoints that this process would go on from.
#[derive(Debug, Default)]
pub(super) struct Inheritance {
    /// A checkpoint that fits, and the attempt that wrote it. All that it writes are of one version of the job, so while it
    /// goes on no other is looked at. Its last one is: what waits in it may need what nothing before it did.
    fits: Option<(Attempt, Epoch)>,
    looks: u32,
}

impl Inheritance {
    /// What of the newest checkpoint waits to be published, and would not go where it was to go; none if the checkpoint is
    /// of this version of the job, or nothing waits.
    pub(super) async fn misplaced(
        &self,
        store: &Arc<dyn Store>,
        log: &AttemptLog,
        me: &Identity,
        heir: &dyn Heir,
    ) -> Result<Option<Failure>, ClaimError> {
        let waits = |checkpoint: &&CheckpointRef| Some(checkpoint.epoch) > log.committed.all;
        let Some(checkpoint) = log.checkpoint.as_ref().filter(waits) else { return Ok(None) };
        if is_settled_by(log, me) {
            return Ok(None);
        }
        match Manifest::read(store.as_ref(), checkpoint).await {
            Ok(manifest) => Ok(heir.publishes(&manifest, &log.committed).err()),
            // Its owner goes on, and has deleted it: the log has a newer one by now.
            Err(ManifestError::Missing { .. }) if log.ending.is_none() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Looks at the newest checkpoint, if another version of the job took it and it is the first of its attempt that is
    /// looked at, or the last. False when that told nothing, and the log has to be read again.
    pub(super) async fn look(
        &mut self,
        store: &Arc<dyn Store>,
        log: &AttemptLog,
        me: &Identity,
        heir: &dyn Heir,
    ) -> Result<bool, ClaimError> {
        let Some(checkpoint) = &log.checkpoint else { return Ok(true) };
        let taken_by = manifest::parse_folder(&checkpoint.manifest).map(|(attempt, _)| attempt);
        let is_known = self.fits.is_some_and(|(attempt, epoch)| {
            taken_by == Some(attempt) && (log.ending.is_none() || epoch == checkpoint.epoch)
        });
        if is_settled_by(log, me) || is_known {
            return Ok(true);
        }
        self.looks += 1;
        let found = match Manifest::read(store.as_ref(), checkpoint).await {
            Ok(manifest) if leaves_output(&manifest, log) => Ok(()),
            Ok(manifest) => heir.fits(store, &manifest).await.map_err(ClaimError::Unfit),
            Err(error @ ManifestError::Store(_)) => return Err(error.into()),
            Err(error) => Err(error.into()),
        };
        match found {
            Ok(()) => self.fits = taken_by.map(|attempt| (attempt, checkpoint.epoch)),
            Err(_) if log.ending.is_none() && self.looks < LOOKS => return Ok(false),
            Err(error) => return Err(error),
        }
        Ok(true)
    }
}

/// Whether there is nothing to look at: the log is of this very version of the job, or of one that is not to be followed.
fn is_settled_by(log: &AttemptLog, me: &Identity) -> bool {
    let is_own = log.revision == me.claimant.revision && log.spec_digest == me.spec_digest;
    is_own || log.revision > me.claimant.revision
}

/// Whether a drained job has output that is not known to be published: any version may take the job for that, and runs no
/// more of it.
fn leaves_output(manifest: &Manifest, log: &AttemptLog) -> bool {
    manifest.trigger == Trigger::Drain && !Pending::inherited(&manifest.chunks, &log.committed).is_empty()
}

/// A healthy owner of a lower revision, on its way to hand the job over.
#[derive(Debug)]
pub(super) struct HandOver {
    pub(super) attempt: Attempt,
    /// In [`env::monotonic`] time.
    until: Duration,
    was_asked: bool,
}

impl HandOver {
    pub(super) fn begin(attempt: Attempt, patience: Duration) -> Self {
        Self { attempt, until: env::monotonic() + patience, was_asked: false }
    }

    /// Whether the owner has had its time.
    pub(super) fn is_over(&self) -> bool {
        env::monotonic() >= self.until
    }

    /// Asks the owner to stop, once, unless there is an `obstacle` to going on from what it has, and waits a little. `Gone`
    /// when it does not hand the job over, `NotAsked` when it may.
    pub(super) async fn go_on(
        &mut self,
        neighbours: &dyn Neighbours,
        owner: &Owner,
        obstacle: Option<String>,
    ) -> OwnerAnswer {
        if self.is_over() {
            tracing::warn!(pod = owner.pod, "an older revision has not handed the job over in time: taking it");
            return OwnerAnswer::Gone;
        }
        if let Some(obstacle) = obstacle {
            neighbours.waits(run_by(owner, self.attempt, &format!("of an older revision, {obstacle}")));
        } else if !self.was_asked {
            tracing::info!(pod = owner.pod, "asking an older revision of the job to hand it over");
            neighbours.waits(run_by(owner, self.attempt, "of an older revision, it was asked to hand the job over"));
            if neighbours.ask_to_stop(owner).await == OwnerAnswer::Gone {
                return OwnerAnswer::Gone;
            }
            self.was_asked = true;
        }
        env::sleep(LOOK_AGAIN).await;
        OwnerAnswer::NotAsked
    }
}

/// What a claim waits for: the job's owner, and `why` it is waited for.
pub(super) fn run_by(owner: &Owner, attempt: Attempt, why: &str) -> Failure {
    let Owner { pod, address, .. } = owner;
    let message = format!("the job is run by {pod} at {address} (attempt {attempt}): {why}");
    Failure { reason: FailureReason::OwnedElsewhere, message }
}
