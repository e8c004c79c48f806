//! What the processes run: the store-sales job, by a coordinator and its workers, or by two rivals that each run it whole.
//! In many runs the job has a second pipeline, which passes rows on without an exchange.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use tidegate::{
    checkpoint::{claim::Identity, log::Claimant, store::Store},
    coordinator::{api, driver::Coordinator, event::Outcome, prepare::prepare_in, shared::Shared, workers::Workers},
    env, error_chain,
    exchange::remote::post::Post,
    ids::Revision,
    job::{JobPlan, SinkTarget, SourceTable},
    link::{join::Joining, reception::Reception},
    memory::MemoryLimit,
    metrics::Metrics,
    source::generator::Generator,
    state::Backend,
    tls::Security,
    worker::{api::Readiness, at_hand::AtHand, protocol::Hello, supervisor::Worker},
};
use tidegate_crds::{GeneratorSource, HumanDuration, StateBackend, StreamJob};
use tokio::{runtime::Handle, sync::mpsc::unbounded_channel};

use super::{
    broker::TopicPublisher,
    doors::{Inside, Pace},
    net::address,
    store::SimStore,
    table::TablePublisher,
    world::{Host, MILLI, Micros, Pid, Shared as World},
};
use crate::chance::Chance;

const API: u16 = 8081;
const WORKERS: u16 = 8082;
const EXCHANGE: u16 = 8083;
/// Who says nothing for so long is lost.
const SILENCE: Duration = Duration::from_secs(10);

/// Sales per store and minute of event time, to two sinks; of `counted_orders`, which a setting decides on.
const DOCUMENT: &str = "
apiVersion: tidegate.dev/v1alpha1
kind: StreamJob
metadata: { name: store-sales }
spec:
  sources:
    - name: orders
      generator: { count: 1, duplicates: 0.1, outOfOrder: 0.2, maxDelay: 5s }
      watermark: { column: ts, delay: 5s }
    {more_sources}
  sql: |
    {counted_orders}
    CREATE VIEW minute_sales AS
      SELECT window_start, store_id, SUM(amount) AS total, COUNT(*) AS orders
      FROM TUMBLE(TABLE counted_orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE)
      GROUP BY window_start, window_end, store_id;
    INSERT INTO table_sink SELECT * FROM minute_sales;
    INSERT INTO topic_sink SELECT * FROM minute_sales;
    {more_sql}
  sinks:
    - { name: table_sink, files: { path: /nowhere } }
    - { name: topic_sink, files: { path: /nowhere } }
    {more_sinks}
  parallelism: 2
  stateTtl: 1h
  checkpoint:
    interval: 2s
    timeout: 30s
    storage: { local: { path: /nowhere } }
";

/// Each order once.
const UNIQUE: &str = "CREATE VIEW counted_orders AS
      SELECT order_id, store_id, amount, ts
      FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY order_id ORDER BY ts) AS n FROM orders)
      WHERE n = 1;";
/// As often as it comes.
const ALL: &str = "CREATE VIEW counted_orders AS SELECT order_id, store_id, amount, ts FROM orders;";

/// The second pipeline: its source, its SQL, its sink.
const PASSED_ON: [&str; 3] = [
    "- { name: returns, generator: { count: 1 } }",
    "INSERT INTO passed_sink SELECT order_id, store_id, amount, ts FROM returns;",
    "- { name: passed_sink, files: { path: /nowhere } }",
];

/// Who takes part.
#[derive(Debug, Clone, Copy)]
pub enum Cast {
    /// A coordinator, and workers with so many slots each.
    Crew { workers: u8, slots: u32 },
    /// Two processes that want the same job, with workers of their own.
    Rivals,
}

/// One run's job.
#[derive(Debug, Clone)]
pub struct Setting {
    pub cast: Cast,
    pub parallelism: u32,
    /// Every coordinator comes with a parallelism of its own, as if the document had been changed meanwhile.
    pub wavers: bool,
    pub interval: Duration,
    /// When barriers overtake; `None` for never.
    pub alignment_timeout: Option<Duration>,
    /// How many checkpoints may be under way at a time.
    pub max_concurrent: u32,
    /// The longest that a write to the store takes, beside its way there.
    pub slow_writes: Micros,
    /// Reads and writes of connections that take less than they could, of a thousand.
    pub short_transfers: u64,
    /// Reads of the store that bring other bytes than were written, of a thousand.
    pub flawed_reads: u64,
    pub pace: Pace,
    pub tolerable_failures: u32,
    pub orders: GeneratorSource,
    /// What the second pipeline reads, where there is one.
    pub returns: Option<GeneratorSource>,
    pub memory: Memory,
    pub backends: Backends,
}

