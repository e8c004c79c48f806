//! Why a job does not run, in the words of the API.
//!
//! Each error of a way to a running job says what kind of thing has to change; what may change by itself is tried again,
//! everything else ends the process.

use tidegate_crds::api::{Failure, FailureReason};

use crate::error_chain;

/// An error that can stand between a job and its running.
pub trait Reason: std::error::Error {
    fn reason(&self) -> FailureReason;

    /// As the API shows it.
    fn failure(&self) -> Failure
    where
        Self: Sized,
    {
        Failure { reason: self.reason(), message: error_chain(self) }
    }
}
