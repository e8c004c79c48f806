//! Tests against real servers, in one program, since linking is what takes time.

#![allow(clippy::disallowed_methods)] // real servers live in real time
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a failed step is a failed test

mod broken;
mod command_line;
mod concurrent;
mod counterparts;
mod kafka;
mod kubernetes;
mod regions;
mod shared_files;
mod sim;
mod store_sales;
mod supervised;
mod systems;
mod unaligned;
