//! What the processes run: the store-sales job, by a coordinator and its workers, or by two rivals that each run it whole.
//! In many runs the job has a second pipeline, which passes rows on without an exchange.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use tidegate::{
    checkpoint::{
        claim::{Identity, NewestSeen},
        log::Claimant,
        store::Store,
    },
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
use tidegate_crds::{
    GeneratorSource, HumanDuration, OnCancellation, RestoreFrom, RestoreMode, StateBackend, StreamJob,
};
use tokio::{runtime::Handle, sync::mpsc::unbounded_channel};

use super::{
    broker::TopicPublisher,
    doors::{Inside, Pace},
    net::address,
    store::StoreAt,
    table::TablePublisher,
    topic::TopicSetting,
    topic_source::TopicSource,
    world::{Host, MILLI, Micros, Pid, SECOND, Shared as World},
};
use crate::chance::Chance;

const API: u16 = 8081;
const WORKERS: u16 = 8082;
const EXCHANGE: u16 = 8083;
/// Who says nothing for so long is lost.
const SILENCE: Duration = Duration::from_secs(10);

/// Sales per store and window of event time, to two sinks; of `counted_orders`, which a setting decides on. Where a topic is
/// read, it stands in the place of the generator.
const DOCUMENT: &str = "
apiVersion: tidegate.dev/v1alpha1
kind: StreamJob
metadata: { name: store-sales }
spec:
  sources:
    - name: orders
      generator: { count: 1, duplicates: 0.1, outOfOrder: 0.2, maxDelay: 5s }
      watermark: { column: ts, delay: 5s }
      {format}
    {more_sources}
  sql: |
    {counted_orders}
    CREATE VIEW minute_sales AS
      SELECT window_start, store_id, SUM(amount) AS total, COUNT(*) AS orders
      FROM TUMBLE(TABLE counted_orders, DESCRIPTOR(ts), INTERVAL {window})
      GROUP BY window_start, window_end, store_id;
    INSERT INTO table_sink SELECT * FROM minute_sales;
    INSERT INTO topic_sink SELECT * FROM minute_sales;
    {more_sql}
  sinks:
    - { name: table_sink, files: { path: /nowhere } }
    - { name: topic_sink, files: { path: /nowhere } }
    {more_sinks}
    {late_sinks}
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

/// What differs in the documents.
#[derive(Debug, Clone, Copy)]
struct Variant {
    /// Each order counts once.
    is_unique: bool,
    /// A topic is read, which has sales of less time.
    of_topic: bool,
    passes_on: bool,
}

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
    /// How many epochs may wait to be published before sources pause.
    pub max_pending_epochs: u32,
    /// The longest that a write to the store takes, beside its way there.
    pub slow_writes: Micros,
    /// Reads and writes of connections that take less than they could, of a thousand.
    pub short_transfers: u64,
    /// Reads of the store that bring other bytes than were written, of a thousand.
    pub flawed_reads: u64,
    pub pace: Pace,
    pub tolerable_failures: u32,
    pub orders: GeneratorSource,
    /// What is read in the place of these orders, in some runs.
    pub topic: Option<TopicSetting>,
    /// What the second pipeline reads, where there is one.
    pub returns: Option<GeneratorSource>,
    pub memory: Memory,
    pub backends: Backends,
    /// Another revision takes the job over, in some runs.
    pub upgrade: Option<Upgrade>,
    /// Another job goes on from what this one has kept, in some runs.
    pub second: Option<SecondJob>,
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
/// Places of hosts in a generation: coordinators come first.
const COORDINATOR: u8 = 1;
const RIVAL: u8 = 2;
const FIRST_WORKER: u8 = 11;

/// The processes that begin, in most runs the only ones.
pub const FIRST: u8 = 0;
/// Those of a later revision of the same job.
pub const UPGRADED: u8 = 1;
/// Those of a second job, which begins with what the first one has kept.
pub const COPY: u8 = 2;

