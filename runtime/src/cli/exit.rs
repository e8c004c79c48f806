//! The end of the process, at once.
//!
//! Threads may still be at work then, for an attempt that has failed or was stopped. RocksDB and librdkafka have objects
//! that the C++ runtime destroys when a program ends in the ordinary way, under the hands of these threads: an orderly stop
//! would now and then end by a signal. There is nothing left that an orderly end would do, so this ends without one.

#![allow(unsafe_code)] // the one place that ends the process without what the C++ runtime does at the end

use std::io::{Write, stdout};

/// What [`std::process::ExitCode`] stands for, which gives nobody its number.
#[derive(Debug, Clone, Copy)]
pub enum Exit {
    Success = 0,
    Failure = 1,
}

impl Exit {
    /// Ends the process, whatever its threads do.
    pub fn at_once(self) -> ! {
        // Nobody may be there to read it.
        let _unread = stdout().flush();
        // SAFETY: it takes a number and has no other condition.
        unsafe { libc::_exit(self as i32) }
    }
}

#[cfg(test)]
mod tests {
    use std::{env, process::Command};

    use super::*;

    const INSIDE: &str = "TIDEGATE_TEST_EXIT";

    extern "C" fn die() {
        std::process::abort();
    }

    #[test]
    fn it_ends_without_what_the_c_runtime_does_at_the_end() {
        if env::var_os(INSIDE).is_some() {
            // SAFETY: the handler needs nothing that could be gone by then.
            assert_eq!(unsafe { libc::atexit(die) }, 0);
            Exit::Failure.at_once();
        }
        let name = "cli::exit::tests::it_ends_without_what_the_c_runtime_does_at_the_end";
        let mut inside = Command::new(env::current_exe().unwrap());
        let ended = inside.args([name, "--exact", "--nocapture"]).env(INSIDE, "1").output().unwrap();
        assert_eq!(ended.status.code(), Some(Exit::Failure as i32), "{ended:?}");
    }
}
