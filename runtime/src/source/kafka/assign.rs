//! Which partitions a reader has, and where each begins. No I/O.

use std::collections::BTreeMap;

use super::split::partition_of;
use crate::source::{ReaderContext, SplitState};

/// A partition of this reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) partition: i32,
    pub(super) begin: Begin,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    /// Where the checkpoint says.
    Restored { next: u64, end: Option<u64> },
    /// Where `startFrom` says: the job has no checkpoint.
    Start,
    /// At the earliest record: the partition is younger than the checkpoint.
    Earliest,
}

/// Whether this reader reads `partition`.
pub(super) fn is_mine(partition: i32, context: ReaderContext) -> bool {
    u32::try_from(partition).is_ok_and(|partition| partition % context.parallelism.max(1) == context.subtask.0)
}

/// The partitions of this reader, in order. The error is for the user.
pub(super) fn assign(
    topic: &str,
    partitions: u32,
    context: ReaderContext,
    restored: Option<&[SplitState]>,
    bounded: bool,
) -> Result<Vec<Wanted>, String> {
    let mine = (0..partitions as i32).filter(|partition| is_mine(*partition, context));
    let Some(restored) = restored else {
        return Ok(mine.map(|partition| Wanted { partition, begin: Begin::Start }).collect());
    };
    let known = by_partition(topic, restored)?;
    if let Some((&last, _)) = known.last_key_value()
        && last >= partitions as i32
    {
        return Err(format!(
            "topic `{topic}` has {partitions} partitions, the checkpoint names partition {last}; a topic that shrank \
             can't be resumed, set `startFrom` and a new job name"
        ));
    }
    Ok(mine
        .filter_map(|partition| {
            let begin = match known.get(&partition) {
                Some(state) => Begin::Restored { next: state.next, end: state.end.filter(|_| bounded) },
                None if bounded => return None,
                None => Begin::Earliest,
            };
            Some(Wanted { partition, begin })
        })
        .collect())
}

/// A checkpoint's splits as partitions of `topic`. The error is for the user.
pub(super) fn by_partition<'a>(topic: &str, splits: &'a [SplitState]) -> Result<BTreeMap<i32, &'a SplitState>, String> {
    let partition = |state: &'a SplitState| {
        let partition = partition_of(topic, &state.split).ok_or_else(|| {
            format!(
                "the checkpoint is of `{}`, which is no partition of topic `{topic}`; a source can't change its topic, \
                 name the source otherwise or begin with a new job name",
                state.split
            )
        })?;
        Ok((partition, state))
    };
    splits.iter().map(partition).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SubtaskIndex;

    fn context(subtask: u32, parallelism: u32) -> ReaderContext {
        ReaderContext { subtask: SubtaskIndex(subtask), parallelism }
    }

    fn state(split: &str, next: u64, end: Option<u64>) -> SplitState {
        SplitState { split: split.into(), next, end, newest: None }
    }

    #[test]
    fn every_partition_has_exactly_one_reader() {
        for parallelism in 1..6 {
            let mut all: Vec<i32> = (0..parallelism)
                .flat_map(|subtask| assign("orders", 8, context(subtask, parallelism), None, false).unwrap())
                .map(|wanted| wanted.partition)
                .collect();
            all.sort_unstable();
            assert_eq!(all, (0..8).collect::<Vec<_>>(), "parallelism {parallelism}");
        }
    }

    #[test]
    fn a_restored_partition_goes_on_and_a_new_one_begins_at_the_earliest() {
        let restored = [state("orders-0", 17, None), state("orders-1", 5, None)];
        let wanted = assign("orders", 4, context(0, 2), Some(&restored), false).unwrap();
        assert_eq!(
            wanted,
            [
                Wanted { partition: 0, begin: Begin::Restored { next: 17, end: None } },
                Wanted { partition: 2, begin: Begin::Earliest },
            ]
        );
    }

    #[test]
    fn a_bounded_run_keeps_its_ends_and_has_no_new_partitions() {
        let restored = [state("orders-0", 17, Some(20))];
        let wanted = assign("orders", 2, context(0, 1), Some(&restored), true).unwrap();
        assert_eq!(wanted, [Wanted { partition: 0, begin: Begin::Restored { next: 17, end: Some(20) } }]);
    }

    #[test]
    fn a_run_that_is_no_longer_bounded_forgets_its_ends() {
        let restored = [state("orders-0", 17, Some(20))];
        let wanted = assign("orders", 1, context(0, 1), Some(&restored), false).unwrap();
        assert_eq!(wanted, [Wanted { partition: 0, begin: Begin::Restored { next: 17, end: None } }]);
    }

    #[test]
    fn a_topic_that_shrank_or_changed_is_refused() {
        for (split, told) in [("orders-3", "the checkpoint names partition 3"), ("sales-0", "no partition of topic")] {
            let error = assign("orders", 3, context(0, 1), Some(&[state(split, 0, None)]), false).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }
}
