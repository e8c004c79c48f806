//! Where a `SELECT` is at fault, when the planner says only that it is.
//!
//! Its expressions can be typed, each on its own: [`super::types`] has seen to that. What can't fail alone is about the
//! groups: a column that is no group, a HAVING without one.

use datafusion_common::DataFusionError;
use datafusion_sql::sqlparser::ast::Select;

use super::{
    error::{Position, SqlError},
    names::start,
};

/// The error of planning `select`, as near as it can be told.
pub(super) fn locate(error: &DataFusionError, select: &Select, near: Position) -> SqlError {
    let having = select.having.as_ref().filter(|_| error.to_string().contains("HAVING")).and_then(start);
    SqlError::planning(error, having.unwrap_or(near))
}
