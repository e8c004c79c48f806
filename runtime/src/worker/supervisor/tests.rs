//! A worker over several attempts: what it is asked to go on from, it has.

use std::{collections::BTreeMap, time::Duration};

use futures::FutureExt;
use tidegate_crds::{
    StateBackend, StreamJob,
    api::{Failure, FailureReason, RestoredBytes},
};
use tokio::{sync::mpsc::unbounded_channel, task::JoinHandle};

use super::*;
use crate::{
    checkpoint::{
        CommitPermit,
        manifest::{Manifest, OperatorState},
        record::CheckpointRef,
        sample,
        starts::Starts,
        store::memory::{Action as Request, Fault, MemoryStore},
    },
    element::Barrier,
    env,
    graph::NodeKind,
    ids::{Attempt, Epoch, RegionId, Run, SubtaskIndex},
    job::SourceTable,
    memory::MemoryLimit,
    metrics::Metrics,
    worker::{
        protocol::{Ack, Assignment, Control},
        topology::Topology,
    },
};

const PATIENCE: Duration = Duration::from_mins(1);

fn plan(folder: &std::path::Path) -> JobPlan {
    let document = format!(
        "
apiVersion: tidegate.dev/v1alpha1
kind: StreamJob
metadata: {{ name: sales }}
spec:
  sources:
    - name: orders
      generator: {{ count: 5000, duplicates: 0.1 }}
      watermark: {{ column: ts, delay: 5s }}
  sql: |
    CREATE VIEW unique_orders AS
      SELECT order_id, store_id, amount, ts
      FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY order_id ORDER BY ts) AS n FROM orders)
      WHERE n = 1;
    INSERT INTO sales
      SELECT window_start, store_id, SUM(amount) AS total
      FROM TUMBLE(TABLE unique_orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE)
      GROUP BY window_start, window_end, store_id;
  sinks:
    - {{ name: sales, files: {{ path: {0} }} }}
  checkpoint:
    storage: {{ local: {{ path: {0} }} }}
",
        folder.display()
    );
    JobPlan::new(&StreamJob::from_yaml(&document).unwrap(), Arc::new(Metrics::new())).unwrap()
}

/// A worker and who gives it orders.
struct Employed {
    plan: Arc<JobPlan>,
    store: MemoryStore,
    orders: UnboundedSender<Order>,
    notices: UnboundedReceiver<Notice>,
    running: JoinHandle<()>,
    folder: tempfile::TempDir,
}

impl Employed {
    fn new() -> Self {
        let (folder, store) = (tempfile::tempdir().unwrap(), MemoryStore::new());
        let plan = Arc::new(plan(folder.path()));
        let backend = Backend::new(StateBackend::RocksDb, folder.path().join("local"), MemoryLimit::given(64 << 20));
        let worker = Worker {
            plan: plan.clone(),
            store: Arc::new(store.clone()),
            backend,
            at_hand: AtHand::default(),
            post: Post::default(),
            security: Security::Plain,
            io: Handle::current(),
        };
        let ((orders, ordered), (notice, notices)) = (unbounded_channel(), unbounded_channel());
        let running = tokio::spawn(worker.run(ordered, notice));
        Self { plan, store, orders, notices, running, folder }
    }

    fn order(&self, attempt: u64, action: Action) {
        self.orders.send(Order { attempt: Attempt(attempt), action }).unwrap();
    }

    /// Where the sources begin, as a coordinator finds it.
    fn starts(&self) -> Starts {
        let sources = self.plan.graph.nodes.iter().filter_map(|node| match &node.kind {
            NodeKind::Source { source, .. } => Some((node.id.clone(), self.plan.source(source)?)),
            _ => None,
        });
        let find =
            |table: &SourceTable| table.source.find_splits(None).now_or_never().expect("a generator asks nobody");
        sources.map(|(id, table)| (id, find(table).unwrap())).collect()
    }

    fn deploy(&self, attempt: u64, restored_from: Option<CheckpointRef>) {
        self.deploy_as(attempt, Run(1), restored_from);
    }

