//! Deaths at the named places of the engine's durable paths, `tidegate::fault::PLACES`.
//!
//! A trap waits at a place, and the process that comes there for the n-th time dies: the task is unwound where it stands, no
//! other gets a turn, and for the world it was gone before anything of it was dropped.

use tidegate::fault::PLACES;

use super::{
    faults::Crash,
    world::{INSPECTOR, Pid, World},
};

/// Places to which no simulated job comes, and why.
pub const ELSEWHERE: &[(&str, &str)] = &[
    ("kafka-transaction-open", OF_KAFKA),
    ("kafka-transaction-committed", OF_KAFKA),
    ("clickhouse-between-inserts", OF_CLICKHOUSE),
    ("files-between-chunks", OF_FILES),
    ("files-before-link", OF_FILES),
];

const OF_KAFKA: &str = "in the sink for Apache Kafka, whose client has threads and sockets of its own";
const OF_CLICKHOUSE: &str = "in the sink for ClickHouse, whose client has sockets of its own";
const OF_FILES: &str = "in the sink for files, which waits for the real disk on threads of its own";

/// The places that a series of runs has to meet.
pub fn places() -> impl Iterator<Item = &'static str> {
    PLACES.iter().copied().filter(|place| ELSEWHERE.iter().all(|(elsewhere, _)| elsewhere != place))
}

#[derive(Debug, Clone, Copy)]
pub struct Trap {
    pub place: &'static str,
    /// So often nothing happens there.
    pub skips: u64,
    pub crash: Crash,
}

/// A process has died in its turn.
#[derive(Debug)]
pub struct Death {
    pub crash: Crash,
    /// So that nothing there is deleted by what the process drops.
    pub disk_is_away: bool,
}

impl World {
    /// A process is at a place. If it dies there it is gone for everybody, and this gives how.
    pub fn reach(&mut self, pid: Pid, place: &'static str) -> Option<Crash> {
        let host = self.host(pid).filter(|host| *host != INSPECTOR)?;
        let index = self.traps.iter().position(|trap| trap.place == place)?;
        if let Some(skips) = self.traps[index].skips.checked_sub(1) {
            self.traps[index].skips = skips;
            return None;
        }
        let Trap { crash, .. } = self.traps.remove(index);
        self.note(format_args!("{host} dies at {place}"));
        self.met.died_at(place);
        self.lives.remove(&host);
        self.hang_up(pid, crash.silently);
        Some(Crash { host, ..crash })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_simulated_job_comes_to_is_a_place_of_the_engine() {
        for (place, _) in ELSEWHERE {
            assert!(PLACES.contains(place), "{place}");
        }
    }
}
