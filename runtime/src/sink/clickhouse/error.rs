//! Which of the server's errors can be tried again.

use clickhouse::error::Error;

use super::ClickHousePublisher;
use crate::sink::SinkError;

/// Codes that say that the statement, the table or the values are at fault (`ErrorCodes.cpp` of ClickHouse): unknown
/// column, type mismatch, null in a column that is not nullable, overflow, unknown table, no access …
const LASTING: [u32; 26] =
    [8, 10, 16, 20, 27, 36, 41, 43, 44, 47, 50, 53, 60, 62, 69, 70, 81, 115, 192, 193, 321, 349, 407, 457, 497, 516];

impl ClickHousePublisher {
    pub(super) fn judge(&self, action: String, error: Error) -> SinkError {
        match lasting(&error) {
            Some(said) => {
                SinkError::Refused { sink: self.sink.clone(), message: format!("failed to {action}: {said}") }
            }
            None => SinkError::Failed { sink: self.sink.clone(), action, cause: error.into() },
        }
    }
}

/// What the server said, if trying again does not help.
pub(super) fn lasting(error: &Error) -> Option<&str> {
    let Error::BadResponse(said) = error else { return None };
    let code = said.trim_start().strip_prefix("Code: ")?.split(['.', ',']).next()?.trim().parse::<u32>().ok()?;
    LASTING.contains(&code).then_some(said.trim())
}
