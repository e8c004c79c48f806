//! A source that reads a [`super::topic`], by the contract of a reader and the rules of the one for Apache Kafka: a partition
//! belongs to the reader whose number it has, positions are offsets, a look finds partitions that are new to this reader,
//! and all are known when a look has found as many as the one before. Where no partition is made later, nobody looks.
//!
//! An answer has what partitions have in no order among them, and not of each. After a pause the first one has much of one
//! partition and nothing of the others, as what a client has fetched ahead. Readers are told of a checkpoint that has
//! completed and tell the world, as a consumer group is told.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arrow::array::{Decimal128Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use async_trait::async_trait;
use tidegate::{
    env,
    ids::Epoch,
    source::{
        End, Fetched, Positions, ReaderContext, Remaining, Run, Source, SourceError, SourceReader, SplitState,
        generator::Orders,
    },
};

use super::{
    met::Kind,
    topic::{Record, TopicSetting},
    world::{MILLI, Micros, Pid, Shared, System, World},
};

/// Records of a partition in one answer, at most.
const MOST: u64 = 64;
/// As many when the reader was not asked for long.
const MOST_AFTER_PAUSE: u64 = 400;
/// How long a reader waits for records before it asks again.
const LONG_POLL: Duration = Duration::from_millis(100);
const LOOKS: u32 = 4;
/// Between two times that a reader is asked at most, while it is asked.
const SLACK: Duration = Duration::from_millis(200);

#[derive(Debug, Clone)]
pub struct TopicSource {
    pub world: Shared,
    pub pid: Pid,
    /// Whose positions it tells.
    pub job: String,
    pub idle_timeout: Duration,
    pub discovery: Option<Duration>,
    pub tells: bool,
}

impl TopicSource {
    pub fn new(world: Shared, pid: Pid, job: &str, setting: &TopicSetting) -> Self {
        let TopicSetting { idle_timeout, discovery, tells, .. } = *setting;
        Self { world, pid, job: job.to_owned(), idle_timeout, discovery, tells }
    }
}

fn split_name(partition: usize) -> String {
    format!("sales-{partition}")
}

/// The partitions' positions, of a checkpoint's splits.
pub fn positions(splits: &[SplitState]) -> BTreeMap<usize, u64> {
    let position = |state: &SplitState| Some((state.split.strip_prefix("sales-")?.parse().ok()?, state.next));
    splits.iter().filter_map(position).collect()
}

#[async_trait]
impl Source for TopicSource {
    async fn preflight(&self) -> Result<(), SourceError> {
        Ok(())
    }

    fn fits(&self, _: &[SplitState]) -> Result<(), SourceError> {
        Ok(())
    }

    async fn find_splits(&self, known: Option<&[SplitState]>) -> Result<Vec<SplitState>, SourceError> {
        if let Some(known) = known {
            return Ok(known.to_vec());
        }
        let world = self.world.lock();
        let all = 0..world.topic.count(world.now);
        Ok(all.map(|partition| SplitState { split: split_name(partition), ..SplitState::default() }).collect())
    }

    fn begins_by(&self) -> Option<String> {
        Some("sales".to_owned())
    }

    async fn reader(&self, context: ReaderContext, from: Positions) -> Result<Box<dyn SourceReader>, SourceError> {
        let known_at = env::monotonic();
        let known = positions(from.splits());
        let mut reader = Reader {
            source: self.clone(),
            context,
            splits: Vec::new(),
            partitions: 0,
            known_at,
            next_look: self.discovery.map(|pause| known_at + pause),
            asked_until: known_at,
            back_at: None,
        };
        let world = self.world.lock();
        reader.partitions = world.topic.count(world.now);
        let mine = (0..reader.partitions).filter(|partition| reader.is_mine(*partition));
        reader.splits = mine.map(|partition| Split::new(partition, known.get(&partition).copied())).collect();
        drop(world);
        Ok(Box::new(reader))
    }
}

