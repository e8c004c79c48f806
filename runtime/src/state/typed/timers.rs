//! Keys that want to be called at a time.
//!
//! Timers are in a table of their own, by key group, clock and time, so that those that are due stand first:
//!
//! ```text
//! key group (2 bytes) · clock (1 byte) · time (8 bytes, in order) · key  →  nothing
//! ```
//!
//! Of each key group and clock the earliest time is kept in memory: while none is due, nothing is read.

use std::{collections::BTreeMap, ops::Range};

use super::codec::Bytes;
use crate::state::table::{Changes, GROUP_BYTES, Table, TableError, group};

/// Which time a timer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Clock {
    /// The watermark's: fires when it has passed the time, in the same order in every run.
    Event,
    /// The wall clock's.
    Processing,
}

/// A call that was asked for: once, however often it was asked for with the same time and key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timer {
    pub key_group: u32,
    pub time: i64,
    pub key: Vec<u8>,
}

/// The timers of a subtask.
#[derive(Debug)]
pub struct Timers {
    groups: Range<u32>,
    /// By clock and key group, the earliest time that may be there.
    earliest: BTreeMap<(Clock, u32), i64>,
}

const CLOCK_BYTES: usize = 1;
const TIME_BYTES: usize = 8;

fn address(clock: Clock, timer: &Timer) -> Vec<u8> {
    let mut bytes = prefix(clock, timer.key_group);
    timer.time.write(&mut bytes);
    bytes.extend_from_slice(&timer.key);
    bytes
}

fn prefix(clock: Clock, key_group: u32) -> Vec<u8> {
    [&group(key_group)[..], &[u8::from(clock == Clock::Processing)]].concat()
}

impl Timers {
    /// Of some key groups; what `table` has of them is found again.
    pub fn new(groups: Range<u32>) -> Self {
        let earliest = groups.clone().flat_map(|group| [(Clock::Event, group), (Clock::Processing, group)]);
        Self { groups: groups.clone(), earliest: earliest.map(|place| (place, i64::MIN)).collect() }
    }

    /// Adds timers, all at once.
    pub fn add(&mut self, table: &mut dyn Table, clock: Clock, timers: &[Timer]) -> Result<(), TableError> {
        let mut changes = Changes::default();
        for timer in timers {
            changes.put(&address(clock, timer), &[]);
            let earliest = self.earliest.entry((clock, timer.key_group)).or_insert(timer.time);
            *earliest = timer.time.min(*earliest);
        }
        table.write(&changes)
    }

    /// Takes timers back; one that is not there is no error.
    pub fn remove(&mut self, table: &mut dyn Table, clock: Clock, timers: &[Timer]) -> Result<(), TableError> {
        let mut changes = Changes::default();
        timers.iter().for_each(|timer| changes.delete(&address(clock, timer)));
        table.write(&changes)
    }

    /// Takes out the timers up to a time: by time, then by key group and key.
    pub fn due(&mut self, table: &mut dyn Table, clock: Clock, now: i64) -> Result<Vec<Timer>, TableError> {
        let mut due = Vec::new();
        for key_group in self.groups.clone() {
            if self.earliest.get(&(clock, key_group)).is_some_and(|earliest| *earliest > now) {
                continue;
            }
            let mut next = i64::MAX;
            table.scan_prefix(&prefix(clock, key_group), &mut |address, _| {
                let timer = read(key_group, address)?;
                if timer.time <= now {
                    due.push(timer);
                } else {
                    next = next.min(timer.time);
                }
                Ok(())
            })?;
            self.earliest.insert((clock, key_group), next);
        }
        self.remove(table, clock, &due)?;
        due.sort_by(|one, other| (one.time, one.key_group, &one.key).cmp(&(other.time, other.key_group, &other.key)));
        Ok(due)
    }
}

fn read(key_group: u32, address: &[u8]) -> Result<Timer, TableError> {
    let damaged = || TableError::Damaged(format!("a timer of {} bytes", address.len()));
    let (time, key) = address
        .get(GROUP_BYTES + CLOCK_BYTES..)
        .and_then(|rest| rest.split_at_checked(TIME_BYTES))
        .ok_or_else(damaged)?;
    Ok(Timer { key_group, time: i64::read(time)?, key: key.to_vec() })
}
