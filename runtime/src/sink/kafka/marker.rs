//! Reads which chunk of a slot was published last.
//!
//! The module [`super`] says what a read must see, and proves that this one does. What was read is remembered, so the
//! next read of a slot begins where the last one ended: a few records, however long the topic is.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
};
use serde::{Deserialize, Serialize};

use crate::{
    env,
    ids::Epoch,
    kafka::{
        ANSWER_TIMEOUT, Cluster, Trouble, Watch,
        event::{Meaning, meaning},
        failed_to,
    },
    sink::ChunkId,
};

/// The last chunk of a transaction, by its place in the slot's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Marker {
    pub(crate) epoch: Epoch,
    pub(crate) index: u32,
}

impl Marker {
    /// The place of a chunk.
    pub(crate) fn of(id: &ChunkId) -> Self {
        Self { epoch: id.epoch, index: id.index }
    }

    /// Whether a chunk is published, by the newest marker of its slot: a slot's chunks are published in order.
    pub(crate) fn covers(self, id: &ChunkId) -> bool {
        self >= Self::of(id)
    }
}

/// What the progress topic tells of the newest transaction of a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    #[serde(flatten)]
    pub(crate) at: Marker,
    /// Of the chunk; builds before this one wrote none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    checksum: Option<String>,
}

/// What a slot's newest mark says of a chunk that is to be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finding<'a> {
    Absent,
    Published,
    /// There are rows that the log knows nothing of: under the chunk's id, or of epochs that it does not own.
    Ahead(&'a Mark),
}

impl Mark {
    /// What the transaction of a chunk leaves; see [`crate::sink::Chunk::checksum`].
    pub(crate) fn of(id: &ChunkId, checksum: &str) -> Self {
        Self { at: Marker::of(id), checksum: Some(checksum.to_owned()) }
    }

    /// By the newest mark of the chunk's slot; `owned` is the newest epoch that the log owns. A later chunk's mark does
    /// not say what is under this id; it is looked at when that one is published.
    pub(crate) fn find<'a>(newest: Option<&'a Self>, id: &ChunkId, checksum: &str, owned: Epoch) -> Finding<'a> {
        let Some(newest) = newest.filter(|newest| newest.at.covers(id)) else { return Finding::Absent };
        let is_other =
            newest.at == Marker::of(id) && newest.checksum.as_ref().is_some_and(|published| *published != checksum);
        if is_other || newest.at.epoch > owned { Finding::Ahead(newest) } else { Finding::Published }
    }
}

/// Reader of a progress topic.
pub(super) struct Markers {
    topic: String,
    /// How long to wait for foreign transactions and for the read.
    patience: Duration,
    /// Its "end" of a partition is the last stable offset.
    committed: BaseConsumer<Watch>,
    /// Its "end" of a partition is the high watermark.
    uncommitted: BaseConsumer<Watch>,
    /// By partition. Who holds it may assign partitions to `committed`.
    seen: Mutex<BTreeMap<i32, Seen>>,
}

/// What is known of a partition: all committed markers below `next`.
#[derive(Default)]
struct Seen {
    next: i64,
    newest: BTreeMap<String, Mark>,
}

impl Seen {
    /// A compacted topic keeps order, and a slot's markers only grow; the larger one counts in any case.
    fn on_record(&mut self, key: &str, value: &[u8]) -> Result<(), serde_json::Error> {
        let mark: Mark = serde_json::from_slice(value)?;
        if self.newest.get(key).is_none_or(|newest| newest.at <= mark.at) {
            self.newest.insert(key.to_owned(), mark);
        }
        Ok(())
    }
}

impl Markers {
    pub(super) fn new(cluster: &Cluster, topic: &str, patience: Duration) -> Result<Self, Trouble> {
        // At the end of the partition the broker answers a fetch only after the wait, and only then is the end known.
        let quick = [("fetch.wait.max.ms", "10"), ("fetch.queue.backoff.ms", "2"), ("fetch.error.backoff.ms", "50")];
        let fixed = [
            ("group.id", "tidegate-progress"),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("enable.partition.eof", "true"),
            ("allow.auto.create.topics", "false"),
            ("auto.offset.reset", "earliest"),
            ("isolation.level", "read_committed"),
        ];
        let looser = [("isolation.level", "read_uncommitted"), ("allow.auto.create.topics", "false")];
        Ok(Self {
            topic: topic.to_owned(),
            patience,
            committed: cluster.connect(&[], &[&quick[..], &fixed[..]].concat())?,
            uncommitted: cluster.connect(&[], &looser)?,
            seen: Mutex::default(),
        })
    }

