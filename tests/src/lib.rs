//! Whole-system tests of Tidegate: what the tests share.
//!
//! [`counterparts`] starts the real servers that Tidegate reads from, writes to and keeps its checkpoints in; [`job`]
//! runs the program itself and kills it; [`oracle`] knows what the output must be, and reads what it is;
//! [`world`] puts the servers and the store-sales job together, and [`platform`] does so in a cluster.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a failed step is a failed test
#![allow(clippy::disallowed_methods)] // real servers live in real time

pub mod counterparts;
pub mod job;
pub mod oracle;
pub mod platform;
pub mod world;
