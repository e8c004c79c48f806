//! Names and functions of one `SELECT`, resolved on the syntax tree.
//!
//! A `SELECT` reads one relation, so every name is a column of it, or, behind `GROUP BY` and `HAVING`, an alias of the
//! `SELECT` list. Names that are found are written back as quoted names of the exact case: the planner that follows
//! finds them without guessing. Every kind of expression that is not known to be supported is refused here.

mod columns;
mod expr;
mod function;
mod instant;
mod number;
mod select;
mod types;

pub(super) use columns::{Columns, new_name, same_name};
pub(super) use expr::start;
pub(super) use select::{Facts, Ranking, resolve, short};

use super::{text::Text, types::Check};
use crate::sql::error::Position;

/// Deeper expressions are refused, so that none exhausts the stack.
const MAX_DEPTH: usize = 100;

/// Which part of the `SELECT` an expression is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clause {
    Select,
    Where,
    GroupBy,
    Having,
    Qualify,
}

/// Where the walk stands.
#[derive(Debug, Clone, Copy)]
struct Context {
    clause: Clause,
    depth: usize,
    inside_aggregate: bool,
    inside_over: bool,
    /// The last place that was known: some expressions have none of their own.
    near: Position,
}

struct Resolver<'a> {
    /// What an expression is checked by when its names are resolved.
    check: Check<'a>,
    text: &'a Text,
    columns: Columns<'a>,
    facts: Facts,
}
