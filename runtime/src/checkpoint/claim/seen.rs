//! What a process knows of the log from before: attempts are only ever added to it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::ids::Attempt;

/// The newest attempt that a process has found in the log, over all its claims; 0 is no attempt. Clones are one.
#[derive(Debug, Clone, Default)]
pub struct NewestSeen(Arc<AtomicU64>);

impl NewestSeen {
    /// Takes in an attempt that is in the log.
    pub fn note(&self, attempt: Attempt) {
        self.0.fetch_max(attempt.0, Ordering::Relaxed);
    }

    /// Takes in what a reading has found. An attempt, if the log had it before and does not have it any more: it was
    /// emptied, brought back as it was, or another one is in its place.
    pub(super) fn lost(&self, found: Option<Attempt>) -> Option<Attempt> {
        let found = found.map_or(0, |attempt| attempt.0);
        let before = self.0.fetch_max(found, Ordering::Relaxed);
        (found < before).then_some(Attempt(before))
    }
}