struct Reader {
    source: TopicSource,
    context: ReaderContext,
    splits: Vec<Split>,
    /// How many the topic had at the last look, of all readers.
    partitions: usize,
    known_at: Duration,
    next_look: Option<Duration>,
    /// When it was asked last, or was still being asked.
    asked_until: Duration,
    /// It was not asked for longer than a partition may be silent, up to then, and has given nothing since.
    back_at: Option<Duration>,
}

struct Split {
    partition: usize,
    next: u64,
    remaining: Option<Remaining>,
}

impl Split {
    fn new(partition: usize, next: Option<u64>) -> Self {
        Self { partition, next: next.unwrap_or_default(), remaining: None }
    }
}

impl World {
    fn reaches_topic(&self, pid: Pid) -> bool {
        let until = self.host(pid).and_then(|host| self.cut_off.get(&(host, System::Sinks)));
        until.is_none_or(|until| self.now >= *until)
    }
}

impl Reader {
    fn is_mine(&self, partition: usize) -> bool {
        partition as u32 % self.context.parallelism.max(1) == self.context.subtask.0
    }

    /// The way to the brokers and back.
    async fn travel(&self) {
        let latency = self.source.world.lock().chance.within(MILLI..8 * MILLI);
        env::sleep(Duration::from_micros(latency)).await;
    }

    /// Takes in what a look has found that was begun then. Whether the set of splits has changed, if there is anything to
    /// tell.
    fn look(&mut self, asked_at: Duration) -> Option<Fetched> {
        let mut world = self.source.world.lock();
        if !world.reaches_topic(self.source.pid) {
            return None;
        }
        let found = world.topic.count(world.now);
        let before = std::mem::replace(&mut self.partitions, found);
        let is_new = |partition: &usize| {
            self.is_mine(*partition) && self.splits.iter().all(|split| split.partition != *partition)
        };
        let new: Vec<Split> = (0..found).filter(is_new).map(|partition| Split::new(partition, None)).collect();
        if new.is_empty() {
            if found != before {
                return None;
            }
            self.known_at = asked_at;
            return Some(Fetched::SplitsKnown);
        }
        world.met.note(Kind::PartitionFound);
        drop(world);
        self.splits.extend(new);
        Some(Fetched::SplitsChanged)
    }

    /// What the brokers have now.
    fn take(&mut self, asked_at: Duration) -> Option<Fetched> {
        let world = &mut *self.source.world.lock();
        if self.splits.is_empty() || !world.reaches_topic(self.source.pid) {
            return None;
        }
        let (mut runs, mut records): (Vec<Run>, Vec<Record>) = (Vec::new(), Vec::new());
        let first = world.chance.within(0..self.splits.len() as u64) as usize;
        // Later it is known which of the others are silent.
        let is_back = self.back_at.is_some_and(|at| asked_at < at + self.source.idle_timeout / 2);
        for turn in 0..self.splits.len() {
            if is_back && !records.is_empty() {
                break;
            }
            let index = (first + turn) % self.splits.len();
            let split = &mut self.splits[index];
            let most = if is_back {
                MOST_AFTER_PAUSE as usize
            } else if world.chance.happens(200) {
                0
            } else {
                world.chance.within(1..MOST + 1) as usize
            };
            if most == 0 || world.topic.is_away(split.partition, world.now) {
                continue;
            }
            let found = world.topic.read(split.partition, split.next, world.now);
            let taken = &found[..found.len().min(most)];
            if self.source.tells {
                split.remaining = Some(Remaining { records: found.len() > taken.len(), asked_at });
            }
            let Some(record) = taken.first() else { continue };
            let before = split.next.checked_sub(1).and_then(|last| world.topic.record(split.partition, last));
            let silence = before.map_or(0, |before| record.at - before.at);
            let begins = records.len();
            records.extend(taken);
            runs.push(Run { split: index, records: begins..records.len() });
            split.next += taken.len() as u64;
            if silence > self.source.idle_timeout.as_micros() as Micros {
                world.met.note(Kind::PartitionBack);
            }
        }
        if records.is_empty() {
            return None;
        }
        self.back_at = None;
        Some(Fetched::Rows { batch: rows(&records), runs })
    }

