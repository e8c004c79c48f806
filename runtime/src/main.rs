//! The `tidegate` program: arguments and wiring.

use std::process::ExitCode;

use clap::Parser;
use tidegate::cli::{self, Arguments};
use tikv_jemallocator::Jemalloc;

/// For RocksDB and librdkafka as well.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    cli::main(Arguments::parse())
}
