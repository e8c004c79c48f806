//! The local disks, a folder for each host: what a crash leaves on one stays there, and one can be gone for a while.
//!
//! A process that dies here takes its files with it, since all that it holds is dropped, which no killed one does. So its
//! folder is out of its reach while it dies. A disk that is gone is as one that is full: nothing new can be made on it, and
//! what is open is still written to.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{process::Process, world::Host};

/// Beginning of the names of processes' folders.
const OF_PROCESS: &str = "tidegate-";
const OUT_OF_REACH: &str = "out-of-reach";

#[derive(Debug)]
pub struct LocalDisks {
    root: tempfile::TempDir,
}

impl LocalDisks {
    pub fn new(root: tempfile::TempDir) -> Self {
        Self { root }
    }

    /// Where a host's processes make their folders.
    pub fn of(&self, host: Host) -> PathBuf {
        self.root.path().join(host.to_string())
    }

    fn out_of_reach(&self, host: Host) -> PathBuf {
        self.root.path().join(format!("{OUT_OF_REACH}-{host}"))
    }

    /// Lets a process die and leave its files. Whether there were any.
    pub fn leave(&self, host: Host, process: Process) -> bool {
        let has_files = folders(&self.of(host)) > 0;
        let is_taken = self.take(host);
        process.die();
        if is_taken {
            self.give_back(host);
        }
        has_files
    }

    /// Nothing can be made on a host's disk any more. Whether it was in use.
    pub fn take(&self, host: Host) -> bool {
        let (here, there) = (self.of(host), self.out_of_reach(host));
        if !here.is_dir() || there.exists() {
            return false;
        }
        expect("take a disk away", fs::rename(&here, there).and_then(|()| fs::write(here, "")));
        true
    }

    pub fn give_back(&self, host: Host) {
        let (here, there) = (self.of(host), self.out_of_reach(host));
        expect("give a disk back", fs::remove_file(&here).and_then(|()| fs::rename(there, here)));
    }
}

fn folders(disk: &Path) -> usize {
    let entries = fs::read_dir(disk).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(OF_PROCESS)).count()
}

fn expect(action: &str, done: io::Result<()>) {
    done.unwrap_or_else(|error| panic!("failed to {action}: {error}"));
}
