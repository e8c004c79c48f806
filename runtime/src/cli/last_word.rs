//! What a process leaves behind that ends because its job was refused or has failed.

use std::{collections::BTreeSet, path::Path};

use tidegate_crds::api::Failure;

use super::{arguments::JobArguments, prefixed};
use crate::{
    checkpoint::{
        claim::read_newest,
        committed::Committed,
        journal::LogLost,
        log::AttemptLog,
        manifest::{ChunkRef, Manifest},
        record::{CheckpointRef, Trigger},
        store::Store,
    },
    error_chain,
    failure::Reason,
    ids::Attempt,
};

/// Kubernetes shows so many bytes of a termination log.
const MOST_BYTES: usize = 4096;

/// Why a run has ended badly.
#[derive(Debug)]
pub(super) struct LastWord {
    /// For standard error.
    message: String,
    /// For whoever watches the process; none when it is not about the job.
    failure: Option<Failure>,
}

impl LastWord {
    /// `message` is for a person who has started the job by hand, and may say more than the failure does.
    pub(super) fn new(failure: Failure, message: String) -> Self {
        Self { message, failure: Some(failure) }
    }

    /// Of a job that can't be run as it is.
    pub(super) fn refused(job: &JobArguments, failure: Failure) -> Self {
        let message = prefixed(&job.job, &failure.message);
        Self::new(failure, message)
    }

    /// Writes the failure to the termination log, if there is one; what is left is for standard error.
    pub(super) fn leave(self, termination_log: Option<&Path>) -> String {
        let Some((path, failure)) = termination_log.zip(self.failure) else { return self.message };
        match std::fs::write(path, encode(&failure)) {
            Ok(()) => self.message,
            Err(error) => format!("{}\n--termination-log: failed to write {}: {error}", self.message, path.display()),
        }
    }
}

/// Says what the next run goes on from, after a look whether it can: the storage may have been emptied, or taken away,
/// since the last checkpoint. `had`: the attempt that this process has ended.
pub(super) async fn say_stopped(store: &dyn Store, had: Option<Attempt>, may_be_deleted: bool) -> Result<(), Failure> {
    let newest = match read_newest(store).await {
        Ok(newest) => newest,
        Err(error) => {
            let error = error_chain(&error);
            tracing::warn!(error, "stopped; whether the next run can go on from the last checkpoint is not known");
            return Ok(());
        }
    };
    let is_there = |had: &Attempt| newest.as_ref().is_some_and(|log| log.attempt >= *had);
    match had.filter(|had| !is_there(had)) {
        None if newest.as_ref().is_some_and(AttemptLog::is_deleted) => tracing::info!(
            "cancelled: the checkpoints are deleted, as `onCancellation` says, and savepoints stay; the next start begins the \
             job anew, and its output comes again"
        ),
        Some(_) if may_be_deleted && newest.is_none() => tracing::info!("stopped; the checkpoints are deleted"),
        Some(lost) => return Err(LogLost::new(store, lost).failure()),
        None => match newest.as_ref().and_then(|log| Some((log.checkpoint.as_ref()?, &log.committed))) {
            None => tracing::info!(
                "stopped before a first checkpoint; the next run begins without one, where this one began"
            ),
            Some((checkpoint, committed)) => say_next(store, checkpoint, committed).await,
        },
    }
    Ok(())
}

/// Says whether the next run goes on from a checkpoint, and what the sinks may still lack.
async fn say_next(store: &dyn Store, checkpoint: &CheckpointRef, committed: &Committed) {
    let epoch = checkpoint.epoch.0;
    match Manifest::read(store, checkpoint).await {
        Ok(manifest) if waiting(&manifest, committed).1 > 0 => {
            let (sinks, rows) = waiting(&manifest, committed);
            tracing::warn!(
                epoch,
                sinks,
                rows,
                "stopped; rows still wait for these sinks, and the next run publishes them"
            );
        }
        Ok(manifest) if manifest.trigger == Trigger::Drain => {
            tracing::info!(epoch, "stopped and drained: nothing can go on from this state");
        }
        Ok(_) => tracing::info!(epoch, "stopped; the next run goes on from the last checkpoint"),
        Err(error) => {
            let error = error_chain(&error);
            tracing::error!(
                epoch,
                error,
                "stopped; the last checkpoint can't be read, so the next run can't go on from it"
            );
        }
    }
}

