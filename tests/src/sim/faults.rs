//! What goes wrong, and when.

use super::{
    met::Kind,
    places::{Trap, places},
    world::{Host, MILLI, Micros, Outlet, SECOND, System},
};
use crate::chance::Chance;

/// At most, and in a quiet run.
const MOST_TRAPS: [u64; 2] = [14, 1];
/// Places to which jobs come less often than to the others.
const SELDOM: &[&str] = &[
    "rows-in-flight-uploaded",
    "state-copied",
    "after-own",
    "before-publish",
    "after-epoch-committed",
    "recovery-settling",
];

/// The first seconds belong to the start.
const FIRST: Micros = SECOND;

#[derive(Debug, Clone, Copy)]
pub enum Fault {
    Crash(Crash),
    /// A process dies shortly after something has become durable.
    Ambush {
        upon: Moment,
        after: Micros,
        crash: Crash,
    },
    /// Whoever comes to a place of the engine dies there.
    Trap(Trap),
    /// Nothing arrives between two hosts, or at one of them from the other.
    Part {
        a: Host,
        b: Host,
        lasts: Micros,
        one_way: bool,
    },
    /// A host stands still, as a machine that swaps, and then goes on as if nothing had been.
    Freeze {
        host: Host,
        lasts: Micros,
    },
    /// A wall clock jumps.
    Jump {
        host: Host,
        ms: i64,
    },
    /// Requests to store and sinks go wrong, so many in a thousand.
    Storm {
        trouble: u64,
        lasts: Micros,
    },
    /// A host does not reach some systems.
    CutOff {
        host: Host,
        systems: &'static [System],
        lasts: Micros,
    },
    /// A sink takes nothing, of nobody.
    Down(Outage),
    /// The same, from the next owned checkpoint on: a job asks its sinks before it starts, and starts only if they answer.
    DownOnceOwned(Outage),
    /// Messages between two hosts take up to so long.
    Slow {
        a: Host,
        b: Host,
        most: Micros,
    },
    /// A connection breaks.
    Break {
        draw: u64,
    },
    /// Nothing can be written to a local disk.
    Full {
        host: Host,
        lasts: Micros,
    },
    /// A partition of the topic has no leader for a while: for less than any partition may be silent before nobody waits for
    /// it, or, where rows may be late, for much longer.
    Elect {
        draw: u64,
        lasts: Micros,
    },
    /// A subtask fails, and its process goes on.
    Fail {
        draw: u64,
    },
    /// Somebody asks for something, where `host` is a coordinator.
    Ask {
        host: Host,
        wish: Wish,
    },
}

/// A sink that is down for so long.
#[derive(Debug, Clone, Copy)]
pub struct Outage {
    pub outlet: Outlet,
    pub lasts: Micros,
}

/// A process dies after some more polls of its tasks, and another takes its place after a while.
#[derive(Debug, Clone, Copy)]
pub struct Crash {
    pub host: Host,
    pub polls: u64,
    /// Its peers hear nothing of it.
    pub silently: bool,
    /// Its successor has another name.
    pub as_another: bool,
    pub back_after: Micros,
}

/// Something has become durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    Begun,
    Sealed,
    Owned,
    Committed,
    ManifestWritten,
    Published,
}

impl Moment {
    /// That of a process which has just seen it.
    pub fn death(self) -> Kind {
        match self {
            Self::Begun => Kind::DiedAtBegun,
            Self::Sealed => Kind::DiedAtSealed,
            Self::Owned => Kind::DiedAtOwned,
            Self::Committed => Kind::DiedAtCommitted,
            Self::ManifestWritten => Kind::DiedAtManifest,
            Self::Published => Kind::DiedAtPublished,
        }
    }
}

/// What a person may ask for while all this happens.
#[derive(Debug, Clone, Copy)]
pub enum Wish {
    Checkpoint,
    Savepoint,
    Rescale {
        parallelism: u32,
    },
    /// An end, after which the job is started again.
    Stop(HowToStop),
    /// The end of the job: windows put out what they hold.
    Drain,
    /// The end of a job that deletes what it has kept.
    Cancel,
}

#[derive(Debug, Clone, Copy)]
pub enum HowToStop {
    AtOnce,
    WithCheckpoint,
    WithSavepoint,
}

