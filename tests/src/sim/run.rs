//! One run, from the first start to the verdict.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tidegate::coordinator::api::Request;
use tidegate_crds::api::{StopPurpose, StopRequest};
use tokio::sync::oneshot;

use super::{
    digests::without_checksums,
    disk::LocalDisks,
    doors::Inside,
    faults::{Crash, Fault, HowToStop, Moment, Outage, Wish, outages, plan},
    job::{COPY, FINISHED, FIRST, Setting, UPGRADED, WHOLE, inspect, root_of},
    ledger,
    met::{Kind, Met},
    panics::panics,
    places::Death,
    process::Process,
    store::TableFiles,
    telling::tell,
    topic::Topic,
    verdict,
    world::{Host, INSPECTOR, Micros, Pid, SECOND, Shared, System, Weather},
};
use crate::chance::Chance;

/// Faults cease some time after the start; from then on the job has so long to finish.
const PATIENCE: Micros = 900 * SECOND;
/// After the end whoever still lives goes on for so long, and must not change anything.
const AFTERMATH: Micros = 90 * SECOND;
/// And, where an attempt is open then, for so long at most.
const LAST_WORDS: Micros = 20 * SECOND;
/// Between two looks at the jobs.
const WATCH: Micros = 2 * SECOND;
/// Between two requests to drain, and two to cancel.
const DRAIN: Micros = 10 * SECOND;
/// A second job is not started any more so long after the last fault.
const LATEST_START: Micros = 20 * SECOND;
/// One that has not begun so long after the last fault, or its start, does not have to.
const LATEST_COPY: Micros = 60 * SECOND;
/// Where rows may be late, a partition has no leader for so many times as long.
const OF_LATE_ROWS: Micros = 40;
/// Far more than any run has.
const MOST_EVENTS: u64 = 5_000_000;
/// How many of a thousand requests to store and sinks go wrong in good weather, by run.
const USUAL_TROUBLE: [u64; 4] = [0, 4, 15, 40];

/// What came of a run.
#[derive(Debug)]
pub struct Played {
    pub seed: u64,
    /// Of all that has happened.
    pub digest: u64,
    pub events: u64,
    /// Virtual time until the job had finished.
    pub took: Micros,
    pub faults: usize,
    /// What has gone wrong and was asked for, by kind.
    pub met: Met,
    /// Files, or pieces of them, of rows that barriers have overtaken.
    pub in_flight: u64,
    /// Restarts of the coordinators' attempts, and those of them in which some regions went on.
    pub restarts: u64,
    pub region_restarts: u64,
    /// Checkpoints that were owned when the next one had begun to write.
    pub overlapping: u64,
    /// Whether some process has kept its state in tables on the local disk, and what became of their files.
    pub has_tables: bool,
    pub table_files: TableFiles,
    /// Why it is not what it should be.
    pub verdict: Result<(), String>,
    /// The last events, in words.
    pub tail: String,
    pub setting: String,
}

