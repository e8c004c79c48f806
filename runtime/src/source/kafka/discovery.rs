//! Looks for partitions that are younger than the job, and whether the topic is still the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use rdkafka::metadata::{MetadataPartition, MetadataTopic};

use super::{assign::is_mine, batch::BatchConsumer};
use crate::{
    env,
    kafka::{ANSWER_TIMEOUT, Trouble, failed_to, topic_id},
    source::ReaderContext,
};

/// What a look at the topic has found.
#[derive(Debug)]
pub(super) struct Found {
    /// New partitions of the reader, each with its earliest offset.
    pub(super) new: BTreeMap<i32, u64>,
    /// How many the topic has, of all readers.
    pub(super) partitions: usize,
    /// The topic's id, where the brokers have one.
    pub(super) topic_id: Option<String>,
    /// In the time of [`env::monotonic`].
    pub(super) asked_at: Duration,
}

/// Blocks. Asks with the reader's own client, which thereby learns of the partitions too. `known` are the reader's; nothing is
/// new where there are none.
pub(super) fn look(
    consumer: &Arc<BatchConsumer>,
    topic: &str,
    context: ReaderContext,
    known: Option<&BTreeSet<i32>>,
    asks_id: bool,
) -> Result<Found, Trouble> {
    let action = format!("look up the partitions of topic `{topic}`");
    let client = consumer.client().ok_or_else(|| Trouble::failed(&action, "the client is closed"))?;
    let asked_at = env::monotonic();
    let metadata = client.fetch_metadata(Some(topic), ANSWER_TIMEOUT).map_err(failed_to(&action))?;
    let partitions = metadata.topics().iter().filter(|found| found.name() == topic).flat_map(MetadataTopic::partitions);
    let topic_id = if asks_id {
        // Partitions must be found even so.
        topic_id(client, topic).unwrap_or_else(|error| {
            tracing::warn!(topic, %error, "failed to look up the topic's id; the next look is in its turn");
            None
        })
    } else {
        None
    };
    let mut found = Found { new: BTreeMap::new(), partitions: 0, topic_id, asked_at };
    for partition in partitions.map(MetadataPartition::id) {
        found.partitions += 1;
        let is_new = known.is_some_and(|known| !known.contains(&partition));
        if is_new && is_mine(partition, context) {
            let (lowest, _) = client.fetch_watermarks(topic, partition, ANSWER_TIMEOUT).map_err(failed_to(&action))?;
            found.new.insert(partition, lowest.max(0) as u64);
        }
    }
    Ok(found)
}
