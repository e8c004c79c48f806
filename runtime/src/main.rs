//! The `tidegate` program: arguments and wiring.

use clap::Parser;
use tidegate::cli::{self, Arguments};

/// For RocksDB and librdkafka as well.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    cli::main(Arguments::parse())
}
