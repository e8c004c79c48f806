//! Which partitions a reader has, and where each begins. No I/O.

use std::collections::BTreeMap;

use super::split::partition_of;
use crate::source::{Positions, ReaderContext, RecordPlace, SplitState};

/// A partition of this reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) partition: i32,
    pub(super) begin: Begin,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    /// Where the checkpoint says.
    Restored { next: u64, end: Option<u64>, newest: Option<RecordPlace> },
    /// Where `startFrom` said when the job first started, of which there is no checkpoint.
    Found { next: u64, end: Option<u64> },
    /// At the earliest record: the partition is younger than that.
    Earliest,
}

impl Begin {
    /// Where a bounded run ends, as far as it is known.
    pub(super) fn end(self) -> Option<u64> {
        match self {
            Self::Restored { end, .. } | Self::Found { end, .. } => end,
            Self::Earliest => None,
        }
    }
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
    from: &Positions,
    bounded: bool,
) -> Result<Vec<Wanted>, String> {
    let mine = (0..partitions as i32).filter(|partition| is_mine(*partition, context));
    let known = by_partition(topic, from.splits())?;
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
            let begin = match (known.get(&partition), from) {
                (Some(state), Positions::Found(_)) => Begin::Found { next: state.next, end: state.end },
                (Some(state), Positions::Restored(_)) => Begin::Restored {
                    next: state.next,
                    end: state.end.filter(|_| bounded),
                    newest: state.provenance.as_ref().and_then(|provenance| provenance.newest_record),
                },
                (None, _) if bounded => return None,
                (None, _) => Begin::Earliest,
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

/// Refuses a topic that is another than the one that the checkpoint was taken of. `id` is the topic's, where the brokers
/// have one; a checkpoint that does not know its topic's takes it for the same. The error is for the user.
pub(super) fn same_topic(topic: &str, id: Option<&str>, restored: &[SplitState]) -> Result<(), String> {
    let Some(id) = id else { return Ok(()) };
    let known = restored.iter().filter_map(|state| state.provenance.as_ref()?.topic_id.as_deref());
    match known.into_iter().find(|known| *known != id) {
        Some(known) => Err(made_anew(topic, known, id)),
        None => Ok(()),
    }
}

/// What is said of a topic with another id.
pub(super) fn made_anew(topic: &str, known: &str, found: &str) -> String {
    format!(
        "topic `{topic}` was deleted and made anew: it has the id {found}, and what was read is of the one with id {known}, \
         whose offsets say nothing here. Nothing is read of it; to read it from its beginning begin with another `jobId`, \
         or name the source otherwise"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ids::SubtaskIndex, source::Provenance};

    fn context(subtask: u32, parallelism: u32) -> ReaderContext {
        ReaderContext { subtask: SubtaskIndex(subtask), parallelism }
    }

    fn state(split: &str, next: u64, end: Option<u64>) -> SplitState {
        SplitState { split: split.into(), next, end, ..SplitState::default() }
    }

    #[test]
    fn every_partition_has_exactly_one_reader() {
        let nothing = Positions::Found(Vec::new());
        for parallelism in 1..6 {
            let mut all: Vec<i32> = (0..parallelism)
                .flat_map(|subtask| assign("orders", 8, context(subtask, parallelism), &nothing, false).unwrap())
                .map(|wanted| wanted.partition)
                .collect();
            all.sort_unstable();
            assert_eq!(all, (0..8).collect::<Vec<_>>(), "parallelism {parallelism}");
        }
    }

    #[test]
    fn a_restored_partition_goes_on_and_a_new_one_begins_at_the_earliest() {
        let restored = Positions::Restored(vec![state("orders-0", 17, None), state("orders-1", 5, None)]);
        let wanted = assign("orders", 4, context(0, 2), &restored, false).unwrap();
        assert_eq!(
            wanted,
            [
                Wanted { partition: 0, begin: Begin::Restored { next: 17, end: None, newest: None } },
                Wanted { partition: 2, begin: Begin::Earliest },
            ]
        );
    }

    #[test]
    fn a_bounded_run_keeps_its_ends_and_has_no_new_partitions() {
        let splits = vec![state("orders-0", 17, Some(20))];
        let wanted = assign("orders", 2, context(0, 1), &Positions::Restored(splits.clone()), true).unwrap();
        assert_eq!(wanted, [Wanted { partition: 0, begin: Begin::Restored { next: 17, end: Some(20), newest: None } }]);
        let wanted = assign("orders", 2, context(0, 1), &Positions::Found(splits), true).unwrap();
        assert_eq!(wanted, [Wanted { partition: 0, begin: Begin::Found { next: 17, end: Some(20) } }]);
    }

    #[test]
    fn a_run_that_is_no_longer_bounded_forgets_its_ends() {
        let restored = Positions::Restored(vec![state("orders-0", 17, Some(20))]);
        let wanted = assign("orders", 1, context(0, 1), &restored, false).unwrap();
        assert_eq!(wanted, [Wanted { partition: 0, begin: Begin::Restored { next: 17, end: None, newest: None } }]);
    }

    #[test]
    fn a_topic_made_anew_is_refused_and_one_that_was_not_known_is_learned() {
        let of = |topic_id: Option<&str>| {
            let provenance = Provenance { topic_id: topic_id.map(str::to_owned), newest_record: None, before: None };
            [state("orders-0", 17, None), SplitState { provenance: Some(provenance), ..state("orders-1", 5, None) }]
        };
        for (known, found, is_refused) in [
            (Some("a"), Some("b"), true),
            (Some("a"), Some("a"), false),
            (None, Some("a"), false),
            (Some("a"), None, false),
        ] {
            let same = same_topic("orders", found, &of(known));
            assert_eq!(same.is_err(), is_refused, "{known:?} {found:?} {same:?}");
        }
    }

    #[test]
    fn a_topic_that_shrank_or_changed_is_refused() {
        for (split, told) in [("orders-3", "the checkpoint names partition 3"), ("sales-0", "no partition of topic")] {
            let restored = Positions::Restored(vec![state(split, 0, None)]);
            let error = assign("orders", 3, context(0, 1), &restored, false).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }
}
