//! Why a job does not run, in the words of the API.
//!
//! Each error of a way to a running job says what kind of thing has to change; what may change by itself is tried again,
//! everything else ends the process.

use std::any::Any;

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

/// What a panic says.
pub fn words_of(panic: &(dyn Any + Send)) -> &str {
    let owned = || panic.downcast_ref::<String>().map(String::as_str);
    panic.downcast_ref::<&str>().copied().or_else(owned).unwrap_or("without a word")
}
