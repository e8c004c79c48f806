//! One run, from the first start to the verdict.

use std::collections::{BTreeMap, BTreeSet};

use tidegate::coordinator::api::Request;
use tokio::sync::oneshot;

use super::{
    doors::Inside,
    faults::{Crash, Fault, Moment, Wish, plan},
    job::{FINISHED, Setting, WHOLE, inspect},
    ledger,
    met::{Kind, Met},
    panics::panics,
    process::Process,
    store::TableFiles,
    table::passed_on,
    telling::tell,
    world::{Host, INSPECTOR, Micros, Pid, SECOND, Shared, System, Weather},
};
use crate::chance::Chance;
use crate::oracle::{Rows, Workload, reference, reference_with_duplicates};

/// Faults cease some time after the start; from then on the job has so long to finish.
const PATIENCE: Micros = 900 * SECOND;
/// After the end whoever still lives goes on for so long, and must not change anything.
const AFTERMATH: Micros = 90 * SECOND;
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
    let usual = Weather { trouble: chance.one_of(&USUAL_TROUBLE) };
    let faults = plan(&mut chance, &setting.hosts(), calm);
    let mut run = Run {
        world: Shared::new(chance),
        setting: setting.clone(),
        disk: local_disks(),
        processes: BTreeMap::new(),
        names: BTreeMap::new(),
        frozen: BTreeSet::new(),
        ambushes: Vec::new(),
        steps: BTreeMap::new(),
        counted: 0,
        lives: 0,
        asked: 0,
        usual,
        is_calm: false,
        finished: None,
    };
    let _log = told.then(|| tell(run.world.clone()));
    run.world.lock().trace.told = told;
    run.world.lock().weather = usual;
    {
        let mut world = run.world.lock();
        world.slow_writes = setting.slow_writes;
        world.short_transfers = setting.short_transfers;
        world.flawed_reads = setting.flawed_reads;
    }
    let count = faults.len();
    for (at, fault) in faults {
        run.step(at, Step::Fault(fault));
    }
    run.step(calm, Step::Calm);
    for host in setting.hosts() {
        run.step(0, Step::Start(host));
    }
    let panicked = panics();
    let mut verdict = run.play_on(calm);
    if panics() > panicked {
        verdict = verdict.and(Err("something has panicked".to_owned()));
    }
    let took = run.finished.unwrap_or_default();
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
    Start(Host),
    Fault(Fault),
    Thaw(Host),
    EndStorm,
    Calm,
}