/// How much memory there is for state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    Plenty,
    /// None at all: partial results of windows are on the local disk.
    None,
}

/// Where processes keep state by key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backends {
    Memory,
    RocksDb,
    /// Some processes in memory and some by RocksDB, as if the document had been changed meanwhile.
    Either,
}

/// Bytes of memory where there is plenty.
const PLENTY: u64 = 4 << 30;
const COORDINATOR: Host = Host(1);
const RIVAL: Host = Host(2);
const FIRST_WORKER: u8 = 11;

impl Setting {
    pub fn draw(chance: &mut Chance) -> Self {
        let parallelism = chance.within(1..5) as u32;
        let cast = if chance.happens(250) {
            Cast::Rivals
        } else {
            let workers = chance.within(2..4) as u8;
            let fewest = parallelism.div_ceil(u32::from(workers));
            Cast::Crew { workers, slots: fewest + chance.within(0..3) as u32 }
        };
        let mut orders = document(UNIQUE, false).spec.sources[0].generator.clone().expect("a generator");
        orders.seed = chance.draw();
        orders.count = Some(chance.within(600..2000));
        orders.rate = Some(chance.within(20..100));
        orders.stores = chance.within(3..30);
        orders.step_micros = chance.within(200_000..1_500_000);
        let returns = chance.happens(600).then(|| GeneratorSource {
            seed: chance.draw(),
            count: Some(chance.within(300..2000)),
            rate: Some(chance.within(20..100)),
            ..orders.clone()
        });
        let chunk_rows = chance.one_of(&[200_000, 40, 10, 5]);
        // In many runs channels are full, and barriers wait for rows, or overtake them.
        let labour = Duration::from_millis(chance.one_of(&[0, 0, 3, 10, 30]));
        let channel_bytes = chance.one_of(&[32 << 10, 8 << 10, 4 << 10]);
        let alignment_timeout = chance.happens(500).then(|| Duration::from_millis(chance.one_of(&[0, 0, 5, 50, 500])));
        let max_concurrent = if alignment_timeout.is_none() { chance.one_of(&[1, 2, 3, 3]) } else { 1 };
        // With several at a time they mostly overlap.
        let slow_writes = MILLI * if max_concurrent > 1 { chance.one_of(&[100, 600, 2500]) } else { 0 };
        let unwritten_keys = chance.one_of(&[100_000, 200, 50, 20]);
        let beside = Duration::from_millis(chance.one_of(&[0, 5, 50, 1000]));
        Self {
            cast,
            parallelism,
            wavers: chance.happens(300),
            interval: Duration::from_millis(chance.within(200..3000)),
            alignment_timeout,
            max_concurrent,
            slow_writes,
            short_transfers: chance.one_of(&[0, 0, 50, 500]),
            flawed_reads: chance.one_of(&[0, 0, 10, 50]),
            pace: Pace { labour, channel_bytes, chunk_rows, unwritten_keys, beside },
            tolerable_failures: chance.within(0..4) as u32,
            orders,
            returns,
            memory: if chance.happens(250) { Memory::None } else { Memory::Plenty },
            backends: match chance.within(0..1000) {
                0..200 => Backends::RocksDb,
                200..300 => Backends::Either,
                _ => Backends::Memory,
            },
        }
    }

    pub fn hosts(&self) -> Vec<Host> {
        match self.cast {
            Cast::Crew { workers, .. } => {
                [COORDINATOR].into_iter().chain((0..workers).map(|worker| Host(FIRST_WORKER + worker))).collect()
            }
            Cast::Rivals => vec![COORDINATOR, RIVAL],
        }
    }

    /// What a process at this host does, under this name.
    pub async fn main(self, inside: Inside, pod: String) -> String {
        let plan = Arc::new(self.plan(&inside));
        let store: Arc<dyn Store> = Arc::new(SimStore { world: inside.world.clone(), pid: inside.pid });
        match self.cast {
            Cast::Crew { slots, .. } if inside.host != COORDINATOR => {
                work(inside, plan, store, pod, slots, self.memory).await
            }
            Cast::Crew { .. } | Cast::Rivals => coordinate(inside, plan, store, pod, self).await,
        }
    }

