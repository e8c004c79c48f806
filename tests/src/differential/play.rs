//! One case, from its seed to the verdict.

use std::sync::Arc;

use super::{
    case::Case,
    history::{HOSTS, History, lock},
    oracle::Oracle,
    verdict::Compared,
};
use crate::sim::{panics, tell};

/// What came of a case.
#[derive(Debug)]
pub struct PlayedCase {
    pub seed: u64,
    /// Why it is not what it should be.
    pub verdict: Result<(), String>,
    /// Rows that DuckDB expects.
    pub rows: u64,
    /// A checkpoint did not tell which version puts out what, so nothing was compared.
    pub is_undecided: bool,
    /// Versions that ran beside the first.
    pub changes: u64,
    /// Those of them that another job has begun with a copy.
    pub copies: u64,
    /// Versions that were refused, and might be.
    pub refusals: u64,
    /// Processes that died, and attempts that began anew otherwise.
    pub kills: u64,
    pub restarts: u64,
    pub events: u64,
    /// Of all that has happened.
    pub digest: u64,
    /// The documents, and what was done when.
    pub story: String,
    /// The last events.
    pub tail: String,
}

/// Plays a seed; `told`, everything is printed as it happens.
pub fn play(seed: u64, oracle: &mut Oracle, told: bool) -> PlayedCase {
    let case = Arc::new(Case::draw(seed));
    let mut play = History::new(case.clone());
    let _log = told.then(|| tell(play.world.clone()));
    play.world.lock().trace.told = told;
    let panicked = panics();
    let mut compared = Compared::default();
    let ran = play.run();
    let mut verdict = match (ran, case.is_hazardous) {
        (Err(cause), true) => play.overflowed(oracle, cause),
        (ran, _) => ran.and_then(|()| {
            compared = play.compare(oracle)?;
            if compared.told.is_empty() { Ok(()) } else { Err(compared.told.clone()) }
        }),
    };
    if panics() > panicked {
        verdict = Err(format!(
            "something has panicked{}",
            verdict.err().map(|cause| format!("; {cause}")).unwrap_or_default()
        ));
    }
    for host in HOSTS {
        play.remove(host);
    }
    let changes = lock(&play.begun).len().saturating_sub(1) as u64;
    let copies = lock(&play.begun).iter().filter(|begun| play.is_copy(begun.stage)).count() as u64;
    let world = play.world.lock();
    PlayedCase {
        seed,
        rows: compared.rows,
        is_undecided: compared.is_undecided,
        verdict,
        changes,
        copies,
        refusals: play.refusals,
        kills: play.kills,
        restarts: world.metrics.iter().map(|metrics| metrics.restarts.get()).sum(),
        events: world.trace.events,
        digest: world.trace.digest(),
        story: play.story.clone(),
        tail: world.trace.tail(),
    }
}