/// The sinks that are not known to have all rows of a checkpoint, and how many these may lack.
fn waiting(manifest: &Manifest, committed: &Committed) -> (String, u64) {
    let waiting: Vec<&ChunkRef> = manifest.chunks.iter().filter(|chunk| !committed.has(&chunk.id)).collect();
    let sinks: BTreeSet<&str> = waiting.iter().map(|chunk| chunk.id.sink.as_str()).collect();
    let rows = waiting.iter().map(|chunk| chunk.rows).sum();
    (sinks.into_iter().collect::<Vec<_>>().join(", "), rows)
}

/// Of the process rather than of its job.
impl From<String> for LastWord {
    fn from(message: String) -> Self {
        Self { message, failure: None }
    }
}

impl From<Failure> for LastWord {
    fn from(failure: Failure) -> Self {
        Self { message: failure.message.clone(), failure: Some(failure) }
    }
}

/// The failure as JSON that Kubernetes does not cut: with as much of its message as has room.
fn encode(failure: &Failure) -> String {
    let text =
        |message: &str| serde_json::json!(Failure { reason: failure.reason, message: message.to_owned() }).to_string();
    let whole = text(&failure.message);
    if whole.len() <= MOST_BYTES {
        return whole;
    }
    let start = |end: usize| failure.message.get(..end).unwrap_or_default();
    let ends: Vec<usize> = failure.message.char_indices().map(|(end, _)| end).collect();
    let cut = |end: usize| text(&format!("{}…", start(end)));
    let fit = ends.partition_point(|end| cut(*end).len() <= MOST_BYTES);
    cut(ends.get(fit.saturating_sub(1)).copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use tidegate_crds::api::FailureReason;

    use super::*;
    use crate::checkpoint::{sample, store::memory::MemoryStore};
    use crate::ids::Epoch;

    fn failure(message: impl Into<String>) -> Failure {
        Failure { reason: FailureReason::SinkUnfit, message: message.into() }
    }

    #[test]
    fn a_failure_that_has_room_is_told_whole() {
        let short = failure("there is no table `a\"b`");
        assert_eq!(serde_json::from_str::<Failure>(&encode(&short)).unwrap(), short);
    }

    #[test]
    fn a_long_message_is_cut_between_characters_and_what_is_left_is_json() {
        for message in ["x".repeat(9000), "\"".repeat(9000), "\u{1}".repeat(9000), "ü€😀".repeat(1000)] {
            let text = encode(&failure(message.clone()));
            let read: Failure = serde_json::from_str(&text).unwrap();
            let kept = read.message.strip_suffix('…').unwrap();
            assert!(
                text.len() <= MOST_BYTES && text.len() > MOST_BYTES - 16 && message.starts_with(kept),
                "{} bytes",
                text.len()
            );
        }
    }

    #[tokio::test]
    async fn a_store_that_was_emptied_is_not_gone_on_from() {
        let store = MemoryStore::new();
        let say = async |had: Option<u64>, may_be_deleted| say_stopped(&store, had.map(Attempt), may_be_deleted).await;
        assert_eq!(say(None, false).await, Ok(()), "nothing was claimed");
        let lost = say(Some(2), false).await.unwrap_err();
        assert_eq!(lost.reason, FailureReason::StorageUnfit);
        assert!(lost.message.contains("no longer has `log/00000002/000000000000`"), "{}", lost.message);
        assert_eq!(say(Some(2), true).await, Ok(()), "it was asked to delete them");
        for attempt in [1, 2] {
            sample::log(&store, attempt, 0, sample::started(attempt, None));
        }
        assert_eq!(say(Some(2), false).await, Ok(()));
        assert_eq!(say(Some(1), false).await, Ok(()), "somebody has gone on already");
        assert!(say(Some(3), true).await.is_err(), "another log");
    }

    #[test]
    fn rows_that_wait_are_told_with_their_sinks() {
        let manifest = sample::waiting("sales", 3..=5);
        let told = |all: Option<u64>| waiting(&manifest, &Committed::up_to(all.map(Epoch)));
        assert_eq!(told(None), ("sales".to_owned(), 3));
        assert_eq!(told(Some(4)), ("sales".to_owned(), 1));
        assert_eq!(told(Some(5)), (String::new(), 0));
    }

    #[test]
    fn what_could_not_be_written_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let said = LastWord::from(failure("no table")).leave(Some(folder.path()));
        assert!(said.starts_with("no table\n--termination-log: failed to write"), "{said}");
    }
}
