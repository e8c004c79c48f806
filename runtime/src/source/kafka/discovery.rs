//! Looks for partitions that are younger than the job.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use rdkafka::metadata::{MetadataPartition, MetadataTopic};

use super::{assign::is_mine, batch::BatchConsumer};
use crate::{
    kafka::{ANSWER_TIMEOUT, Trouble, failed_to},
    source::ReaderContext,
};

/// New partitions of a reader, each with its earliest offset.
pub(super) type Found = BTreeMap<i32, u64>;

/// Blocks. Asks with the reader's own client, which thereby learns of the partitions too.
pub(super) fn look(
    consumer: &Arc<BatchConsumer>,
    topic: &str,
    context: ReaderContext,
    known: &BTreeSet<i32>,
) -> Result<Found, Trouble> {
    let action = format!("look up the partitions of topic `{topic}`");
    let client = consumer.client().ok_or_else(|| Trouble::failed(&action, "the client is closed"))?;
    let metadata = client.fetch_metadata(Some(topic), ANSWER_TIMEOUT).map_err(failed_to(&action))?;
    let partitions = metadata.topics().iter().filter(|found| found.name() == topic).flat_map(MetadataTopic::partitions);
    let mut found = Found::new();
    for partition in partitions.map(MetadataPartition::id) {
        if is_mine(partition, context) && !known.contains(&partition) {
            let (lowest, _) = client.fetch_watermarks(topic, partition, ANSWER_TIMEOUT).map_err(failed_to(&action))?;
            found.insert(partition, lowest.max(0) as u64);
        }
    }
    Ok(found)
}
