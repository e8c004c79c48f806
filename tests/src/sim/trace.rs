//! What has happened, in order: a digest of everything, and the words of the last.

use std::{
    collections::VecDeque,
    fmt,
    hash::{DefaultHasher, Hasher},
};

/// How many events are kept in words.
const KEPT: usize = 120;

#[derive(Debug, Default)]
pub struct Trace {
    /// With keys that never change.
    digest: DefaultHasher,
    pub events: u64,
    tail: VecDeque<String>,
    /// Everything is printed as it happens.
    pub told: bool,
}

impl Trace {
    /// At `now`, in microseconds.
    pub fn note(&mut self, now: u64, what: fmt::Arguments<'_>) {
        let line = format!("{:>4}.{:06} {what}", now / 1_000_000, now % 1_000_000);
        self.digest.write(line.as_bytes());
        self.events += 1;
        if self.told {
            eprintln!("{line}");
        }
        if self.tail.len() == KEPT {
            self.tail.pop_front();
        }
        self.tail.push_back(line);
    }

    pub fn digest(&self) -> u64 {
        self.digest.finish()
    }

    pub fn tail(&self) -> String {
        self.tail.iter().map(|line| format!("{line}\n")).collect()
    }
}
