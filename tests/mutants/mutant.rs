//! Which mutant is in force.
//!
//! `scripts/mutants.sh` adds this module to a copy of the engine, in which each patch of `tests/mutants` asks it before it
//! behaves wrongly. So all mutants are in one program, and a process that is given no name runs the engine as it is.

use std::sync::LazyLock;

static CHOSEN: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("TIDEGATE_MUTANT").ok());

/// Whether this mutant was chosen for the process.
pub fn chosen(name: &str) -> bool {
    CHOSEN.as_deref() == Some(name)
}
