//! What goes wrong in a window.

use arrow::error::ArrowError;
use datafusion_common::DataFusionError;
use thiserror::Error;

use crate::{
    operator::{Named, OperatorError},
    state::{StateError, file::FileError, local::LocalError},
};

#[derive(Debug, Error)]
pub enum WindowError {
    #[error(transparent)]
    Engine(#[from] DataFusionError),
    #[error(transparent)]
    State(#[from] StateError),
}

impl From<ArrowError> for WindowError {
    fn from(cause: ArrowError) -> Self {
        Self::Engine(cause.into())
    }
}

impl From<FileError> for WindowError {
    fn from(cause: FileError) -> Self {
        Self::State(cause.into())
    }
}

impl From<LocalError> for WindowError {
    fn from(cause: LocalError) -> Self {
        Self::State(FileError::from(cause).into())
    }
}

impl WindowError {
    /// As an error of the operator.
    pub fn of(self, operator: &Named) -> OperatorError {
        match self {
            Self::Engine(cause) => operator.engine(cause),
            Self::State(cause) => operator.state(cause),
        }
    }
}
