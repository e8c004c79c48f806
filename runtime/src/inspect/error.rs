//! Why a query has no answer.

use arrow::error::ArrowError;
use datafusion_common::DataFusionError;
use thiserror::Error;

use crate::{
    state::{StateError, file::FileError},
    words,
};

#[derive(Debug, Error)]
pub enum QueryError {
    #[error("the query: found {found}; accepted is one SELECT: a checkpoint is only read")]
    NotOneSelect { found: String },
    #[error("the query: there is no table `{name}`{hint}; accepted are {}", .accepted.join(", "))]
    UnknownTable { name: String, hint: String, accepted: Vec<String> },
    #[error("the query: {what} is not supported here; accepted are {ACCEPTED}")]
    Unsupported { what: String },
    #[error("the query: {0}")]
    Refused(String),
    #[error("the checkpoint is damaged: `{file}` {found}")]
    Damaged { file: String, found: String },
    #[error("{0}; the job goes on and may have deleted it: ask again, or ask a savepoint")]
    Collected(FileError),
    #[error(transparent)]
    File(FileError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error("failed to make rows of what the checkpoint holds")]
    Arrow(#[from] ArrowError),
}

const ACCEPTED: &str = "columns and expressions, WHERE, joins, GROUP BY, HAVING, DISTINCT, ORDER BY, LIMIT, UNION, WITH \
                        and subqueries";

impl From<FileError> for QueryError {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Missing { .. } => Self::Collected(error),
            other => Self::File(other),
        }
    }
}

impl From<QueryError> for DataFusionError {
    fn from(error: QueryError) -> Self {
        Self::External(Box::new(error))
    }
}

impl From<DataFusionError> for QueryError {
    /// An error of our own comes back as it was; one of the engine in its innermost words.
    fn from(error: DataFusionError) -> Self {
        match error {
            DataFusionError::External(cause) => match cause.downcast::<Self>() {
                Ok(own) => *own,
                Err(other) => Self::Refused(crate::error_chain(other.as_ref())),
            },
            other => Self::Refused(words::of(&other)),
        }
    }
}
