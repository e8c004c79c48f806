//! What to do next: a pure function of the facts.
//!
//! One reconcile takes one step; what it changes leads to the next. The rows are tried from the top, and each has a test
//! of its name in `plan/tests.rs`.
//!
//! | row | when | then |
//! |---|---|---|
//! | D1 | deleted, our finalizer gone | rest |
//! | D2 | deleted, deadline passed | let go |
//! | D3 | deleted, nothing runs | let go |
//! | D4 | deleted, a pod can be stopped | stop it for good, those that stand by first |
//! | D5 | deleted, every pod has ended | let go |
//! | D6 | deleted, no pod can run | let go |
//! | D7 | deleted, a pod does not answer | wait |
//! | P1 | no finalizer | protect |
//! | R1 | the spec contradicts itself, or a name is taken | refuse: leave everything as it is |
//! | S1 | suspended, never ran or scaled to zero | rest |
//! | S2 | suspended, a pod can be stopped | stop it, those that stand by first |
//! | S3 | suspended, no pod can be stopped | scale to zero |
//! | N1 | nothing rolled out | roll out |
//! | N2 | rolled out is another version | roll out |
//! | N3 | the job has finished | scale to zero |
//! | N4 | finished before, at zero | rest |
//! | N5 | at zero | scale to one |
//! | N6 | the owner has stopped, and nobody asked for it | roll out anew |
//! | N7 | an object is missing or changed | apply |
//! | N8 | something is left that nothing needs | clean up |
//! | N9 | otherwise | rest |

use tidegate_crds::{
    OnDelete, RunState,
    api::{Phase, StopPurpose, StopRequest},
};

use super::facts::{Facts, Orphan, PodFact, Refusal, Rollout};

/// The next step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Put our finalizer on, before anything is made that has to be ended.
    Protect,
    /// Leave everything as it is, and say why.
    Refuse(Refusal),
    /// Bring every object to the version that the spec asks for.
    Apply { revision: u64, replicas: i32 },
    /// Change the number of pods and nothing else: what runs, or ran last, is left as it is.
    Scale { replicas: i32 },
    /// Ask these pods to stop.
    Stop { pods: Vec<String>, request: StopRequest },
    /// Delete these objects.
    CleanUp(Vec<Orphan>),
    /// Take our finalizer off: the job has ended, or can't be waited for.
    LetGo(Farewell),
    /// Something is under way: look again soon.
    Wait,
    /// Everything is as it should be.
    Rest,
}

/// How a deleted job was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Farewell {
    /// It took its last checkpoint, or ended at once where that was asked for.
    Ended,
    /// So it did, and has deleted its checkpoints.
    EndedAndDeleted,
    /// It did not run.
    NotRunning,
    /// It did not end in time; Kubernetes kills its pod.
    Deadline,
}

/// The next step.
pub fn plan(facts: &Facts) -> Decision {
    match facts.deleted_at {
        Some(deleted_at) => delete(facts, deleted_at),
        None if !facts.has_finalizer => Decision::Protect,
        None => match (&facts.refusal, facts.state) {
            (Some(refusal), _) => Decision::Refuse(refusal.clone()),
            (None, RunState::Suspended) => suspend(facts),
            (None, RunState::Running) => run(facts),
        },
    }
}

fn delete(facts: &Facts, deleted_at: u64) -> Decision {
    if !facts.has_finalizer {
        return Decision::Rest;
    }
    if facts.now >= deleted_at + facts.deletion_deadline {
        return Decision::LetGo(Farewell::Deadline);
    }
    let request = StopRequest::new(StopPurpose::Cancel, facts.on_delete == OnDelete::Checkpoint);
    let living: Vec<&PodFact> = facts.living().collect();
    if living.is_empty() {
        return Decision::LetGo(Farewell::NotRunning);
    }
    if let Some(stop) = stop(&living, request) {
        return stop;
    }
    if living.iter().all(|pod| pod.has_ended() || pod.trouble.is_some()) {
        let is_deleted = |pod: &&&PodFact| pod.job.as_ref().is_some_and(|job| job.is_deleted);
        return Decision::LetGo(match living.iter().filter(|pod| pod.has_ended()).max_by_key(is_deleted) {
            Some(pod) if is_deleted(&pod) => Farewell::EndedAndDeleted,
            Some(_) => Farewell::Ended,
            None => Farewell::NotRunning,
        });
    }
    Decision::Wait
}

fn suspend(facts: &Facts) -> Decision {
    match &facts.rollout {
        None | Some(Rollout { replicas: 0, .. }) => Decision::Rest,
        Some(_) => {
            let living: Vec<&PodFact> = facts.living().collect();
            let request = StopRequest::new(StopPurpose::Suspend, true);
            stop(&living, request).unwrap_or(Decision::Scale { replicas: 0 })
        }
    }
}

/// Whoever stands by must not take the job when the owner leaves it, so it goes first. A pod that is stopping is asked
/// again: that changes nothing.
fn stop(pods: &[&PodFact], request: StopRequest) -> Option<Decision> {
    let named = |owns: bool| {
        let chosen = pods.iter().filter(|pod| pod.can_be_stopped() && pod.owns() == owns);
        chosen.map(|pod| pod.name.clone()).collect::<Vec<_>>()
    };
    let (standing_by, owners) = (named(false), named(true));
    let pods = if standing_by.is_empty() { owners } else { standing_by };
    (!pods.is_empty()).then_some(Decision::Stop { pods, request })
}

fn run(facts: &Facts) -> Decision {
    // Higher than every revision before, even if the Deployment or the status was lost.
    let next = |live: u64| facts.now.max(live + 1).max(facts.known_revision.map_or(0, |known| known + 1));
    let Some(rollout) = &facts.rollout else { return Decision::Apply { revision: next(0), replicas: 1 } };
    let revision = rollout.revision;
    if rollout.digest != facts.digest {
        return Decision::Apply { revision: next(revision), replicas: 1 };
    }
    let owner = facts.owner().filter(|pod| pod.revision == revision);
    let phase = owner.and_then(PodFact::phase);
    if rollout.replicas == 0 {
        let finished = facts.finished_revision == Some(revision);
        return if finished { Decision::Rest } else { Decision::Apply { revision, replicas: 1 } };
    }
    if phase == Some(Phase::Finished) {
        return Decision::Scale { replicas: 0 };
    }
    if phase == Some(Phase::Stopped) && owner.is_some_and(|pod| !pod.terminating) {
        return Decision::Apply { revision: next(revision), replicas: 1 };
    }
    if facts.drifted {
        return Decision::Apply { revision, replicas: 1 };
    }
    if !facts.orphans.is_empty() {
        return Decision::CleanUp(facts.orphans.clone());
    }
    Decision::Rest
}

#[cfg(test)]
mod tests;
