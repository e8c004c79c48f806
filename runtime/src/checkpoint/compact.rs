//! Deleting records that the log needs no more, beside its owner's appends; the rules are in [`super::log::segments`].
//!
//! What may go once may go for ever, so it does not matter in which order it goes, how far somebody came who died, and how
//! late a request arrives. Names follow from numbers: nothing is listed but an attempt that goes as a whole and was cut
//! before.

use std::{ops::Range, sync::Arc};

use futures::{StreamExt, TryStreamExt, stream};
use tokio::task::JoinSet;

use super::{
    claim::ask_all,
    log::{
        reading::{End, Unread, end},
        segments::Spans,
    },
    record,
    store::{Store, StoreError},
};
use crate::{
    error_chain,
    ids::{Attempt, Seq},
};

/// Records that go at once.
const BATCH: u64 = 64;
/// Requests on their way at the same time.
const PARALLEL: usize = 4;
/// How many attempts before its own an owner looks at, each of which was too short to be cut.
const SHORT_ATTEMPTS: u64 = 64;

/// What is deleted, and what may be.
#[derive(Debug)]
pub(super) struct Compaction {
    store: Arc<dyn Store>,
    attempt: Attempt,
    /// Of this attempt everything below that may go is gone.
    done: Seq,
    /// Whether what predecessors left was looked at.
    has_begun: bool,
    /// Tells what is done.
    work: JoinSet<Seq>,
}

impl Compaction {
    pub(super) fn new(store: Arc<dyn Store>, attempt: Attempt) -> Self {
        Self { store, attempt, done: Seq(1), has_begun: false, work: JoinSet::new() }
    }

    /// Goes on, unless it is under way: the newest record of this attempt is at `last`, its newest checkpoint at
    /// `checkpoint`.
    pub(super) fn go_on(&mut self, last: Seq, checkpoint: Option<Seq>) {
        while let Some(ended) = self.work.try_join_next() {
            self.done = ended.unwrap_or(self.done);
        }
        if !self.work.is_empty() {
            return;
        }
        let (store, attempt, done) = (self.store.clone(), self.attempt, self.done);
        let below = Spans::FORMAT.deletable_below(last, checkpoint);
        if !self.has_begun {
            self.has_begun = true;
            self.work.spawn(async move {
                warn(finish_earlier(store.as_ref(), attempt).await);
                done
            });
        } else if done < below {
            let end = below.0.min(done.0 + BATCH);
            self.work.spawn(async move {
                let deleted = delete(store.as_ref(), attempt, done.0..end).await;
                if warn(deleted) { Seq(end) } else { done }
            });
        }
    }
}

/// Whether it went well.
fn warn(deleted: Result<(), StoreError>) -> bool {
    if let Err(error) = &deleted {
        tracing::debug!(error = error_chain(error), "old records of the log were not deleted; that is tried again");
    }
    deleted.is_ok()
}

/// Deletes what owners before `newest` had no time for.
async fn finish_earlier(store: &dyn Store, newest: Attempt) -> Result<(), StoreError> {
    for attempt in (1..newest.0).rev().take(SHORT_ATTEMPTS as usize).map(Attempt) {
        match cut(store, attempt).await? {
            Cut::Short => {}
            Cut::Done => break,
        }
    }
    let below = Spans::FORMAT.deletable_attempts_below(newest);
    let mut first = below;
    // They go from the lowest on: where the last one of a block is gone, all are.
    while first > Attempt(0) && store.get(&record::path(Attempt(first.0 - 1), Seq(0))).await?.is_some() {
        first.0 -= Spans::FORMAT.block;
    }
    for attempt in (first.0.max(1)..below.0).map(Attempt) {
        delete_attempt(store, attempt).await?;
    }
    Ok(())
}

/// What there was to cut of an attempt.
enum Cut {
    /// It is too short.
    Short,
    Done,
}

/// Deletes what may go of an attempt that has ended.
async fn cut(store: &dyn Store, attempt: Attempt) -> Result<Cut, StoreError> {
    let Some(uncut) = uncut(store, attempt).await? else { return Ok(Cut::Short) };
    delete(store, attempt, uncut).await?;
    Ok(Cut::Done)
}

/// Deletes some of what may go of an attempt: where a folder is full, nobody could end the attempt otherwise.
pub(super) async fn make_room(store: &dyn Store, attempt: Attempt) -> Result<(), StoreError> {
    match uncut(store, attempt).await? {
        Some(uncut) => delete(store, attempt, uncut.start..uncut.end.min(uncut.start + BATCH)).await,
        None => Ok(()),
    }
}

/// Which records of an attempt may go and are not known to be gone; none where it is too short for that.
async fn uncut(store: &dyn Store, attempt: Attempt) -> Result<Option<Range<u64>>, StoreError> {
    let spans = Spans::FORMAT;
    let (_, witness) = spans.witness((attempt, Seq(0)));
    if store.get(&record::path(attempt, witness)).await?.is_none() {
        return Ok(None);
    }
    let Some(End { last, checkpoint, .. }) = end_of(store, attempt).await? else { return Ok(None) };
    let below = spans.deletable_below(last, checkpoint);
    // Segments go from the lowest on: whether the second place of one is there tells whether it has.
    let (mut gone, mut left) = (0, below.0 / spans.segment + 1);
    while gone < left {
        let probe = gone + (left - gone) / 2;
        if store.get(&record::path(attempt, Seq(probe * spans.segment + 1))).await?.is_some() {
            left = probe;
        } else {
            gone = probe + 1;
        }
    }
    // The one before may be half gone.
    let before = record::path(attempt, Seq((left * spans.segment).saturating_sub(1)));
    let is_half_gone = left > 0 && store.get(&before).await?.is_some();
    Ok(Some((left - u64::from(is_half_gone)) * spans.segment..below.0))
}

/// Nothing where the attempt is being deleted.
async fn end_of(store: &dyn Store, attempt: Attempt) -> Result<Option<End>, StoreError> {
    let found: Result<End, Unread> = ask_all(store, |facts| end(facts, Spans::FORMAT, attempt)).await?;
    Ok(found.ok())
}

/// Deletes an attempt with all its records, but for the first of one that heads a block.
async fn delete_attempt(store: &dyn Store, attempt: Attempt) -> Result<(), StoreError> {
    // An attempt of a build that cut nothing may be of any length.
    cut(store, attempt).await?;
    let first = record::path(attempt, Seq(0));
    let listed = store.list(&record::folder(attempt), Some(&first)).await?;
    stream::iter(listed.iter().map(|object| Ok(store.delete(&object.path))))
        .try_for_each_concurrent(PARALLEL, |deleted| deleted)
        .await?;
    // Last, since it tells that there is something left.
    if Spans::FORMAT.heads_block(attempt) { Ok(()) } else { store.delete(&first).await }
}

/// Deletes records of an attempt, but for heads.
async fn delete(store: &dyn Store, attempt: Attempt, places: Range<u64>) -> Result<(), StoreError> {
    let places = places.map(Seq).filter(|seq| !Spans::FORMAT.is_head(*seq));
    stream::iter(places)
        .map(Ok)
        .try_for_each_concurrent(PARALLEL, |seq| async move { store.delete(&record::path(attempt, seq)).await })
        .await
}

#[cfg(test)]
mod tests;
