//! SQL text to stream graph.
//!
//! The text is read statement by statement, and every `SELECT` is planned on its own against the one relation it reads,
//! innermost first. Names are resolved and unsupported syntax is refused on the syntax tree, where places are known;
//! `DataFusion` then plans the `SELECT`, types its expressions, and what comes back is *lowered*: an aggregate over a
//! window or the first row of a `ROW_NUMBER()` becomes a [`stage`] of its own, and whatever lies between two stages is a
//! chain of projections and filters, a *segment*. When all statements are read, segments are optimised one by one, only
//! the columns that some reader needs are kept, and stages and segments become the nodes of a [`StreamGraph`].
//!
//! Promises: a statement is planned as it is meant or refused with its place; the same stage read twice (a view with two
//! sinks behind it) is one node; operators and their state are named by what is written, never by positions ([`canonical`],
//! [`operator_id`]); a function whose value depends on when it runs is refused, since a replay would give another result.
//!
//! Names: an unquoted name finds a column, view or source of any case, a quoted one only its own; a new name (`AS total`)
//! is lower case unless quoted. Literals with a point (`1.5`) are exact decimals.
//!
//! [`StreamGraph`]: crate::graph::StreamGraph

mod arithmetic;
mod build;
mod canonical;
mod catalog;
mod clauses;
mod date_format;
mod date_trunc;
mod depth;
mod dialect;
mod doubles;
mod duration_part;
mod error;
mod fold;
mod from;
mod functions;
mod insert;
mod lineage;
mod locate;
mod long_text;
mod lower;
mod names;
mod operator_id;
mod outputs;
mod plan;
mod push_down;
mod query;
mod rewrite;
mod segment;
mod stage;
mod text;
mod touching;
mod tumble;
mod types;
mod unix_time;
mod unsupported;
mod wrapped;
mod written_out;

#[cfg(test)]
mod tests;

pub use arithmetic::Overflow;
pub use catalog::{Catalog, CatalogSource};
pub use error::{Position, SqlError};
pub use plan::plan;
