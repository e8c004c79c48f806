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
    kafka::{Trouble, blocking, failed_to},
    source::{SourceError, lag::LagProbe},
};

/// Brokers that have not answered for so long are asked again later.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Where a reader is, for whoever looks on.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<Vec<Split>>);

impl Places {
    pub(super) fn set(&self, splits: &[Split]) {
        splits.clone_into(&mut self.lock());
    }

    fn get(&self) -> Vec<Split> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Split>> {
        // A list is replaced as a whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct KafkaLag {
    pub(super) source: String,
    pub(super) topic: String,
    pub(super) consumer: Arc<BatchConsumer>,
    pub(super) places: Arc<Places>,
}

#[async_trait]
impl LagProbe for KafkaLag {
    async fn lag(&self) -> Result<u64, SourceError> {
        let (consumer, topic) = (Arc::clone(&self.consumer), self.topic.clone());
        let unbounded = self.places.get().into_iter().filter(|split| !split.is_bounded()).map(|split| split.partition);
        let unbounded: Vec<i32> = unbounded.collect();
        let ends = blocking("look up where the topic ends", move || ends(&consumer, &topic, &unbounded)).await;
        let ends = ends.map_err(|trouble| trouble.of_source(&self.source))?;
        Ok(self.places.get().iter().map(|split| split.lag(ends.get(&split.partition).copied())).sum())
    }
}

/// Where the partitions end. Blocks.
fn ends(consumer: &BatchConsumer, topic: &str, partitions: &[i32]) -> Result<BTreeMap<i32, u64>, Trouble> {
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
