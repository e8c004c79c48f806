//! The rules of the checkpoint log, looked up in what a run has left.

use std::collections::BTreeMap;

use tidegate::{
    checkpoint::{
        log::{AttemptLog, summarize},
        record::{Body, LOG, Record, parse_path},
        store::ObjectPath,
    },
    ids::{Attempt, Seq},
};

use super::world::World;

/// What is wrong with the log, if anything.
pub fn check(world: &World) -> Result<(), String> {
    let mut attempts: BTreeMap<Attempt, BTreeMap<Seq, Record>> = BTreeMap::new();
    for (path, bytes) in world.objects.below(LOG) {
        let place = parse_path(&ObjectPath(path.to_owned()));
        let (attempt, seq) = place.ok_or_else(|| format!("`{path}` is no place of the log"))?;
        let record = Record::from_bytes(bytes).map_err(|error| format!("`{path}`: {error}"))?;
        attempts.entry(attempt).or_default().insert(seq, record);
    }
    let mut before: Option<AttemptLog> = None;
    for (attempt, records) in &attempts {
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
