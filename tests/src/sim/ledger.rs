//! The rules of the checkpoint log, looked up in what a run has left.

use std::collections::BTreeMap;

use tidegate::{
    checkpoint::{
        log::{AttemptLog, summarize},
        record::{Body, CheckpointRef, LOG, Record, Trigger, parse_path},
        store::ObjectPath,
    },
    ids::{Attempt, Epoch, Seq},
};

use super::world::World;

/// The records of the job whose store has this root, by attempt.
type Attempts = BTreeMap<Attempt, BTreeMap<Seq, Record>>;

fn attempts(world: &World, root: &str) -> Result<Attempts, String> {
    let mut attempts = Attempts::new();
    for (path, bytes) in world.objects.below(&format!("{root}{LOG}")) {
        let place = parse_path(&ObjectPath(path[root.len()..].to_owned()));
        let (attempt, seq) = place.ok_or_else(|| format!("`{path}` is no place of the log"))?;
        let record = Record::from_bytes(bytes).map_err(|error| format!("`{path}`: {error}"))?;
        attempts.entry(attempt).or_default().insert(seq, record);
    }
    Ok(attempts)
}

/// How far a job has come.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// What it began with, if that was not nothing.
    pub origin: Option<Epoch>,
    pub newest: Option<(CheckpointRef, Trigger)>,
    /// The newest epoch that is known to be published.
    pub committed: Epoch,
    /// The newest attempt has not ended.
    pub is_open: bool,
    /// The job was cancelled, and nobody goes on from what it has kept.
    pub is_deleted: bool,
}

impl Standing {
    /// Whether the job has drained, and put everything out.
    pub fn is_drained(&self) -> bool {
        let drained = |(checkpoint, trigger): &(CheckpointRef, Trigger)| {
            *trigger == Trigger::Drain && checkpoint.epoch <= self.committed
        };
        self.newest.as_ref().is_some_and(drained)
    }
}

/// What the log of a job says; nothing where it has none.
pub fn standing(world: &World, root: &str) -> Result<Standing, String> {
    let mut standing = Standing::default();
    for (attempt, records) in attempts(world, root)? {
        for record in records.into_values() {
            match record.body {
                Body::AttemptStarted { restored_from, .. } => {
                    standing.is_open = true;
                    if attempt == Attempt(1) {
                        standing.origin = restored_from.map(|origin| origin.epoch);
                    }
                }
                Body::CheckpointCompleted { checkpoint, trigger } => standing.newest = Some((checkpoint, trigger)),
                Body::EpochCommitted { epoch, .. } => standing.committed = epoch.max(standing.committed),
                Body::Released { .. } | Body::Sealed { .. } => standing.is_open = false,
                Body::Deleted {} => (standing.is_open, standing.is_deleted) = (false, true),
            }
        }
    }
    Ok(standing)
}

/// What is wrong with the log of a job, if anything.
pub fn check(world: &World, root: &str) -> Result<(), String> {
    let mut before: Option<AttemptLog> = None;
    for (attempt, records) in &attempts(world, root)? {
        let places = records.keys().map(|seq| seq.0);
        if !places.eq(0..records.len() as u64) {
            return Err(format!("attempt {attempt} has gaps: {:?}", records.keys()));
        }
        let log = summarize(*attempt, Seq(records.len() as u64), records.values())?;
        follows(before.as_ref(), &log, records.get(&Seq(0)))?;
        before = Some(log);
    }
    match before {
        Some(log) if log.ending.is_some() => Ok(()),
        Some(log) => Err(format!("attempt {} is still open", log.attempt)),
        None => Err("nothing was ever claimed".to_owned()),
    }
}

/// An attempt begins where the one before has ended, and only when it has.
fn follows(before: Option<&AttemptLog>, log: &AttemptLog, first: Option<&Record>) -> Result<(), String> {
    let Some(Record { body: Body::AttemptStarted { restored_from, .. }, .. }) = first else {
        return Err(format!("attempt {} has no beginning", log.attempt));
    };
    let Some(before) = before else { return Ok(()) };
    if before.attempt.next() != log.attempt {
        return Err(format!("attempt {} follows {}", log.attempt, before.attempt));
    }
    if before.ending.is_none() {
        return Err(format!("attempt {} has begun, and {} has not ended", log.attempt, before.attempt));
    }
    if before.checkpoint != *restored_from {
        return Err(format!(
            "attempt {} goes on from {restored_from:?}, not from {:?}",
            log.attempt, before.checkpoint
        ));
    }
    if before.lineage != log.lineage {
        return Err(format!("attempt {} has another lineage", log.attempt));
    }
    Ok(())
}