/// The root of the store of the job that a generation runs.
pub fn root_of(generation: u8) -> &'static str {
    if generation == COPY { "second/" } else { "first/" }
}

/// A later revision of the job.
#[derive(Debug, Clone)]
pub struct Upgrade {
    pub at: Micros,
    pub parallelism: u32,
    pub interval: Duration,
}

/// A second job.
#[derive(Debug, Clone)]
pub struct SecondJob {
    /// Not before.
    pub at: Micros,
    /// It begins with a savepoint, and not with the newest checkpoint of the job that runs.
    pub of_savepoint: bool,
    /// It deletes the savepoint when it has a checkpoint of its own.
    pub claims: bool,
    /// It is cancelled so long after it began, and deletes what it has kept.
    pub cancelled_after: Option<Micros>,
}

/// How many epochs may wait where a sink that is down has nobody pause.
const MANY_PENDING: u32 = 100;

impl Setting {
    pub fn draw(chance: &mut Chance) -> Self {
        let parallelism = chance.within(1..5) as u32;
        let reads_topic = chance.happens(400);
        // Of a topic only rivals know which rows may be late: none.
        let cast = if chance.happens(if reads_topic { 500 } else { 150 }) {
            Cast::Rivals
        } else {
            let workers = chance.within(2..4) as u8;
            let fewest = parallelism.div_ceil(u32::from(workers));
            Cast::Crew { workers, slots: fewest + chance.within(0..3) as u32 }
        };
        let variant = Variant { is_unique: true, of_topic: false, passes_on: false };
        let mut orders = document(variant).spec.sources[0].generator.clone().expect("a generator");
        orders.seed = chance.draw();
        orders.count = Some(chance.within(600..2000));
        orders.rate = Some(chance.within(20..100));
        orders.stores = chance.within(3..30);
        orders.step_micros = chance.within(200_000..1_500_000);
        let is_punctual = matches!(cast, Cast::Rivals);
        let topic = reads_topic.then(|| TopicSetting::draw(chance, is_punctual));
        // What a job has not read when it drains is not compared.
        let returns = (topic.is_none() && chance.happens(900)).then(|| GeneratorSource {
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
        let most = match cast {
            Cast::Crew { workers, slots } => u32::from(workers) * slots,
            Cast::Rivals => 4,
        };
        let upgrade = chance.happens(250).then(|| Upgrade {
            at: chance.within(3 * SECOND..20 * SECOND),
            parallelism: chance.within(1..u64::from(most) + 1) as u32,
            interval: Duration::from_millis(chance.within(200..3000)),
        });
        let second = chance.happens(350).then(|| SecondJob {
            at: chance.within(5 * SECOND..30 * SECOND),
            of_savepoint: chance.happens(600),
            claims: chance.happens(500),
            // How much of a topic a job has read that is gone nobody knows.
            cancelled_after: (topic.is_none() && chance.happens(400)).then(|| chance.within(SECOND..15 * SECOND)),
        });
        let may_pause = chance.happens(if topic.is_some() { 700 } else { 300 });
        let max_pending_epochs = if may_pause { chance.within(1..4) as u32 } else { MANY_PENDING };
        Self {
            cast,
            parallelism,
            wavers: chance.happens(300),
            interval: Duration::from_millis(chance.within(200..3000)),
            alignment_timeout,
            max_concurrent,
            max_pending_epochs,
            slow_writes,
            short_transfers: chance.one_of(&[0, 0, 50, 500]),
            flawed_reads: chance.one_of(&[0, 0, 10, 50]),
            pace: Pace { labour, channel_bytes, chunk_rows, unwritten_keys, beside },
            tolerable_failures: chance.within(0..4) as u32,
            orders,
            topic,
            returns,
            memory: if chance.happens(250) { Memory::None } else { Memory::Plenty },
            backends: match chance.within(0..1000) {
                0..200 => Backends::RocksDb,
                200..300 => Backends::Either,
                _ => Backends::Memory,
            },
            upgrade,
            second,
        }
    }

    /// The hosts of a generation, coordinators first.
    pub fn hosts(&self, generation: u8) -> Vec<Host> {
        let numbers: Vec<u8> = match self.cast {
            Cast::Crew { workers, .. } => {
                [COORDINATOR].into_iter().chain((0..workers).map(|worker| FIRST_WORKER + worker)).collect()
            }
            Cast::Rivals => vec![COORDINATOR, RIVAL],
        };
        numbers.into_iter().map(|number| Host::of(generation, number)).collect()
    }

    /// What a process at this host does, under this name.
    pub async fn main(self, inside: Inside, pod: String) -> String {
        let plan = Arc::new(self.plan(&inside));
        let generation = inside.host.generation();
        let root = root_of(generation).to_owned();
        let store: Arc<dyn Store> = Arc::new(StoreAt { world: inside.world.clone(), pid: inside.pid, root });
        match self.cast {
            Cast::Crew { slots, .. } if inside.host != Host::of(generation, COORDINATOR) => {
                work(inside, plan, store, pod, slots, self.memory).await
            }
            Cast::Crew { .. } | Cast::Rivals => coordinate(inside, plan, store, pod, self).await,
        }
    }

    /// Whether few epochs that wait for a sink have the sources pause.
    pub fn may_pause(&self) -> bool {
        self.max_pending_epochs < MANY_PENDING
    }

    /// Places to which few jobs come, and this one does.
    pub fn rare_places(&self) -> Vec<&'static str> {
        let of_topic: &[_] = if self.topic.is_some() { &["before-starts", "after-starts"] } else { &[] };
        let of_second: &[_] = match &self.second {
            Some(SecondJob { cancelled_after: Some(_), .. }) => {
                &["before-deleted", "after-deleted", "job-deleted", "job-deleted"]
            }
            Some(SecondJob { of_savepoint: true, claims: true, .. }) => {
                &["before-savepoint", "savepoint-deleted", "savepoint-deleted"]
            }
            Some(SecondJob { of_savepoint: true, .. }) => &["before-savepoint", "after-savepoint"],
            _ => &[],
        };
        let overtakes = self.alignment_timeout.is_some_and(|timeout| timeout.is_zero());
        let of_barriers: &[_] = if overtakes { &["rows-in-flight-uploaded"] } else { &[] };
        [of_topic, of_second, of_barriers].concat()
    }

    /// Whether some process has tables on its local disk.
    pub fn has_tables(&self) -> bool {
        self.backends != Backends::Memory
    }

    /// Whether orders count as often as they come: what is seen has to be in memory, unless it is in tables.
    pub fn counts_all(&self) -> bool {
        // Of a topic rows may be late, where one process stands still and others do not. Which they are is known only of
        // those that a window has not taken.
        let may_be_late = self.topic.is_some() && !self.is_punctual();
        may_be_late || (self.memory == Memory::None && !self.has_tables())
    }

    /// Whether no row of a topic may be late: all that runs at a time runs in one process.
    pub fn is_punctual(&self) -> bool {
        matches!(self.cast, Cast::Rivals)
    }

    fn backend_of(&self, pid: Pid) -> StateBackend {
        match self.backends {
            Backends::RocksDb => StateBackend::RocksDb,
            Backends::Either if pid.0.is_multiple_of(2) => StateBackend::RocksDb,
            Backends::Either | Backends::Memory => StateBackend::Memory,
        }
    }

    fn parallelism_of(&self, inside: &Inside) -> u32 {
        match self.upgrade_of(inside.host) {
            Some(upgrade) => upgrade.parallelism,
            None if self.wavers => 1 + inside.pid.0 % self.parallelism,
            None => self.parallelism,
        }
    }

    fn upgrade_of(&self, host: Host) -> Option<&Upgrade> {
        self.upgrade.as_ref().filter(|_| host.generation() == UPGRADED)
    }

    fn plan(&self, inside: &Inside) -> JobPlan {
        let planned = planned(Variant {
            is_unique: !self.counts_all(),
            of_topic: self.topic.is_some(),
            passes_on: self.returns.is_some(),
        });
        let (world, pid) = (inside.world.clone(), inside.pid);
        let mut spec = planned.spec.clone();
        let generation = inside.host.generation();
        let root = root_of(generation);
        spec.parallelism = self.parallelism_of(inside);
        spec.state_backend = self.backend_of(inside.pid);
        spec.checkpoint.interval =
            HumanDuration(self.upgrade_of(inside.host).map_or(self.interval, |later| later.interval));
        spec.checkpoint.alignment_timeout = self.alignment_timeout.map(HumanDuration);
        spec.checkpoint.max_concurrent = self.max_concurrent;
        spec.checkpoint.max_pending_epochs = self.max_pending_epochs;
        spec.checkpoint.tolerable_failures = self.tolerable_failures;
        let source = |(table, settings): (&SourceTable, &GeneratorSource)| SourceTable {
            name: table.name.clone(),
            schema: table.schema.clone(),
            watermark: table.watermark.clone(),
            format: table.format.clone(),
            source: Arc::new(Generator::new(&table.name, settings).expect("valid settings")),
        };
        let mut sources: Vec<SourceTable> =
            planned.sources.iter().zip([&self.orders].into_iter().chain(&self.returns)).map(source).collect();
        if let (Some(topic), Some(orders)) = (&self.topic, sources.first_mut()) {
            spec.state_ttl = Some(HumanDuration(topic.ttl));
            orders.source = Arc::new(TopicSource::new(world.clone(), pid, root, topic));
            if let Some(watermark) = &mut orders.watermark {
                watermark.delay = HumanDuration(topic.delay);
                watermark.idle_timeout = Some(HumanDuration(topic.idle_timeout));
            }
        }
        let target = |sink: &String| -> SinkTarget {
            let (world, sink) = (world.clone(), sink.clone());
            match sink.as_str() {
                "table_sink" => SinkTarget::Published(Arc::new(TablePublisher { world, pid, root, sink })),
                _ => SinkTarget::Published(Arc::new(TopicPublisher { world, pid, root, sink })),
            }
        };
        let sinks = planned.sinks.keys().map(|sink| (sink.clone(), target(sink))).collect();
        let metrics = Arc::new(Metrics::new());
        world.lock().metrics.push(metrics.clone());
        if let Some(second) = self.second.as_ref().filter(|_| generation == COPY) {
            let mode = if second.claims && second.of_savepoint { RestoreMode::Claim } else { RestoreMode::NoClaim };
            let path = world.lock().origin.clone();
            spec.restore_from = Some(RestoreFrom { path, mode });
            spec.checkpoint.on_cancellation = OnCancellation::Delete;
        }
        JobPlan {
            name: planned.name.clone(),
            id: format!("{}{}", root.replace('/', "-"), planned.id),
            spec,
            graph: planned.graph.clone(),
            sources,
            sinks,
            metrics,
            digest: planned.digest.clone(),
        }
    }
}

fn planned(variant: Variant) -> &'static JobPlan {
    const FLAGS: [bool; 2] = [false, true];
    static PLANNED: OnceLock<Vec<JobPlan>> = OnceLock::new();
    let Variant { is_unique, of_topic, passes_on } = variant;
    let plans = PLANNED.get_or_init(|| {
        let variants = FLAGS.into_iter().flat_map(|is_unique| {
            let variant = move |of_topic| FLAGS.map(|passes_on| Variant { is_unique, of_topic, passes_on });
            FLAGS.into_iter().flat_map(variant)
        });
        variants.map(|variant| JobPlan::new(&document(variant), Arc::new(Metrics::new())).expect("a plan")).collect()
    });
    &plans[4 * usize::from(is_unique) + 2 * usize::from(of_topic) + usize::from(passes_on)]
}

