//! What a stop has asked for beside the end, and whether it came.

use tidegate_crds::api::{Failure, FailureReason, SavepointPhase, SavepointStatus, StopRequest};

use crate::{checkpoint::record::Trigger, ids::Epoch};

/// A savepoint, or that windows put out what they hold.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    savepoint: Option<String>,
    drain: bool,
    /// The last checkpoint of a drain, when it is being owned.
    draining: Option<Epoch>,
    is_drained: bool,
}

impl Wanted {
    pub fn ask(&mut self, request: &StopRequest) {
        if request.savepoint.is_some() {
            self.savepoint.clone_from(&request.savepoint);
        }
        self.drain |= request.drain;
    }

    /// A checkpoint is being owned.
    pub fn owning(&mut self, epoch: Epoch, trigger: Trigger) {
        self.draining = (trigger == Trigger::Drain).then_some(epoch);
    }

    /// A checkpoint is owned.
    pub fn owned(&mut self, epoch: Epoch) {
        self.is_drained |= self.draining == Some(epoch);
    }

    /// What a job that has stopped was asked for, and has not done. `savepoint` says what came of a savepoint, `last` is the
    /// last failure.
    pub fn unmet(
        &self,
        savepoint: impl Fn(&str) -> Option<SavepointStatus>,
        last: Option<&Failure>,
    ) -> Option<Failure> {
        let failed = |what: String, cause: Option<String>| {
            let cause = cause.or_else(|| last.map(|failure| failure.message.clone()));
            let cause = cause.map_or_else(String::new, |cause| format!(": {cause}"));
            let message = format!("the job has stopped, but {what}{cause}; its last checkpoint is as it was");
            let reason = last.map_or(FailureReason::TaskFailed, |failure| failure.reason);
            Some(Failure { reason, message })
        };
        if let Some(name) = &self.savepoint {
            let status = savepoint(name);
            if status.as_ref().is_none_or(|status| status.phase != SavepointPhase::Completed) {
                let cause = status.and_then(|status| status.failure);
                return failed(format!("the savepoint `{name}` that it was to leave has failed"), cause);
            }
        }
        if self.drain && !self.is_drained { failed("was not drained".to_owned(), None) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_crds::api::StopPurpose;

    use super::*;

    fn stop(savepoint: Option<&str>, drain: bool) -> StopRequest {
        let savepoint = savepoint.map(str::to_owned);
        StopRequest { purpose: StopPurpose::Suspend, final_checkpoint: true, savepoint, drain }
    }

    fn status(phase: SavepointPhase, failure: Option<&str>) -> SavepointStatus {
        let failure = failure.map(str::to_owned);
        SavepointStatus { name: "s".into(), path: "/s".into(), phase, epoch: Some(1), bytes: None, failure }
    }

    #[test]
    fn a_stop_has_what_it_asked_for_or_says_what_is_missing() {
        let last = Failure { reason: FailureReason::StorageUnreachable, message: "no space".into() };
        let completed = || Some(status(SavepointPhase::Completed, None));
        let failed = || Some(status(SavepointPhase::Failed, Some("disk full")));
        let mut wanted = Wanted::default();
        assert_eq!(wanted.unmet(|_| None, Some(&last)), None, "nothing was asked for");
        wanted.ask(&stop(Some("s"), false));
        assert_eq!(wanted.unmet(|_| completed(), None), None);
        let unmet = wanted.unmet(|_| failed(), None).unwrap();
        assert!(unmet.message.contains("savepoint `s`") && unmet.message.contains("disk full"), "{unmet:?}");
        assert!(wanted.unmet(|_| None, None).is_some(), "nobody knows of it");

        let mut wanted = Wanted::default();
        wanted.ask(&stop(None, true));
        wanted.owning(Epoch(3), Trigger::Interval);
        wanted.owned(Epoch(3));
        wanted.owning(Epoch(4), Trigger::Drain);
        let unmet = wanted.unmet(|_| None, Some(&last)).unwrap();
        assert!(unmet.message.contains("was not drained: no space"), "{unmet:?}");
        assert_eq!(unmet.reason, FailureReason::StorageUnreachable);
        wanted.owned(Epoch(4));
        assert_eq!(wanted.unmet(|_| None, Some(&last)), None);
    }
}