impl Wish {
    /// Of a wish that was told; a job is not cancelled before it says so.
    pub fn kind(self) -> Option<Kind> {
        Some(match self {
            Self::Checkpoint => Kind::Checkpoint,
            Self::Savepoint => Kind::Savepoint,
            Self::Rescale { .. } => Kind::Rescale,
            Self::Stop(HowToStop::AtOnce) => Kind::StopAtOnce,
            Self::Stop(HowToStop::WithCheckpoint) => Kind::Stop,
            Self::Stop(HowToStop::WithSavepoint) => Kind::StopWithSavepoint,
            Self::Drain => Kind::Drain,
            Self::Cancel => return None,
        })
    }
}

impl Fault {
    /// The same, of the hosts that stand for these.
    pub fn of_hosts(mut self, mut host: impl FnMut(Host) -> Host) -> Self {
        match &mut self {
            Self::Crash(crash) | Self::Ambush { crash, .. } => crash.host = host(crash.host),
            Self::Part { a, b, .. } | Self::Slow { a, b, .. } => (*a, *b) = (host(*a), host(*b)),
            Self::Freeze { host: of, .. }
            | Self::Jump { host: of, .. }
            | Self::CutOff { host: of, .. }
            | Self::Full { host: of, .. }
            | Self::Ask { host: of, .. } => *of = host(*of),
            Self::Trap(_)
            | Self::Storm { .. }
            | Self::Down(_)
            | Self::DownOnceOwned(_)
            | Self::Break { .. }
            | Self::Elect { .. }
            | Self::Fail { .. } => {}
        }
        self
    }
}