    /// The newest marker under `key`; to be called after `init_transactions` of the key's slot. Blocks.
    pub(super) fn newest(&self, key: &str, partition: i32) -> Result<Option<Mark>, Trouble> {
        let deadline = env::monotonic() + self.patience;
        let until = self.end(&self.uncommitted, partition)?;
        self.wait_for_stable(partition, until, deadline)?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        self.read(&mut seen, &BTreeMap::from([(partition, until)]), deadline)?;
        Ok(seen.get(&partition).and_then(|seen| seen.newest.get(key)).cloned())
    }

    /// The newest mark of each key that begins with `prefix`, in the first `partitions`, as far as no open transaction
    /// hides it. Blocks.
    pub(super) fn all(&self, prefix: &str, partitions: u32) -> Result<BTreeMap<String, Mark>, Trouble> {
        let deadline = env::monotonic() + self.patience;
        let until = (0..partitions as i32).map(|partition| Ok((partition, self.end(&self.committed, partition)?)));
        let until = until.collect::<Result<BTreeMap<i32, i64>, Trouble>>()?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        self.read(&mut seen, &until, deadline)?;
        let marks = seen.values().flat_map(|seen| &seen.newest).filter(|(key, _)| key.starts_with(prefix));
        Ok(marks.map(|(key, mark)| (key.clone(), mark.clone())).collect())
    }

    fn action(&self, partition: i32) -> String {
        format!("read the markers in partition {partition} of topic `{}`", self.topic)
    }

    fn end(&self, consumer: &BaseConsumer<Watch>, partition: i32) -> Result<i64, Trouble> {
        let (_, end) = consumer
            .fetch_watermarks(&self.topic, partition, ANSWER_TIMEOUT)
            .map_err(failed_to(self.action(partition)))?;
        Ok(end)
    }

    /// Until no transaction is open that began below `until`.
    fn wait_for_stable(&self, partition: i32, until: i64, deadline: Duration) -> Result<(), Trouble> {
        loop {
            let stable = self.end(&self.committed, partition)?;
            if stable >= until {
                return Ok(());
            }
            if env::monotonic() >= deadline {
                return Err(Trouble::failed(
                    self.action(partition),
                    format!(
                        "a transaction has been open at offset {stable} for {} s, and markers up to {until} lie behind \
                         it; if it is another job's, the broker ends it after its timeout; if it stays, the brokers have \
                         lost its end: see what `kafka-transactions.sh find-hanging` finds",
                        self.patience.as_secs()
                    ),
                ));
            }
            // This client has no partitions: a wait.
            self.uncommitted.poll(Duration::from_millis(20));
        }
    }

    /// Takes all committed markers of each partition from `next` to the offset in `until`. `seen` stays true if it fails
    /// half way.
    fn read(
        &self,
        seen: &mut BTreeMap<i32, Seen>,
        until: &BTreeMap<i32, i64>,
        deadline: Duration,
    ) -> Result<(), Trouble> {
        let mut left = until.clone();
        left.retain(|partition, until| seen.entry(*partition).or_default().next < *until);
        let Some(first) = left.keys().next().copied() else { return Ok(()) };
        let mut list = TopicPartitionList::new();
        for partition in left.keys() {
            let next = seen.get(partition).map_or(0, |seen| seen.next);
            let added = list.add_partition_offset(&self.topic, *partition, Offset::Offset(next));
            added.map_err(failed_to(self.action(*partition)))?;
        }
        self.committed.assign(&list).map_err(failed_to(self.action(first)))?;
        let read = self.take(seen, left, deadline);
        // Or it would go on fetching.
        let unassigned = self.committed.unassign().map_err(failed_to(self.action(first)));
        read.and(unassigned)?;
        for (partition, until) in until {
            let seen = seen.entry(*partition).or_default();
            seen.next = seen.next.max(*until);
        }
        Ok(())
    }

