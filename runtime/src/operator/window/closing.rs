//! Windows that have ended, on their way out: so many keys at a time as memory allows.

use std::collections::VecDeque;

use super::{
    accumulate::{Groups, Shape},
    by_bucket::{ByBucket, read_all},
    error::WindowError,
    run::Run,
};
use crate::state::{Departed, Rows, spilled::BUCKETS};

#[derive(Default)]
pub struct Closing {
    ended: VecDeque<Ended>,
}

/// Windows that are put out together.
struct Ended {
    runs: Vec<Run>,
    bytes: u64,
    /// Into how many shares their keys are split, and which is next.
    shares: usize,
    next: usize,
    sources: Option<ByBucket>,
}

impl Closing {
    /// Adds a window. At a time, about `limit` bytes of partial states are put together.
    pub fn add(&mut self, runs: Vec<Run>, limit: u64) {
        let bytes: u64 = runs.iter().map(Run::bytes).sum();
        // Small windows go out in one batch.
        if let Some(last) = self.ended.back_mut()
            && last.next == 0
            && last.bytes + bytes <= limit
        {
            last.runs.extend(runs);
            last.bytes += bytes;
            return;
        }
        let shares = (bytes / limit.max(1) + 1).next_power_of_two().min(BUCKETS as u64) as usize;
        self.ended.push_back(Ended { runs, bytes, shares, next: 0, sources: None });
    }

    pub fn is_empty(&self) -> bool {
        self.ended.is_empty()
    }

    /// Bytes in memory.
    pub fn in_memory(&self) -> u64 {
        self.ended.iter().flat_map(|ended| &ended.runs).map(Run::in_memory).sum()
    }

    /// The groups of the next share. Runs that are done with depart.
    pub fn next(&mut self, shape: &Shape, departed: &mut Departed) -> Result<Option<Groups>, WindowError> {
        let Some(ended) = self.ended.front_mut() else { return Ok(None) };
        let partials = if ended.shares == 1 {
            read_all(&at_hand(&ended.runs))?
        } else {
            let sources = match ended.sources.take() {
                Some(sources) => sources,
                None => ByBucket::new(shape, at_hand(&ended.runs))?,
            };
            let width = BUCKETS / ended.shares;
            let read = sources.read(&(ended.next * width..(ended.next + 1) * width))?;
            ended.sources = Some(sources);
            read
        };
        ended.next += 1;
        if ended.next == ended.shares {
            let done = self.ended.pop_front().into_iter().flat_map(|ended| ended.runs);
            done.for_each(|run| run.depart(departed));
        }
        Ok(Some(shape.merge(&partials)?))
    }
}

fn at_hand(runs: &[Run]) -> Vec<Rows> {
    runs.iter().flat_map(Run::at_hand).collect()
}
