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

    /// Lets a process die and leave its files. Whether there were any. `is_away`: its death has taken its disk away already.
    pub fn leave(&self, host: Host, process: Process, is_away: bool) -> bool {
        let here = self.of(host);
        let has_files = folders(&if is_away { out_of_reach(&here) } else { here }) > 0;
        let is_taken = is_away || self.take(host);
        process.die();
        if is_taken {
            self.give_back(host);
        }
        has_files
    }

    /// Nothing can be made on a host's disk any more. Whether it was in use.
    pub fn take(&self, host: Host) -> bool {
        take(&self.of(host))
    }

    pub fn give_back(&self, host: Host) {
        let here = self.of(host);
        expect("give a disk back", fs::remove_file(&here).and_then(|()| fs::rename(out_of_reach(&here), here)));
    }
}

/// As [`LocalDisks::take`], of the disk that is here.
pub fn take(here: &Path) -> bool {
    let there = out_of_reach(here);
    if !here.is_dir() || there.exists() {
        return false;
    }
    expect("take a disk away", fs::rename(here, there).and_then(|()| fs::write(here, "")));
    true
}

fn out_of_reach(here: &Path) -> PathBuf {
    let name = here.file_name().unwrap_or_default().to_string_lossy();
    here.with_file_name(format!("{OUT_OF_REACH}-{name}"))
}

fn folders(disk: &Path) -> usize {
    let entries = fs::read_dir(disk).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(OF_PROCESS)).count()
}

fn expect(action: &str, done: io::Result<()>) {
    done.unwrap_or_else(|error| panic!("failed to {action}: {error}"));
}
