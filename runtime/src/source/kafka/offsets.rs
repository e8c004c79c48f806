//! Asks the brokers for numbers: every partition gets its offset before the first record is read, and once for all readers.
//!
//! Partitions are asked for together, one request a broker. The consumer reads what is committed, so the "latest" it is
//! told is the last stable offset: nothing below it can still be committed or aborted. Behind it may lie records that are
//! committed, too, since somebody's transaction before them is open; a run that ends at the latest record must have them.

use std::collections::BTreeMap;

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaResult,
};

use super::{
    assign::{Begin, Wanted},
    split::{Split, partition_of},
    start::Start,
};
use crate::{
    kafka::{ANSWER_TIMEOUT, Trouble, Watch, failed_to},
    source::SplitState,
};

type Offsets = BTreeMap<i32, u64>;

/// Where a job begins that has no checkpoint: each partition with the place that `startFrom` names. A bounded run has `until`, a
/// consumer that reads what is not committed too: it ends behind the last record there is, and so waits for transactions
/// that are open now. Blocks.
pub(super) fn find(
    consumer: &BaseConsumer<Watch>,
    topic: &str,
    partitions: u32,
    start: Start,
    until: Option<&BaseConsumer<Watch>>,
) -> Result<Vec<Split>, Trouble> {
    let numbers = Numbers { consumer, topic };
    let partitions: Vec<i32> = (0..partitions as i32).collect();
    let starts = match start {
        Start::Earliest => numbers.at(&partitions, Offset::Beginning)?,
        Start::Latest => numbers.at(&partitions, Offset::End)?,
        Start::GroupOffsets => or_else(numbers.committed(&partitions)?, &numbers.at(&partitions, Offset::Beginning)?),
        // No record so late: behind the last one.
        Start::Timestamp(time) => {
            or_else(numbers.at(&partitions, Offset::Offset(time))?, &numbers.at(&partitions, Offset::End)?)
        }
    };
    let ends = until.map(|consumer| Numbers { consumer, topic }.at(&partitions, Offset::End)).transpose()?;
    let split = |partition: &i32| {
        let next = known(&starts, *partition)?;
        let end = ends.as_ref().map(|ends| known(ends, *partition)).transpose()?;
        Ok(Split::new(*partition, next, end.map(|end| end.max(next))))
    };
    partitions.iter().map(split).collect()
}

/// Whether a topic has, or has had, the places of these splits.
pub(super) fn are_there(
    consumer: &BaseConsumer<Watch>,
    topic: &str,
    partitions: u32,
    splits: &[SplitState],
) -> Result<bool, Trouble> {
    let partitions: Vec<i32> = (0..partitions as i32).collect();
    let latest = Numbers { consumer, topic }.at(&partitions, Offset::End)?;
    let is_there = |split: &SplitState| {
        let latest = partition_of(topic, &split.split).and_then(|partition| latest.get(&partition));
        latest.is_some_and(|latest| split.next <= *latest)
    };
    Ok(splits.iter().all(is_there))
}

/// The splits that `wanted` asks for, if their places are still there. `until` is as for [`find`], where one has no end that
/// it is to have. Blocks.
pub(super) fn resolve(
    consumer: &BaseConsumer<Watch>,
    topic: &str,
    wanted: &[Wanted],
    until: Option<&BaseConsumer<Watch>>,
) -> Result<Vec<Split>, Trouble> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let numbers = Numbers { consumer, topic };
    let partitions: Vec<i32> = wanted.iter().map(|wanted| wanted.partition).collect();
    let earliest = numbers.at(&partitions, Offset::Beginning)?;
    let latest = numbers.at(&partitions, Offset::End)?;
    let ends = until.map(|consumer| Numbers { consumer, topic }.at(&partitions, Offset::End)).transpose()?;
    wanted
        .iter()
        .map(|Wanted { partition, begin }| {
            let lowest = known(&earliest, *partition)?;
            let highest = known(&latest, *partition)?;
            let (next, end, newest) = match begin {
                Begin::Restored { next, end, newest } => (*next, *end, *newest),
                Begin::Found { next, end } => (still_there(topic, *partition, *next, lowest), *end, None),
                Begin::Earliest => (lowest, None, None),
            };
            let end = match (end, &ends) {
                (None, Some(ends)) => Some(known(ends, *partition)?.max(next)),
                (end, _) => end,
            };
            let is_done = end.is_some_and(|end| next >= end);
            if next < lowest && !is_done {
                return Err(Trouble::Refused(lost(topic, *partition, next, lowest, highest)));
            }
            // Retention may have taken the record, and left what comes behind the markers that follow it.
            let newest = newest.filter(|newest| newest.offset + 1 >= lowest);
            Ok(Split::new(*partition, next, end).after(newest))
        })
        .collect()
}

