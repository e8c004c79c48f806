//! Whole-system tests of Tidegate: what the tests share.
//!
//! [`counterparts`] starts the real servers that Tidegate reads from, writes to and keeps its
//! checkpoints in.

pub mod counterparts;
