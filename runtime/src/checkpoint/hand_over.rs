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
    record::Owner,
    store::Store,
};
use crate::{env, ids::Attempt};

/// How long a claimant waits before it looks again whether the job was handed over.
const LOOK_AGAIN: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 200 });
/// How often checkpoints are looked at that turn out not to fit: their owner deletes files while they are looked at.
const LOOKS: u32 = 3;

/// What is known of the checkpoints that this process would go on from.
#[derive(Debug, Default)]
pub(super) struct Inheritance {
    /// The attempt that wrote a checkpoint that fits. All checkpoints that it writes are of one version of the job.
    fits: Option<Attempt>,
    looks: u32,
}

impl Inheritance {
    /// Looks at the newest checkpoint, if another version of the job took it and none of its attempt was looked at
    /// before. False when that told nothing, and the log has to be read again.
    pub(super) async fn look(
        &mut self,
        store: &Arc<dyn Store>,
        log: &AttemptLog,
        me: &Identity,
        heir: &dyn Heir,
    ) -> Result<bool, ClaimError> {
        let Some(checkpoint) = &log.checkpoint else { return Ok(true) };
        let taken_by = manifest::parse_folder(&checkpoint.manifest).map(|(attempt, _)| attempt);
        let is_own = log.revision == me.claimant.revision && log.spec_digest == me.spec_digest;
        if is_own || log.revision > me.claimant.revision || (taken_by.is_some() && taken_by == self.fits) {
            return Ok(true);
        }
        self.looks += 1;
        let found = match Manifest::read(store.as_ref(), checkpoint).await {
            Ok(manifest) => heir.fits(store, &manifest).await.map_err(ClaimError::Unfit),
            Err(error @ ManifestError::Store(_)) => return Err(error.into()),
            Err(error) => Err(error.into()),
        };
        match found {
            Ok(()) => self.fits = taken_by,
            Err(_) if log.ending.is_none() && self.looks < LOOKS => return Ok(false),
            Err(error) => return Err(error),
        }
        Ok(true)
    }
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

    /// Asks the owner to stop, once, and waits a little. `can_inherit`: it has a checkpoint, which fits. `Gone` when it
    /// does not hand the job over, `NotAsked` when it may.
    pub(super) async fn go_on(&mut self, neighbours: &dyn Neighbours, owner: &Owner, can_inherit: bool) -> OwnerAnswer {
        if env::monotonic() >= self.until {
            tracing::warn!(pod = owner.pod, "an older revision has not handed the job over in time: taking it");
            return OwnerAnswer::Gone;
        }
        if can_inherit && !self.was_asked {
            tracing::info!(pod = owner.pod, "asking an older revision of the job to hand it over");
            neighbours.waits(run_by(owner, self.attempt, "of an older revision, it was asked to hand the job over"));
            if neighbours.ask_to_stop(owner).await == OwnerAnswer::Gone {
                return OwnerAnswer::Gone;
            }
            self.was_asked = true;
        } else if !can_inherit {
            let why = "of an older revision, it has no checkpoint yet that the new one could go on from";
            neighbours.waits(run_by(owner, self.attempt, why));
        }
        env::sleep(LOOK_AGAIN).await;
        OwnerAnswer::NotAsked
    }
}

/// What a claim waits for: the job's owner, and `why` it is waited for.
pub(super) fn run_by(owner: &Owner, attempt: Attempt, why: &str) -> Failure {
    let Owner { pod, address } = owner;
    let message = format!("the job is run by {pod} at {address} (attempt {attempt}): {why}");
    Failure { reason: FailureReason::OwnedElsewhere, message }
}
