//! What happens to a job, from its first start to its end.

use std::fmt::Write as _;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tidegate::{checkpoint::store::memory::MemoryStore, error_chain, job::JobPlan, metrics::Metrics};
use tidegate_crds::RestoreFrom;

use super::{
    act::{By, Deed, Original},
    capture::{Published, SharedPublished},
    case::Case,
    change::Fate,
    document::{self, Places},
    logical::Version,
    process::{Ended, Role, root_of},
};
use crate::{
    chance::Chance,
    sim::{Host, Inside, Micros, Moment, Pace, Pid, Process, Shared as World, Weather, local_disks, standing},
};

pub const SECOND: Micros = 1_000_000;
/// After the last record is there, the job has so long to finish.
const PATIENCE: Micros = 300 * SECOND;
/// Far more than any case has.
const MOST_EVENTS: u64 = 1_000_000;
/// Where processes are.
pub const HOSTS: [Host; 2] = [Host(1), Host(2)];

/// A version with the plan that its processes run.
pub struct Stage {
    pub version: Version,
    pub plan: Arc<JobPlan>,
    pub fate: Fate,
    /// The job that it is a version of: the number of that job's first.
    pub job: usize,
    /// What the job begins with, if it is another one's.
    pub restore_from: Option<RestoreFrom>,
}

/// A version that has begun to read, and its job's objects as they were then.
pub struct Begun {
    pub stage: usize,
    pub objects: MemoryStore,
    /// Of the newest checkpoint of these; 0 for none.
    pub epoch: u64,
}

/// A change that is under way.
pub struct Pending {
    pub stage: usize,
    pub by: By,
}

pub enum Step {
    Start(Host, usize),
    Deed(usize),
    /// Looks whether there is the savepoint that another job is to begin with.
    Look,
    /// Asks for it.
    AskForSavepoint,
    Kill {
        polls: u64,
    },
    Calm,
}