fn document(Variant { is_unique, of_topic, passes_on }: Variant) -> StreamJob {
    let [sources, sql, sinks] = if passes_on { PASSED_ON } else { [""; 3] };
    let [window, format, late_sinks] = match (of_topic, is_unique) {
        (false, _) => ["'1' MINUTE", "", ""],
        (true, true) => ["'10' SECOND", "", ""],
        (true, false) => {
            ["'10' SECOND", "format: { lateSink: late_sink }", "- { name: late_sink, files: { path: /nowhere } }"]
        }
    };
    let parts = [
        ("counted_orders", if is_unique { UNIQUE } else { ALL }),
        ("window", window),
        ("format", format),
        ("late_sinks", late_sinks),
        ("more_sources", sources),
        ("more_sql", sql),
        ("more_sinks", sinks),
    ];
    let fill = |text: String, (name, part): (&str, &str)| text.replace(&format!("{{{name}}}"), part);
    StreamJob::from_yaml(&parts.into_iter().fold(DOCUMENT.to_owned(), fill)).expect("a valid document")
}

fn revision_of(generation: u8) -> u64 {
    if generation == UPGRADED { 2 } else { 1 }
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
    let revision = revision_of(inside.host.generation());
    let shared = Shared::new(&plan, revision, store.location());
    inside.world.lock().coordinators.insert(inside.host, shared.clone());
    let address = match api::serve(address(inside.host, API), shared.clone(), requests).await {
        Ok(address) => address,
        Err(error) => return format!("failed to listen: {error}"),
    };
    let prepared = match shared.alive_during(prepare_in(&plan, store)).await {
        Ok(prepared) => prepared,
        Err(error) => return format!("refused: {}", error_chain(&error)),
    };
    let identity = Identity {
        claimant: Claimant { revision: Revision(revision), pod },
        address: address.to_string(),
        spec_digest: format!("{}, {}, {revision}", plan.digest, plan.spec.parallelism),
        parallelism: plan.spec.parallelism,
        rescaled: None,
        lineage: format!("{}-{}", plan.id, env::unique_id()),
        stand_by: true,
        patience: Duration::from_secs(30),
        has_had: None,
        seen: NewestSeen::default(),
        // What was cancelled is not begun anew by a process that was started for it.
        job_uid: (inside.host.generation() == COPY).then(|| "the second job".to_owned()),
        deposed: 0,
    };
    let (workers, door) = Workers::new();
    let (store, io) = (prepared.store, Handle::current());
    let expected = match cast {
        Cast::Crew { workers, .. } => {
            let reception = Reception {
                door,
                job: plan.id.clone(),
                digest: plan.digest.clone(),
                silence: SILENCE,
                shared: shared.clone(),
            };
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
                job: plan.id.clone(),
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
    let coordinator = Host::of(inside.host.generation(), COORDINATOR);
    let coordinator = Security::Plain.endpoint(&address(coordinator, WORKERS).to_string()).expect("an address");
    let hello = Hello { name: pod, slots, exchange, job: plan.id.clone(), digest: plan.digest.clone() };
    let worker = worker(&inside, &plan, &store, post, memory);
    let readiness = Readiness::default();
    Joining { worker, hello, coordinator, silence: SILENCE, readiness }.run().await;
    "ended".to_owned()
}

/// A process that looks whether the checkpoints are whole; its last word says.
pub async fn inspect(world: World, inside: Inside, root: &str) -> String {
    let store: Arc<dyn Store> = Arc::new(StoreAt { world, pid: inside.pid, root: root.to_owned() });
    match tidegate::checkpoint::verify::verify(&store).await {
        Ok(found) if found.damage.is_empty() && !found.whole.is_empty() => WHOLE.to_owned(),
        Ok(found) => format!("damaged: {found:?}"),
        Err(error) => format!("unreadable: {}", error_chain(&error)),
    }
}

pub const WHOLE: &str = "whole";
