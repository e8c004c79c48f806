//! A value without room.

use arrow::datatypes::DataType;
use datafusion_common::DataFusionError;
use thiserror::Error;

use crate::words::type_name;

/// A result that its type has no room for, met in a row of a batch or in a group.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{what} doesn't fit {kind}")]
pub struct Overflow {
    /// Row of the batch that an accumulator was given, or index of the group that it puts out.
    pub at: usize,
    /// Such as `9223372036854775807 + 1`.
    what: String,
    kind: String,
}

impl Overflow {
    pub(super) fn new(at: usize, what: impl Into<String>, kind: &DataType) -> Self {
        Self { at, what: what.into(), kind: type_name(kind) }
    }

    /// The overflow that the error is about.
    pub fn of(error: &DataFusionError) -> Option<&Self> {
        match error {
            DataFusionError::External(cause) => cause.downcast_ref(),
            _ => None,
        }
    }
}

impl From<Overflow> for DataFusionError {
    fn from(overflow: Overflow) -> Self {
        Self::External(Box::new(overflow))
    }
}
