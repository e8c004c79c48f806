//! Handing owned chunks to the sinks, in order, until they are there.
//!
//! Each sink has a lane: epochs one after the other, the slots of an epoch at the same time, the chunks of a slot in
//! order. A chunk that could not be published is tried again for as long as the attempt lives, if that may help: it is safe
//! since publishers recognise a repeat, and right since nothing may be lost. A sink that answers, and refuses the same chunk
//! again and again, takes it only when somebody changes something: that ends the attempt, and the restart strategy decides.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use futures::future::try_join_all;
use tidegate_crds::api::Failure;
use tokio::{
    runtime::Handle,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinSet,
};

use crate::{
    checkpoint::{CommitPermit, committed::STEP, manifest::ChunkRef, store::Store},
    env,
    failure::Reason,
    fault,
    ids::Epoch,
    job::{JobPlan, SinkTarget},
    metrics::{Metrics, named},
    sink::{Chunk, Publisher, SinkError},
    state::file,
};

const FIRST_PAUSE: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 200 });
const LONGEST_PAUSE: Duration = Duration::from_millis(if cfg!(test) { 20 } else { 10_000 });
/// So many refusals of a chunk in a row are not what passes by itself. With the pauses between them that takes 43 s.
const REFUSALS: u32 = 10;
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
    /// What was last said of single sinks.
    told: BTreeMap<String, Epoch>,
    /// The first epoch.
    first: Option<Epoch>,
    published: UnboundedReceiver<(String, Result<Epoch, Failure>)>,
    _tasks: JoinSet<()>,
}

/// How far publishing has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// All sinks have everything up to this epoch.
    All(Epoch),
    /// One sink has, and is well ahead of what was last said of it.
    Sink { sink: String, epoch: Epoch },
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
        Self { queues, waiting: 0, done: BTreeMap::new(), told: BTreeMap::new(), first: None, published, _tasks: tasks }
    }

    /// Hands an epoch to all lanes. Every lane gets every epoch, also one without chunks for it, so that the least of
    /// what the lanes have done says which epochs are published.
    pub fn publish(&mut self, permit: &CommitPermit, mut chunks: Vec<PendingChunk>) {
        if !chunks.is_empty() {
            fault::reach("before-publish");
        }
        self.waiting += 1;
        self.first.get_or_insert(permit.epoch());
        if self.waiting > EPOCHS_IN_MEMORY {
            chunks.iter_mut().for_each(|chunk| chunk.rows = None);
        }
        let mut by_sink: BTreeMap<String, Vec<PendingChunk>> = BTreeMap::new();
        for chunk in chunks {
            by_sink.entry(chunk.reference.id.sink.clone()).or_default().push(chunk);
        }
        for (sink, queue) in &self.queues {
            let chunks = by_sink.remove(sink).unwrap_or_default();
            // A lane that has ended has been refused, and said so.
            let _ended = queue.send(Work { permit: permit.clone(), chunks });
        }
    }

    pub fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    /// Waits for the next epoch that all sinks have published, or a single one has that is well ahead; or for one that is
    /// refused for good. Cancel safe.
    pub async fn next_published(&mut self) -> Result<Progress, Failure> {
        loop {
            let Some((sink, published)) = self.published.recv().await else { return std::future::pending().await };
            if let Some(progress) = self.done(sink, published?) {
                return Ok(progress);
            }
        }
    }

    /// What is to be said when a sink has published an epoch.
    fn done(&mut self, sink: String, epoch: Epoch) -> Option<Progress> {
        let before = self.least();
        self.done.insert(sink.clone(), epoch);
        let now = self.least();
        if now > before {
            self.waiting = self.waiting.saturating_sub(1);
            return now.map(Progress::All);
        }
        let said = now.max(self.told.get(&sink).copied()).max(self.first).map_or(0, |epoch| epoch.0);
        if epoch.0 < said + STEP {
            return None;
        }
        self.told.insert(sink.clone(), epoch);
        Some(Progress::Sink { sink, epoch })
    }

    fn least(&self) -> Option<Epoch> {
        self.queues.keys().map(|sink| self.done.get(sink).copied()).min().flatten()
    }
}

