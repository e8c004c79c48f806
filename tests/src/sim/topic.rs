//! A topic, as Apache Kafka has them: partitions to which records come as time passes, that fall silent, come back and grow
//! in number.
//!
//! What comes when is settled before the run begins. A record's event time is the time at which it comes, or up to
//! [`LATEST`] before, so in whatever order partitions are read, it is never far behind the others.

use std::{collections::BTreeMap, time::Duration};

use super::{
    doors::START_MS,
    world::{MILLI, Micros, SECOND},
};
use crate::chance::Chance;

/// How far an event time may be behind the time at which its record comes, in milliseconds.
pub const LATEST: u64 = 500;
/// Records of an id that was forgotten come so many times to live later.
const FORGOTTEN_AFTER: i64 = 3;

/// How a run's topic is.
#[derive(Debug, Clone)]
pub struct TopicSetting {
    pub seed: u64,
    /// When each partition is made.
    pub born: Vec<Micros>,
    /// Nothing comes after that.
    pub lasts: Micros,
    /// A partition that is silent for so long holds nobody back.
    pub idle_timeout: Duration,
    /// How far the watermark stays behind.
    pub delay: Duration,
    /// How often readers look for partitions; `None` where none is made later.
    pub discovery: Option<Duration>,
    /// Whether brokers tell readers that a partition has nothing more.
    pub tells: bool,
    /// How long ids are remembered.
    pub ttl: Duration,
    /// All sales are of one amount, so that many sums look alike.
    pub of_one_amount: bool,
    /// When the job is asked to drain, if that is before everything is read.
    pub drained_at: Option<Micros>,
}

impl TopicSetting {
    /// Until `calm` faults go on.
    pub fn draw(chance: &mut Chance, is_punctual: bool) -> Self {
        let lasts = chance.within(15..50) * SECOND;
        let old = chance.within(1..6);
        let grows = chance.happens(600);
        let young = if grows { chance.within(1..4) } else { 0 };
        let mut born: Vec<Micros> =
            (0..old).map(|_| 0).chain((0..young).map(|_| chance.within(SECOND..lasts))).collect();
        // A topic has the partitions from 0 on, whenever it is asked.
        born.sort_unstable();
        let idle_timeout = Duration::from_millis(chance.one_of(&[500, 1000, 3000]));
        // Of a partition that is known to be idle nobody waits for what came in the last moments before it is asked again.
        let slack = if is_punctual { idle_timeout + Duration::from_secs(3) } else { Duration::ZERO };
        // Some readers look less often than a watermark is behind.
        let slowest = chance.one_of(&[1000, 5000, 20_000]);
        let seed = chance.draw();
        Self {
            seed,
            born,
            lasts,
            idle_timeout,
            delay: Duration::from_millis(LATEST) + slack,
            discovery: grows.then(|| Duration::from_millis(chance.within(300..slowest))),
            tells: chance.happens(500),
            ttl: Duration::from_secs(chance.one_of(&[4, 8, 20, 3600])),
            of_one_amount: seed % 5 < 2,
            drained_at: chance.happens(250).then(|| chance.within(5 * SECOND..lasts)),
        }
    }
}

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sale {
    pub id: u64,
    pub store: i64,
    pub cents: i64,
    pub ts_ms: i64,
}

#[derive(Debug, Clone, Copy)]
pub struct Record {
    pub at: Micros,
    pub sale: Sale,
}

#[derive(Debug, Default)]
pub struct Topic {
    partitions: Vec<Partition>,
    /// Partitions without a leader, until when.
    away: BTreeMap<usize, Micros>,
    /// Positions of completed checkpoints, by job and partition.
    committed: BTreeMap<(String, usize), u64>,
}

#[derive(Debug)]
struct Partition {
    born: Micros,
    records: Vec<Record>,
}

