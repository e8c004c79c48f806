//! Handing owned chunks to the sinks, in order, until they are there.
//!
//! Each sink has a lane: epochs one after the other, the slots of an epoch at the same time, the chunks of a slot in
//! order. A chunk that could not be published is tried again for as long as the attempt lives; that is safe since
//! publishers recognise a repeat, and right since nothing may be lost.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use futures::future::join_all;
use tokio::{
    runtime::Handle,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinSet,
};

use crate::{
    checkpoint::{CommitPermit, manifest::ChunkRef, store::Store},
    env,
    ids::Epoch,
    job::{JobPlan, SinkTarget},
    metrics::{Metrics, named},
    sink::{Chunk, Publisher},
    state::file,
};

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Rows of so many waiting epochs stay in memory; those of later ones are read back from the write-ahead log.
const EPOCHS_IN_MEMORY: usize = 2;

/// A chunk that waits to be published, with its rows where they are at hand.
#[derive(Debug, Clone)]
pub struct PendingChunk {
    pub reference: ChunkRef,
    pub rows: Option<Chunk>,
}

/// A sink that chunks are published to.
#[derive(Debug, Clone)]
pub struct Target {
    sink: String,
    publisher: Arc<dyn Publisher>,
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    tries: UnboundedSender<Tried>,
}

/// A try to publish that failed, or, without a failure, the first that went well after one.
#[derive(Debug, Clone)]
pub struct Tried {
    pub sink: String,
    pub failure: Option<String>,
}

/// The sinks of a job that publish from the write-ahead log in `store`.
pub fn targets(plan: &JobPlan, store: &Arc<dyn Store>, tries: &UnboundedSender<Tried>) -> Vec<Target> {
    let published = plan.sinks.iter().filter_map(|(sink, target)| match target {
        SinkTarget::Published(publisher) => Some((sink.clone(), publisher.clone())),
        SinkTarget::Direct(_) => None,
    });
    published
        .map(|(sink, publisher)| Target {
            sink,
            publisher,
            store: store.clone(),
            metrics: plan.metrics.clone(),
            tries: tries.clone(),
        })
        .collect()
}

/// The lanes of all sinks. Dropping them stops publishing; what was under way may still take place.
pub struct Lanes {
    queues: BTreeMap<String, UnboundedSender<Work>>,
    waiting: usize,
    done: BTreeMap<String, Epoch>,
    published: UnboundedReceiver<(String, Epoch)>,
    _tasks: JoinSet<()>,
}

struct Work {
    permit: CommitPermit,
    chunks: Vec<PendingChunk>,
}

impl Lanes {
    pub fn start(targets: Vec<Target>, io: &Handle) -> Self {
        let (report, published) = unbounded_channel();
        let mut tasks = JoinSet::new();
        let mut queues = BTreeMap::new();
        for target in targets {
            let (queue, work) = unbounded_channel();
            queues.insert(target.sink.clone(), queue);
            tasks.spawn_on(run_lane(target, work, report.clone()), io);
        }
        Self { queues, waiting: 0, done: BTreeMap::new(), published, _tasks: tasks }
    }

    /// Hands an epoch to all lanes. Every lane gets every epoch, also one without chunks for it, so that the least of
    /// what the lanes have done says which epochs are published.
    pub fn publish(&mut self, permit: &CommitPermit, mut chunks: Vec<PendingChunk>) {
        self.waiting += 1;
        if self.waiting > EPOCHS_IN_MEMORY {
            chunks.iter_mut().for_each(|chunk| chunk.rows = None);
        }
        let mut by_sink: BTreeMap<String, Vec<PendingChunk>> = BTreeMap::new();
        for chunk in chunks {
            by_sink.entry(chunk.reference.id.sink.clone()).or_default().push(chunk);
        }
        for (sink, queue) in &self.queues {
            let chunks = by_sink.remove(sink).unwrap_or_default();
            // A lane ends only with the lanes.
            let _ended = queue.send(Work { permit: permit.clone(), chunks });
        }
    }

    pub fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    /// Waits for the next epoch that all sinks have published. Cancel safe.
    pub async fn next_published(&mut self) -> Epoch {
        loop {
            let Some((sink, epoch)) = self.published.recv().await else { return std::future::pending().await };
            let before = self.least();
            self.done.insert(sink, epoch);
            if let Some(now) = self.least()
                && Some(now) > before
            {
                self.waiting = self.waiting.saturating_sub(1);
                return now;
            }
        }
    }

    fn least(&self) -> Option<Epoch> {
        self.queues.keys().map(|sink| self.done.get(sink).copied()).min().flatten()
    }
}

async fn run_lane(target: Target, mut work: UnboundedReceiver<Work>, report: UnboundedSender<(String, Epoch)>) {
    while let Some(Work { permit, chunks }) = work.recv().await {
        target.publish_epoch(&permit, chunks).await;
        if report.send((target.sink.clone(), permit.epoch())).is_err() {
            return;
        }
    }
}

impl Target {
    pub fn sink(&self) -> &str {
        &self.sink
    }

    /// Publishes an epoch's chunks of this sink; returns when all are there.
    pub async fn publish_epoch(&self, permit: &CommitPermit, chunks: Vec<PendingChunk>) {
        let mut slots: BTreeMap<u32, VecDeque<PendingChunk>> = BTreeMap::new();
        for chunk in chunks {
            slots.entry(chunk.reference.id.slot).or_default().push_back(chunk);
        }
        join_all(slots.into_values().map(|chunks| async {
            for chunk in chunks {
                self.publish_chunk(permit, chunk).await;
            }
        }))
        .await;
    }

    async fn publish_chunk(&self, permit: &CommitPermit, pending: PendingChunk) {
        let PendingChunk { reference, mut rows } = pending;
        let mut pause = FIRST_PAUSE;
        loop {
            match self.try_publish(permit, &reference, &mut rows).await {
                Ok(()) => {
                    if pause > FIRST_PAUSE {
                        self.tell(None);
                    }
                    self.metrics.sink_rows.get_or_create(&named(&self.sink)).inc_by(reference.rows);
                    return;
                }
                Err(cause) => {
                    self.metrics.publish_failures.get_or_create(&named(&self.sink)).inc();
                    self.tell(Some(cause.clone()));
                    tracing::warn!(sink = self.sink, chunk = %reference.id, cause, ?pause, "a chunk is not published yet, trying again");
                    env::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    fn tell(&self, failure: Option<String>) {
        // Nobody listens any more when the attempt is being torn down.
        let _gone = self.tries.send(Tried { sink: self.sink.clone(), failure });
    }

    async fn try_publish(
        &self,
        permit: &CommitPermit,
        reference: &ChunkRef,
        rows: &mut Option<Chunk>,
    ) -> Result<(), String> {
        let chunk = match rows {
            Some(chunk) => chunk,
            None => {
                let (schema, batches) =
                    file::read(&self.store, &reference.file).await.map_err(|error| crate::error_chain(&error))?;
                rows.insert(Chunk { id: reference.id.clone(), schema, rows: batches })
            }
        };
        self.publisher.publish(permit, chunk).await.map_err(|error| crate::error_chain(&error))
    }
}