    /// Whether some process has tables on its local disk.
    pub fn has_tables(&self) -> bool {
        self.backends != Backends::Memory
    }

    /// Whether orders count as often as they come: what is seen has to be in memory, unless it is in tables.
    pub fn counts_all(&self) -> bool {
        self.memory == Memory::None && !self.has_tables()
    }

    fn backend_of(&self, pid: Pid) -> StateBackend {
        match self.backends {
            Backends::RocksDb => StateBackend::RocksDb,
            Backends::Either if pid.0.is_multiple_of(2) => StateBackend::RocksDb,
            Backends::Either | Backends::Memory => StateBackend::Memory,
        }
    }

    fn parallelism_of(&self, pid: Pid) -> u32 {
        if self.wavers { 1 + pid.0 % self.parallelism } else { self.parallelism }
    }

    fn plan(&self, inside: &Inside) -> JobPlan {
        static PLANNED: OnceLock<[[JobPlan; 2]; 2]> = OnceLock::new();
        let plan =
            |counted, passes| JobPlan::new(&document(counted, passes), Arc::new(Metrics::new())).expect("a plan");
        let plans = |counted| [plan(counted, false), plan(counted, true)];
        let [of_unique, of_all] = PLANNED.get_or_init(|| [plans(UNIQUE), plans(ALL)]);
        let [alone, with_second] = if self.counts_all() { of_all } else { of_unique };
        let planned = if self.returns.is_some() { with_second } else { alone };
        let mut spec = planned.spec.clone();
        spec.parallelism = self.parallelism_of(inside.pid);
        spec.state_backend = self.backend_of(inside.pid);
        spec.checkpoint.interval = HumanDuration(self.interval);
        spec.checkpoint.alignment_timeout = self.alignment_timeout.map(HumanDuration);
        spec.checkpoint.max_concurrent = self.max_concurrent;
        spec.checkpoint.tolerable_failures = self.tolerable_failures;
        let source = |(table, settings): (&SourceTable, &GeneratorSource)| SourceTable {
            name: table.name.clone(),
            schema: table.schema.clone(),
            watermark: table.watermark.clone(),
            format: table.format.clone(),
            source: Arc::new(Generator::new(&table.name, settings).expect("valid settings")),
        };
        let sources = planned.sources.iter().zip([&self.orders].into_iter().chain(&self.returns)).map(source).collect();
        let (world, pid) = (inside.world.clone(), inside.pid);
        let table = TablePublisher { world: world.clone(), pid, sink: "table_sink".to_owned() };
        let topic = |sink: &str| TopicPublisher { world: world.clone(), pid, sink: sink.to_owned() };
        let topics = ["topic_sink", "passed_sink"].into_iter().take(planned.sinks.len() - 1).map(topic);
        let topics = topics.map(|topic| (topic.sink.clone(), SinkTarget::Published(Arc::new(topic))));
        let sinks = topics.chain([(table.sink.clone(), SinkTarget::Published(Arc::new(table)))]).collect();
        let metrics = Arc::new(Metrics::new());
        world.lock().metrics.push(metrics.clone());
        JobPlan {
            name: planned.name.clone(),
            id: planned.id.clone(),
            spec,
            graph: planned.graph.clone(),
            sources,
            sinks,
            metrics,
            digest: planned.digest.clone(),
        }
    }
}

fn document(counted_orders: &str, passes_on: bool) -> StreamJob {
    let [sources, sql, sinks] = if passes_on { PASSED_ON } else { [""; 3] };
    let parts =
        [("counted_orders", counted_orders), ("more_sources", sources), ("more_sql", sql), ("more_sinks", sinks)];
    let fill = |text: String, (name, part): (&str, &str)| text.replace(&format!("{{{name}}}"), part);
    StreamJob::from_yaml(&parts.into_iter().fold(DOCUMENT.to_owned(), fill)).expect("a valid document")
}