/// Plays a seed; `told`, everything is printed as it happens.
pub fn play(seed: u64, told: bool) -> Played {
    let mut chance = Chance::new(seed);
    let setting = Setting::draw(&mut chance);
    let calm = chance.within(15 * SECOND..60 * SECOND);
    let is_quiet = chance.happens(if setting.topic.is_some() { 600 } else { 200 });
    let usual = Weather { trouble: if is_quiet { 0 } else { chance.one_of(&USUAL_TROUBLE) } };
    let mut faults = plan(&mut chance, &setting.hosts(FIRST), calm, &setting.rare_places(), is_quiet);
    if setting.may_pause() {
        faults.extend(outages(&mut chance));
    }
    let mut run = Run {
        world: Shared::new(chance),
        setting: setting.clone(),
        disks: LocalDisks::new(local_disks()),
        processes: BTreeMap::new(),
        names: BTreeMap::new(),
        frozen: BTreeSet::new(),
        ambushes: Vec::new(),
        outages: Vec::new(),
        steps: BTreeMap::new(),
        counted: 0,
        lives: 0,
        asked: 0,
        usual,
        calm,
        is_calm: false,
        active: BTreeSet::new(),
        begun: BTreeSet::new(),
        finished: BTreeMap::new(),
        drained_at: 0,
        copied_at: 0,
        cancelled_at: 0,
        retires: false,
    };
    let _log = told.then(|| tell(run.world.clone()));
    run.world.lock().trace.told = told;
    run.world.lock().weather = usual;
    {
        let mut world = run.world.lock();
        world.max_pending = setting.max_pending_epochs as usize;
        world.slow_writes = setting.slow_writes;
        world.short_transfers = setting.short_transfers;
        world.flawed_reads = setting.flawed_reads;
        world.topic = setting.topic.as_ref().map(Topic::new).unwrap_or_default();
    }
    let count = faults.len();
    for (at, fault) in faults {
        run.step(at, Step::Fault(fault));
    }
    run.step(calm, Step::Calm);
    run.step(0, Step::Begin(FIRST));
    if let Some(upgrade) = &setting.upgrade {
        run.step(upgrade.at, Step::Begin(UPGRADED));
    }
    run.step(WATCH, Step::Watch);
    let panicked = panics();
    let mut verdict = run.play_on(calm);
    if panics() > panicked {
        verdict = verdict.and(Err("something has panicked".to_owned()));
    }
    let took = run.finished_at().unwrap_or_default();
    run.end_all();
    let world = run.world.lock();
    Played {
        seed,
        digest: world.trace.digest(),
        events: world.trace.events,
        took,
        faults: count,
        met: world.met.clone(),
        in_flight: world.in_flight,
        restarts: world.metrics.iter().map(|metrics| metrics.restarts.get()).sum(),
        region_restarts: world.metrics.iter().map(|metrics| metrics.region_restarts.get()).sum(),
        overlapping: world.overlapping,
        has_tables: setting.has_tables(),
        table_files: TableFiles { uploaded: world.digests.tables.len() as u64, ..world.table_files },
        verdict,
        tail: world.trace.tail(),
        setting: format!("{setting:?}"),
    }
}

/// What the run itself does at a time, for which no process may have its turn.
enum Step {
    /// The processes of a generation begin.
    Begin(u8),
    /// They are ended, and do not come back.
    Retire(u8),
    Start(Host),
    /// Looks how far the jobs have come.
    Watch,
    Fault(Fault),
    Thaw(Host),
    /// A local disk has room again.
    GiveBack(Host),
    EndStorm,
    Calm,
}

struct Run {
    world: Shared,
    setting: Setting,
    /// What is there has names that the seed decides on, so two runs need two.
    disks: LocalDisks,
    processes: BTreeMap<Host, Process>,
    /// What the next process of a host is called, by how often it was replaced.
    names: BTreeMap<Host, u32>,
    frozen: BTreeSet<Host>,
    ambushes: Vec<(Moment, Micros, Crash)>,
    /// Of sinks, each of which begins with an owned checkpoint.
    outages: Vec<Outage>,
    steps: BTreeMap<(Micros, u64), Step>,
    counted: u64,
    lives: u32,
    /// How often somebody asked for something.
    asked: u32,
    /// Between storms.
    usual: Weather,
    /// When faults cease, and whether they have.
    calm: Micros,
    is_calm: bool,
    /// Generations whose processes are started again when they end.
    active: BTreeSet<u8>,
    /// All that ever were.
    begun: BTreeSet<u8>,
    /// By the root of a job's store, when it had finished.
    finished: BTreeMap<&'static str, Micros>,
    /// When the jobs were last asked to drain.
    drained_at: Micros,
    /// When the second job began, and when it was last asked to end for good.
    copied_at: Micros,
    cancelled_at: Micros,
    /// The first generation is about to retire.
    retires: bool,
}

impl Run {
    fn step(&mut self, at: Micros, step: Step) {
        self.counted += 1;
        self.steps.insert((at, self.counted), step);
    }

    fn now(&self) -> Micros {
        self.world.lock().now
    }

