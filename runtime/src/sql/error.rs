//! What is wrong with the SQL, in words its author can act on.

use std::fmt;

use datafusion_common::DataFusionError;
use datafusion_sql::sqlparser::tokenizer::{Location, Span};
use thiserror::Error;

use crate::words;

/// A place in `spec.sql`; both count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    pub line: u64,
    pub column: u64,
}

impl Position {
    /// Where the span begins; `None` for a span that the parser left empty.
    pub(super) fn of(span: Span) -> Option<Self> {
        Self::at(span.start)
    }

    pub(super) fn at(location: Location) -> Option<Self> {
        (location.line > 0).then_some(Self { line: location.line, column: location.column })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// One thing that is wrong: where, what was found, what is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("spec.sql{}: {message}", at.map(|at| format!(", {at}")).unwrap_or_default())]
pub struct SqlError {
    /// Missing only where the SQL as a whole is at fault.
    pub at: Option<Position>,
    pub message: String,
}

impl SqlError {
    pub(super) fn new(at: impl Into<Option<Position>>, message: impl Into<String>) -> Self {
        Self { at: at.into(), message: message.into() }
    }

    /// An error of the SQL library, at the place it names or else at `near`.
    pub(super) fn planning(error: &DataFusionError, near: impl Into<Option<Position>>) -> Self {
        let at = error
            .diagnostic()
            .and_then(|diagnostic| diagnostic.span)
            .map(|span| Position { line: span.start.line, column: span.start.column });
        Self::new(at.or(near.into()), words::of(error))
    }
}
