//! Checkpoints: what is durable, and who may decide that it is.

pub mod store;

/// Proof that this process owned an epoch: the log has its `CheckpointCompleted`. Publishing takes it by reference, and
/// only the log makes one.
#[derive(Debug, Clone)]
pub struct CommitPermit {
    epoch: crate::ids::Epoch,
}

impl CommitPermit {
    pub fn epoch(&self) -> crate::ids::Epoch {
        self.epoch
    }

    /// A permit for tests of publishers, which have no log.
    #[cfg(any(test, feature = "test-util"))]
    pub fn for_test(epoch: crate::ids::Epoch) -> Self {
        Self { epoch }
    }
}