struct Run {
    world: Shared,
    setting: Setting,
    /// The local disks of all processes: what is there has names that the seed decides on, so two runs need two.
    disk: tempfile::TempDir,
    processes: BTreeMap<Host, Process>,
    /// What the next process of a host is called, by how often it was replaced.
    names: BTreeMap<Host, u32>,
    frozen: BTreeSet<Host>,
    ambushes: Vec<(Moment, Micros, Crash)>,
    steps: BTreeMap<(Micros, u64), Step>,
    counted: u64,
    lives: u32,
    /// How often somebody asked for something.
    asked: u32,
    /// Between storms.
    usual: Weather,
    /// Faults have ceased.
    is_calm: bool,
    finished: Option<Micros>,
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
            let deadline = self.finished.map_or(calm + PATIENCE, |finished| finished.max(calm) + AFTERMATH);
            if !self.go_on(deadline)? {
                break;
            }
        }
        if self.finished.is_none() {
            return Err(format!("not finished {} s after the last fault", PATIENCE / SECOND));
        }
        self.compare()?;
        ledger::check(&self.world.lock())?;
        self.inspect()
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
        let Some(ended) = self.processes.get_mut(&host).and_then(Process::run) else { return };
        let word = ended.unwrap_or_else(|panic| panic.to_string());
        self.note(host, &format!("ends: {word}"));
        self.remove(host, false);
        if word == FINISHED {
            let now = self.now();
            self.finished.get_or_insert(now);
        } else {
            let back = self.now() + SECOND;
            self.step(back, Step::Start(host));
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
            world.hang_up(process.inside.pid, silently);
        }
        process.die();
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Start(host) => self.start(host),
            Step::Fault(fault) => self.wrong(fault),
            Step::Thaw(host) => {
                if self.frozen.remove(&host) {
                    self.note(host, "thaws");
                    if let Some(pid) = self.processes.get(&host).map(|process| process.inside.pid) {
                        self.run_process(pid);
                    }
                }
            }
            Step::EndStorm if self.is_calm => {}
            Step::EndStorm => self.world.lock().weather = self.usual,
            Step::Calm => {
                self.is_calm = true;
                self.ambushes.clear();
                let mut world = self.world.lock();
                world.note(format_args!("faults cease"));
                world.weather.trouble = 0;
                world.flawed_reads = 0;
                world.heal_links();
            }
        }
    }

    fn inside(&self, host: Host, pid: Pid) -> Inside {
        let (pace, disk) = (self.setting.pace, self.disk.path().to_owned());
        Inside { world: self.world.clone(), host, pid, born: self.now(), pace, disk }
    }

    fn start(&mut self, host: Host) {
        if self.processes.contains_key(&host) {
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
            Fault::Slow { a, b, most } => {
                self.meet(Kind::SlowLink);
                self.world.lock().slow(a, b, most);
            }
            Fault::Ask { host, wish } => self.ask(host, wish),
            Fault::Break { draw } => self.world.lock().break_one(draw),
            Fault::Fail { draw } => {
                let struck = self.world.lock().strike_one(draw);
                if let Some(pid) = struck {
                    self.meet(Kind::SubtaskFailed);
                    self.run_process(pid);
                }
            }
        }
    }

    fn crash(&mut self, Crash { host, polls, silently, as_another, back_after }: Crash) {
        let Some(process) = self.processes.get_mut(&host) else { return };
        // What is frozen takes no step any more.
        if !self.frozen.remove(&host) {
            process.stagger(polls);
        }
        self.note(host, if silently { "loses its power" } else { "is killed" });
        self.meet(if silently { Kind::LostPower } else { Kind::Killed });
        self.remove(host, silently);
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
        self.meet(match wish {
            Wish::Checkpoint => Kind::Checkpoint,
            Wish::Savepoint => Kind::Savepoint,
            Wish::Rescale { .. } => Kind::Rescale,
        });
        let request = match wish {
            Wish::Checkpoint => Request::Checkpoint,
            Wish::Savepoint => Request::Savepoint {
                name: format!("savepoint-{}", self.asked),
                then: None,
                answer: oneshot::channel().0,
            },
            Wish::Rescale { parallelism } => Request::Rescale { parallelism, answer: oneshot::channel().0 },
        };
        // One that has ended is asked in vain.
        let _ended = desk.send(request);
        if let Some(pid) = self.processes.get(&host).map(|process| process.inside.pid) {
            self.run_process(pid);
        }
    }

    fn compare(&self) -> Result<(), String> {
        let world = self.world.lock();
        let workload = Workload::of(&self.setting.orders);
        let counts_all = self.setting.counts_all();
        let expected = if counts_all { reference_with_duplicates(&workload) } else { reference(&workload) };
        let passed_on = self.setting.returns.as_ref().map(|returns| passed_on_of(&Workload::of(returns)));
        let topic = |sink: &str| world.broker.rows.get(sink).into_iter().flatten().cloned().collect::<Rows>();
        let mut sinks = vec![
            ("table", world.table.rows.iter().cloned().collect::<Rows>(), &expected),
            ("topic", topic("topic_sink"), &expected),
        ];
        sinks.extend(passed_on.iter().map(|expected| ("passed on", topic("passed_sink"), expected)));
        for (sink, found, expected) in sinks {
            let difference = found.difference(expected);
            if !difference.is_empty() {
                let first: Vec<_> = difference.iter().take(5).cloned().collect();
                return Err(format!(
                    "{sink}: {} rows, expected {}; {} differ:\n{}",
                    found.len(),
                    expected.len(),
                    difference.len(),
                    first.join("\n")
                ));
            }
        }
        if expected.is_empty() { Err("a reference without rows proves nothing".to_owned()) } else { Ok(()) }
    }

    /// Whether what is kept could be gone on from.
    fn inspect(&mut self) -> Result<(), String> {
        self.lives += 1;
        let pid = Pid(self.lives);
        let inside = self.inside(INSPECTOR, pid);
        self.world.lock().lives.insert(INSPECTOR, pid);
        let mut process = Process::start(inside.clone(), inspect(self.world.clone(), inside));
        loop {
            if let Some(ended) = process.run() {
                return match ended {
                    Ok(word) if word == WHOLE => Ok(()),
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
        for host in self.setting.hosts() {
            self.remove(host, true);
        }
    }
}

/// A folder in the machine's memory, if it has one: databases wait for the disk at every step.
pub fn local_disks() -> tempfile::TempDir {
    let folder = tempfile::Builder::new().prefix("simulated-").tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    folder.expect("a folder for the local disks")
}

/// What the second pipeline must put out.
fn passed_on_of(workload: &Workload) -> Rows {
    let orders = (0..workload.count).map(|index| workload.orders.order(index));
    orders.map(|order| passed_on(&order.id(), order.store_id, order.cents.into(), order.ts_ms)).collect()
}
