//! The worker: runs subtasks.
//!
//! [`supervisor`] takes the coordinator's orders ([`protocol`]); what it has of an attempt is [`current`].
//! [`topology`] cuts the stream graph into tasks: chains of operators without an exchange in between, and [`regions`] says
//! which of their subtasks restart together. A [`run`] is one deployment of a region, built by [`deploy`]. Subtask *i* of
//! its tasks runs in slot *i*, a thread with a single-threaded runtime ([`slot`]); inside a task everything is a direct
//! call ([`chain`]). [`wiring`] joins them, in this process and to others. A task has one loop: [`source_task`] where records come from a source, [`keyed_task`] where they come
//! from an exchange. At a barrier the loop freezes its chain, sends the barrier on, and leaves the upload to
//! [`snapshot`], which uploads what the storage does not have ([`parts`]), small pieces of all subtasks together
//! ([`crate::checkpoint::pack`]), and keeps the number of pieces small ([`merge`]); several
//! checkpoints may be at that. What a barrier has overtaken on its way is
//! [`in_flight`]. What happened is told in [`report::Report`]s. When the checkpoint has completed, [`publish`] hands its
//! rows to the sinks. [`restore`] reads state back, from the storage or from what the process still has ([`at_hand`],
//! [`supply`]); [`adopt`] finds whose it is, and [`rehearse`] tries beforehand whether it can be, and refuses what lies
//! [`past_the_end`].

pub mod adopt;
pub mod api;
pub mod at_hand;
pub mod chain;
#[cfg(test)]
mod changed;
mod current;
pub mod deploy;
pub mod edge;
pub mod held;
pub mod in_flight;
pub mod keyed_task;
pub mod merge;
mod parts;
mod past_the_end;
pub mod protocol;
pub mod publish;
pub mod regions;
pub mod rehearse;
pub mod report;
pub mod restore;
mod run;
pub mod slot;
pub mod snapshot;
pub mod source_task;
pub mod supervisor;
pub mod supply;
pub mod tables;
pub mod topology;
mod wiring;