    /// Takes what comes until nothing is `left`.
    fn take(
        &self,
        seen: &mut BTreeMap<i32, Seen>,
        mut left: BTreeMap<i32, i64>,
        deadline: Duration,
    ) -> Result<(), Trouble> {
        while let Some(first) = left.keys().next().copied() {
            if env::monotonic() >= deadline {
                let took = format!("it took more than {} s", self.patience.as_secs());
                return Err(Trouble::failed(self.action(first), took));
            }
            match self.committed.poll(Duration::from_millis(100)) {
                None => {}
                Some(Ok(record)) => {
                    let partition = record.partition();
                    let seen = seen.entry(partition).or_default();
                    if let (Some(Ok(key)), Some(value)) = (record.key().map(std::str::from_utf8), record.payload()) {
                        seen.on_record(key, value).map_err(|error| {
                            Trouble::Refused(format!(
                                "offset {} in partition {partition} of the progress topic `{}` is no marker ({error}); \
                                 nothing else may write there, set another `progressTopic`",
                                record.offset(),
                                self.topic
                            ))
                        })?;
                    }
                    seen.next = record.offset() + 1;
                    if left.get(&partition).is_some_and(|until| seen.next >= *until) {
                        left.remove(&partition);
                    }
                }
                // The last stable offset, which is at or past `until`.
                Some(Err(KafkaError::PartitionEOF(partition))) => _ = left.remove(&partition),
                Some(Err(error)) => {
                    let passes = error.rdkafka_error_code().is_some_and(|code| meaning(code) == Meaning::Passing);
                    if !passes {
                        return Err(Trouble::failed(self.action(first), error));
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_covers_its_chunk_and_those_before() {
        let chunk =
            |epoch, index| ChunkId { lineage: "l".into(), sink: "out".into(), slot: 0, epoch: Epoch(epoch), index };
        let marker = Marker::of(&chunk(9, 1));
        for (epoch, index, is_published) in [(9, 1, true), (9, 0, true), (8, 5, true), (9, 2, false), (10, 0, false)] {
            assert_eq!(marker.covers(&chunk(epoch, index)), is_published, "{epoch}/{index}");
        }
    }

    #[test]
    fn the_largest_marker_counts_for_each_key() {
        let mut seen = Seen::default();
        for (key, value) in [
            ("a/out/0", r#"{"epoch":9,"index":1}"#),
            ("b/out/0", r#"{"epoch":3,"index":0}"#),
            ("a/out/0", r#"{"epoch":10,"index":0,"checksum":"ab"}"#),
            ("a/out/0", r#"{"epoch":9,"index":2,"checksum":"cd"}"#),
        ] {
            seen.on_record(key, value.as_bytes()).unwrap();
        }
        assert_eq!(seen.newest["a/out/0"], mark(10, 0, Some("ab")));
        assert_eq!(seen.newest["b/out/0"], mark(3, 0, None), "as older builds wrote it");
        assert!(seen.on_record("a/out/0", b"hello").is_err());
    }

    fn mark(epoch: u64, index: u32, checksum: Option<&str>) -> Mark {
        Mark { at: Marker { epoch: Epoch(epoch), index }, checksum: checksum.map(str::to_owned) }
    }

    #[test]
    fn what_the_log_does_not_own_is_not_taken_for_published() {
        let id = ChunkId { lineage: "l".into(), sink: "out".into(), slot: 0, epoch: Epoch(9), index: 1 };
        assert_eq!(Mark::find(None, &id, "ours", Epoch(9)), Finding::Absent);
        assert_eq!(Mark::find(Some(&mark(9, 0, None)), &id, "ours", Epoch(9)), Finding::Absent);
        for (newest, owned, is_ahead) in [
            (mark(9, 1, Some("ours")), 9, false),
            (mark(9, 1, None), 9, false),
            (mark(9, 1, Some("theirs")), 9, true),
            (mark(9, 2, Some("another")), 9, false),
            (mark(10, 0, Some("another")), 9, true),
            (mark(10, 0, None), 9, true),
            // What an earlier attempt has left is published epoch by epoch; the log owns all of it.
            (mark(10, 0, Some("another")), 10, false),
        ] {
            let expected = if is_ahead { Finding::Ahead(&newest) } else { Finding::Published };
            assert_eq!(Mark::find(Some(&newest), &id, "ours", Epoch(owned)), expected, "owned up to {owned}");
        }
    }
}
