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

/// The last chunk of a transaction, as the progress topic tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Marker {
    pub(super) epoch: Epoch,
    pub(super) index: u32,
}

impl Marker {
    /// What the transaction of a chunk leaves.
    pub(crate) fn of(id: &ChunkId) -> Self {
        Self { epoch: id.epoch, index: id.index }
    }

    /// Whether a chunk is published, by the newest marker of its slot: a slot's chunks are published in order.
    pub(crate) fn covers(self, id: &ChunkId) -> bool {
        self >= Self::of(id)
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
    newest: BTreeMap<String, Marker>,
}

impl Seen {
    /// A compacted topic keeps order, and a slot's markers only grow; the larger one counts in any case.
    fn on_record(&mut self, key: &str, value: &[u8]) -> Result<(), serde_json::Error> {
        let marker: Marker = serde_json::from_slice(value)?;
        let newest = self.newest.entry(key.to_owned()).or_insert(marker);
        *newest = marker.max(*newest);
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
    pub(super) fn newest(&self, key: &str, partition: i32) -> Result<Option<Marker>, Trouble> {
        let deadline = env::monotonic() + self.patience;
        let until = self.end(&self.uncommitted, partition)?;
        self.wait_for_stable(partition, until, deadline)?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = seen.entry(partition).or_default();
        if seen.next < until {
            let read = self.read(seen, partition, until, deadline);
            // Or it would go on fetching.
            let left = self.committed.unassign().map_err(failed_to(self.action(partition)));
            read.and(left)?;
            seen.next = seen.next.max(until);
        }
        Ok(seen.newest.get(key).copied())
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

    /// Takes all committed markers from `seen.next` to `until`. `seen` stays true if it fails half way.
    fn read(&self, seen: &mut Seen, partition: i32, until: i64, deadline: Duration) -> Result<(), Trouble> {
        let failed = || failed_to(self.action(partition));
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.topic, partition, Offset::Offset(seen.next)).map_err(failed())?;
        self.committed.assign(&list).map_err(failed())?;
        while env::monotonic() < deadline {
            match self.committed.poll(Duration::from_millis(100)) {
                None => {}
                Some(Ok(record)) => {
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
                    if seen.next >= until {
                        return Ok(());
                    }
                }
                // The last stable offset, which is at or past `until`.
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(()),
                Some(Err(error)) => {
                    let passes = error.rdkafka_error_code().is_some_and(|code| meaning(code) == Meaning::Passing);
                    if !passes {
                        return Err(Trouble::failed(self.action(partition), error));
                    }
                }
            }
        }
        Err(Trouble::failed(self.action(partition), format!("it took more than {} s", self.patience.as_secs())))
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
            ("a/out/0", r#"{"epoch":10,"index":0}"#),
            ("a/out/0", r#"{"epoch":9,"index":2}"#),
        ] {
            seen.on_record(key, value.as_bytes()).unwrap();
        }
        assert_eq!(seen.newest["a/out/0"], Marker { epoch: Epoch(10), index: 0 });
        assert_eq!(seen.newest["b/out/0"], Marker { epoch: Epoch(3), index: 0 });
        assert!(seen.on_record("a/out/0", b"hello").is_err());
    }
}
