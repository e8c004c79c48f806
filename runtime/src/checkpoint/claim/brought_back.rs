//! Newer checkpoints that were brought back into a storage in which the job has begun meanwhile.
//!
//! A process that starts in an older copy of its storage begins an attempt there, before a sink says that it has more than
//! the log. When the newest checkpoints are brought back they are of an earlier attempt: the records that this one has now
//! are newer than what the attempts behind it went on from. Nowhere else is that so, for an attempt begins only when the
//! one before has ended. As long as the attempts behind it own nothing, the job goes on from the newest that there is.

use crate::{
    checkpoint::{
        committed::Committed,
        log::{
            AttemptLog,
            reading::{Facts, Unread, end},
            segments::{Place, Spans},
            summarize,
        },
        record::Body,
    },
    ids::{Attempt, Epoch, Seq},
};

/// How many attempts may have begun in the older copy.
const ATTEMPTS: u64 = 8;

/// What an attempt before the newest one owns that this one does not know of, and has published.
pub(super) fn brought_back(facts: &Facts, spans: Spans, newest: &AttemptLog) -> Result<Option<AttemptLog>, Unread> {
    let epoch = |log: &AttemptLog| log.checkpoint.as_ref().map(|checkpoint| checkpoint.epoch);
    for attempt in (newest.attempt.0.saturating_sub(ATTEMPTS).max(1)..newest.attempt.0).rev().map(Attempt) {
        if !begins_with_what(facts, (attempt.next(), Seq(0)), epoch(newest))? {
            return Ok(None);
        }
        let before = match end(facts, spans, attempt) {
            Ok(end) => summarize(attempt, end.last.next(), &end.records).map_err(Unread::Damaged)?,
            // It may be that nobody has brought back anything, and that this one is deleted.
            Err(Unread::Missing(_)) => return Ok(None),
            Err(unread) => return Err(unread),
        };
        if epoch(&before) > epoch(newest) {
            return Ok(Some(before));
        }
    }
    Ok(None)
}

/// Whether the attempt with this first record went on from an epoch, and not from an earlier one.
fn begins_with_what(facts: &Facts, first: Place, epoch: Option<Epoch>) -> Result<bool, Unread> {
    match &facts.record(first)?.body {
        Body::AttemptStarted { restored_from, .. } => Ok(restored_from.as_ref().map(|from| from.epoch) == epoch),
        _ => Ok(false),
    }
}

/// What two attempts know to be published.
pub(super) fn both(mut one: Committed, other: &Committed) -> Committed {
    other.all.into_iter().for_each(|epoch| one.publish(epoch));
    other.sinks.iter().for_each(|(sink, epoch)| one.publish_to(sink, *epoch));
    one
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{
        Identity, claim, read_newest,
        tests::{Anything, identity, ours, owners},
    };
    use crate::{
        checkpoint::{
            committed::Committed,
            log::{AttemptLog, OwnerAnswer},
            record::{Body, CheckpointRef, Trigger},
            sample,
            store::{ObjectPath, memory::MemoryStore},
        },
        ids::{Attempt, Epoch},
    };

    fn checkpoint(epoch: u64) -> CheckpointRef {
        let manifest = ObjectPath(format!("data/00000001/{epoch:012}/manifest.json"));
        CheckpointRef { epoch: Epoch(epoch), manifest, sha256: "sha256".into() }
    }

    fn completed(epoch: u64) -> Body {
        Body::CheckpointCompleted { checkpoint: checkpoint(epoch), trigger: Trigger::Interval }
    }

    async fn newest(store: &MemoryStore) -> AttemptLog {
        read_newest(store).await.unwrap().unwrap()
    }

    /// A storage that was copied when attempt 1 owned epoch 1, in which attempts 2 and 3 began, and into which the rest of
    /// attempt 1 came back.
    fn came_back() -> MemoryStore {
        let store = MemoryStore::default();
        sample::log(&store, 1, 0, sample::started(1, None));
        for epoch in 1..=3 {
            sample::log(&store, 1, epoch, completed(epoch));
        }
        sample::log(&store, 1, 4, Body::committed(&Committed::up_to(Some(Epoch(2)))));
        for attempt in 2..=3 {
            sample::log(&store, attempt, 0, sample::started(attempt, Some(checkpoint(1))));
        }
        store
    }

    #[tokio::test]
    async fn the_newest_checkpoint_counts_whichever_attempt_has_it() {
        let store = came_back();
        let found = newest(&store).await;
        assert_eq!((found.attempt, &found.checkpoint), (Attempt(3), &Some(checkpoint(3))));
        assert_eq!(found.committed, Committed::up_to(Some(Epoch(2))));
        let me = Identity { spec_digest: String::new(), ..identity("pod", 1) };
        let gone = owners(OwnerAnswer::Gone);
        let claiming = claim(Arc::new(store.clone()), &me, &gone, &Anything::default()).await.unwrap();
        let claimed = ours(claiming);
        assert_eq!((claimed.journal.attempt(), claimed.restored_from), (Attempt(4), Some(checkpoint(3))));
        assert_eq!(newest(&store).await.checkpoint, Some(checkpoint(3)), "and goes on counting");
    }

    #[tokio::test]
    async fn what_an_attempt_owns_itself_counts_before_what_came_back() {
        let store = came_back();
        sample::log(&store, 3, 1, completed(2));
        assert_eq!(newest(&store).await.checkpoint, Some(checkpoint(2)));
        sample::log(&store, 4, 0, sample::started(4, Some(checkpoint(2))));
        assert_eq!(newest(&store).await.checkpoint, Some(checkpoint(2)), "nor does one behind it look further back");
    }

    #[tokio::test]
    async fn a_log_that_nothing_came_back_into_is_read_as_it_is() {
        let store = MemoryStore::default();
        sample::log(&store, 1, 0, sample::started(1, None));
        sample::log(&store, 1, 1, completed(1));
        for attempt in 2..=12 {
            sample::log(&store, attempt, 0, sample::started(attempt, Some(checkpoint(1))));
            assert_eq!(newest(&store).await.checkpoint, Some(checkpoint(1)));
        }
    }
}
