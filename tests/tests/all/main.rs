//! Tests against real servers, in one program, since linking is what takes time.

#![allow(clippy::disallowed_methods)] // real servers live in real time
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a failed step is a failed test

mod broken;
mod command_line;
mod concurrent;
mod counterparts;
mod differential;
mod kafka;
mod local_disk;
mod lost_storage;
mod printed;
mod regions;
mod shared_files;
mod side_outputs;
mod sim;
mod stand_by;
mod store_sales;
mod stores;
mod supervised;
mod systems;
mod time_to_live;
mod unaligned;