/// As `tidegate coordinator` and `tidegate run`, without a command line.
async fn coordinate(
    inside: Inside,
    plan: Arc<JobPlan>,
    store: Arc<dyn Store>,
    pod: String,
    Setting { cast, memory, .. }: Setting,
) -> String {
    let (requests, requested) = unbounded_channel();
    inside.world.lock().desks.insert(inside.host, requests.clone());
    let shared = Shared::new(&plan, 1, "simulated".to_owned());
    let address = match api::serve(address(inside.host, API), shared.clone(), requests).await {
        Ok(address) => address,
        Err(error) => return format!("failed to listen: {error}"),
    };
    let prepared = match shared.alive_during(prepare_in(&plan, store)).await {
        Ok(prepared) => prepared,
        Err(error) => return format!("refused: {}", error_chain(&error)),
    };
    let identity = Identity {
        claimant: Claimant { revision: Revision(1), pod },
        address: address.to_string(),
        spec_digest: format!("{}, {}", plan.digest, plan.spec.parallelism),
        parallelism: plan.spec.parallelism,
        rescaled: None,
        lineage: format!("{}-{}", plan.id, env::unique_id()),
        stand_by: true,
        patience: Duration::from_secs(30),
        has_had: None,
        deposed: 0,
    };
    let (workers, door) = Workers::new();
    let (store, io) = (prepared.store, Handle::current());
    let expected = match cast {
        Cast::Crew { workers, .. } => {
            let reception = Reception { door, digest: plan.digest.clone(), silence: SILENCE, shared: shared.clone() };
            let listen = super::net::address(inside.host, WORKERS);
            if let Err(error) = reception.serve(listen, &Security::Plain).await {
                return format!("failed to listen: {}", error_chain(&error));
            }
            usize::from(workers)
        }
        Cast::Rivals => {
            let worker = worker(&inside, &plan, &store, Post::default(), memory);
            let hello = Hello {
                name: "local".to_owned(),
                slots: plan.spec.max_parallelism,
                exchange: String::new(),
                digest: plan.digest.clone(),
            };
            door.keep_local(worker, hello);
            1
        }
    };
    let preflight = prepared.ran_before;
    let coordinator = Coordinator { plan, store, identity, preflight, workers, expected, shared, io };
    match coordinator.run(requested).await {
        Outcome::Finished => FINISHED.to_owned(),
        Outcome::Stopped => "stopped".to_owned(),
        Outcome::Failed(failure) => format!("failed: {}", failure.message),
    }
}

/// The last word of a coordinator whose job has read and published everything.
pub const FINISHED: &str = "finished";

fn worker(inside: &Inside, plan: &Arc<JobPlan>, store: &Arc<dyn Store>, post: Post, memory: Memory) -> Worker {
    let memory = match memory {
        Memory::Plenty => MemoryLimit::given(PLENTY),
        Memory::None => MemoryLimit::given(0),
    };
    let backend = Backend::new(plan.spec.state_backend, inside.disk.clone(), memory);
    let (plan, store, io) = (plan.clone(), store.clone(), Handle::current());
    Worker { plan, store, backend, at_hand: AtHand::default(), post, security: Security::Plain, io }
}

/// As `tidegate worker`, without a command line.
async fn work(
    inside: Inside,
    plan: Arc<JobPlan>,
    store: Arc<dyn Store>,
    pod: String,
    slots: u32,
    memory: Memory,
) -> String {
    let post = Post::default();
    let exchange = match post.serve(address(inside.host, EXCHANGE), &Security::Plain).await {
        Ok(address) => address.to_string(),
        Err(error) => return format!("failed to listen: {}", error_chain(&error)),
    };
    let coordinator = Security::Plain.endpoint(&address(COORDINATOR, WORKERS).to_string()).expect("an address");
    let hello = Hello { name: pod, slots, exchange, digest: plan.digest.clone() };
    let worker = worker(&inside, &plan, &store, post, memory);
    let readiness = Readiness::default();
    Joining { worker, hello, coordinator, silence: SILENCE, readiness }.run().await;
    "ended".to_owned()
}

/// A process that looks whether the checkpoints are whole; its last word says.
pub async fn inspect(world: World, inside: Inside) -> String {
    let store: Arc<dyn Store> = Arc::new(SimStore { world, pid: inside.pid });
    match tidegate::checkpoint::verify::verify(&store).await {
        Ok(found) if found.damage.is_empty() && !found.whole.is_empty() => WHOLE.to_owned(),
        Ok(found) => format!("damaged: {found:?}"),
        Err(error) => format!("unreadable: {}", error_chain(&error)),
    }
}

pub const WHOLE: &str = "whole";
