//! SQL over what a checkpoint holds.
//!
//! A checkpoint, or a savepoint, is seen as [`tables`]: some with what its manifest tells ([`facts`]), and for each
//! collection of rows that an operator remembers one ([`state`]), with columns that people can read ([`shape`]). A query is
//! one `SELECT`, planned by DataFusion ([`query`]) and run by its operators in a single partition ([`physical`]).
//!
//! Promises: nothing is written to the checkpoint storage; files are read one at a time and only when the query comes to
//! them, so a `LIMIT` reads few; what a query keeps of them is bounded by the process's memory limit.

mod error;
mod facts;
mod names;
mod physical;
mod provider;
mod query;
mod scannable;
mod shape;
mod state;
mod tables;
#[cfg(test)]
mod tests;

pub use error::QueryError;
pub use query::{Rows, query};
pub use tables::{Table, tables};

use std::{path::PathBuf, sync::Arc};

use crate::{
    checkpoint::{manifest::Manifest, store::Store},
    memory::MemoryLimit,
    state::Backend,
};

/// What is asked.
pub struct Checkpoint {
    /// Its files are named from this store's root.
    pub store: Arc<dyn Store>,
    pub manifest: Manifest,
    /// Where tables of operators are put to be read.
    pub backend: Backend,
    pub memory: MemoryLimit,
    /// Below which a query puts rows that memory has no room for.
    pub folder: PathBuf,
}

impl std::fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checkpoint").field("epoch", &self.manifest.epoch).finish_non_exhaustive()
    }
}
