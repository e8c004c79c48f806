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
}

impl Reason for StateError {
    fn reason(&self) -> FailureReason {
        match self {
            Self::Table(error) => error.reason(),
            Self::File(error) => error.reason(),
            Self::Arrow(_) => FailureReason::TaskFailed,
        }
    }
}
