//! A whole coordinator with a worker in the same process, a store in memory, and a sink that fares as the test says.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use tidegate_crds::{
    StateBackend, StreamJob,
    api::{JobStatus, Phase, StopPurpose, StopRequest},
};
use tokio::task::JoinHandle;

use super::*;
use crate::{
    checkpoint::{
        CommitPermit,
        claim::{self, NewestSeen},
        destination::Destination,
        log::{Claimant, Ending},
        manifest::Manifest,
        store::memory::MemoryStore,
    },
    coordinator::api::Refused,
    exchange::remote::post::Post,
    ids::Revision,
    job::SinkTarget,
    memory::MemoryLimit,
    metrics::{Metrics, named},
    sink::{Chunk, ChunkId, Preflight, Publisher, SinkError},
    state::Backend,
    tls::Security,
    worker::{at_hand::AtHand, protocol::Hello, supervisor::Worker},
};

mod ahead;
mod cancelled;
mod drained;
mod refused;
mod starts;
mod work;

const PATIENCE: Duration = Duration::from_mins(1);

/// What comes of a try to publish.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Mood {
    #[default]
    Takes,
    /// Nobody answers.
    Away,
    /// The table is gone.
    Refuses,
    /// It refuses, and every fifth time nobody answers: a system that comes up.
    Flickers,
}

/// A sink that takes each chunk once.
#[derive(Debug, Default)]
struct FakeSink {
    mood: Mutex<Mood>,
    chunks: Mutex<BTreeMap<ChunkId, usize>>,
    /// The next time it is asked whether the job may run.
    panics: AtomicBool,
    tries: AtomicU64,
}

impl FakeSink {
    fn fares(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn rows(&self) -> usize {
        self.chunks.lock().unwrap().values().sum()
    }

    fn tries(&self) -> u64 {
        self.tries.load(SeqCst)
    }
}

#[async_trait]
impl Publisher for FakeSink {
    fn destination(&self) -> Destination {
        Destination::default()
    }

    async fn preflight(&self, _: &SchemaRef, _: u32, _: Preflight) -> Result<(), SinkError> {
        assert!(!self.panics.swap(false, SeqCst), "the fake sink panics");
        Ok(())
    }

    async fn publish(&self, _: &CommitPermit, chunk: &Chunk) -> Result<(), SinkError> {
        let tries = self.tries.fetch_add(1, SeqCst) + 1;
        let sink = "sales".to_owned();
        let mood = *self.mood.lock().unwrap();
        match mood {
            Mood::Takes => {
                let rows = chunk.rows.iter().map(arrow::array::RecordBatch::num_rows).sum();
                self.chunks.lock().unwrap().insert(chunk.id.clone(), rows);
                Ok(())
            }
            Mood::Refuses | Mood::Flickers if mood == Mood::Refuses || !tries.is_multiple_of(5) => {
                Err(SinkError::Refused { sink, message: "there is no table".into() })
            }
            _ => Err(SinkError::Unreachable { sink, message: "nobody answers".into() }),
        }
    }
}

/// A job whose processes come and go.
struct Job {
    plan: Arc<JobPlan>,
    store: MemoryStore,
    sink: Arc<FakeSink>,
    /// The local disk of its processes.
    folder: tempfile::TempDir,
}

/// One of its processes.
struct Process {
    plan: Arc<JobPlan>,
    shared: Arc<Shared>,
    requests: UnboundedSender<Request>,
    running: JoinHandle<Outcome>,
}

impl Job {
    /// `more` is added to the document's spec.
    fn new(more: &str) -> Self {
        let document = format!(
            "
apiVersion: tidegate.dev/v1alpha1
kind: StreamJob
metadata: {{ name: sales }}
spec:
  sources:
    - name: orders
      generator: {{ rate: 20000, stepMicros: 100000 }}
      watermark: {{ column: ts, delay: 5s }}
  sql: |
    INSERT INTO sales
      SELECT window_start, store_id, SUM(amount) AS total
      FROM TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE)
      GROUP BY window_start, window_end, store_id;
  sinks:
    - {{ name: sales, files: {{ path: /nowhere }} }}
  checkpoint:
    interval: 1h
    storage: {{ local: {{ path: /nowhere }} }}
{more}
"
        );
        let mut plan = JobPlan::new(&StreamJob::from_yaml(&document).unwrap(), Arc::new(Metrics::new())).unwrap();
        let sink = Arc::new(FakeSink::default());
        plan.sinks.insert("sales".to_owned(), SinkTarget::Published(sink.clone()));
        Self { plan: Arc::new(plan), store: MemoryStore::new(), sink, folder: tempfile::tempdir().unwrap() }
    }

