//! A sink that goes on while another is down.

use std::sync::atomic::AtomicBool;

use super::*;
use crate::{
    checkpoint::{
        committed::STEP,
        record::{self, Body, Record},
    },
    format::json::encode,
    ids::Seq,
};

const INTO: &str = "SELECT window_start, store_id, SUM(amount) AS total
      FROM TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE)
      GROUP BY window_start, window_end, store_id";

/// A sink that keeps what it is sent, and how often each chunk came.
#[derive(Debug, Default)]
struct Keeping {
    is_away: AtomicBool,
    tries: AtomicU64,
    sent: Mutex<Vec<ChunkId>>,
    rows: Mutex<BTreeMap<ChunkId, Vec<String>>>,
}

impl Keeping {
    fn sent(&self) -> Vec<ChunkId> {
        self.sent.lock().unwrap().clone()
    }

    /// All rows, of each chunk once.
    fn rows(&self) -> Vec<String> {
        let mut rows: Vec<String> = self.rows.lock().unwrap().values().flatten().cloned().collect();
        rows.sort_unstable();
        rows
    }
}

#[async_trait]
impl Publisher for Keeping {
    fn destination(&self) -> Destination {
        Destination::default()
    }

    async fn preflight(&self, _: &SchemaRef, _: u32, _: Preflight) -> Result<(), SinkError> {
        Ok(())
    }

    async fn publish(&self, _: &CommitPermit, chunk: &Chunk) -> Result<(), SinkError> {
        self.tries.fetch_add(1, SeqCst);
        if self.is_away.load(SeqCst) {
            return Err(SinkError::Unreachable { sink: "slow".to_owned(), message: "nobody answers".to_owned() });
        }
        self.sent.lock().unwrap().push(chunk.id.clone());
        let rows = chunk.rows.iter().flat_map(|batch| {
            let lines = encode(batch).unwrap();
            lines.rows().map(|row| String::from_utf8(row.to_vec()).unwrap()).collect::<Vec<_>>()
        });
        let before = self.rows.lock().unwrap().insert(chunk.id.clone(), rows.clone().collect());
        assert!(before.is_none_or(|before| before.into_iter().eq(rows)), "{} has two contents", chunk.id);
        Ok(())
    }
}

/// A job of so many orders, whose windows go to two sinks.
fn job(rate: &str) -> (Job, [Arc<Keeping>; 2]) {
    let document = format!(
        "
apiVersion: tidegate.dev/v1alpha1
kind: StreamJob
metadata: {{ name: sales }}
spec:
  sources:
    - name: orders
      generator: {{ count: 60000, {rate} stepMicros: 100000 }}
      watermark: {{ column: ts, delay: 5s }}
  sql: |
    INSERT INTO fast {INTO};
    INSERT INTO slow {INTO};
  sinks:
    - {{ name: fast, files: {{ path: /nowhere }} }}
    - {{ name: slow, files: {{ path: /elsewhere }} }}
  checkpoint:
    interval: 1h
    maxPendingEpochs: 10000
    storage: {{ local: {{ path: /nowhere }} }}
"
    );
    let mut plan = JobPlan::new(&StreamJob::from_yaml(&document).unwrap(), Arc::new(Metrics::new())).unwrap();
    let sinks = ["fast", "slow"].map(|name| {
        let sink = Arc::new(Keeping::default());
        plan.sinks.insert(name.to_owned(), SinkTarget::Published(sink.clone()));
        sink
    });
    let folder = tempfile::tempdir().unwrap();
    (Job { plan: Arc::new(plan), store: MemoryStore::new(), sink: Arc::default(), folder }, sinks)
}

/// The newest epoch that a record of the log says a sink has. Who reads the log goes back to the newest checkpoint only:
/// what was noted before that is left out of its manifest.
async fn noted(job: &Job, sink: &str) -> u64 {
    let (log, mut newest) = (job.log().await, 0);
    for seq in (0..log.next.0).map(Seq) {
        let Some(bytes) = job.store.get(&record::path(log.attempt, seq)).await.unwrap() else { continue };
        if let Body::EpochCommitted { sinks, .. } = Record::from_bytes(&bytes).unwrap().body {
            newest = newest.max(sinks.get(sink).map_or(0, |epoch| epoch.0));
        }
    }
    newest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_log_has_noted_for_it_is_not_sent_to_it_again() {
    let (whole, [expected, _]) = job("");
    assert_eq!(whole.start().ends().await.0, Outcome::Finished);

    // So slow that it has not come to its end when it is killed.
    let (job, [fast, slow]) = job("rate: 3000,");
    slow.is_away.store(true, SeqCst);
    let first = job.start();
    first.reads().await;
    // Until the log has noted two steps, with several chunks in them, and the sink has more than that.
    let has_more = |noted: u64| {
        let (of_log, more): (Vec<_>, Vec<_>) = fast.sent().into_iter().partition(|chunk| chunk.epoch.0 <= noted);
        noted > 2 * STEP && of_log.len() > 2 && !more.is_empty()
    };
    let comes = async {
        while !has_more(noted(&job, "fast").await) {
            first.requests.send(Request::Checkpoint).unwrap();
            env::sleep(Duration::from_millis(20)).await;
        }
    };
    if env::within(PATIENCE, comes).await.is_none() {
        let epochs: Vec<u64> = fast.sent().iter().map(|chunk| chunk.epoch.0).collect();
        let (noted, status) = (noted(&job, "fast").await, first.shared.status());
        panic!("the log has noted {noted} of the sink that is there, which has {epochs:?}: {status:?}");
    }
    first.kill().await;
    let (noted, before) = (noted(&job, "fast").await, fast.sent());
    assert_eq!(slow.sent(), []);

    // The other is still away when the job is started again, and then comes back.
    let tries = slow.tries.load(SeqCst);
    let second = job.start();
    second.until("a try to publish", |_| slow.tries.load(SeqCst) > tries + 2).await;
    slow.is_away.store(false, SeqCst);
    assert_eq!(second.ends().await.0, Outcome::Finished);
    let again: Vec<ChunkId> = fast.sent().split_off(before.len());
    let repeats: Vec<&ChunkId> = again.iter().filter(|chunk| chunk.epoch.0 <= noted).collect();
    assert!(repeats.is_empty(), "the log has epoch {noted} as published, and these came again: {repeats:?}");
    for (name, sink) in [("fast", &fast), ("slow", &slow)] {
        assert!(sink.rows() == expected.rows(), "{name}: {} rows of {}", sink.rows().len(), expected.rows().len());
    }
}
