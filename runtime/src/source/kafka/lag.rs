//! How far a reader's partitions are behind.
//!
//! The brokers are asked, since what the client has heard with its last fetch grows old while nothing is fetched. For a
//! reader of what is committed a partition ends at its *last stable offset*: behind it lie records of open transactions,
//! which nobody can read yet and which are no lag. A lag counts places: those of transaction markers, of aborted records
//! and of records that compaction took count until the reader has passed them, which it does without being handed a
//! record ([`Split::on_end_of_partition`]). So a reader that has caught up has no lag, whatever the topic ends with.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use rdkafka::{Offset, TopicPartitionList};

use super::{batch::BatchConsumer, offsets::numbers, split::Split};
use crate::{
    env,
    kafka::{Trouble, blocking, failed_to},
    source::{Remaining, SourceError, lag::LagProbe},
};

/// Brokers that have not answered for so long are asked again later.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Where a reader is, with which client, and where the brokers said that its partitions end: each tells the other.
pub(super) struct Places(Mutex<Known>);

struct Known {
    consumer: Arc<BatchConsumer>,
    splits: Vec<Split>,
    /// By partition: where it ended, and when that was asked.
    ends: BTreeMap<i32, (u64, Duration)>,
}

impl Places {
    pub(super) fn new(consumer: Arc<BatchConsumer>) -> Self {
        Self(Mutex::new(Known { consumer, splits: Vec::new(), ends: BTreeMap::new() }))
    }

    /// The reader goes on with this client.
    pub(super) fn set_consumer(&self, consumer: Arc<BatchConsumer>) {
        self.lock().consumer = consumer;
    }

    fn consumer(&self) -> Arc<BatchConsumer> {
        Arc::clone(&self.lock().consumer)
    }

    pub(super) fn set(&self, splits: &[Split]) {
        splits.clone_into(&mut self.lock().splits);
    }

    fn get(&self) -> Vec<Split> {
        self.lock().splits.clone()
    }

    fn set_ends(&self, ends: &BTreeMap<i32, u64>, asked_at: Duration) {
        self.lock().ends.extend(ends.iter().map(|(partition, end)| (*partition, (*end, asked_at))));
    }

    /// What the brokers last said of a partition of which `next` is the first record that was not handed over.
    pub(super) fn remaining(&self, partition: i32, next: u64) -> Option<Remaining> {
        let (end, asked_at) = *self.lock().ends.get(&partition)?;
        Some(Remaining { records: next < end, asked_at })
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Each part is replaced as a whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct KafkaLag {
    pub(super) source: String,
    pub(super) topic: String,
    pub(super) places: Arc<Places>,
}

#[async_trait]
impl LagProbe for KafkaLag {
    async fn lag(&self) -> Result<u64, SourceError> {
        let (consumer, topic) = (self.places.consumer(), self.topic.clone());
        let unbounded = self.places.get().into_iter().filter(|split| !split.is_bounded()).map(|split| split.partition);
        let unbounded: Vec<i32> = unbounded.collect();
        let asked_at = env::monotonic();
        let ends = blocking("look up where the topic ends", move || ends(&consumer, &topic, &unbounded)).await;
        let ends = ends.map_err(|trouble| trouble.of_source(&self.source))?;
        self.places.set_ends(&ends, asked_at);
        Ok(self.places.get().iter().map(|split| split.lag(ends.get(&split.partition).copied())).sum())
    }
}

/// Where the partitions end. Blocks.
pub(super) fn ends(consumer: &BatchConsumer, topic: &str, partitions: &[i32]) -> Result<BTreeMap<i32, u64>, Trouble> {
    if partitions.is_empty() {
        return Ok(BTreeMap::new());
    }
    let action = format!("look up where topic `{topic}` ends");
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        list.add_partition_offset(topic, *partition, Offset::End).map_err(failed_to(&action))?;
    }
    consumer.look_up(&mut list, TIMEOUT).map_err(failed_to(&action))?;
    numbers(&list).map_err(failed_to(action))
}
