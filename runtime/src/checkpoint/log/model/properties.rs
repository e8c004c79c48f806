//! What must hold in every state, and what must happen in some, or the world would be too small to show anything.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use stateright::{Model, Property};

use super::{Protocol, entry::Entry, publisher::Lane, world::World};
use crate::{
    checkpoint::{
        log::{AttemptLog, summarize},
        manifest::{ChunkRef, parse_folder},
        record::Body,
    },
    ids::{Attempt, Epoch, Seq},
};

pub const IN_ORDER: &str = "a reader sees every epoch once and in order";
pub const NO_GAP: &str = "a reader sees no gap";
pub const ON_CHAIN: &str = "what is published is what later checkpoints go on from";
pub const ONE_CHAIN: &str = "an attempt goes on from where the last one ended, and an epoch is owned once";
pub const ONE_OWNER: &str = "every attempt but the newest has ended, and its owner alone wrote it";
pub const NOT_BEHIND: &str = "who has the job is never told that its log is behind what is published";
pub const EVERYTHING: &str = "when nobody fails any more, everything gets published";

pub fn all() -> Vec<Property<Protocol>> {
    vec![
        Property::always(IN_ORDER, |_, world: &World| {
            world.topic.is_sorted_by(|a, b| a.id < b.id && rows(a) < rows(b))
        }),
        Property::always(NO_GAP, |protocol, world: &World| {
            let seen: BTreeSet<_> = world.topic.iter().map(|chunk| rows(chunk)).collect();
            protocol.all_chunks().zip(&seen).all(|(wanted, seen)| wanted == *seen)
        }),
        Property::always(ON_CHAIN, |_, world: &World| {
            let chain = chain(world);
            world.topic.iter().all(|chunk| chain.values().any(|chunks| chunks.contains(&&**chunk)))
        }),
        Property::always(ONE_CHAIN, |_, world: &World| is_one_chain(world)),
        Property::always(ONE_OWNER, |_, world: &World| has_one_owner(world)),
        Property::always(NOT_BEHIND, |_, world: &World| !world.is_told_behind),
        Property::always(EVERYTHING, |protocol, world| is_done(protocol, world) || !is_at_rest(protocol, world)),
        Property::sometimes("the job is done", |protocol, world| {
            is_done(protocol, world) && is_at_rest(protocol, world)
        }),
        Property::sometimes("a manifest names epochs that wait", |_, world: &World| {
            world.log.values().any(|entry| entry.chunks.len() > entry.own_chunks().count())
        }),
        Property::sometimes(
            "an epoch is owned with what was cut before, or none could be",
            |protocol, world: &World| {
                let carries = |entry: &Arc<Entry>| {
                    let epoch = entry.checkpoint().map(|checkpoint| checkpoint.epoch);
                    entry.own_chunks().any(|chunk| Some(chunk.id.epoch) < epoch)
                };
                protocol.bounds.give_ups == 0 || world.log.values().any(carries)
            },
        ),
        Property::sometimes("two publish at once", |_, world: &World| {
            world.lanes().filter(|lane| !lane.is_idle()).count() > 1
        }),
        Property::sometimes("a commit is refused", |_, world: &World| world.lanes().any(Lane::is_refused)),
        Property::sometimes("a record outlives its author on its way", |_, world: &World| {
            let is_gone = |author| world.coordinators.iter().all(|coordinator| coordinator.name() != Some(author));
            world.late.values().any(|entry| is_gone(entry.author))
        }),
    ]
}

/// Which rows these are: the epoch that they came in, and which of its chunks, whatever they are called.
fn rows(chunk: &ChunkRef) -> (u64, u32) {
    let epoch = parse_folder(&chunk.file.path).map_or(0, |(_, epoch)| epoch.0);
    let index = chunk.file.path.0.rsplit('/').next().and_then(|index| index.parse().ok());
    (epoch, index.unwrap_or_default())
}

impl Protocol {
    /// Epoch and index of all that the job has to publish, in order.
    fn all_chunks(&self) -> impl Iterator<Item = (u64, u32)> {
        (1..=self.bounds.epochs).flat_map(|epoch| (0..self.bounds.chunks).map(move |index| (epoch, index)))
    }
}

/// The rows of each epoch by the job's one line of checkpoints: those that later attempts went on from.
fn chain(world: &World) -> BTreeMap<Epoch, Vec<&ChunkRef>> {
    let mut chain: BTreeMap<Epoch, Vec<&ChunkRef>> = BTreeMap::new();
    for entry in world.log.values() {
        if let Body::AttemptStarted { restored_from, .. } = &entry.record.body {
            let goes_on_from = restored_from.as_ref().map_or(Epoch(0), |checkpoint| checkpoint.epoch);
            chain.retain(|epoch, _| *epoch <= goes_on_from);
        }
        if let Some(checkpoint) = entry.checkpoint() {
            chain.insert(checkpoint.epoch, entry.own_chunks().collect());
        }
    }
    chain
}

/// All attempts with all of their entries: none missing, none behind an end.
fn attempts(world: &World) -> Result<Vec<(AttemptLog, Vec<&Entry>)>, String> {
    let mut attempts: BTreeMap<Attempt, Vec<&Entry>> = BTreeMap::new();
    for (&(attempt, seq), entry) in &world.log {
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

fn is_one_chain(world: &World) -> bool {
    let Ok(attempts) = attempts(world) else { return false };
    attempts.is_sorted_by(|(before, _), (_, entries)| match &entries[0].record.body {
        Body::AttemptStarted { restored_from, .. } => *restored_from == before.checkpoint,
        _ => false,
    })
}

fn has_one_owner(world: &World) -> bool {
    let Ok(attempts) = attempts(world) else { return false };
    let by_its_owner = |entries: &[&Entry]| {
        let mut by_others = entries.iter().filter(|entry| entry.author != entries[0].author);
        by_others.all(|entry| matches!(entry.record.body, Body::Sealed { .. }))
    };
    attempts.iter().rev().skip(1).all(|(attempt, _)| attempt.ending.is_some())
        && attempts.iter().all(|(_, entries)| by_its_owner(entries))
}

fn is_done(protocol: &Protocol, world: &World) -> bool {
    world.topic.len() == protocol.all_chunks().count()
}

fn is_at_rest(protocol: &Protocol, world: &World) -> bool {
    let mut acts = Vec::new();
    protocol.actions(world, &mut acts);
    acts.is_empty()
}
