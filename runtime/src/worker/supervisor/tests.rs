//! A worker over several attempts: what it is asked to go on from, it has.

use std::time::Duration;

use tidegate_crds::{StateBackend, StreamJob};
use tokio::task::JoinHandle;

use super::*;
use crate::{
    checkpoint::{
        CommitPermit,
        manifest::OperatorState,
        record::CheckpointRef,
        sample,
        store::memory::{Action as Request, Fault, MemoryStore},
    },
    element::Barrier,
    env,
    ids::SubtaskIndex,
    memory::MemoryLimit,
    metrics::Metrics,
    worker::{protocol::Ack, topology::Topology},
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
    _folder: tempfile::TempDir,
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
        Self { plan, store, orders, notices, running, _folder: folder }
    }

    fn order(&self, attempt: u64, action: Action) {
        self.orders.send(Order { attempt: Attempt(attempt), action }).unwrap();
    }

    fn deploy(&self, attempt: u64, restored_from: Option<CheckpointRef>) {
        let (subtasks, peers) = (vec![SubtaskIndex(0)], BTreeMap::new());
        let lineage = "sales".to_owned();
        self.order(attempt, Action::Deploy(Assignment { lineage, parallelism: 1, restored_from, subtasks, peers }));
    }

    /// The next news of a kind.
    async fn hear<T>(&mut self, kind: impl Fn(News) -> Option<T>) -> T {
        loop {
            let notice = env::within(PATIENCE, self.notices.recv()).await.expect("news").expect("a worker");
            if let News::Failed(failure) = &notice.news {
                panic!("{failure:?}");
            }
            if let Some(heard) = kind(notice.news) {
                return heard;
            }
        }
    }

    /// Has a checkpoint taken, written and completed.
    async fn checkpoint(&mut self) -> CheckpointRef {
        let epoch = Epoch(1);
        self.order(1, Action::Control(Control::Trigger(Barrier { epoch, last: false, open: false })));
        let mut manifest = sample::manifest(1, epoch.0, Vec::new());
        manifest.operators.clear();
        for _ in Topology::of(&self.plan.graph).tasks {
            let acked = |news| if let News::Acked(ack) = news { Some(ack) } else { None };
            let Ack { operators, .. } = self.hear(acked).await;
            let named = operators.into_iter().filter_map(|(id, state)| {
                let kind = self.plan.graph.state_kind(&id)?;
                Some(OperatorState { id, kind, subtasks: vec![state] })
            });
            manifest.operators.extend(named);
        }
        manifest.format = Manifest::format_of(&manifest.operators);
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
    for state in ["state-", "table-"] {
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