/// Ends with the lanes, or with the first refusal: later epochs must not come before the refused one.
async fn run_lane(
    target: Target,
    mut work: UnboundedReceiver<Work>,
    report: UnboundedSender<(String, Result<Epoch, Failure>)>,
) {
    while let Some(Work { permit, chunks }) = work.recv().await {
        let published = target.publish_epoch(&permit, chunks).await.map(|()| permit.epoch());
        let is_refused = published.is_err();
        if report.send((target.sink.clone(), published)).is_err() || is_refused {
            return;
        }
    }
}

impl Target {
    pub fn sink(&self) -> &str {
        &self.sink
    }

    /// See [`Publisher::take_over`].
    pub async fn take_over(&self, permit: &CommitPermit, lineage: &str) -> Result<(), SinkError> {
        self.publisher.take_over(permit, lineage).await
    }

    /// Publishes an epoch's chunks of this sink; returns when all are there, or one is refused for good.
    pub async fn publish_epoch(&self, permit: &CommitPermit, chunks: Vec<PendingChunk>) -> Result<(), Failure> {
        let mut slots: BTreeMap<u32, VecDeque<PendingChunk>> = BTreeMap::new();
        for chunk in chunks {
            slots.entry(chunk.reference.id.slot).or_default().push_back(chunk);
        }
        try_join_all(slots.into_values().map(|chunks| async {
            for chunk in chunks {
                self.publish_chunk(permit, chunk).await?;
            }
            Ok(())
        }))
        .await
        .map(drop)
    }

    async fn publish_chunk(&self, permit: &CommitPermit, pending: PendingChunk) -> Result<(), Failure> {
        let PendingChunk { reference, mut rows } = pending;
        let (mut pause, mut refusals) = (FIRST_PAUSE, 0);
        loop {
            let Err(Failure { reason, message: cause }) = self.try_publish(permit, &reference, &mut rows).await else {
                if pause > FIRST_PAUSE {
                    self.tell(None);
                }
                self.metrics.sink_rows.get_or_create(&named(&self.sink)).inc_by(reference.rows);
                return Ok(());
            };
            self.metrics.publish_failures.get_or_create(&named(&self.sink)).inc();
            self.tell(Some(cause.clone()));
            refusals = if reason.may_pass() { 0 } else { refusals + 1 };
            if refusals == REFUSALS {
                let message = format!("the chunk {} was refused {REFUSALS} times in a row: {cause}", reference.id);
                tracing::error!(sink = self.sink, cause = message, "the sink can't take what the job has for it");
                return Err(Failure { reason, message });
            }
            tracing::warn!(sink = self.sink, chunk = %reference.id, cause, ?pause, "a chunk is not published yet, trying again");
            env::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
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
    ) -> Result<(), Failure> {
        let chunk = match rows {
            Some(chunk) => chunk,
            None => {
                let (schema, batches) =
                    file::read(&self.store, &reference.file).await.map_err(|error| error.failure())?;
                let checksum = reference.file.xxh3.clone();
                rows.insert(Chunk { id: reference.id.clone(), schema, rows: batches, checksum })
            }
        };
        self.publisher.publish(permit, chunk).await.map_err(|error| error.failure())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sink_that_is_well_ahead_of_another_is_told_in_steps_and_sinks_that_keep_up_are_not() {
        let queue = || unbounded_channel().0;
        let (_, published) = unbounded_channel();
        let mut lanes = Lanes {
            queues: [("down".to_owned(), queue()), ("up".to_owned(), queue())].into(),
            waiting: 0,
            done: BTreeMap::new(),
            told: BTreeMap::new(),
            first: Some(Epoch(1)),
            published,
            _tasks: JoinSet::new(),
        };
        let up = |epoch| Some(Progress::Sink { sink: "up".to_owned(), epoch: Epoch(epoch) });
        assert_eq!(lanes.done("up".to_owned(), Epoch(1)), None);
        assert_eq!(lanes.done("down".to_owned(), Epoch(1)), Some(Progress::All(Epoch(1))));
        let said: Vec<_> = (2..=20).filter_map(|epoch| lanes.done("up".to_owned(), Epoch(epoch))).collect();
        assert_eq!(said, [up(9), up(17)].map(Option::unwrap));
        assert_eq!(lanes.done("down".to_owned(), Epoch(2)), Some(Progress::All(Epoch(2))));
        let said: Vec<_> = (21..=25).filter_map(|epoch| lanes.done("up".to_owned(), Epoch(epoch))).collect();
        assert_eq!(said, [up(25)].map(Option::unwrap));
    }
}
