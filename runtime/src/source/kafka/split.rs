//! One partition's place, and what each message means for it. No I/O.

use crate::source::{End, Provenance, RecordPlace, SplitState};

/// Name of a partition in a checkpoint.
pub(super) fn split_name(topic: &str, partition: i32) -> String {
    format!("{topic}-{partition}")
}

/// The partition that a checkpoint calls `split`, `None` if it is not one of this topic.
pub(super) fn partition_of(topic: &str, split: &str) -> Option<i32> {
    let number = split.strip_prefix(topic)?.strip_prefix('-')?;
    let partition: i32 = number.parse().ok()?;
    (partition >= 0 && split_name(topic, partition) == split).then_some(partition)
}

/// A partition that is being read.
///
/// It has two places: `next` follows the last record that was handed over to the job and is what a checkpoint takes;
/// `taken` follows the last message that was taken from librdkafka and may be ahead of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Split {
    pub(super) partition: i32,
    next: u64,
    taken: u64,
    end: Option<u64>,
    /// The newest record that was handed over.
    newest: Option<RecordPlace>,
}

impl Split {
    pub(super) fn new(partition: i32, next: u64, end: Option<u64>) -> Self {
        Self { partition, next, taken: next, end, newest: None }
    }

    /// The record before, where it is known and still there.
    pub(super) fn after(self, newest: Option<RecordPlace>) -> Self {
        Self { newest, ..self }
    }

    /// This record is handed over.
    pub(super) fn on_newest(&mut self, record: RecordPlace) {
        self.newest = Some(record);
    }

    /// Where to begin reading, and the leader epoch of the record before that place. Between it and [`Split::next`] lies
    /// nothing that a reader sees, but what does may be of a later leader, so the epoch says nothing of `next` itself.
    pub(super) fn begin(&self) -> (u64, Option<i32>) {
        match self.newest {
            Some(newest) if newest.offset < self.next => (newest.offset + 1, Some(newest.leader_epoch)),
            _ => (self.next, None),
        }
    }

    pub(super) fn next(&self) -> u64 {
        self.next
    }

    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// A record at `offset` was taken: whether the job gets it.
    #[inline]
    pub(super) fn on_record(&mut self, offset: u64) -> bool {
        if let Some(end) = self.end
            && offset >= end
        {
            self.taken = end;
            return false;
        }
        // Below what was taken it would be a repeat.
        let is_new = offset >= self.taken;
        if is_new {
            self.taken = offset + 1;
        }
        is_new
    }

    /// Nothing visible lies between what was taken and `offset`: markers and aborted records at most.
    pub(super) fn on_end_of_partition(&mut self, offset: u64) {
        let reached = self.end.map_or(offset, |end| offset.min(end));
        self.taken = self.taken.max(reached);
    }

    /// All records taken so far were handed over.
    pub(super) fn hand_over(&mut self) {
        self.next = self.taken;
    }

    /// What was taken and not handed over is to be taken again.
    pub(super) fn rewind(&mut self) {
        self.taken = self.next;
    }

    /// Whether a bounded partition has no more to take.
    pub(super) fn is_at_end(&self) -> bool {
        self.end.is_some_and(|end| self.taken >= end)
    }

    /// As of what was handed over.
    pub(super) fn end(&self) -> End {
        End::of(self.next, self.end)
    }

    pub(super) fn is_bounded(&self) -> bool {
        self.end.is_some()
    }

    /// Places between what was handed over and the end, which is `latest` unless the partition is bounded.
    pub(super) fn lag(&self, latest: Option<u64>) -> u64 {
        self.end.or(latest).map_or(0, |end| end.saturating_sub(self.next))
    }

    pub(super) fn state(&self, topic: &str, topic_id: Option<&str>) -> SplitState {
        let provenance = Provenance { topic_id: topic_id.map(str::to_owned), newest_record: self.newest, before: None };
        SplitState {
            split: split_name(topic, self.partition),
            next: self.next,
            end: self.end,
            newest: None,
            provenance: (provenance != Provenance::default()).then_some(provenance),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_back_to_its_partition_and_no_other_topic() {
        assert_eq!(partition_of("orders", &split_name("orders", 12)), Some(12));
        for split in ["orders-eu-1", "orders", "orders-", "orders--1", "orders-01", "sales-1", "orders1"] {
            assert_eq!(partition_of("orders", split), None, "{split}");
        }
        assert_eq!(partition_of("orders-eu", "orders-eu-1"), Some(1));
    }

    #[test]
    fn a_position_moves_only_when_records_are_handed_over() {
        let mut split = Split::new(0, 10, None);
        assert!(split.on_record(10) && split.on_record(14));
        assert_eq!(split.next(), 10);
        split.hand_over();
        assert_eq!(split.next(), 15);
        assert!(!split.on_record(14), "a repeat");
    }

    #[test]
    fn what_was_not_handed_over_is_taken_again_and_nothing_else() {
        let mut split = Split::new(0, 10, None);
        assert!(split.on_record(10));
        split.hand_over();
        assert!(split.on_record(11));
        split.rewind();
        assert!(!split.on_record(10) && split.on_record(11), "10 was handed over");
    }

    #[test]
    fn reading_begins_behind_the_newest_record_by_its_leader() {
        let newest = |offset| Some(RecordPlace { offset, leader_epoch: 3 });
        assert_eq!(Split::new(0, 10, None).begin(), (10, None));
        assert_eq!(Split::new(0, 10, None).after(newest(9)).begin(), (10, Some(3)));
        assert_eq!(Split::new(0, 10, None).after(newest(7)).begin(), (8, Some(3)), "8 and 9 were markers");
    }

    #[test]
    fn a_lag_is_what_was_not_handed_over_and_ends_with_the_partition() {
        let mut split = Split::new(0, 10, None);
        assert_eq!((split.lag(Some(17)), split.lag(Some(9)), split.lag(None)), (7, 0, 0));
        assert!(split.on_record(10));
        assert_eq!(split.lag(Some(17)), 7, "taken, and still in hand");
        split.hand_over();
        assert_eq!(split.lag(Some(17)), 6);
        split.on_end_of_partition(17);
        split.hand_over();
        assert_eq!(split.lag(Some(17)), 0, "the last places were markers");
        assert_eq!(Split::new(0, 10, Some(12)).lag(Some(17)), 2);
    }

    #[test]
    fn a_bounded_partition_ends_at_its_last_record() {
        let mut split = Split::new(0, 0, Some(2));
        assert!(split.on_record(0) && !split.is_at_end());
        assert!(split.on_record(1) && split.is_at_end());
    }

    #[test]
    fn a_bounded_partition_ends_behind_records_that_nobody_sees() {
        let mut split = Split::new(0, 0, Some(5));
        assert!(split.on_record(2));
        split.on_end_of_partition(4);
        assert!(!split.is_at_end(), "not there yet");
        split.on_end_of_partition(9);
        assert!(split.is_at_end());
        split.hand_over();
        assert_eq!(split.next(), 5, "the end is the end, however far the partition goes on");

        let mut split = Split::new(0, 0, Some(5));
        assert!(!split.on_record(7), "past the end");
        assert!(split.is_at_end());
    }
}
