//! Tests that can't run here: the machine does not allow it, or a server was named that isn't ours to break.
//!
//! A skip is said, counted by `make test`, and a failure where `TIDEGATE_TEST_REQUIRE` is set, as CI does: a machine that
//! lost a program would pass without half of the tests otherwise.

use std::{env, fmt::Display, fs::OpenOptions, io::Write};

/// Set to anything, it makes a skip a failure.
const REQUIRE: &str = "TIDEGATE_TEST_REQUIRE";
/// Names a file that gets a line for each skip.
const SKIPPED: &str = "TIDEGATE_TEST_SKIPPED";

/// Says that the test that runs on this thread, or the rest of it, is left out; its caller returns.
pub fn skip(reason: impl Display) {
    let thread = std::thread::current();
    let line = format!("SKIPPED {}: {reason}\n", thread.name().unwrap_or("a test"));
    assert!(env::var_os(REQUIRE).is_none(), "{REQUIRE} is set, so nothing may be left out: {line}");
    // Not by a macro, whose words a test runner keeps to itself when the test passes.
    std::io::stderr().write_all(line.as_bytes()).expect("standard error");
    if let Some(path) = env::var_os(SKIPPED) {
        let mut file = OpenOptions::new().create(true).append(true).open(path).expect("the list of skips");
        file.write_all(line.as_bytes()).expect("the list of skips");
    }
}

/// Whether a server was named by this variable, and so isn't ours to break. If so, the test is skipped.
pub fn is_named(variable: &str) -> bool {
    let is_named = env::var_os(variable).is_some();
    if is_named {
        skip(format_args!("the server named by {variable} isn't ours to break"));
    }
    is_named
}
