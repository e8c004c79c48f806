//! Lines of a block of a file, as records: slices, not copies.

use std::ops::Range;

use bytes::Bytes;

use crate::{
    checksum::xxh3,
    source::{Before, RawRecords, Run},
};

/// Bytes of a file, from `start` on.
#[derive(Debug, Default)]
pub(super) struct Block {
    pub start: u64,
    pub bytes: Bytes,
}

/// Some lines of one split.
#[derive(Debug)]
pub(super) struct Lines {
    bytes: Bytes,
    start: u64,
    lines: Vec<Range<u32>>,
    runs: [Run; 1],
}

/// So many bytes before a position tell a file from another one, or as many as were read together.
const BEFORE_BYTES: usize = 4096;

impl Lines {
    /// What stands before the position after them.
    pub(super) fn before(&self) -> Before {
        let last = &self.bytes[self.bytes.len().saturating_sub(BEFORE_BYTES)..];
        Before { bytes: last.len() as u64, xxh3: xxh3(last) }
    }
}

impl Block {
    /// Takes up to `most` lines from the front. `last` says that the file ends with the block, so that a line needs no
    /// end. Gives the lines and the position after them; `None` when there is no whole line.
    pub(super) fn take(&mut self, most: usize, last: bool, split: usize) -> Option<(Lines, u64)> {
        let mut lines = Vec::new();
        let mut from = 0;
        while lines.len() < most && from < self.bytes.len() {
            let rest = self.bytes.get(from..).unwrap_or_default();
            let (length, consumed) = match rest.iter().position(|byte| *byte == b'\n') {
                Some(end) => (end, end + 1),
                None if last => (rest.len(), rest.len()),
                None => break,
            };
            if !rest.get(..length).unwrap_or_default().trim_ascii().is_empty() {
                lines.push(from as u32..(from + length) as u32);
            }
            from += consumed;
        }
        if from == 0 {
            return None;
        }
        let start = self.start;
        let bytes = self.bytes.split_to(from);
        self.start += from as u64;
        let runs = [Run { split, records: 0..lines.len() }];
        Some((Lines { bytes, start, lines, runs }, self.start))
    }
}

impl RawRecords for Lines {
    fn len(&self) -> usize {
        self.lines.len()
    }

    fn payload(&self, index: usize) -> Option<&[u8]> {
        let line = self.lines.get(index)?;
        self.bytes.get(line.start as usize..line.end as usize)
    }

    fn position(&self, index: usize) -> u64 {
        self.start + self.lines.get(index).map_or(0, |line| u64::from(line.start))
    }

    fn runs(&self) -> &[Run] {
        &self.runs
    }
}
