//! What the coordinator shows of itself, for the HTTP API.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tidegate_crds::api::{
    CheckpointDetails, CheckpointHistory, Failure, JobStatus, Phase, RestoreStatus, SavepointHistory, SavepointPhase,
    SavepointStatus, SinkStatus,
};

use super::{lags::Lags, workers::WorkerId};
use crate::{
    env,
    ids::SubtaskIndex,
    job::{JobPlan, SinkTarget},
    metrics::Metrics,
};

/// How many checkpoints, and savepoints, the history has.
const HISTORY: usize = 100;
/// A coordinator that has not looked at its events for so long hangs.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(30);
const HEARTBEAT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct Shared {
    state: Mutex<State>,
    pub metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct State {
    status: JobStatus,
    /// What the claim or the start waits for.
    waits_for: Option<Failure>,
    history: VecDeque<CheckpointDetails>,
    savepoints: VecDeque<SavepointStatus>,
    /// Names of savepoints that are being deleted.
    deleting: BTreeSet<String>,
    /// By sink: whose tries to publish fail, how many in a row, and why.
    failing: BTreeMap<String, BTreeMap<Option<WorkerId>, (u64, String)>>,
    lags: Lags,
    heartbeat: Duration,
    /// What a stop has asked for and not got.
    unmet: Option<Failure>,
}

impl Shared {
    pub fn new(plan: &JobPlan, revision: u64, storage: String) -> Arc<Self> {
        let status = JobStatus::new(&plan.name, revision, plan.spec.parallelism, storage);
        let published = plan.sinks.iter().filter(|(_, target)| matches!(target, SinkTarget::Published(_)));
        let failing = published.map(|(sink, _)| (sink.clone(), BTreeMap::new())).collect();
        let heartbeat = env::monotonic();
        let lags = Lags::new(plan.spec.parallelism, plan.metrics.source_lag_records.clone());
        let (history, savepoints) = (VecDeque::new(), VecDeque::new());
        let (deleting, unmet) = (BTreeSet::new(), None);
        let state = State { status, waits_for: None, history, savepoints, deleting, failing, lags, heartbeat, unmet };
        Arc::new(Self { state: Mutex::new(state), metrics: plan.metrics.clone() })
    }

    /// Changes the status.
    pub fn update(&self, change: impl FnOnce(&mut JobStatus)) {
        change(&mut self.lock().status);
    }

    pub fn status(&self) -> JobStatus {
        let state = self.lock();
        let mut status = state.status.clone();
        status.failure = state.waits_for.clone().or(status.failure);
        status.sinks = state.sinks();
        status.sources = state.lags.sources();
        status.last_savepoint = state.savepoints.front().cloned();
        status
    }

    /// The job has stopped, without something that the stop has asked for.
    pub fn unmet(&self, failure: Option<Failure>) {
        self.lock().unmet = failure;
    }

    /// What the stop has asked for and not got.
    pub fn take_unmet(&self) -> Option<Failure> {
        self.lock().unmet.take()
    }

    pub fn runs(&self) -> bool {
        self.lock().status.phase == Phase::Running
    }

    /// What the claim, or then the start, waits for; nothing when it is over.
    /// False if this was known.
    pub fn waits_for(&self, reason: Option<Failure>) -> bool {
        let mut state = self.lock();
        let before = std::mem::replace(&mut state.waits_for, reason);
        before != state.waits_for
    }

    /// A try to publish to a sink, by a worker or, in a recovery, by the coordinator itself: its failure, or none.
    pub fn sink_tried(&self, worker: Option<WorkerId>, sink: &str, failure: Option<String>) {
        let mut state = self.lock();
        let Some(failing) = state.failing.get_mut(sink) else { return };
        match failure {
            Some(failure) => {
                let tries = failing.get(&worker).map_or(0, |(tries, _)| *tries);
                failing.insert(worker, (tries + 1, failure));
            }
            None => {
                failing.remove(&worker);
            }
        }
    }

    /// A worker that is lost tries no more.
    pub fn worker_lost(&self, worker: WorkerId) {
        self.lock().failing.values_mut().for_each(|failing| _ = failing.remove(&Some(worker)));
    }

    /// How far a source's reader is behind; nothing, while it is not known.
    pub fn lag(&self, source: &str, reader: SubtaskIndex, lag: Option<u64>) {
        self.lock().lags.tell(source, reader, lag);
    }

    /// Nobody reads, publishes or waits any more.
    pub fn nobody_runs(&self) {
        let mut state = self.lock();
        state.failing.values_mut().for_each(BTreeMap::clear);
        state.lags.forget();
        state.waits_for = None;
    }

    /// Adds a checkpoint to the history.
    pub fn checkpoint(&self, details: CheckpointDetails) {
        let mut state = self.lock();
        state.status.checkpoint_failure.clone_from(&details.checkpoint.failure);
        if details.checkpoint.failure.is_none() {
            state.status.last_checkpoint = Some(details.checkpoint.clone());
        }
        state.history.push_front(details);
        state.history.truncate(HISTORY);
    }

    pub fn history(&self) -> CheckpointHistory {
        let state = self.lock();
        CheckpointHistory { checkpoints: state.history.iter().map(|details| details.checkpoint.clone()).collect() }
    }

    /// The newest checkpoint of that epoch: one that a failed attempt began may have had the same.
    pub fn details(&self, epoch: u64) -> Option<CheckpointDetails> {
        self.lock().history.iter().find(|details| details.checkpoint.epoch == epoch).cloned()
    }

    /// The tasks run, so long after the claim, with state that was read from here.
    pub fn started(&self, seconds: f64, restored: Option<RestoreStatus>) {
        self.update(|status| status.recovery_seconds = Some(seconds));
        self.restored(restored);
    }

    /// Tasks go on with state that was read from here.
    pub fn restored(&self, restored: Option<RestoreStatus>) {
        self.metrics.restored(restored.map(|restored| restored.bytes).unwrap_or_default());
        self.update(|status| status.last_restore = restored);
    }

    /// So many subtasks of each operator begin to run.
    pub fn parallelism(&self, parallelism: u32) {
        let mut state = self.lock();
        state.status.parallelism = parallelism;
        state.lags.expect(parallelism);
    }

    pub fn savepoint_asked(&self, status: SavepointStatus) {
        let mut state = self.lock();
        state.savepoints.push_front(status);
        state.savepoints.truncate(HISTORY);
    }

    /// Changes the status of the savepoint that is in progress, if one is.
    pub fn savepoint_changed(&self, change: impl FnOnce(&mut SavepointStatus)) {
        let mut state = self.lock();
        let in_progress = |status: &&mut SavepointStatus| status.phase == SavepointPhase::InProgress;
        if let Some(status) = state.savepoints.front_mut().filter(in_progress) {
            change(status);
        }
    }

    /// The name of the savepoint that is in progress.
    pub fn savepoint_in_progress(&self) -> Option<String> {
        let state = self.lock();
        let newest = state.savepoints.front().filter(|status| status.phase == SavepointPhase::InProgress);
        newest.map(|status| status.name.clone())
    }

    /// A savepoint of this name is about to be deleted; false if one is being already.
    pub fn savepoint_deletion_begins(&self, name: &str) -> bool {
        self.lock().deleting.insert(name.to_owned())
    }

    /// `is_gone`: there is no savepoint of this name any more.
    pub fn savepoint_deletion_ended(&self, name: &str, is_gone: bool) {
        let mut state = self.lock();
        state.deleting.remove(name);
        if is_gone {
            state.savepoints.retain(|status| status.name != name || status.phase == SavepointPhase::InProgress);
        }
    }

    pub fn savepoints(&self) -> SavepointHistory {
        SavepointHistory { savepoints: self.lock().savepoints.iter().cloned().collect() }
    }

    pub fn savepoint(&self, name: &str) -> Option<SavepointStatus> {
        self.lock().savepoints.iter().find(|status| status.name == name).cloned()
    }

    /// The coordinator has come round to its events.
    pub fn beat(&self) {
        self.lock().heartbeat = env::monotonic();
    }

    /// Waits for work that takes its time where the coordinator's loop does not run.
    pub async fn alive_during<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            self.beat();
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = env::sleep(HEARTBEAT) => {}
            }
        }
    }

    /// Whether the coordinator still comes round to its events.
    pub fn is_alive(&self) -> bool {
        env::monotonic().saturating_sub(self.lock().heartbeat) < HEARTBEAT_TIMEOUT
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change leaves the status whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn sinks(&self) -> Vec<SinkStatus> {
        let sinks = self.failing.iter().map(|(name, failing)| SinkStatus {
            name: name.clone(),
            failures: failing.values().map(|(tries, _)| tries).sum(),
            failure: failing.values().next().map(|(_, failure)| failure.clone()),
        });
        sinks.collect()
    }
}
