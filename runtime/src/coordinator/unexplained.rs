//! Channels that have broken, and nobody has said why.
//!
//! A subtask that fails takes its channels with it, and so does a worker that is lost. Those at the other ends see no more
//! than that, and often say so first. So a broken channel is not taken for a cause at once: all workers are asked for what
//! else they have to say. Each says it before it answers, and a subtask reports before its channels go; so when all have
//! answered, or are lost, the cause has been heard, or there is none but the channel.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_crds::api::Failure;

use super::workers::WorkerId;
use crate::ids::RegionId;

#[derive(Debug, Default)]
pub struct Unexplained {
    /// The newest question.
    question: u64,
    /// Who has not answered it.
    waiting: BTreeSet<WorkerId>,
    /// The first that was said of each region.
    broken: BTreeMap<RegionId, Failure>,
}

impl Unexplained {
    /// A channel of a region has broken. Gives the question to ask these workers, if it is not asked already.
    pub fn broken(
        &mut self,
        region: RegionId,
        failure: Failure,
        workers: impl Iterator<Item = WorkerId>,
    ) -> Option<u64> {
        if self.broken.contains_key(&region) {
            return None;
        }
        self.broken.insert(region, failure);
        self.waiting = workers.collect();
        self.question += 1;
        Some(self.question)
    }

    /// These regions have failed for a cause that is known.
    pub fn explained(&mut self, regions: &BTreeSet<RegionId>) {
        self.broken.retain(|region, _| !regions.contains(region));
    }

    /// A worker has answered. Gives what stays unexplained, if nobody is left who could know more.
    pub fn answered(&mut self, worker: WorkerId, question: u64) -> Option<(BTreeSet<RegionId>, Failure)> {
        if question == self.question {
            self.waiting.remove(&worker);
        }
        self.settle()
    }

    /// A worker is lost, and answers no more.
    pub fn lost(&mut self, worker: WorkerId) -> Option<(BTreeSet<RegionId>, Failure)> {
        self.waiting.remove(&worker);
        self.settle()
    }

    fn settle(&mut self) -> Option<(BTreeSet<RegionId>, Failure)> {
        if !self.waiting.is_empty() {
            return None;
        }
        let broken = std::mem::take(&mut self.broken);
        let failure = broken.values().next()?.clone();
        Some((broken.into_keys().collect(), failure))
    }
}

#[cfg(test)]
mod tests {
    use tidegate_crds::api::FailureReason;

    use super::*;

    fn failure(message: &str) -> Failure {
        Failure { reason: FailureReason::WorkerLost, message: message.to_owned() }
    }

    fn set(regions: &[u32]) -> BTreeSet<RegionId> {
        regions.iter().copied().map(RegionId).collect()
    }

    const WORKERS: [WorkerId; 2] = [WorkerId(0), WorkerId(1)];

    fn broken(unexplained: &mut Unexplained, region: u32, message: &str) -> Option<u64> {
        unexplained.broken(RegionId(region), failure(message), WORKERS.into_iter())
    }

    #[test]
    fn a_channel_is_the_cause_when_all_have_answered_and_nobody_knew_another() {
        let mut unexplained = Unexplained::default();
        assert_eq!(broken(&mut unexplained, 0, "first"), Some(1));
        assert_eq!(broken(&mut unexplained, 0, "second"), None, "it is asked already");
        assert_eq!(unexplained.answered(WORKERS[1], 1), None);
        assert_eq!(broken(&mut unexplained, 1, "another region"), Some(2), "who has answered may know of this one");
        assert_eq!(unexplained.answered(WORKERS[0], 1), None, "an answer to the question before");
        assert_eq!(unexplained.answered(WORKERS[0], 2), None);
        assert_eq!(unexplained.answered(WORKERS[1], 2), Some((set(&[0, 1]), failure("first"))));
        assert_eq!(unexplained.answered(WORKERS[1], 2), None, "once");
    }

    #[test]
    fn what_was_explained_meanwhile_is_no_failure_of_its_own() {
        let mut unexplained = Unexplained::default();
        broken(&mut unexplained, 0, "first");
        unexplained.explained(&set(&[0, 3]));
        assert_eq!(unexplained.answered(WORKERS[0], 1), None);
        assert_eq!(unexplained.answered(WORKERS[1], 1), None);
        assert_eq!(broken(&mut unexplained, 0, "again"), Some(2), "in the next run of the region");
    }

    #[test]
    fn a_lost_worker_is_not_waited_for() {
        let mut unexplained = Unexplained::default();
        broken(&mut unexplained, 0, "first");
        assert_eq!(unexplained.answered(WORKERS[0], 1), None);
        assert_eq!(unexplained.lost(WORKERS[1]), Some((set(&[0]), failure("first"))));
    }
}
