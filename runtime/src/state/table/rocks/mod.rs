//! Tables on the local disk, by RocksDB: state beyond memory.
//!
//! Each subtask of an operator has a database of its own in the process's [`LocalFolder`](crate::state::local::LocalFolder); all of them share one block
//! cache, which also pays for write buffers, indexes and filters, so that a process stays below its memory budget however
//! many tables it has ([`Engine`]). There is no write-ahead log: the checkpoint is the durability, and after a crash the
//! folder is deleted.
//!
//! RocksDB never changes a file of entries once it is written. So a checkpoint is incremental by itself: at a barrier what
//! is in memory is written and the files that make up the table get a second name ([`FrozenTable`]); those that no
//! earlier checkpoint had are uploaded, the others are named again. An owner that keeps what is new by itself has all that
//! done behind its back ([`Behind`]). Restored with the same key groups, the files are put
//! in their place and opened; with other ones, the entries of the own groups are copied out of each former table
//! ([`Downloaded`]). For a savepoint the entries are written as rows instead, which every backend reads.

mod behind;
mod engine;
mod files;
mod frozen;
mod lookup;
mod merging;
mod options;
mod table;
#[cfg(test)]
mod tests;

pub use self::{
    behind::Behind,
    engine::{Engine, Reserved},
    files::{Downloaded, LocalFile, Uploaded},
    frozen::{Encode, Freezing, FrozenTable, Rows},
    table::RocksTable,
};
