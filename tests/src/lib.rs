//! Whole-system tests of Tidegate: what the tests share.
//!
//! [`counterparts`] starts the real servers that Tidegate reads from, writes to and keeps its checkpoints in; [`job`]
//! runs the program itself, kills it and asks it how it is, [`crew`] runs it as several processes, [`usage`] tells what a
//! process has used; [`oracle`] knows what the output must be, and reads what it is; [`world`] puts the servers and the
//! store-sales job together, [`platform`] does so in a cluster, and [`local`] is a job without servers.
//!
//! Without the feature `servers` there is only what `make demo` runs: a job without servers, and what it is compared with.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a failed step is a failed test
#![allow(clippy::disallowed_methods)] // real servers live in real time

mod api;
pub mod chance;
#[cfg(feature = "servers")]
pub mod counterparts;
#[cfg(feature = "servers")]
pub mod crew;
#[cfg(feature = "servers")]
pub mod differential;
pub mod job;
pub mod local;
pub mod oracle;
#[cfg(feature = "servers")]
pub mod platform;
#[cfg(feature = "servers")]
pub mod sim;
#[cfg(feature = "servers")]
pub mod skip;
pub mod usage;
#[cfg(feature = "servers")]
pub mod world;
