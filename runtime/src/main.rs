//! The `tidegate` program: arguments and wiring.

use std::process::ExitCode;

use clap::Parser;
use tidegate::cli::{self, Arguments};

fn main() -> ExitCode {
    cli::main(Arguments::parse())
}