    fn start(&self) -> Process {
        self.start_as(1)
    }

    fn start_as(&self, revision: u64) -> Process {
        let (plan, store, io) = (self.plan.clone(), Arc::new(self.store.clone()), Handle::current());
        let shared = Shared::new(&plan, revision, "memory".to_owned());
        let identity = Identity {
            // As a process whose pod is the same: it need not ask whether the one before is alive.
            claimant: Claimant { revision: Revision(revision), pod: "pod".to_owned() },
            address: "127.0.0.1:1".to_owned(),
            spec_digest: format!("{}-{revision}", plan.digest),
            parallelism: plan.spec.parallelism,
            rescaled: None,
            lineage: "sales".to_owned(),
            stand_by: false,
            patience: Duration::ZERO,
            has_had: None,
            seen: NewestSeen::default(),
            job_uid: None,
            deposed: 0,
        };
        let (workers, door) = Workers::new();
        let worker = Worker {
            plan: plan.clone(),
            store: store.clone(),
            backend: Backend::new(StateBackend::Memory, self.local(), MemoryLimit::given(64 << 20)),
            at_hand: AtHand::default(),
            post: Post::default(),
            security: Security::Plain,
            io: io.clone(),
        };
        let slots = plan.spec.parallelism;
        door.keep_local(
            worker,
            Hello {
                name: "local".to_owned(),
                slots,
                exchange: String::new(),
                job: plan.id.clone(),
                digest: plan.digest.clone(),
            },
        );
        let (requests, requested) = unbounded_channel();
        let (shown, preflight) = (shared.clone(), false);
        let coordinator =
            Coordinator { plan: plan.clone(), store, identity, preflight, workers, expected: 1, shared: shown, io };
        let running = tokio::spawn(coordinator.run(requested));
        Process { plan, shared, requests, running }
    }

    fn local(&self) -> PathBuf {
        self.folder.path().join("local")
    }

    async fn log(&self) -> crate::checkpoint::log::AttemptLog {
        claim::read_newest(&self.store).await.unwrap().unwrap()
    }
}

impl Process {
    /// Waits until the status is as it is to be.
    async fn until(&self, what: &str, is_so: impl Fn(&JobStatus) -> bool) -> JobStatus {
        let comes = async {
            loop {
                let status = self.shared.status();
                if is_so(&status) {
                    return status;
                }
                assert!(!self.running.is_finished(), "{what}: it has ended, with {status:?}");
                env::sleep(Duration::from_millis(5)).await;
            }
        };
        let came = env::within(PATIENCE, comes).await;
        came.unwrap_or_else(|| panic!("{what}: waited in vain, {:?}", self.shared.status()))
    }

    /// Waits until it runs and has read something.
    async fn reads(&self) {
        let read = || self.plan.metrics.source_records.get_or_create(&named("orders")).get();
        let before = read();
        self.until("to read", |status| status.phase == Phase::Running && read() > before).await;
    }

    /// Asks for checkpoints until one has something for the sink.
    async fn tries_to_publish(&self, job: &Job) {
        let before = job.sink.tries();
        self.until("something to publish", |_| {
            let has_tried = job.sink.tries() > before;
            // Nobody listens any more when the job has ended.
            let _ended = self.requests.send(Request::Checkpoint);
            has_tried
        })
        .await;
    }

    fn stops(&self, request: StopRequest) {
        self.requests.send(Request::Stop(request)).unwrap();
    }

    async fn drains(&self) -> Result<(), Refused> {
        let (answer, answered) = tokio::sync::oneshot::channel();
        self.requests.send(Request::Drain { request: StopRequest { drain: true, ..suspend() }, answer }).unwrap();
        answered.await.unwrap()
    }

    /// Ends it on the spot.
    async fn kill(self) {
        self.running.abort();
        assert!(self.running.await.is_err_and(|error| error.is_cancelled()));
    }

    async fn ends(self) -> (Outcome, JobStatus) {
        let outcome = env::within(PATIENCE, self.running).await;
        (outcome.unwrap_or_else(|| panic!("{:?}", self.shared.status())).unwrap(), self.shared.status())
    }

    async fn fails(self) -> Failure {
        match self.ends().await {
            (Outcome::Failed(failure), _) => failure,
            (other, status) => panic!("{other:?}, {status:?}"),
        }
    }
}

fn suspend() -> StopRequest {
    StopRequest::new(StopPurpose::Suspend, true)
}
