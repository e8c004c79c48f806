//! What a process of the job runs: `tidegate run`, without a command line.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use tidegate::{
    checkpoint::{
        claim::{Identity, NewestSeen},
        log::Claimant,
        store::Store,
    },
    coordinator::{api, driver::Coordinator, event::Outcome, prepare::prepare_in, shared::Shared, workers::Workers},
    env,
    exchange::remote::post::Post,
    failure::Reason,
    ids::Revision,
    job::{JobPlan, SinkTarget, SourceTable},
    memory::MemoryLimit,
    metrics::Metrics,
    state::Backend,
    tls::Security,
    worker::{at_hand::AtHand, protocol::Hello, supervisor::Worker},
};
use tidegate_crds::{RestoreFrom, api::Failure};
use tokio::{runtime::Handle, sync::mpsc::unbounded_channel};

use super::{
    capture::{Capture, SharedPublished},
    case::Case,
    feed::{Feed, Opened},
};
use crate::sim::{Inside, StoreAt, address};

const API: u16 = 8081;
const PLENTY: u64 = 4 << 30;

/// What a process runs a version with.
#[derive(Clone)]
pub struct Role {
    pub case: Arc<Case>,
    pub plan: Arc<JobPlan>,
    pub job: usize,
    /// What that job begins with, if it is not the first.
    pub restore_from: Option<RestoreFrom>,
    pub revision: u64,
    pub published: SharedPublished,
    pub is_last: Arc<AtomicBool>,
    pub opened: Opened,
}

/// What the objects of a job's store begin with.
pub fn root_of(job: usize) -> String {
    format!("job-{job}/")
}

/// How a process has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    Finished,
    Stopped,
    /// `for_good`: the same process would fail again.
    Failed {
        for_good: bool,
        message: String,
    },
}

impl Ended {
    /// As the last word of a process.
    fn word(&self) -> String {
        match self {
            Self::Finished => "finished".to_owned(),
            Self::Stopped => "stopped".to_owned(),
            Self::Failed { for_good: true, message } => format!("refused {message}"),
            Self::Failed { for_good: false, message } => format!("failed {message}"),
        }
    }

    pub fn read(word: &str) -> Self {
        match word.split_once(' ') {
            None if word == "finished" => Self::Finished,
            None => Self::Stopped,
            Some((how, message)) => Self::Failed { for_good: how == "refused", message: message.to_owned() },
        }
    }

    fn of(failure: &Failure) -> Self {
        let for_good = !failure.reason.may_pass();
        Self::Failed { for_good, message: format!("{:?}: {}", failure.reason, failure.message) }
    }
}

impl Role {
    /// Runs to its end, and says how it came.
    pub async fn main(self, inside: Inside, pod: String) -> String {
        self.run(inside, pod).await.word()
    }

    async fn run(self, inside: Inside, pod: String) -> Ended {
        let plan = Arc::new(self.plan(&inside));
        let store: Arc<dyn Store> =
            Arc::new(StoreAt { world: inside.world.clone(), pid: inside.pid, root: root_of(self.job) });
        let (requests, requested) = unbounded_channel();
        inside.world.lock().desks.insert(inside.host, requests.clone());
        let shared = Shared::new(&plan, self.revision, "simulated".to_owned());
        let address = match api::serve(address(inside.host, API), shared.clone(), requests).await {
            Ok(address) => address,
            Err(error) => return Ended::Failed { for_good: false, message: format!("failed to listen: {error}") },
        };
        let prepared = match shared.alive_during(prepare_in(&plan, store)).await {
            Ok(prepared) => prepared,
            Err(error) => return Ended::of(&error.failure()),
        };
        let identity = Identity {
            claimant: Claimant { revision: Revision(self.revision), pod },
            address: address.to_string(),
            spec_digest: plan.digest.clone(),
            parallelism: plan.spec.parallelism,
            rescaled: None,
            lineage: format!("{}-{}", plan.id, env::unique_id()),
            stand_by: true,
            patience: Duration::from_secs(30),
            has_had: None,
            seen: NewestSeen::default(),
            job_uid: None,
            deposed: 0,
        };
        let (workers, door) = Workers::new();
        let hello = Hello {
            name: "local".to_owned(),
            slots: plan.spec.max_parallelism,
            exchange: String::new(),
            job: plan.id.clone(),
            digest: plan.digest.clone(),
        };
        let memory = MemoryLimit::given(if self.case.setting.has_memory { PLENTY } else { 0 });
        let worker = Worker {
            plan: plan.clone(),
            store: prepared.store.clone(),
            backend: Backend::new(plan.spec.state_backend, inside.disk.clone(), memory),
            at_hand: AtHand::default(),
            post: Post::default(),
            security: Security::Plain,
            io: Handle::current(),
        };
        door.keep_local(worker, hello);
        let (store, preflight, io) = (prepared.store, prepared.ran_before, Handle::current());
        let coordinator = Coordinator { plan, store, identity, preflight, workers, expected: 1, shared, io };
        match coordinator.run(requested).await {
            Outcome::Finished => Ended::Finished,
            Outcome::Stopped => Ended::Stopped,
            Outcome::Failed(failure) => Ended::of(&failure),
        }
    }

    /// The version's plan, with the case's records and sinks.
    fn plan(&self, inside: &Inside) -> JobPlan {
        let planned = &self.plan;
        let source = |table: &SourceTable| SourceTable {
            name: table.name.clone(),
            schema: table.schema.clone(),
            watermark: table.watermark.clone(),
            format: table.format.clone(),
            source: Arc::new(Feed {
                case: self.case.clone(),
                source: table.name.clone(),
                is_last: self.is_last.clone(),
                world: inside.world.clone(),
                opened: self.opened.clone(),
            }),
        };
        let sink = |sink: &String| {
            let (world, pid, job) = (inside.world.clone(), inside.pid, self.job);
            let capture = Capture { world, pid, job, sink: sink.clone(), published: self.published.clone() };
            (sink.clone(), SinkTarget::Published(Arc::new(capture)))
        };
        let metrics = Arc::new(Metrics::new());
        inside.world.lock().metrics.push(metrics.clone());
        let mut spec = planned.spec.clone();
        spec.restore_from.clone_from(&self.restore_from);
        JobPlan {
            name: planned.name.clone(),
            id: format!("{}-{}", planned.id, self.job),
            spec,
            graph: planned.graph.clone(),
            sources: planned.sources.iter().map(source).collect(),
            sinks: planned.sinks.keys().map(sink).collect(),
            metrics,
            digest: planned.digest.clone(),
        }
    }
}