    /// Notes whether it was asked for nothing for long.
    fn note_return(&mut self) {
        let now = env::monotonic();
        let unasked = now.saturating_sub(self.asked_until);
        if unasked < self.source.idle_timeout + SLACK {
            return;
        }
        self.back_at = Some(now);
        let mut world = self.source.world.lock();
        let begun_at = world.now.saturating_sub((unasked + SLACK).as_micros() as Micros);
        if world.paused_at.get(&self.source.job).is_some_and(|at| *at >= begun_at) {
            world.met.note(Kind::Paused);
        }
    }

    /// How long it is until something of this reader's comes, as far as anybody can say.
    fn pause(&self) -> Duration {
        let world = self.source.world.lock();
        let next = |split: &Split| Some(world.topic.record(split.partition, split.next)?.at.saturating_sub(world.now));
        let next = self.splits.iter().filter_map(next).min().map_or(LONG_POLL, Duration::from_micros);
        // A moment at least: who is not given anything asks again.
        next.clamp(Duration::from_millis(5), LONG_POLL)
    }
}

fn rows(records: &[Record]) -> RecordBatch {
    let ids = StringArray::from_iter_values(records.iter().map(|record| format!("s-{}", record.sale.id)));
    let stores = Int64Array::from_iter_values(records.iter().map(|record| record.sale.store));
    let amounts = Decimal128Array::from_iter_values(records.iter().map(|record| i128::from(record.sale.cents)));
    let times = TimestampMillisecondArray::from_iter_values(records.iter().map(|record| record.sale.ts_ms));
    let amounts = amounts.with_precision_and_scale(12, 2).expect("amounts of twelve digits");
    let columns = vec![Arc::new(ids) as _, Arc::new(stores) as _, Arc::new(amounts) as _];
    let columns = columns.into_iter().chain([Arc::new(times.with_timezone("UTC")) as _]).collect();
    RecordBatch::try_new(Orders::schema(), columns).expect("columns of the schema")
}

#[async_trait(?Send)]
impl SourceReader for Reader {
    async fn fetch(&mut self) -> Result<Fetched, SourceError> {
        loop {
            self.note_return();
            let asked_at = env::monotonic();
            self.asked_until = asked_at;
            self.travel().await;
            if self.next_look.is_some_and(|due| asked_at >= due) {
                self.next_look = self.source.discovery.map(|pause| env::monotonic() + pause);
                if let Some(found) = self.look(asked_at) {
                    return Ok(found);
                }
            }
            if let Some(taken) = self.take(asked_at) {
                return Ok(taken);
            }
            env::sleep(self.pause()).await;
        }
    }

    fn positions(&self) -> Vec<SplitState> {
        let state = |split: &Split| SplitState {
            split: split_name(split.partition),
            next: split.next,
            ..SplitState::default()
        };
        self.splits.iter().map(state).collect()
    }

    fn end(&self, _: usize) -> End {
        End::Open
    }

    fn splits_known_at(&self) -> Option<Duration> {
        self.source.discovery.map(|_| self.known_at)
    }

    async fn look_for_splits(&mut self) -> Result<bool, SourceError> {
        if self.source.discovery.is_none() {
            return Ok(false);
        }
        let (begun, mut changed) = (env::monotonic(), false);
        for _ in 0..LOOKS {
            let asked_at = env::monotonic();
            self.travel().await;
            changed |= matches!(self.look(asked_at), Some(Fetched::SplitsChanged));
            if self.known_at >= begun {
                break;
            }
        }
        Ok(changed)
    }

    fn remaining(&self, split: usize) -> Option<Remaining> {
        self.splits.get(split)?.remaining
    }

    fn checkpoint_completed(&mut self, _: Epoch, splits: &[SplitState]) -> Result<(), SourceError> {
        let mut world = self.source.world.lock();
        for (partition, next) in positions(splits) {
            world.topic.commit(&self.source.job, partition, next);
        }
        Ok(())
    }
}