/// Where a job begins whose first start came to no checkpoint: where it began, or behind what retention has deleted since.
/// Nothing was put out of that yet, as if the job started now.
fn still_there(topic: &str, partition: i32, found: u64, lowest: u64) -> u64 {
    if found < lowest {
        tracing::warn!(
            topic,
            partition,
            from = found,
            earliest = lowest,
            "retention has deleted records since the job first started, which has no checkpoint yet: it begins at the earliest \
             record that is left"
        );
    }
    found.max(lowest)
}

/// Why a place can't be gone on from.
pub(super) fn lost(topic: &str, partition: i32, wanted: u64, lowest: u64, highest: u64) -> String {
    let why = if wanted < lowest {
        format!("the records {wanted} to {} were deleted by retention before they were read", lowest.saturating_sub(1))
    } else if wanted > highest {
        "the topic was made anew or lost records".to_owned()
    } else {
        "what was read up to there is not what they have there, since the partition lost records and took others in \
         their place (an unclean leader election)"
            .to_owned()
    };
    format!(
        "partition {partition} of topic `{topic}` is to be read from offset {wanted}, and the brokers have {lowest} to \
         {highest}: {why}. Nothing was skipped; to accept the gap begin with a new job name and `startFrom`, and give \
         the topic a longer `retention.ms`"
    )
}

fn known(offsets: &Offsets, partition: i32) -> Result<u64, Trouble> {
    offsets
        .get(&partition)
        .copied()
        .ok_or_else(|| Trouble::failed(format!("look up offsets of partition {partition}"), "the brokers named none"))
}

fn or_else(found: Offsets, fallback: &Offsets) -> Offsets {
    let mut all = fallback.clone();
    all.extend(found);
    all
}

struct Numbers<'a> {
    consumer: &'a BaseConsumer<Watch>,
    topic: &'a str,
}

impl Numbers<'_> {
    fn list(&self, partitions: &[i32], offset: Offset) -> KafkaResult<TopicPartitionList> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            list.add_partition_offset(self.topic, *partition, offset)?;
        }
        Ok(list)
    }

    /// Offsets at a time, or at the beginning or end; partitions without a record there are left out.
    fn at(&self, partitions: &[i32], place: Offset) -> Result<Offsets, Trouble> {
        let action = format!("look up offsets of topic `{}`", self.topic);
        let list = self.list(partitions, place).map_err(failed_to(&action))?;
        let found = self.consumer.offsets_for_times(list, ANSWER_TIMEOUT).map_err(failed_to(&action))?;
        numbers(&found).map_err(failed_to(action))
    }

    /// Offsets that the group has committed; partitions without one are left out.
    fn committed(&self, partitions: &[i32]) -> Result<Offsets, Trouble> {
        let action = format!("look up the group's offsets of topic `{}`", self.topic);
        let list = self.list(partitions, Offset::Invalid).map_err(failed_to(&action))?;
        let found = self.consumer.committed_offsets(list, ANSWER_TIMEOUT).map_err(failed_to(&action))?;
        numbers(&found).map_err(failed_to(action))
    }
}

/// The offsets of a list that a broker has filled in; partitions without one are left out.
pub(super) fn numbers(list: &TopicPartitionList) -> KafkaResult<Offsets> {
    let mut offsets = Offsets::new();
    for element in list.elements() {
        element.error()?;
        if let Offset::Offset(offset) = element.offset()
            && let Ok(offset) = u64::try_from(offset)
        {
            offsets.insert(element.partition(), offset);
        }
    }
    Ok(offsets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_place_names_partition_offset_range_and_way_out() {
        let message = lost("orders", 3, 100, 500, 900);
        for part in ["partition 3", "`orders`", "offset 100", "500 to 900", "100 to 499", "startFrom", "retention.ms"] {
            assert!(message.contains(part), "{part}: {message}");
        }
        assert!(lost("orders", 0, 1000, 500, 900).contains("made anew"));
        assert!(lost("orders", 0, 700, 500, 900).contains("unclean leader election"));
    }

    #[test]
    fn a_partition_without_an_offset_takes_the_fallback() {
        let fallback = Offsets::from([(0, 10), (1, 20)]);
        assert_eq!(or_else(Offsets::from([(1, 25)]), &fallback), Offsets::from([(0, 10), (1, 25)]));
    }
}
