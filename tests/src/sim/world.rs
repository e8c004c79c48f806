//! Everything outside the processes: time, the queue of what will happen, and what outlives a crash.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tidegate::{
    coordinator::{api::Request, shared},
    ids::Epoch,
    metrics::Metrics,
};
use tokio::sync::{mpsc::UnboundedSender, oneshot};

use super::{
    broker::Broker,
    digests::Digests,
    faults::Moment,
    met::{Kind, Met},
    net::Net,
    places::{Death, Trap},
    store::{Objects, TableFiles},
    table::Table,
    topic::Topic,
    trace::Trace,
};
use crate::chance::Chance;

/// Microseconds since the simulation began.
pub type Micros = u64;

pub const MILLI: Micros = 1_000;
pub const SECOND: Micros = 1_000_000;

/// A machine: an address, and at most one process at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Host(pub u8);

/// How many hosts a generation has at most.
const OF_GENERATION: u8 = 40;

impl Host {
    /// The host of this number of a generation of processes.
    pub fn of(generation: u8, number: u8) -> Self {
        Self(generation * OF_GENERATION + number)
    }

    pub fn generation(self) -> u8 {
        self.0 / OF_GENERATION
    }

    /// The host of another generation that has the same part.
    pub fn in_generation(self, generation: u8) -> Self {
        Self::of(generation, self.0 % OF_GENERATION)
    }
}

/// Who looks at the end whether all is well.
pub const INSPECTOR: Host = Host(199);

/// One life of a process; a restart is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pid(pub u32);

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "h{}", self.0)
    }
}

/// How likely requests to a system are to go wrong, in a thousand, by period.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weather {
    pub trouble: u64,
}

/// What a host reaches beside other hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum System {
    Store,
    Sinks,
}

/// Where rows go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outlet {
    Table,
    Brokers,
}

/// What becomes of a request to a system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Done,
    /// It takes seconds.
    Slow,
    /// Refused at once: a 503.
    Refused,
    /// It never arrives, and nobody answers.
    Lost,
    /// It takes place, and nobody answers.
    AnswerLost,
    /// Nobody answers, and it takes place long after.
    Late,
}

/// Takes place in the world; then the process it names may have something to do.
type Happening = Box<dyn FnOnce(&mut World) -> Option<Pid> + Send>;

pub struct World {
    pub now: Micros,
    queue: BTreeMap<(Micros, u64), Happening>,
    queued: u64,
    pub chance: Chance,
    pub trace: Trace,
    /// Who lives where.
    pub lives: BTreeMap<Host, Pid>,
    /// Where coordinators are asked for something.
    pub desks: BTreeMap<Host, UnboundedSender<Request>>,
    /// What coordinators tell of themselves.
    pub coordinators: BTreeMap<Host, Arc<shared::Shared>>,
    /// What a host's wall clock is ahead, in milliseconds.
    pub clocks: BTreeMap<Host, i64>,
    /// Systems that a host can't reach, until when.
    pub cut_off: BTreeMap<(Host, System), Micros>,
    /// Sinks that take nothing, until when.
    pub down: BTreeMap<Outlet, Micros>,
    /// Where processes are to die.
    pub traps: Vec<Trap>,
    /// The process that had its turn has died, and nobody has looked yet.
    pub death: Option<Death>,
    /// What makes a subtask fail, by the process it is in and its name.
    pub strikes: BTreeMap<(Pid, String), oneshot::Sender<()>>,
    /// What all processes have counted.
    pub metrics: Vec<Arc<Metrics>>,
    pub net: Net,
    pub objects: Objects,
    pub digests: Digests,
    pub table_files: TableFiles,
    pub broker: Broker,
    pub table: Table,
    pub topic: Topic,
    pub weather: Weather,
    /// What has gone wrong, counted.
    pub met: Met,
    /// Reads and writes of connections that take less than they could, of a thousand.
    pub short_transfers: u64,
    /// Reads of the store that bring other bytes than were written, of a thousand.
    pub flawed_reads: u64,
    /// What has become durable since the run last looked.
    pub moments: Vec<Moment>,
    /// Files, or pieces of them, of rows that barriers have overtaken.
    pub in_flight: u64,
    /// By the root of a job's store, the epochs whose checkpoints the log has.
    pub owned: BTreeMap<String, BTreeSet<u64>>,
    /// By root, the epochs that wait for a sink.
    pub pending: BTreeMap<String, BTreeSet<u64>>,
    /// So many have the sources pause.
    pub max_pending: usize,
    /// By root, when as many waited, the last time.
    pub paused_at: BTreeMap<String, Micros>,
    /// By root, the newest revision that has claimed the job.
    pub revisions: BTreeMap<String, u64>,
    /// How many rows each sink had when a job began, by the root of its store.
    pub put_out: BTreeMap<String, BTreeMap<String, usize>>,
    /// Savepoints that are complete, by address.
    pub savepoints: Vec<(String, Epoch)>,
    /// The address of what the second job begins with.
    pub origin: String,
    /// The longest that a write to the store takes, beside its way there.
    pub slow_writes: Micros,
    /// By root and attempt, the newest epoch that a file was written for.
    pub written: BTreeMap<(String, u64), u64>,
    /// Checkpoints that were owned when files were already written for a later one.
    pub overlapping: u64,
    /// The first thing that must never happen, and has.
    pub violation: Option<String>,
}