/// Some faults between the start and `calm`, in order. To `rare` places only few jobs come, and this one does. In a quiet run
/// there are few, so that the job runs for longer at a time.
pub fn plan(
    chance: &mut Chance,
    hosts: &[Host],
    calm: Micros,
    rare: &[&'static str],
    is_quiet: bool,
) -> Vec<(Micros, Fault)> {
    let mut faults = Vec::new();
    // How many of each, at most, and in a quiet run: some runs have much of one kind, others little of all.
    let kinds: [([u64; 2], fn(&mut Chance, &[Host]) -> Fault); 14] = [
        ([6, 0], crash),
        ([8, 0], ambush),
        ([4, 1], part),
        ([3, 2], freeze),
        ([4, 4], jump),
        ([3, 0], storm),
        ([2, 0], cut_off),
        ([2, 1], slow),
        ([4, 1], break_one),
        ([24, 10], fail_one),
        ([5, 2], ask),
        ([4, 8], elect),
        ([2, 1], full),
        ([2, 1], down),
    ];
    for (most, kind) in kinds {
        for _ in 0..chance.within(0..most[usize::from(is_quiet)] + 1) {
            let at = chance.within(FIRST..calm);
            faults.push((at, kind(chance, hosts)));
        }
    }
    // A trap waits, so the earlier the better.
    for _ in 0..chance.within(0..MOST_TRAPS[usize::from(is_quiet)] + 1) {
        faults.push((chance.within(FIRST..calm / 2), trap(chance, hosts)));
    }
    if !rare.is_empty() && chance.happens(900) {
        let trap = Trap { place: chance.one_of(rare), skips: 0, crash: dies(chance, hosts) };
        faults.push((0, Fault::Trap(trap)));
    }
    faults.sort_by_key(|(at, _)| *at);
    faults
}

fn two(chance: &mut Chance, hosts: &[Host]) -> (Host, Host) {
    let first = chance.within(0..hosts.len() as u64);
    let second = (first + chance.within(1..hosts.len() as u64)) % hosts.len() as u64;
    (hosts[first as usize], hosts[second as usize])
}

fn dies(chance: &mut Chance, hosts: &[Host]) -> Crash {
    Crash {
        // Half of them are coordinators, or what else is first.
        host: if chance.happens(400) { hosts[0] } else { chance.one_of(hosts) },
        polls: if chance.happens(500) { 0 } else { chance.within(1..60) },
        silently: chance.happens(200),
        as_another: chance.happens(300),
        back_after: chance.within(SECOND / 10..6 * SECOND),
    }
}

fn crash(chance: &mut Chance, hosts: &[Host]) -> Fault {
    Fault::Crash(dies(chance, hosts))
}

fn ambush(chance: &mut Chance, hosts: &[Host]) -> Fault {
    use Moment::{Begun, Committed, ManifestWritten, Owned, Published, Sealed};
    let upon = chance.one_of(&[Begun, Sealed, Owned, Owned, Owned, Committed, ManifestWritten, Published]);
    let after = if chance.happens(300) { 0 } else { chance.within(0..60 * MILLI) };
    Fault::Ambush { upon, after, crash: dies(chance, hosts) }
}

fn part(chance: &mut Chance, hosts: &[Host]) -> Fault {
    let (a, b) = two(chance, hosts);
    Fault::Part { a, b, lasts: chance.within(SECOND..30 * SECOND), one_way: chance.happens(400) }
}

fn freeze(chance: &mut Chance, hosts: &[Host]) -> Fault {
    Fault::Freeze { host: chance.one_of(hosts), lasts: chance.within(SECOND / 10..25 * SECOND) }
}

fn jump(chance: &mut Chance, hosts: &[Host]) -> Fault {
    const HOUR_MS: i64 = 3_600_000;
    let ms = chance.within(0..4 * HOUR_MS as u64) as i64 - 2 * HOUR_MS;
    Fault::Jump { host: chance.one_of(hosts), ms }
}

fn storm(chance: &mut Chance, _: &[Host]) -> Fault {
    Fault::Storm { trouble: chance.within(20..400), lasts: chance.within(SECOND..20 * SECOND) }
}

fn cut_off(chance: &mut Chance, hosts: &[Host]) -> Fault {
    const SYSTEMS: [&[System]; 4] =
        [&[System::Store, System::Sinks], &[System::Store, System::Sinks], &[System::Store], &[System::Sinks]];
    // Some last longer than the journal's patience with a create whose outcome is not known.
    let longest = chance.one_of(&[25, 25, 90]);
    Fault::CutOff {
        host: chance.one_of(hosts),
        systems: chance.one_of(&SYSTEMS),
        lasts: chance.within(SECOND..longest * SECOND),
    }
}

/// Twice a sink that is down long enough for epochs to wait and sources to pause.
pub fn outages(chance: &mut Chance) -> [(Micros, Fault); 2] {
    [FIRST..6 * SECOND, 12 * SECOND..25 * SECOND]
        .map(|time| (chance.within(time), Fault::DownOnceOwned(outage(chance, 10 * SECOND))))
}

fn down(chance: &mut Chance, _: &[Host]) -> Fault {
    Fault::Down(outage(chance, 2 * SECOND))
}

fn outage(chance: &mut Chance, shortest: Micros) -> Outage {
    Outage { outlet: chance.one_of(&[Outlet::Table, Outlet::Brokers]), lasts: chance.within(shortest..40 * SECOND) }
}

fn trap(chance: &mut Chance, hosts: &[Host]) -> Fault {
    let places: Vec<&str> = places().collect();
    let place = if chance.happens(400) { chance.one_of(SELDOM) } else { chance.one_of(&places) };
    let skips = chance.one_of(&[0, 0, 0, 1, 2, 5]);
    Fault::Trap(Trap { place, skips, crash: dies(chance, hosts) })
}

fn slow(chance: &mut Chance, hosts: &[Host]) -> Fault {
    let (a, b) = two(chance, hosts);
    Fault::Slow { a, b, most: chance.within(SECOND / 20..3 * SECOND) }
}

fn break_one(chance: &mut Chance, _: &[Host]) -> Fault {
    Fault::Break { draw: chance.draw() }
}

fn full(chance: &mut Chance, hosts: &[Host]) -> Fault {
    Fault::Full { host: chance.one_of(hosts), lasts: chance.within(SECOND / 10..8 * SECOND) }
}

fn elect(chance: &mut Chance, _: &[Host]) -> Fault {
    Fault::Elect { draw: chance.draw(), lasts: chance.within(50 * MILLI..400 * MILLI) }
}

fn fail_one(chance: &mut Chance, _: &[Host]) -> Fault {
    Fault::Fail { draw: chance.draw() }
}

fn ask(chance: &mut Chance, hosts: &[Host]) -> Fault {
    let wish = match chance.within(0..9) {
        0 => Wish::Checkpoint,
        1..=3 => Wish::Savepoint,
        4 => Wish::Stop(HowToStop::AtOnce),
        5 => Wish::Stop(HowToStop::WithCheckpoint),
        6 => Wish::Stop(HowToStop::WithSavepoint),
        _ => Wish::Rescale { parallelism: chance.within(1..6) as u32 },
    };
    // Coordinators come first, and there are two at most.
    Fault::Ask { host: chance.one_of(&hosts[..2]), wish }
}