    fn play_on(&mut self, calm: Micros) -> Result<(), String> {
        loop {
            let deadline = self.finished_at().map_or(calm + PATIENCE, |finished| finished.max(calm) + AFTERMATH);
            if !self.go_on(deadline)? {
                break;
            }
        }
        // Who was started again in the last moments is about to say that there is nothing to do.
        let last = self.now() + LAST_WORDS;
        while self.has_open() && self.go_on(last)? {}
        if self.finished_at().is_none() {
            return Err(format!("not finished {} s after the last fault", PATIENCE / SECOND));
        }
        let has_second = self.begun.contains(&COPY);
        verdict::compare(&mut self.world.lock(), &self.setting, has_second)?;
        for root in self.roots() {
            ledger::check(&self.world.lock(), root)?;
            if !ledger::standing(&self.world.lock(), root)?.is_deleted {
                self.inspect(root)?;
            }
        }
        Ok(())
    }

    fn has_open(&self) -> bool {
        let world = self.world.lock();
        self.roots().iter().any(|root| ledger::standing(&world, root).is_ok_and(|standing| standing.is_open))
    }

    /// Of the jobs' stores.
    fn roots(&self) -> BTreeSet<&'static str> {
        self.begun.iter().map(|generation| root_of(*generation)).collect()
    }

    /// When all jobs had finished.
    fn finished_at(&self) -> Option<Micros> {
        let finished: Option<Vec<Micros>> = self.roots().iter().map(|root| self.finished.get(root).copied()).collect();
        finished.and_then(|finished| finished.into_iter().max())
    }

    /// Lets the next thing happen; false when none does before the deadline.
    fn go_on(&mut self, deadline: Micros) -> Result<bool, String> {
        let event = self.world.lock().next_due();
        let step = self.steps.keys().next().copied();
        match (event, step) {
            (event, Some((at, number))) if at <= deadline && event.is_none_or(|due| at <= due) => {
                self.world.lock().now = at;
                if let Some(step) = self.steps.remove(&(at, number)) {
                    self.take(step);
                }
            }
            (Some(due), _) if due <= deadline => {
                let concerned = self.world.lock().go_on();
                if let Some(pid) = concerned {
                    self.run_process(pid);
                }
                self.spring();
                let world = self.world.lock();
                if let Some(violation) = &world.violation {
                    return Err(violation.clone());
                }
                if world.trace.events > MOST_EVENTS {
                    return Err(format!("{MOST_EVENTS} events, and no end"));
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn run_process(&mut self, pid: Pid) {
        let Some(host) = self.world.lock().host(pid) else { return };
        if self.frozen.contains(&host) {
            return;
        }
        let ended = self.processes.get_mut(&host).and_then(Process::run);
        if self.bury() {
            return;
        }
        let Some(ended) = ended else { return };
        let word = ended.unwrap_or_else(|panic| panic.to_string());
        self.note(host, &format!("ends: {}", without_checksums(&word)));
        self.remove(host, false);
        let (now, root) = (self.now(), root_of(host.generation()));
        if word == FINISHED {
            self.finished.entry(root).or_insert(now);
        } else {
            // There is nothing left to run: who is started again says so.
            let pause = if self.finished.contains_key(root) { 30 * SECOND } else { SECOND };
            self.step(now + pause, Step::Start(host));
        }
    }

    fn note(&self, host: Host, what: &str) {
        self.world.lock().note(format_args!("{host} {what}"));
    }

    fn meet(&self, kind: Kind) {
        self.world.lock().met.note(kind);
    }

    fn remove(&mut self, host: Host, silently: bool) {
        let Some(process) = self.processes.remove(&host) else { return };
        {
            let mut world = self.world.lock();
            world.lives.remove(&host);
            world.desks.remove(&host);
            world.coordinators.remove(&host);
            world.hang_up(process.inside.pid, silently);
        }
        if self.disks.leave(host, process, false) {
            self.meet(Kind::FilesLeft);
        }
    }

    /// Takes away who has died in its turn, if somebody has.
    fn bury(&mut self) -> bool {
        let Some(Death { crash, disk_is_away }) = self.world.lock().death.take() else { return false };
        let host = crash.host;
        let Some(process) = self.processes.remove(&host) else { return true };
        {
            let mut world = self.world.lock();
            world.desks.remove(&host);
            world.coordinators.remove(&host);
        }
        if self.disks.leave(host, process, disk_is_away) {
            self.meet(Kind::FilesLeft);
        }
        self.replace(crash);
        true
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Begin(generation) => self.begin(generation),
            Step::Retire(generation) => {
                self.active.remove(&generation);
                for host in self.setting.hosts(generation) {
                    self.note(host, "retires");
                    self.remove(host, false);
                }
            }
            Step::Watch => {
                self.watch();
                self.step(self.now() + WATCH, Step::Watch);
            }
            Step::Start(host) => self.start(host),
            Step::Fault(fault) => {
                let fault = self.of_those_who_run(fault);
                self.wrong(fault);
            }
            Step::Thaw(host) => {
                if self.frozen.remove(&host) {
                    self.note(host, "thaws");
                    if let Some(pid) = self.processes.get(&host).map(|process| process.inside.pid) {
                        self.run_process(pid);
                    }
                }
            }
            Step::GiveBack(host) => self.disks.give_back(host),
            Step::EndStorm if self.is_calm => {}
            Step::EndStorm => self.world.lock().weather = self.usual,
            Step::Calm => {
                self.is_calm = true;
                self.ambushes.clear();
                self.outages.clear();
                let mut world = self.world.lock();
                world.note(format_args!("faults cease"));
                world.weather.trouble = 0;
                world.down.clear();
                // To others nobody may have come yet.
                world.traps.retain(|trap| self.setting.rare_places().contains(&trap.place));
                world.flawed_reads = 0;
                world.heal_links();
            }
        }
    }

    fn inside(&self, host: Host, pid: Pid) -> Inside {
        let (pace, disk, idle) = (self.setting.pace, self.disks.of(host), Arc::default());
        Inside { world: self.world.clone(), host, pid, born: self.now(), pace, disk, idle }
    }

    /// Where the job whose store has this root runs, as far as its coordinators know.
    fn who_runs(&self, root: &str) -> Vec<Host> {
        let world = self.world.lock();
        let running = world.coordinators.iter().filter(|(_, shared)| shared.runs()).map(|(host, _)| *host);
        running.filter(|host| root_of(host.generation()) == root).collect()
    }

    fn begin(&mut self, generation: u8) {
        // A job that has finished is not taken over.
        if generation == UPGRADED && self.finished.contains_key(root_of(FIRST)) {
            return;
        }
        self.active.insert(generation);
        self.begun.insert(generation);
        for host in self.setting.hosts(generation) {
            self.start(host);
        }
    }

    /// Has the hosts of those who run stand for those of the first generation.
    fn of_those_who_run(&mut self, fault: Fault) -> Fault {
        let active: Vec<u8> = self.active.iter().copied().collect();
        if active == [FIRST] || active.is_empty() {
            return fault;
        }
        let mut world = self.world.lock();
        let most = world.chance.one_of(&active);
        // What goes wrong between two hosts may do so between two generations.
        fault.of_hosts(|host| {
            let generation = if world.chance.happens(200) { world.chance.one_of(&active) } else { most };
            host.in_generation(generation)
        })
    }

    /// Does what waits for how far the jobs have come.
    fn watch(&mut self) {
        let now = self.now();
        let first = root_of(FIRST);
        let newest = self.world.lock().revisions.get(first).copied().unwrap_or_default();
        if newest > 1 && !self.retires {
            self.retires = true;
            let wait = self.world.lock().chance.within(0..10 * SECOND);
            self.meet(Kind::HandOver);
            self.step(now + wait, Step::Retire(FIRST));
        }
        self.begin_second(now);
        self.cancel(now);
        self.drain(now);
    }

    /// Begins the second job when there is what it begins with; gives it up when it does not come to begin.
    fn begin_second(&mut self, now: Micros) {
        let Some(second) = self.setting.second.clone() else { return };
        if self.begun.contains(&COPY) {
            let has_begun = self.world.lock().revisions.contains_key(root_of(COPY));
            if !has_begun && now > self.copied_at.max(self.calm) + LATEST_COPY {
                self.take(Step::Retire(COPY));
                self.begun.remove(&COPY);
            }
            return;
        }
        let first = root_of(FIRST);
        let is_late = self.finished.contains_key(first) || now > self.calm + LATEST_START;
        if self.is_calm && is_late {
            return;
        }
        let origin = if second.of_savepoint {
            let world = self.world.lock();
            let of_first = world.savepoints.iter().filter(|(address, _)| address.contains(first));
            of_first.map(|(address, _)| address.clone()).next_back()
        } else {
            Some(format!("sim://{}", first.trim_end_matches('/')))
        };
        let Some(origin) = origin else {
            for host in self.who_runs(first) {
                self.ask(host, Wish::Savepoint);
            }
            return;
        };
        if now < second.at {
            return;
        }
        self.meet(if second.of_savepoint { Kind::CopyOfSavepoint } else { Kind::CopyOfJob });
        self.world.lock().origin = origin;
        self.copied_at = now;
        self.begin(COPY);
    }

    /// Ends the second job for good, in some runs: what it has kept is deleted, and nobody goes on from there.
    fn cancel(&mut self, now: Micros) {
        let root = root_of(COPY);
        let Some(after) = self.setting.second.as_ref().and_then(|second| second.cancelled_after) else { return };
        if !self.begun.contains(&COPY) || self.finished.contains_key(root) {
            return;
        }
        if ledger::standing(&self.world.lock(), root).is_ok_and(|standing| standing.is_deleted) {
            self.meet(Kind::Cancelled);
            self.finished.insert(root, now);
        } else if now >= self.copied_at + after && now >= self.cancelled_at + DRAIN {
            self.cancelled_at = now;
            for host in self.who_runs(root) {
                self.ask(host, Wish::Cancel);
            }
        }
    }

    /// A job that reads a topic ends when it is asked to: when all is read, or earlier.
    fn drain(&mut self, now: Micros) {
        let Some(topic) = self.setting.topic.clone() else { return };
        let is_early = topic.drained_at.is_some_and(|at| now >= at);
        let is_asked_again = now >= self.drained_at + DRAIN;
        for root in self.roots() {
            if self.finished.contains_key(root) {
                continue;
            }
            let (standing, is_read) = {
                let world = self.world.lock();
                (ledger::standing(&world, root), world.topic.is_read(root))
            };
            if standing.is_ok_and(|standing| standing.is_drained()) {
                self.finished.insert(root, now);
            } else if (is_early || (is_read && self.is_calm)) && is_asked_again {
                self.drained_at = now;
                // Who is asked before it runs anything just ends.
                for host in self.who_runs(root) {
                    self.ask(host, Wish::Drain);
                }
            }
        }
    }

    fn start(&mut self, host: Host) {
        if self.processes.contains_key(&host) || !self.active.contains(&host.generation()) {
            return;
        }
        self.lives += 1;
        let pid = Pid(self.lives);
        let inside = self.inside(host, pid);
        let pod = format!("{host}-{}", self.names.get(&host).copied().unwrap_or_default());
        self.note(host, &format!("starts as {pod}"));
        self.world.lock().lives.insert(host, pid);
        let process = Process::start(inside.clone(), self.setting.clone().main(inside, pod));
        self.processes.insert(host, process);
        self.run_process(pid);
    }

    fn wrong(&mut self, fault: Fault) {
        let now = self.now();
        match fault {
            Fault::Crash(crash) => self.crash(crash),
            Fault::Ambush { upon, after, crash } => self.ambushes.push((upon, after, crash)),
            Fault::Trap(trap) => self.world.lock().traps.push(trap),
            Fault::Part { a, b, lasts, one_way } => {
                let mut world = self.world.lock();
                world.part(a, b, now + lasts);
                if !one_way {
                    world.part(b, a, now + lasts);
                }
                world.met.note(if one_way { Kind::PartedOneWay } else { Kind::Parted });
            }
            Fault::Freeze { host, lasts } => {
                self.note(host, "freezes");
                self.meet(Kind::Frozen);
                self.frozen.insert(host);
                self.step(now + lasts, Step::Thaw(host));
            }
            Fault::Jump { host, ms } => {
                self.note(host, &format!("has a wall clock {ms} ms ahead"));
                self.meet(Kind::Jumped);
                self.world.lock().clocks.insert(host, ms);
            }
            Fault::Storm { trouble, lasts } => {
                let mut world = self.world.lock();
                world.note(format_args!("{trouble} of 1000 requests go wrong"));
                world.weather.trouble = trouble;
                world.met.note(Kind::Storm);
                drop(world);
                self.step(now + lasts, Step::EndStorm);
            }
            Fault::CutOff { host, systems, lasts } => {
                self.note(host, &format!("does not reach {systems:?}"));
                let mut world = self.world.lock();
                world.cut_off.extend(systems.iter().map(|system| ((host, *system), now + lasts)));
                world.met.note(match systems {
                    [System::Store] => Kind::CutOffStore,
                    [System::Sinks] => Kind::CutOffSinks,
                    _ => Kind::CutOff,
                });
            }
            Fault::DownOnceOwned(outage) => self.outages.push(outage),
            Fault::Down(Outage { outlet, lasts }) => {
                let mut world = self.world.lock();
                world.note(format_args!("{outlet:?} take nothing"));
                world.down.insert(outlet, now + lasts);
                world.met.note(Kind::SinkDown);
            }
            Fault::Slow { a, b, most } => {
                self.meet(Kind::SlowLink);
                self.world.lock().slow(a, b, most);
            }
            Fault::Ask { host, wish } => self.ask(host, wish),
            Fault::Break { draw } => self.world.lock().break_one(draw),
            Fault::Full { host, lasts } => {
                if self.disks.take(host) {
                    self.note(host, "has a full disk");
                    self.meet(Kind::DiskGone);
                    self.step(now + lasts, Step::GiveBack(host));
                }
            }
            Fault::Elect { draw, lasts } => {
                let lasts = if self.setting.is_punctual() { lasts } else { lasts * OF_LATE_ROWS };
                let mut world = self.world.lock();
                if let Some(partition) = world.topic.elect(draw, now + lasts) {
                    world.note(format_args!("partition {partition} has no leader"));
                    world.met.note(Kind::Election);
                }
            }
            // Before the first checkpoint all regions restart: most wait for it, each for itself, so that regions restart alone.
            Fault::Fail { draw } if !draw.is_multiple_of(8) && !self.has_checkpoint() && !self.is_calm => {
                self.step(now + SECOND + draw % (8 * SECOND), Step::Fault(fault));
            }
            Fault::Fail { draw } => {
                let struck = self.world.lock().strike_one(draw);
                if let Some(pid) = struck {
                    self.meet(Kind::SubtaskFailed);
                    self.run_process(pid);
                }
            }
        }
    }

    /// Whether a job has owned one.
    fn has_checkpoint(&self) -> bool {
        let world = self.world.lock();
        self.roots().iter().any(|root| ledger::standing(&world, root).is_ok_and(|standing| standing.newest.is_some()))
    }

    fn crash(&mut self, crash: Crash) {
        let Crash { host, polls, silently, .. } = crash;
        let Some(process) = self.processes.get_mut(&host) else { return };
        // What is frozen takes no step any more.
        if !self.frozen.remove(&host) {
            process.stagger(polls);
            if self.bury() {
                return;
            }
        }
        self.note(host, if silently { "loses its power" } else { "is killed" });
        self.meet(if silently { Kind::LostPower } else { Kind::Killed });
        self.remove(host, silently);
        self.replace(crash);
    }

    /// Another takes the place of who has died.
    fn replace(&mut self, Crash { host, as_another, back_after, .. }: Crash) {
        if as_another {
            self.meet(Kind::Renamed);
            *self.names.entry(host).or_default() += 1;
        }
        let back = self.now() + back_after;
        self.step(back, Step::Start(host));
    }

    /// One ambush is for one moment.
    fn spring(&mut self) {
        let (now, moments) = {
            let mut world = self.world.lock();
            (world.now, std::mem::take(&mut world.moments))
        };
        for moment in moments {
            if moment == Moment::Owned && !self.outages.is_empty() {
                let outage = self.outages.remove(0);
                self.step(now, Step::Fault(Fault::Down(outage)));
            }
            let Some(place) = self.ambushes.iter().position(|(upon, ..)| *upon == moment) else { continue };
            let (_, after, crash) = self.ambushes.remove(place);
            self.meet(moment.death());
            self.step(now + after, Step::Fault(Fault::Crash(crash)));
        }
    }

    fn ask(&mut self, host: Host, wish: Wish) {
        let Some(desk) = self.world.lock().desks.get(&host).cloned() else { return };
        self.note(host, &format!("is asked for {wish:?}"));
        self.asked += 1;
        if let Some(kind) = wish.kind() {
            self.meet(kind);
        }
        let name = format!("savepoint-{}", self.asked);
        let stop = |final_checkpoint| StopRequest::new(StopPurpose::Suspend, final_checkpoint);
        let request = match wish {
            Wish::Checkpoint => Request::Checkpoint,
            Wish::Savepoint => Request::Savepoint { name, then: None, answer: oneshot::channel().0 },
            Wish::Stop(HowToStop::AtOnce) => Request::Stop(stop(false)),
            Wish::Stop(HowToStop::WithCheckpoint) => Request::Stop(stop(true)),
            Wish::Stop(HowToStop::WithSavepoint) => {
                let then = Some(StopRequest { savepoint: Some(name.clone()), ..stop(true) });
                Request::Savepoint { name, then, answer: oneshot::channel().0 }
            }
            Wish::Drain => {
                let request = StopRequest { drain: true, ..stop(true) };
                Request::Drain { request, answer: oneshot::channel().0 }
            }
            Wish::Cancel => Request::Stop(StopRequest::new(StopPurpose::Cancel, true)),
            Wish::Rescale { parallelism } => Request::Rescale { parallelism, answer: oneshot::channel().0 },
        };
        // One that has ended is asked in vain.
        let _ended = desk.send(request);
        if let Some(pid) = self.processes.get(&host).map(|process| process.inside.pid) {
            self.run_process(pid);
        }
    }

    /// Whether what is kept could be gone on from.
    fn inspect(&mut self, root: &'static str) -> Result<(), String> {
        self.lives += 1;
        let pid = Pid(self.lives);
        let inside = self.inside(INSPECTOR, pid);
        self.world.lock().lives.insert(INSPECTOR, pid);
        let mut process = Process::start(inside.clone(), inspect(self.world.clone(), inside, root));
        loop {
            if let Some(ended) = process.run() {
                return match ended {
                    Ok(word) if word == WHOLE => {
                        self.world.lock().lives.remove(&INSPECTOR);
                        Ok(())
                    }
                    Ok(word) => Err(word),
                    Err(panic) => Err(panic.to_string()),
                };
            }
            while self.world.lock().go_on() != Some(pid) {
                if self.world.lock().next_due().is_none() {
                    return Err("the inspection hangs".to_owned());
                }
            }
        }
    }

    /// Nobody does anything any more.
    fn end_all(&mut self) {
        let left: Vec<Host> = self.processes.keys().copied().collect();
        for host in left {
            self.remove(host, true);
        }
    }
}

/// A folder in the machine's memory, if it has one: databases wait for the disk at every step.
pub fn local_disks() -> tempfile::TempDir {
    let folder = tempfile::Builder::new().prefix("simulated-").tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    folder.expect("a folder for the local disks")
}