/// A case on its way: processes of its versions, and what is still to be done to them.
pub struct History {
    pub case: Arc<Case>,
    pub world: World,
    disk: tempfile::TempDir,
    pub stages: Vec<Stage>,
    pub processes: BTreeMap<Host, (usize, Process)>,
    pub begun: Arc<Mutex<Vec<Begun>>>,
    pub published: SharedPublished,
    is_last: Arc<AtomicBool>,
    /// The version that runs, or is to run next.
    pub current: usize,
    pub pending: Option<Pending>,
    pub changes_left: usize,
    pub ambushes: Vec<(Moment, Micros, u64)>,
    steps: BTreeMap<(Micros, u64), Step>,
    counted: u64,
    lives: u32,
    /// Savepoints that were asked for.
    pub asked: u32,
    pub refusals: u64,
    pub kills: u64,
    pub story: String,
    finished: Option<Micros>,
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl History {
    pub fn new(case: Arc<Case>) -> Self {
        let world = World::new(Chance::new(case.seed));
        world.lock().weather = Weather { trouble: case.setting.trouble };
        let mut this = Self {
            world,
            disk: local_disks(),
            stages: Vec::new(),
            processes: BTreeMap::new(),
            begun: Arc::default(),
            published: Arc::new(Mutex::new(Published::default())),
            is_last: Arc::new(AtomicBool::new(false)),
            current: 0,
            pending: None,
            changes_left: case.acts.iter().filter(|act| matches!(act.deed, Deed::Change { .. })).count(),
            ambushes: Vec::new(),
            steps: BTreeMap::new(),
            counted: 0,
            lives: 0,
            asked: 0,
            refusals: 0,
            kills: 0,
            story: format!("seed {}: {:?}\n", case.seed, case.setting),
            finished: None,
            case,
        };
        for (index, act) in this.case.clone().acts.iter().enumerate() {
            this.step(act.at, Step::Deed(index));
        }
        this.step(this.case.setting.lasts + SECOND, Step::Calm);
        this
    }

    pub fn step(&mut self, at: Micros, step: Step) {
        self.counted += 1;
        self.steps.insert((at, self.counted), step);
    }

    pub fn now(&self) -> Micros {
        self.world.lock().now
    }

    pub fn tell(&mut self, what: &str) {
        let now = self.now();
        writeln!(self.story, "-- {}.{:06} {what}", now / SECOND, now % SECOND).expect("memory");
        self.world.lock().note(format_args!("{what}"));
    }

    /// Plans a version of the job that runs; the error is a planner's.
    pub fn stage(&mut self, version: Version, fate: Fate) -> Result<usize, String> {
        let text = document::text(&self.case, &version, &Places::nowhere());
        write!(self.story, "-- version {}\n{text}", self.stages.len()).expect("memory");
        let plan = JobPlan::new(&document::read(&text), Arc::new(Metrics::new()))
            .map_err(|error| format!("version {} can't be planned: {}", self.stages.len(), error_chain(&error)))?;
        let (job, restore_from) =
            self.stages.get(self.current).map_or((0, None), |stage| (stage.job, stage.restore_from.clone()));
        self.stages.push(Stage { version, plan: Arc::new(plan), fate, job, restore_from });
        Ok(self.stages.len() - 1)
    }

    /// Plays it to its end; the error is what must not happen.
    pub fn run(&mut self) -> Result<(), String> {
        let first = self.stage(self.case.first.clone(), Fate::Kept)?;
        self.settle();
        self.step(0, Step::Start(HOSTS[0], first));
        let deadline = self.case.setting.lasts + PATIENCE;
        loop {
            // Who still lives goes on for a while, and must not change anything.
            let until = self.finished.map_or(deadline, |finished| finished + 3 * SECOND);
            if !self.go_on(until)? {
                break;
            }
        }
        if self.finished.is_none() {
            return Err(format!("not finished {} s after the last record", PATIENCE / SECOND));
        }
        self.look_at_savepoints()
    }

    /// Once no change is to come, nothing is kept back.
    fn settle(&self) {
        if self.changes_left == 0 && self.pending.is_none() {
            self.is_last.store(true, Ordering::Relaxed);
        }
    }

    /// Lets the next thing happen; false when none does before the deadline.
    fn go_on(&mut self, deadline: Micros) -> Result<bool, String> {
        let event = self.world.lock().next_due();
        let step = self.steps.keys().next().copied();
        match (event, step) {
            (event, Some((at, number))) if at <= deadline && event.is_none_or(|due| at <= due) => {
                self.world.lock().now = at;
                if let Some(step) = self.steps.remove(&(at, number)) {
                    self.take(step)?;
                }
            }
            (Some(due), _) if due <= deadline => {
                let concerned = self.world.lock().go_on();
                if let Some(pid) = concerned {
                    self.run_process(pid)?;
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

    pub fn run_process(&mut self, pid: Pid) -> Result<(), String> {
        let Some(host) = self.world.lock().host(pid) else { return Ok(()) };
        let Some((stage, process)) = self.processes.get_mut(&host) else { return Ok(()) };
        let (stage, ended) = (*stage, process.run());
        let has_begun = lock(&self.begun).iter().any(|begun| begun.stage == stage);
        if has_begun && self.pending.as_ref().is_some_and(|pending| pending.stage == stage) {
            self.pending = None;
            self.current = stage;
            self.tell(&format!("version {stage} runs"));
            self.give_up_others();
            self.settle();
        }
        if let Some(ended) = ended {
            let word = ended.unwrap_or_else(|panic| format!("refused {panic}"));
            self.remove(host);
            self.tell(&format!("{host} ends: {word}"));
            self.ended(host, stage, Ended::read(&word))?;
        }
        Ok(())
    }

    fn ended(&mut self, host: Host, stage: usize, ended: Ended) -> Result<(), String> {
        self.look();
        let now = self.now();
        let is_awaited = stage == self.current && self.awaits_savepoint();
        let is_followed = self.pending.as_ref().is_some_and(|pending| stage < pending.stage);
        let is_old = stage < self.current || (is_followed && !is_awaited);
        match ended {
            Ended::Finished => {
                self.finished.get_or_insert(now);
            }
            // The next version is told by the old one's end, or knows itself.
            _ if is_old && stage == self.current => self.begin_pending(host),
            _ if is_old => {}
            Ended::Failed { for_good: true, message } => match self.pending.take() {
                Some(pending) if pending.stage == stage => self.refused(host, &pending, &message)?,
                _ => return Err(format!("version {stage} has ended: {message}")),
            },
            Ended::Stopped | Ended::Failed { .. } => self.step(now + SECOND, Step::Start(host, stage)),
        }
        Ok(())
    }

    /// The next version, whose turn it is.
    pub fn begin_pending(&mut self, host: Host) {
        let now = self.now();
        match self.pending {
            Some(Pending { stage, by: By::Stop | By::Kill }) => self.step(now + 1000, Step::Start(host, stage)),
            Some(Pending { by: By::Copy(Original::OfStopped | Original::OfKilled), .. }) => self.begin_with_newest(),
            _ => {}
        }
    }

    /// A version that can't go on from what there is: the one before runs on.
    fn refused(&mut self, host: Host, pending: &Pending, message: &str) -> Result<(), String> {
        let stage = pending.stage;
        if self.stages[stage].fate == Fate::Kept && !pending.may_come_too_early(message) {
            return Err(format!("version {stage} is refused: {message}"));
        }
        self.refusals += 1;
        self.settle();
        let (now, current) = (self.now(), self.current);
        if !self.processes.values().any(|(running, _)| *running == current) {
            self.step(now + 1000, Step::Start(host, current));
        }
        Ok(())
    }

    pub fn remove(&mut self, host: Host) {
        let Some((_, process)) = self.processes.remove(&host) else { return };
        {
            let mut world = self.world.lock();
            world.lives.remove(&host);
            world.desks.remove(&host);
            world.hang_up(process.inside.pid, false);
        }
        process.die();
    }

    fn take(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Start(host, stage) => self.start(host, stage)?,
            Step::Deed(index) => {
                let deed = self.case.acts[index].deed.clone();
                self.do_deed(index, deed)?;
            }
            Step::Look if self.awaits_savepoint() => {
                self.look();
                let now = self.now();
                self.step(now + SECOND / 10, Step::Look);
            }
            Step::AskForSavepoint if self.awaits_savepoint() => self.ask_for_savepoint()?,
            Step::Look | Step::AskForSavepoint => {}
            Step::Kill { polls } => self.kill(polls, 100_000),
            Step::Calm => {
                self.ambushes.clear();
                self.world.lock().weather.trouble = 0;
            }
        }
        Ok(())
    }

    fn start(&mut self, host: Host, stage: usize) -> Result<(), String> {
        let is_wanted = match &self.pending {
            Some(pending) if pending.stage == stage => true,
            // The old one has ended, or is about to, and is not to come back.
            Some(Pending { by: By::Stop | By::Kill, .. }) => false,
            Some(Pending { by: By::Copy(_), .. }) => stage == self.current && self.awaits_savepoint(),
            _ => stage == self.current,
        };
        if !is_wanted || self.finished.is_some() {
            return Ok(());
        }
        match self.processes.get(&host) {
            None => {}
            Some((running, _)) if *running == stage => return Ok(()),
            // One that was left behind has its host for as long as it takes to find that out.
            Some(_) => {
                let now = self.now();
                self.step(now + SECOND / 10, Step::Start(host, stage));
                return Ok(());
            }
        }
        self.lives += 1;
        let pid = Pid(self.lives);
        let setting = &self.case.setting;
        let pace = Pace {
            labour: std::time::Duration::from_millis(setting.labour_ms),
            channel_bytes: setting.channel_bytes,
            chunk_rows: setting.chunk_rows,
            unwritten_keys: setting.unwritten_keys,
            beside: std::time::Duration::from_millis(setting.beside_ms),
        };
        let (world, born, disk) = (self.world.clone(), self.now(), self.disk.path().to_owned());
        let inside = Inside { world, host, pid, born, pace, disk, idle: Arc::default() };
        self.world.lock().lives.insert(host, pid);
        self.tell(&format!("{host} starts with version {stage}"));
        let role = Role {
            case: self.case.clone(),
            plan: self.stages[stage].plan.clone(),
            job: self.stages[stage].job,
            restore_from: self.stages[stage].restore_from.clone(),
            revision: stage as u64 + 1,
            published: self.published.clone(),
            is_last: self.is_last.clone(),
            opened: self.opened(stage),
        };
        let process = Process::start(inside.clone(), role.main(inside, format!("{host}")));
        self.processes.insert(host, (stage, process));
        self.run_process(pid)
    }

    /// Notes what is there when a version first reads: it goes on from the newest checkpoint of that.
    fn opened(&self, stage: usize) -> Arc<dyn Fn() + Send + Sync> {
        let (begun, world, root) = (self.begun.clone(), self.world.clone(), root_of(self.stages[stage].job));
        Arc::new(move || {
            let mut begun = lock(&begun);
            if begun.iter().all(|begun| begun.stage != stage) {
                let objects = MemoryStore::new();
                let world = world.lock();
                let all = world.objects.below(&root);
                all.for_each(|(path, bytes)| objects.plant(&path[root.len()..], bytes.clone()));
                let standing = standing(&world, &root).unwrap_or_default();
                let newest = standing.newest.map(|(newest, _)| newest.epoch);
                let epoch = newest.max(standing.origin).map_or(0, |epoch| epoch.0);
                begun.push(Begun { stage, objects, epoch });
            }
        })
    }

    /// The host where the version that runs is.
    pub fn host(&self) -> Option<Host> {
        self.processes.iter().find(|(_, (stage, _))| *stage == self.current).map(|(host, _)| *host)
    }
}