/// The world, as everybody holds it.
#[derive(Clone)]
pub struct Shared(Arc<Mutex<World>>);

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("World")
    }
}

impl Shared {
    pub fn new(chance: Chance) -> Self {
        Self(Arc::new(Mutex::new(World {
            now: 0,
            queue: BTreeMap::new(),
            queued: 0,
            chance,
            trace: Trace::default(),
            lives: BTreeMap::new(),
            desks: BTreeMap::new(),
            coordinators: BTreeMap::new(),
            clocks: BTreeMap::new(),
            cut_off: BTreeMap::new(),
            down: BTreeMap::new(),
            traps: Vec::new(),
            death: None,
            strikes: BTreeMap::new(),
            metrics: Vec::new(),
            net: Net::default(),
            objects: Objects::default(),
            digests: Digests::default(),
            table_files: TableFiles::default(),
            broker: Broker::default(),
            table: Table::default(),
            topic: Topic::default(),
            weather: Weather::default(),
            met: Met::default(),
            short_transfers: 0,
            flawed_reads: 0,
            moments: Vec::new(),
            in_flight: 0,
            owned: BTreeMap::new(),
            pending: BTreeMap::new(),
            max_pending: usize::MAX,
            paused_at: BTreeMap::new(),
            revisions: BTreeMap::new(),
            put_out: BTreeMap::new(),
            savepoints: Vec::new(),
            origin: String::new(),
            slow_writes: 0,
            written: BTreeMap::new(),
            overlapping: 0,
            violation: None,
        })))
    }

    pub fn lock(&self) -> MutexGuard<'_, World> {
        // A panic is of the process that has its turn, or the end of the test.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits in virtual time.
    pub async fn sleep(self, pid: Pid, duration: Duration) {
        let over = {
            let (over, seen) = oneshot::channel();
            let mut world = self.lock();
            let due = world.now.saturating_add(duration.as_micros() as Micros);
            // Nobody waits any more: nobody has anything to do.
            world.at(due, move |_| over.send(()).is_ok().then_some(pid));
            seen
        };
        // The world ends with everybody in it.
        let _ended = over.await;
    }
}

impl World {
    /// Has something happen at a time, after all that was to happen then before.
    pub fn at(&mut self, due: Micros, happening: impl FnOnce(&mut World) -> Option<Pid> + Send + 'static) {
        self.queued += 1;
        self.queue.insert((due.max(self.now), self.queued), Box::new(happening));
    }

    pub fn after(&mut self, wait: Micros, happening: impl FnOnce(&mut World) -> Option<Pid> + Send + 'static) {
        self.at(self.now.saturating_add(wait), happening);
    }

    /// When the next thing happens.
    pub fn next_due(&self) -> Option<Micros> {
        self.queue.keys().next().map(|(due, _)| *due)
    }

    /// Lets the next thing happen.
    pub fn go_on(&mut self) -> Option<Pid> {
        let ((due, _), happening) = self.queue.pop_first()?;
        self.now = due;
        happening(self)
    }