    fn deploy_as(&self, attempt: u64, run: Run, restored_from: Option<CheckpointRef>) {
        let (subtasks, peers, runs) = (vec![SubtaskIndex(0)], BTreeMap::new(), [(RegionId(0), run)].into());
        sample::log(&self.store, attempt, 0, sample::started(attempt, None));
        let lineage = "job".to_owned();
        let starts = if restored_from.is_some() { Starts::new() } else { self.starts() };
        let assignment = Assignment { lineage, parallelism: 1, restored_from, starts, runs, subtasks, peers };
        self.order(attempt, Action::Deploy(assignment));
    }

    /// The next news of a kind.
    async fn hear<T>(&mut self, kind: impl Fn(News) -> Option<T>) -> T {
        loop {
            let notice = self.next_notice().await;
            if let News::Failed(failure) = &notice.news {
                panic!("{failure:?}");
            }
            if let Some(heard) = kind(notice.news) {
                return heard;
            }
        }
    }

    async fn next_notice(&mut self) -> Notice {
        env::within(PATIENCE, self.notices.recv()).await.expect("news").expect("a worker")
    }

    fn trigger(&self, epoch: Epoch) {
        self.order(1, Action::Control(Control::Trigger(Barrier { epoch, last: false, open: false })));
    }

    /// Has a checkpoint taken, written and completed.
    async fn checkpoint(&mut self) -> CheckpointRef {
        let epoch = Epoch(1);
        self.trigger(epoch);
        let mut manifest = sample::manifest(1, epoch.0, Vec::new());
        manifest.operators.clear();
        for _ in Topology::of(&self.plan.graph).tasks {
            let acked = |news| if let News::Acked(ack) = news { Some(ack) } else { None };
            let Ack { operators, .. } = self.hear(acked).await;
            let named = operators.into_iter().filter_map(|(id, state)| {
                let kind = self.plan.graph.state_kind(&id)?;
                let written_as = self.plan.graph.written_as(&id);
                Some(OperatorState { id, kind, written_as, subtasks: vec![state] })
            });
            manifest.operators.extend(named);
        }
        manifest.format = Manifest::format_of(&manifest.operators, &[]);
        let (bytes, reference) = manifest.encode().unwrap();
        self.store.put(&reference.manifest, bytes).await.unwrap();
        let permit = CommitPermit::for_test_in(epoch, Arc::new(self.store.clone()));
        self.order(1, Action::Completed(permit.grant()));
        self.hear(|news| matches!(news, News::Published(_)).then_some(())).await;
        reference
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_goes_on_without_reading_what_it_has_until_it_is_told_to_stand_by() {
    let mut employed = Employed::new();
    let ready = |news| if let News::Ready(restored) = news { Some(restored) } else { None };
    employed.deploy(1, None);
    assert_eq!(employed.hear(ready).await, RestoredBytes::default());
    employed.order(1, Action::Start);
    employed.hear(|news| matches!(news, News::Exhausted(_)).then_some(())).await;
    let checkpoint = employed.checkpoint().await;

    // From here on the storage has the manifest, and answers nothing else.
    for state in ["state-", "table-", "shared-"] {
        employed.store.fail(Request::Get, state, Fault::Before, u32::MAX);
    }
    for attempt in [2, 3] {
        employed.order(attempt - 1, Action::Cancel);
        employed.deploy(attempt, Some(checkpoint.clone()));
        let restored = employed.hear(ready).await;
        assert!(restored.local_disk_bytes > 0 && restored.remote_bytes == 0, "attempt {attempt}: {restored:?}");
    }
    employed.order(4, Action::StandBy);
    employed.deploy(5, Some(checkpoint));
    let not_ready = |news| if let News::NotReady(failure) = news { Some(failure) } else { None };
    let failure = employed.hear(not_ready).await;
    assert!(failure.message.contains("injected fault"), "it kept nothing: {failure:?}");
    drop(employed.orders);
    employed.running.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_whose_storage_is_not_the_coordinators_says_so() {
    let mut worker = Employed::new();
    let not_ready = |news| if let News::NotReady(failure) = news { Some(failure) } else { None };
    for is_of_another in [false, true] {
        if is_of_another {
            sample::log(&worker.store, 1, 0, sample::started(1, None));
        }
        let (subtasks, runs) = (vec![SubtaskIndex(0)], [(RegionId(0), Run(1))].into());
        let (lineage, peers) = ("of the coordinator".to_owned(), BTreeMap::new());
        let starts = worker.starts();
        let assignment = Assignment { lineage, parallelism: 1, restored_from: None, starts, runs, subtasks, peers };
        worker.order(1, Action::Deploy(assignment));
        let failure = worker.hear(not_ready).await;
        assert_eq!(failure.reason, FailureReason::StorageUnfit);
        assert!(failure.message.contains("was not begun in what a worker has as checkpoint storage"), "{failure:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_ends_and_the_next_goes_on_from_what_is_at_hand_in_the_same_attempt() {
    let mut employed = Employed::new();
    let ready = |news| if let News::Ready(restored) = news { Some(restored) } else { None };
    employed.deploy(1, None);
    employed.hear(ready).await;
    employed.order(1, Action::Start);
    employed.hear(|news| matches!(news, News::Exhausted(_)).then_some(())).await;
    let checkpoint = employed.checkpoint().await;
    employed.order(1, Action::End(vec![Run(1)]));
    employed.hear(|news| matches!(news, News::Ended(Run(1))).then_some(())).await;
    employed.trigger(Epoch(2));

    for state in ["state-", "table-", "shared-"] {
        employed.store.fail(Request::Get, state, Fault::Before, u32::MAX);
    }
    employed.deploy_as(1, Run(2), Some(checkpoint));
    assert_eq!(employed.hear(ready).await.remote_bytes, 0);
    employed.order(1, Action::Start);
    employed.trigger(Epoch(3));
    // All of the new run, and of no epoch that the run before was to take.
    let mut acks = 0;
    while acks < Topology::of(&employed.plan.graph).tasks.len() {
        let Notice { run, news, .. } = employed.next_notice().await;
        match news {
            News::Acked(Ack { epoch, .. }) => {
                assert_eq!((run, epoch), (Some(Run(2)), Epoch(3)));
                acks += 1;
            }
            News::Failed(Failure { message, .. }) => panic!("{message}"),
            _ => {}
        }
    }
    drop(employed.orders);
    employed.running.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_run_has_uploaded_for_a_checkpoint_is_published_after_its_end() {
    let mut employed = Employed::new();
    employed.deploy(1, None);
    employed.hear(|news| matches!(news, News::Ready(_)).then_some(())).await;
    employed.order(1, Action::Start);
    employed.hear(|news| matches!(news, News::Exhausted(_)).then_some(())).await;
    employed.trigger(Epoch(1));
    let mut rows = 0;
    for _ in Topology::of(&employed.plan.graph).tasks {
        let acked = |news| if let News::Acked(ack) = news { Some(ack) } else { None };
        rows += employed.hear(acked).await.chunks.iter().map(|chunk| chunk.rows).sum::<u64>();
    }
    assert!(rows > 0, "the windows are closed: all is read");
    employed.order(1, Action::End(vec![Run(1)]));
    employed.hear(|news| matches!(news, News::Ended(Run(1))).then_some(())).await;
    // It was being owned meanwhile.
    let permit = CommitPermit::for_test_in(Epoch(1), Arc::new(employed.store.clone()));
    employed.order(1, Action::Completed(permit.grant()));
    employed.hear(|news| matches!(news, News::Published(Epoch(1))).then_some(())).await;
    let published = std::fs::read_dir(employed.folder.path()).unwrap().filter_map(|entry| {
        let path = entry.unwrap().path();
        path.extension().is_some_and(|extension| extension == "jsonl").then(|| std::fs::read_to_string(path).unwrap())
    });
    assert_eq!(published.map(|text| text.lines().count() as u64).sum::<u64>(), rows);
    drop(employed.orders);
    employed.running.await.unwrap();
}
