//! Reads the newest of a log from a store, by [`super::log::reading`].

use std::time::Duration;

use futures::future::try_join_all;

use super::ClaimError;
use crate::{
    checkpoint::{
        log::{
            AttemptLog,
            reading::{Ask, Facts, Found, Unread, likely, read},
            segments::{Place, Spans},
        },
        record::{self, Hint, LOG, Record},
        store::{Store, StoreError},
    },
    env,
    ids::{Attempt, Seq},
};

/// How often a log is read that turns out to have been cut meanwhile, or to lack a record.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 50 });

/// What every log begins with.
const BEGINNING: Place = (Attempt(1), Seq(0));
const NO_BEGINNING: &str = ", and there are other records: bring it back from a copy of the storage";

/// Reads what the newest attempt says; `None` if nobody ran the job yet. How many requests that takes does not depend on
/// how much was ever written.
pub async fn read_newest(store: &dyn Store) -> Result<Option<AttemptLog>, ClaimError> {
    let mut hint = read_hint(store).await?;
    let mut tries = 1;
    loop {
        let facts = match hint {
            Some(hint) => ask_at_once(store, &likely(hint)).await?,
            None => Facts::default(),
        };
        let read = match ask_from(store, facts, |facts| read(facts, Spans::FORMAT, hint)).await? {
            Ok(newest) => match hole_behind(store, newest.as_ref()).await? {
                None => return Ok(newest),
                Some(hole) => Unread::Missing(hole),
            },
            Err(Unread::Damaged(why)) => return Err(ClaimError::Damaged(why)),
            Err(unread) => unread,
        };
        if tries == TRIES {
            let what = if read == Unread::Missing(BEGINNING) { NO_BEGINNING } else { "" };
            return Err(ClaimError::Damaged(format!("{read}{what}")));
        }
        // It is stale, if nothing else.
        hint = None;
        tries += 1;
        env::sleep(PAUSE).await;
    }
}

/// Asks for what `read` has to know, until it has what it wants.
pub(in crate::checkpoint) async fn ask_all<T>(
    store: &dyn Store,
    read: impl Fn(&Facts) -> Result<T, Unread>,
) -> Result<Result<T, Unread>, StoreError> {
    ask_from(store, Facts::default(), read).await
}

/// Asks for these places side by side: it is one wait, and not one for each.
async fn ask_at_once(store: &dyn Store, places: &[Place]) -> Result<Facts, StoreError> {
    let asks: Vec<Ask> = places.iter().copied().map(Ask::Read).collect();
    let found = try_join_all(asks.iter().map(|ask| find(store, *ask))).await?;
    let mut facts = Facts::default();
    asks.into_iter().zip(found).for_each(|(ask, found)| facts.heard(ask, found));
    Ok(facts)
}

async fn ask_from<T>(
    store: &dyn Store,
    mut facts: Facts,
    read: impl Fn(&Facts) -> Result<T, Unread>,
) -> Result<Result<T, Unread>, StoreError> {
    loop {
        match read(&facts) {
            Err(Unread::Ask(ask)) => facts.heard(ask, find(store, ask).await?),
            outcome => return Ok(outcome),
        }
    }
}

async fn find(store: &dyn Store, ask: Ask) -> Result<Found, StoreError> {
    let (attempt, seq) = ask.place();
    let path = record::path(attempt, seq);
    Ok(match store.get(&path).await? {
        None => Found::Nothing,
        Some(bytes) => {
            Record::read(&bytes, &path).map_or_else(|error| Found::Unreadable(error.to_string()), Found::Record)
        }
    })
}

/// A place without a record, where there is one behind it: the store has lost it, or it was deleted since it was read.
/// `newest` would be taken for the end of the log, and is not.
async fn hole_behind(store: &dyn Store, newest: Option<&AttemptLog>) -> Result<Option<Place>, StoreError> {
    let Some(&AttemptLog { attempt, next, .. }) = newest else {
        let is_empty = store.list_folders(LOG).await?.is_empty();
        return Ok((!is_empty).then_some(BEGINNING));
    };
    let last = record::path(attempt, Seq(next.0.saturating_sub(1)));
    let (folder, next_folder) = (record::folder(attempt), record::folder(attempt.next()));
    let (of_this, of_next) = futures::try_join!(store.list(&folder, Some(&last)), store.list(&next_folder, None))?;
    for (hole, listed) in [((attempt, next), of_this), ((attempt.next(), Seq(0)), of_next)] {
        let is_behind = listed.iter().any(|object| record::parse_path(&object.path).is_some_and(|place| place > hole));
        if is_behind && store.get(&record::path(hole.0, hole.1)).await?.is_none() {
            return Ok(Some(hole));
        }
    }
    Ok(None)
}

/// Only says where to begin.
async fn read_hint(store: &dyn Store) -> Result<Option<Place>, StoreError> {
    let hint: Option<Hint> =
        store.get(&record::hint_path()).await?.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    Ok(hint.map(|Hint { attempt, seq }| (attempt, seq)))
}
