//! What goes wrong where state is kept.

use arrow::error::ArrowError;
use thiserror::Error;
use tidegate_crds::api::FailureReason;

use super::{file::FileError, table::TableError};
use crate::failure::Reason;

#[derive(Debug, Error)]
pub enum StateError {
    #[error(transparent)]
    Table(#[from] TableError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error("failed to make rows of state")]
    Arrow(#[from] ArrowError),
    /// A fault of the program, not of what was kept.
    #[error("{0}; this is a fault of the program, please report it")]
    Fault(&'static str),
}

impl Reason for StateError {
    fn reason(&self) -> FailureReason {
        match self {
            Self::Table(error) => error.reason(),
            Self::File(error) => error.reason(),
            Self::Arrow(_) | Self::Fault(_) => FailureReason::TaskFailed,
        }
    }
}
