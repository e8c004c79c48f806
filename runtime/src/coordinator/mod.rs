//! The coordinator: decides when a job is claimed, cut, committed, restarted and ended.
//!
//! [`prepare`] asks, before the claim, whether the job can run. [`machine`] is pure: events in, effects out, no clock
//! and no I/O. [`tracker`] counts who has acknowledged a checkpoint, [`restart`] says how long to wait after a failure, [`repeats`]
//! whether it came again.
//! [`driver`] hears what happens and has the effects done ([`effects`]), [`workers`] knows who is there, [`place`] says
//! which subtasks run where, [`staff`] who has them and how far each is, [`unexplained`] what has failed for want of another, [`regions`] restarts some of them while the others go
//! on, [`starts`] finds where sources begin that no checkpoint knows, [`savepoints`] does what the job is asked for while it runs, [`cancelled`] deletes what is left of one that is over, [`api`] shows it all.

pub mod api;
pub mod attempt;
mod call;
mod cancelled;
pub mod driver;
mod effects;
pub mod event;
mod lags;
pub mod machine;
pub mod owner;
mod place;
pub mod prepare;
pub mod recover;
mod regions;
mod repeats;
pub mod restart;
mod savepoints;
pub mod scribe;
pub mod shared;
mod staff;
mod starts;
pub mod tracker;
mod unexplained;
mod wanted;
pub mod workers;
