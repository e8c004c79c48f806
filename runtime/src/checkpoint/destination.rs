//! Where the chunks of a checkpoint go, and what decides how they are published.
//!
//! A chunk that waits may be there already, so it goes where it was to go, in the way in which it was to go: what tells a
//! repeat is there and nowhere else. A manifest says that of every sink. A job that would send what waits elsewhere, or
//! has no such sink any more, can't go on from the checkpoint until it is published.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use super::{
    committed::Committed,
    manifest::{ChunkRef, Manifest, ManifestError},
    record::CheckpointRef,
    store::Store,
};
use crate::ids::Epoch;

/// Of one sink: fields of the document by their path below the sink, such as `kafka.topic`, and what they say. How a
/// system is reached is no part of it: a broker may be added, a server get another name.
pub type Destination = BTreeMap<String, String>;

/// Of all sinks that publish from the write-ahead log, by name.
pub type Destinations = BTreeMap<String, Destination>;

/// Rows that can't be published as they were to be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Misplaced {
    #[error(
        "the job has no sink `{sink}` any more that rows are published to from checkpoints, and rows of epochs {first} to \
         {last} are not known to be published there; put it back until they are"
    )]
    Gone { sink: String, first: Epoch, last: Epoch },
    #[error(
        "sink `{sink}`: {field} is {found}, and rows of epochs {first} to {last} wait that were written for {expected}; set \
         that back until they are published"
    )]
    Changed { sink: String, field: String, found: String, expected: String, first: Epoch, last: Epoch },
}

/// Whether what waits of a checkpoint, by the log everything that is not `committed`, goes where `sinks` say. A manifest of an
/// older build does not say where; then its sinks must be there.
pub fn check(manifest: &Manifest, committed: &Committed, sinks: &Destinations) -> Result<(), Misplaced> {
    let mut waiting: BTreeMap<&str, (Epoch, Epoch)> = BTreeMap::new();
    for ChunkRef { id, .. } in manifest.chunks.iter().filter(|chunk| !committed.has(&chunk.id)) {
        let (first, last) = waiting.entry(&id.sink).or_insert((id.epoch, id.epoch));
        (*first, *last) = ((*first).min(id.epoch), (*last).max(id.epoch));
    }
    for (name, (first, last)) in waiting {
        let sink = name.to_owned();
        let Some(found) = sinks.get(name) else { return Err(Misplaced::Gone { sink, first, last }) };
        let Some(expected) = manifest.sinks.get(name) else { continue };
        let fields: BTreeSet<&String> = found.keys().chain(expected.keys()).collect();
        if let Some(field) = fields.into_iter().find(|field| found.get(*field) != expected.get(*field)) {
            let say =
                |of: &Destination| of.get(field).map_or_else(|| "not set".to_owned(), |value| format!("`{value}`"));
            let (field, found, expected) = (field.clone(), say(found), say(expected));
            return Err(Misplaced::Changed { sink, field, found, expected, first, last });
        }
    }
    Ok(())
}

/// The sinks that wait for rows of `checkpoint` which may be there already, of those that it would be sent to as it was
/// to be: what they tell a repeat by must not begin anew.
pub async fn awaited(
    store: &dyn Store,
    checkpoint: Option<&CheckpointRef>,
    committed: &Committed,
    sinks: &Destinations,
) -> Result<BTreeSet<String>, ManifestError> {
    let Some(checkpoint) = checkpoint.filter(|checkpoint| Some(checkpoint.epoch) > committed.all) else {
        return Ok(BTreeSet::new());
    };
    let manifest = match Manifest::read(store, checkpoint).await {
        Ok(manifest) => manifest,
        // Its owner goes on, and deletes what is no longer the newest. Who goes on from a manifest that is gone for good
        // hears so when it recovers.
        Err(ManifestError::Missing { .. }) => return Ok(BTreeSet::new()),
        Err(error) => return Err(error),
    };
    let goes_there = |sink: &String| {
        manifest.sinks.get(sink).is_none_or(|expected| sinks.get(sink).is_some_and(|found| found == expected))
    };
    let waiting = manifest.chunks.iter().map(|chunk| &chunk.id).filter(|id| !committed.has(id));
    Ok(waiting.map(|id| id.sink.clone()).filter(goes_there).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::sample;

    fn sinks(fields: &[(&str, &str)]) -> Destinations {
        let fields = fields.iter().map(|(field, value)| ((*field).to_owned(), (*value).to_owned()));
        Destinations::from([("sales".to_owned(), fields.collect())])
    }

    #[test]
    fn what_waits_goes_where_it_was_to_go() {
        let there = sinks(&[("kafka.topic", "a"), ("kafka.key", "store")]);
        let elsewhere = sinks(&[("kafka.topic", "b"), ("kafka.key", "store")]);
        let unkeyed = sinks(&[("kafka.topic", "a")]);
        let manifest = |sinks: &Destinations| Manifest { sinks: sinks.clone(), ..sample::waiting("sales", 5..=7) };
        let gone = "no sink `sales` any more that rows are published to from checkpoints, and rows of epochs 5 to 7";
        for (written, committed, now, words) in [
            (&there, None, &there, ""),
            (&there, None, &elsewhere, "kafka.topic is `b`, and rows of epochs 5 to 7 wait that were written for `a`"),
            (
                &there,
                Some(6),
                &unkeyed,
                "kafka.key is not set, and rows of epochs 7 to 7 wait that were written for `store`",
            ),
            (&there, Some(7), &elsewhere, ""),
            (&there, None, &Destinations::new(), gone),
            (&there, Some(7), &Destinations::new(), ""),
            // As older builds wrote it.
            (&Destinations::new(), None, &elsewhere, ""),
            (&Destinations::new(), None, &Destinations::new(), gone),
        ] {
            match check(&manifest(written), &Committed::up_to(committed.map(Epoch)), now) {
                Ok(()) => assert_eq!(words, "", "{written:?} {committed:?} {now:?}"),
                Err(error) => assert!(!words.is_empty() && error.to_string().contains(words), "{error}"),
            }
        }
    }
}
