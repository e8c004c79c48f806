//! Collects a batch: messages in, records out, in the order librdkafka gave them.

use std::sync::Arc;

use rdkafka::error::RDKafkaErrorCode;

use super::{
    batch::{BatchConsumer, Messages, Taken},
    split::Split,
};
use crate::source::{RawRecords, RecordPlace, Run};

/// Records of a full batch.
const FULL: usize = 8192;
/// Bytes of values from which on a batch counts as full with fewer records.
const FULL_BYTES: usize = 8 << 20;

/// Something the client said between records.
pub(super) struct Event {
    pub(super) code: RDKafkaErrorCode,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) text: String,
}

/// A batch being collected.
pub(super) struct Gather {
    consumer: Arc<BatchConsumer>,
    messages: Messages,
    bytes: usize,
    runs: Vec<Run>,
    /// Whether the last take left off because it had no more room, not because the queue was empty.
    has_more: bool,
    /// Index of a partition's split, by partition.
    split_of: Vec<Option<usize>>,
}

impl Gather {
    pub(super) fn new(consumer: Arc<BatchConsumer>) -> Self {
        let messages = Messages::new(Arc::clone(&consumer), FULL);
        Self { consumer, messages, bytes: 0, runs: Vec::new(), has_more: false, split_of: Vec::new() }
    }

    /// Must be told of new splits before records of theirs are taken.
    pub(super) fn index(&mut self, splits: &[Split]) {
        self.split_of.clear();
        for (index, split) in splits.iter().enumerate() {
            let partition = split.partition.max(0) as usize;
            if self.split_of.len() <= partition {
                self.split_of.resize(partition + 1, None);
            }
            if let Some(slot) = self.split_of.get_mut(partition) {
                *slot = Some(index);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.len() == 0
    }

    /// Whether the queue may hold messages that no wake-up will tell of: it was not seen empty.
    pub(super) fn has_more(&self) -> bool {
        self.has_more
    }

    pub(super) fn is_full(&self) -> bool {
        self.messages.len() >= FULL || self.bytes >= FULL_BYTES
    }

    /// Takes what waits in the client's queue, up to a full batch; the ends of partitions are told to their splits.
    pub(super) fn take(&mut self, splits: &mut [Split]) -> Vec<Event> {
        if self.split_of.is_empty() {
            self.index(splits);
        }
        let mut events = Vec::new();
        let before = self.messages.len();
        let room = FULL.saturating_sub(before);
        self.messages.take(room);
        self.has_more = self.messages.len() - before == room;
        let mut kept = before;
        for index in before..self.messages.len() {
            match self.messages.get(index) {
                Some(Taken::Record { partition, offset, bytes }) => {
                    let belongs = self.on_record(splits, partition, offset, kept);
                    if belongs {
                        self.messages.keep(kept, index);
                        kept += 1;
                        self.bytes += bytes;
                    }
                }
                Some(Taken::Event { code, partition, offset, text }) => {
                    if code == RDKafkaErrorCode::PartitionEOF {
                        let split = self.split(partition).and_then(|split| splits.get_mut(split));
                        if let (Some(split), Ok(offset)) = (split, u64::try_from(offset)) {
                            split.on_end_of_partition(offset);
                        }
                    } else {
                        events.push(Event { code, partition, offset, text });
                    }
                }
                None => {}
            }
        }
        self.messages.truncate(kept);
        events
    }

    /// The batch so far, if it holds a record; collecting begins anew.
    pub(super) fn hand_over(&mut self, splits: &mut [Split]) -> Option<KafkaRecords> {
        if self.is_empty() {
            return None;
        }
        for run in &self.runs {
            let last = run.records.end.saturating_sub(1);
            let place = self.messages.offset(last).zip(self.messages.leader_epoch(last));
            if let (Some(split), Some((offset, leader_epoch))) = (splits.get_mut(run.split), place) {
                split.on_newest(RecordPlace { offset, leader_epoch });
            }
        }
        self.bytes = 0;
        let fresh = Messages::new(Arc::clone(&self.consumer), FULL);
        let messages = std::mem::replace(&mut self.messages, fresh);
        Some(KafkaRecords { messages, runs: std::mem::take(&mut self.runs) })
    }

    #[inline]
    fn split(&self, partition: i32) -> Option<usize> {
        *self.split_of.get(usize::try_from(partition).ok()?)?
    }

    /// Whether the record belongs into the batch, at `place`.
    #[inline]
    fn on_record(&mut self, splits: &mut [Split], partition: i32, offset: i64, place: usize) -> bool {
        let Some(index) = self.split(partition) else { return false };
        let (Some(split), Ok(offset)) = (splits.get_mut(index), u64::try_from(offset)) else { return false };
        if !split.on_record(offset) {
            return false;
        }
        match self.runs.last_mut() {
            Some(run) if run.split == index => run.records.end = place + 1,
            _ => self.runs.push(Run { split: index, records: place..place + 1 }),
        }
        true
    }
}

/// A batch of records, still in librdkafka's memory.
pub(super) struct KafkaRecords {
    messages: Messages,
    runs: Vec<Run>,
}

impl RawRecords for KafkaRecords {
    fn len(&self) -> usize {
        self.messages.len()
    }

    #[inline]
    fn payload(&self, index: usize) -> Option<&[u8]> {
        self.messages.payload(index)
    }

    #[inline]
    fn position(&self, index: usize) -> u64 {
        self.messages.offset(index).unwrap_or_default()
    }

    fn runs(&self) -> &[Run] {
        &self.runs
    }
}
