//! Checkpoints: what is durable, and who may decide that it is.
//!
//! Everything lives below one root in a [`store`]:
//!
//! ```text
//! log/<attempt>/<seq>            records: who owns the job, which epochs it owned, what it published   [`record`]
//! data/<attempt>/<epoch>/…       state files, write-ahead log chunks, manifest.json                    [`manifest`]
//! data/starts/…                  where sources began that no checkpoint has                            [`starts`]
//! savepoints/<name>/…            copies of checkpoints, which need nothing else                        [`savepoint`]
//! hint                           where to start looking; never believed
//! ```
//!
//! An attempt is one owner's time with the job. [`claim`] makes a new one and ends the one before; [`log`] holds the
//! rules, pure; [`hand_over`] is how a new version of the job follows an old one; the [`journal`] is what the owner writes
//! with, and beside it old records are deleted ([`compact`]). A checkpoint is owned when its `CheckpointCompleted` is in the journal: that single conditional create is the
//! commit point of everything; what it holds for the sinks is [`pending`] until they have it. Small files are written
//! together ([`pack`]). [`collect`] deletes what
//! nothing needs any more; [`verify`] looks whether all is there that something does need. A [`savepoint`] is a copy of a
//! checkpoint; with one, or with another job's checkpoint, a job can begin ([`origin`]).

mod checked_json;
pub mod claim;
pub mod collect;
pub mod committed;
mod compact;
pub mod copy;
pub mod destination;
mod hand_over;
pub mod journal;
pub mod log;
pub mod manifest;
pub mod origin;
pub mod pack;
pub mod pending;
mod permit;
pub mod record;
#[cfg(test)]
pub mod sample;
pub mod savepoint;
pub mod starts;
pub mod store;
pub mod verify;

pub use permit::{CommitPermit, Grant, PermitError};