impl Topic {
    pub fn new(setting: &TopicSetting) -> Self {
        let mut chance = Chance::new(setting.seed);
        let mut times: Vec<(Micros, usize)> = Vec::new();
        for (partition, born) in setting.born.iter().enumerate() {
            // Now and then one never has anything.
            if partition == 0 || chance.happens(900) {
                times.extend(spells(&mut chance, *born, setting.lasts).into_iter().map(|at| (at, partition)));
            }
        }
        times.sort_unstable();
        let mut partitions: Vec<Partition> =
            setting.born.iter().map(|born| Partition { born: *born, records: Vec::new() }).collect();
        let ttl_ms = setting.ttl.as_millis() as i64;
        let mut sales: Vec<Sale> = Vec::new();
        // Of each id, its first event time, and whether it came again when it was forgotten.
        let mut first: BTreeMap<u64, (i64, bool)> = BTreeMap::new();
        for (at, partition) in times {
            let behind = if chance.happens(300) { chance.within(0..LATEST) } else { 0 };
            let ts_ms = START_MS as i64 + (at / MILLI) as i64 - behind as i64;
            let earlier = (!sales.is_empty() && chance.happens(200)).then(|| chance.one_of(&sales).id);
            let repeated = earlier.filter(|id| {
                let (first, was_forgotten) = first[id];
                let age = ts_ms - first;
                // In between nobody can say whether it is still remembered.
                !was_forgotten && ((1..ttl_ms / 2).contains(&age) || age > FORGOTTEN_AFTER * ttl_ms)
            });
            let id = repeated.unwrap_or(sales.len() as u64);
            let drawn = chance.within(100..50_000) as i64;
            let (store, cents) = (1 + (id % 7) as i64, if setting.of_one_amount { 100 } else { drawn });
            let sale = Sale { id, store, cents, ts_ms };
            let known = first.entry(id).or_insert((ts_ms, false));
            known.1 |= ts_ms - known.0 > ttl_ms;
            sales.push(sale);
            partitions[partition].records.push(Record { at, sale });
        }
        Self { partitions, ..Self::default() }
    }

    /// How many partitions there are.
    pub fn count(&self, now: Micros) -> usize {
        self.partitions.iter().filter(|partition| partition.born <= now).count()
    }

    /// The records of a partition from a position on that have come; none where it has no leader.
    pub fn read(&self, partition: usize, from: u64, now: Micros) -> &[Record] {
        let Some(found) = self.partitions.get(partition).filter(|_| !self.is_away(partition, now)) else { return &[] };
        let end = found.records.partition_point(|record| record.at <= now);
        &found.records[(from as usize).min(end)..end]
    }

    pub fn is_away(&self, partition: usize, now: Micros) -> bool {
        self.away.get(&partition).is_some_and(|until| now < *until)
    }

    /// The record at a position, whether or not it has come.
    pub fn record(&self, partition: usize, position: u64) -> Option<&Record> {
        self.partitions.get(partition)?.records.get(position as usize)
    }

    /// A partition's leader goes; another is elected by then. Gives the partition.
    pub fn elect(&mut self, draw: u64, until: Micros) -> Option<usize> {
        let partition = draw as usize % self.partitions.len().max(1);
        self.partitions.get(partition)?;
        self.away.insert(partition, until);
        Some(partition)
    }

    /// A job's checkpoint has completed that has this position.
    pub fn commit(&mut self, job: &str, partition: usize, next: u64) {
        let known = self.committed.entry((job.to_owned(), partition)).or_default();
        *known = next.max(*known);
    }

    /// Whether completed checkpoints of a job have everything.
    pub fn is_read(&self, job: &str) -> bool {
        self.partitions.iter().enumerate().all(|(index, partition)| {
            let next = self.committed.get(&(job.to_owned(), index)).copied().unwrap_or_default();
            next as usize == partition.records.len()
        })
    }

    /// The sales before some positions, by partition.
    pub fn sales(&self, positions: &BTreeMap<usize, u64>) -> Vec<Sale> {
        let before = |(index, partition): (usize, &Partition)| {
            let count = positions.get(&index).copied().unwrap_or_default() as usize;
            partition.records.iter().take(count).map(|record| record.sale).collect::<Vec<_>>()
        };
        self.partitions.iter().enumerate().flat_map(before).collect()
    }
}

/// When records come: in spells, with silence between them.
fn spells(chance: &mut Chance, born: Micros, lasts: Micros) -> Vec<Micros> {
    let (mut at, mut times) = (born + chance.within(0..3 * SECOND), Vec::new());
    while at < lasts {
        let end = at + chance.within(SECOND / 2..6 * SECOND);
        let pause = chance.within(20 * MILLI..150 * MILLI);
        while at < end.min(lasts) {
            times.push(at);
            at += chance.within(1..2 * pause);
        }
        at += chance.one_of(&[0, SECOND / 2, 2 * SECOND, 5 * SECOND, 15 * SECOND]);
    }
    times
}