    pub fn note(&mut self, what: fmt::Arguments<'_>) {
        self.trace.note(self.now, what);
    }

    /// Something must never happen, and has.
    pub fn violate(&mut self, what: String) {
        self.note(format_args!("VIOLATION: {what}"));
        self.violation.get_or_insert(what);
    }

    pub fn host(&self, pid: Pid) -> Option<Host> {
        self.lives.iter().find(|(_, living)| **living == pid).map(|(host, _)| *host)
    }

    /// Lets one of the subtasks that run fail, chosen by `draw`; gives its process.
    pub fn strike_one(&mut self, draw: u64) -> Option<Pid> {
        self.strikes.retain(|_, strike| !strike.is_closed());
        let chosen = self.strikes.keys().nth(draw as usize % self.strikes.len().max(1)).cloned()?;
        self.note(format_args!("subtask {} fails", chosen.1));
        // It was not closed a moment ago.
        let _struck = self.strikes.remove(&chosen)?.send(());
        Some(chosen.0)
    }

    /// What becomes of a process's next request to a system.
    pub fn fate(&mut self, pid: Pid, system: System) -> Fate {
        let until = self.host(pid).and_then(|host| self.cut_off.get(&(host, system)));
        if until.is_some_and(|until| self.now < *until) {
            return Fate::Lost;
        }
        if !self.chance.happens(self.weather.trouble) {
            return Fate::Done;
        }
        let (fate, kind) = self.chance.one_of(&[
            (Fate::Slow, Kind::SlowRequest),
            (Fate::Refused, Kind::RefusedRequest),
            (Fate::Lost, Kind::LostRequest),
            (Fate::AnswerLost, Kind::LostAnswer),
            (Fate::Late, Kind::LateRequest),
        ]);
        self.met.note(kind);
        fate
    }

    /// Carries a request to a sink and its answer back, as fate has it. `None` in place of an answer: nobody answers, and
    /// the client has given up.
    pub fn request<T: Send + 'static>(
        &mut self,
        outlet: Outlet,
        pid: Pid,
        name: &str,
        serve: impl FnOnce(&mut World) -> T + Send + 'static,
    ) -> oneshot::Receiver<Option<T>> {
        let is_down = self.down.get(&outlet).is_some_and(|until| self.now < *until);
        let fate =
            if is_down { self.chance.one_of(&[Fate::Refused, Fate::Lost]) } else { self.fate(pid, System::Sinks) };
        self.carry(fate, 0, pid, name, serve)
    }

    /// As [`World::request`], to any system; it takes up to so long beside its way there.
    pub fn carry<T: Send + 'static>(
        &mut self,
        fate: Fate,
        longest: Micros,
        pid: Pid,
        name: &str,
        serve: impl FnOnce(&mut World) -> T + Send + 'static,
    ) -> oneshot::Receiver<Option<T>> {
        /// A client waits so long for an answer.
        const PATIENCE: Micros = 5 * SECOND;
        let (answer, answered) = oneshot::channel();
        let there = self.chance.within(500..8 * MILLI + longest);
        let back = self.chance.within(500..8 * MILLI);
        if fate != Fate::Done {
            self.note(format_args!("{name}: {fate:?}"));
        }
        let give = move |answer: oneshot::Sender<Option<T>>, value| answer.send(value).is_ok().then_some(pid);
        match fate {
            Fate::Done | Fate::Slow => {
                let there = if fate == Fate::Slow { self.chance.within(SECOND..4 * SECOND) } else { there };
                self.after(there, move |world| {
                    let served = serve(world);
                    world.after(back, move |_| give(answer, Some(served)));
                    None
                });
            }
            Fate::Refused => self.after(there, move |_| give(answer, None)),
            Fate::Lost => self.after(PATIENCE, move |_| give(answer, None)),
            Fate::AnswerLost | Fate::Late => {
                let there = if fate == Fate::Late { self.chance.within(5 * SECOND..60 * SECOND) } else { there };
                self.after(there, move |world| {
                    drop(serve(world));
                    None
                });
                self.after(PATIENCE, move |_| give(answer, None));
            }
        }
        answered
    }
}
