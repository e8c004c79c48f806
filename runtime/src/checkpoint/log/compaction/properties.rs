//! What must hold in every state of the log as it would be if nothing were deleted, and what must happen in some.

use std::collections::BTreeMap;

use stateright::Property;

use super::{
    Protocol,
    coordinator::read_from,
    world::{CheckpointRefKey, Entry, World, key},
};
use crate::{
    checkpoint::{
        log::{AttemptLog, summarize},
        record::Body,
    },
    ids::{Attempt, Seq},
};

pub fn all() -> Vec<Property<Protocol>> {
    vec![
        Property::always("what is taken for owned is what later checkpoints go on from", |_, world: &World| {
            let chain = chain(world);
            world.owned.iter().all(|owned| chain.get(&owned.0) == Some(owned))
        }),
        Property::always("an attempt goes on from where the last one ended", |_, world: &World| {
            attempts(world).is_ok_and(|attempts| {
                attempts.is_sorted_by(|(before, _), (_, entries)| match &entries[0].record.body {
                    Body::AttemptStarted { restored_from, .. } => *restored_from == before.checkpoint,
                    _ => false,
                })
            })
        }),
        Property::always("every attempt but the newest has ended, and its owner alone wrote it", |_, world: &World| {
            attempts(world).is_ok_and(|attempts| {
                let is_by_others = |entries: &[&Entry]| {
                    let mut others = entries.iter().filter(|entry| entry.author != entries[0].author);
                    others.any(|entry| !matches!(entry.record.body, Body::Sealed { .. }))
                };
                attempts.iter().rev().skip(1).all(|(attempt, _)| attempt.ending.is_some())
                    && !attempts.iter().any(|(_, entries)| is_by_others(entries))
            })
        }),
        Property::always("who takes an attempt for its own has begun it", |_, world: &World| {
            world.coordinators.iter().all(|coordinator| coordinator.has_begun(&world.ghost))
        }),
        Property::always("who reads at one moment reads what would be there", |protocol, world: &World| {
            let read = |store| read_from(store, protocol.bounds.spans);
            let newest = read(&world.store);
            newest.is_ok() && newest == read(&world.ghost)
        }),
        Property::sometimes("the job is done", |protocol: &Protocol, world: &World| {
            world.owned.iter().any(|owned| owned.0 == protocol.bounds.epochs)
        }),
        Property::sometimes("something is deleted", |_, world: &World| world.store.len() < world.ghost.len()),
        Property::sometimes("a create takes the place of what was deleted", |_, world: &World| {
            world.store.iter().any(|(place, entry)| world.ghost.get(place) != Some(entry))
        }),
    ]
}

/// Whose each epoch is, by the job's one line of checkpoints.
fn chain(world: &World) -> BTreeMap<u64, CheckpointRefKey> {
    let mut chain = BTreeMap::new();
    for entry in world.ghost.values() {
        match &entry.record.body {
            Body::AttemptStarted { restored_from, .. } => {
                let goes_on_from = restored_from.as_ref().map_or(0, |checkpoint| checkpoint.epoch.0);
                chain.retain(|epoch, _| *epoch <= goes_on_from);
            }
            Body::CheckpointCompleted { checkpoint, .. } => {
                chain.insert(checkpoint.epoch.0, key(checkpoint));
            }
            _ => {}
        }
    }
    chain
}

/// All attempts with all of their entries: none missing, none behind an end.
fn attempts(world: &World) -> Result<Vec<(AttemptLog, Vec<&Entry>)>, String> {
    let mut attempts: BTreeMap<Attempt, Vec<&Entry>> = BTreeMap::new();
    for (&(attempt, seq), entry) in &world.ghost {
        let entries = attempts.entry(attempt).or_default();
        if seq.0 != entries.len() as u64 {
            return Err(format!("there is {attempt}/{seq} and nothing before it"));
        }
        entries.push(entry);
    }
    let summarized = attempts.into_iter().map(|(attempt, entries)| {
        let next = Seq(entries.len() as u64);
        Ok((summarize(attempt, next, entries.iter().map(|entry| &entry.record))?, entries))
    });
    summarized.collect()
}
