//! The coordinator: decides when a job is claimed, cut, committed, restarted and ended.
//!
//! [`prepare`] asks, before the claim, whether the job can run. [`machine`] is pure: events in, effects out, no clock and no I/O. [`tracker`] counts who has acknowledged a
//! checkpoint, [`restart`] says how long to wait after a failure. [`driver`] carries the effects out and brings back what
//! came of them; [`publish`] hands owned chunks to the sinks; [`api`] shows it all.

pub mod api;
pub mod attempt;
pub mod driver;
pub mod event;
pub mod machine;
pub mod owner;
pub mod prepare;
pub mod publish;
pub mod recover;
pub mod restart;
pub mod scribe;
pub mod shared;
pub mod tracker;
