//! A measure: a deduplication of more keys than memory, checkpointed, and restored in little memory.
//!
//! ```text
//! large-state <folder> <MiB of memory> write <million keys>     keys, with a checkpoint after every ten million
//! large-state <folder> <MiB of memory> restore <parallelism>    all subtasks, from the last of them
//! ```
//!
//! Each is a process of its own, so that its peak of memory is its own. The folder has the checkpoint storage and what is
//! on the local disk.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a failed step ends the measure

use std::{path::Path, sync::Arc, time::Duration};

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, TimestampMillisecondArray},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use tidegate::{
    checkpoint::{
        manifest::{Manifest, OperatorState, StateKind, SubtaskState},
        record::Trigger,
        store::{LocalStore, Store},
    },
    element::Barrier,
    ids::{Attempt, Epoch, EventTime, OperatorId, Revision, SubtaskIndex},
    memory::MemoryLimit,
    operator::{
        KeyRange, Named, Operator, Output,
        deduplicate::{Columns, Deduplicate, Dropped, InTable},
    },
    state::Backend,
    worker::{
        chain::FrozenLink,
        protocol::TaskId,
        report::Report,
        restore::{Restored, Takes},
        snapshot::{Cut, Snapshotter},
        supply::Supply,
    },
};
use tidegate_crds::StateBackend;
use tokio::{runtime::Handle, sync::mpsc::unbounded_channel};

const MAX_PARALLELISM: u32 = 128;
const ROWS: i64 = 8_192;
const MILLION: i64 = 1_000_000;
const MANIFEST: &str = "manifest.json";

fn schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Millisecond, None);
    Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false), Field::new("ts", time, false)]))
}

/// Rows with the keys of a range; their times are their keys, so that the watermark passes them at once.
fn batch(keys: std::ops::Range<i64>, time: i64) -> RecordBatch {
    let ids = Int64Array::from_iter_values(keys.clone());
    let times = TimestampMillisecondArray::from_iter_values(keys.map(|_| time));
    RecordBatch::try_new(schema(), vec![Arc::new(ids), Arc::new(times)]).expect("columns of one length")
}

fn id() -> OperatorId {
    OperatorId("deduplicate".to_owned())
}

/// A line of `/proc/self/status`, in MiB.
fn mebibytes(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the line");
    line.trim_start_matches(':').trim().trim_end_matches("kB").trim().parse::<u64>().expect("a number") / 1024
}

fn peak() -> String {
    format!("peak of memory {} MiB, of its own {} MiB now", mebibytes("VmHWM"), mebibytes("RssAnon"))
}

fn range(subtask: u32, parallelism: u32) -> KeyRange {
    KeyRange { subtask: SubtaskIndex(subtask), parallelism, max_parallelism: MAX_PARALLELISM }
}

fn operator(range: KeyRange, backend: &Backend, dropped: &Dropped) -> Deduplicate {
    let seen = InTable::new(range, backend.engine().expect("a local folder"), "seen".to_owned()).expect("a table");
    let columns = Columns { input: schema(), keys: vec![0], time: 1 };
    Deduplicate::new(Named(id()), columns, range, None, dropped.clone(), Box::new(seen))
}

async fn checkpoint(subtask: &mut Deduplicate, epoch: Epoch, store: &Arc<dyn Store>) -> (SubtaskState, u64, Duration) {
    let (reports, mut inbox) = unbounded_channel();
    let task = TaskId { task: 0, subtask: SubtaskIndex(0) };
    let (store, io, attempt) = (store.clone(), Handle::current(), Attempt(1));
    let snapshotter =
        Snapshotter { task, attempt, lineage: "large".to_owned(), store, io, reports, moving: Arc::default() };
    let begun = tidegate::env::monotonic();
    let link = FrozenLink { id: id(), sink: None, spill: None, frozen: subtask.freeze().expect("a frozen table") };
    let sync = tidegate::env::monotonic().saturating_sub(begun);
    let cut = Cut { sync, ..Cut::default() };
    snapshotter.start(Barrier { epoch, last: false, open: false }, cut, vec![link]);
    let Some(Report::Acked(mut ack, _)) = inbox.recv().await else { panic!("the upload has failed") };
    (ack.operators.remove(0).1, ack.bytes, sync)
}

async fn write(folder: &Path, backend: &Backend, store: &Arc<dyn Store>, millions: i64) {
    let mut subtask = operator(range(0, 1), backend, &Dropped::default());
    let begun = tidegate::env::monotonic();
    let mut state = SubtaskState::default();
    let mut epoch = Epoch(0);
    for from in (0..millions * MILLION).step_by(ROWS as usize) {
        let time = from / ROWS;
        let mut out = Output::default();
        subtask.on_batch(batch(from..from + ROWS, time), &mut out).expect("rows");
        subtask.on_watermark(EventTime(time), &mut out).expect("a watermark");
        if (from + ROWS) / (10 * MILLION) > from / (10 * MILLION) {
            epoch = epoch.next();
            let so_far = tidegate::env::monotonic().saturating_sub(begun);
            let (now, bytes, sync) = checkpoint(&mut subtask, epoch, store).await;
            let all: u64 = now.files().map(|file| file.bytes).sum();
            let whole = tidegate::env::monotonic().saturating_sub(begun).saturating_sub(so_far);
            println!(
                "{} million keys in {so_far:.1?}: a checkpoint of {} MB, {} MB of it new, frozen in {sync:.0?}, uploaded in {whole:.1?}; {}",
                (from + ROWS) / MILLION,
                all / 1_000_000,
                bytes / 1_000_000,
                peak(),
            );
            state = now;
        }
    }
    let operators = vec![OperatorState { id: id(), kind: StateKind::Deduplicate, subtasks: vec![state] }];
    let manifest = Manifest {
        format: Manifest::format_of(&operators),
        job: "large".to_owned(),
        lineage: "large".to_owned(),
        epoch,
        attempt: Attempt(1),
        revision: Revision(1),
        trigger: Trigger::Interval,
        max_parallelism: MAX_PARALLELISM,
        created_at_ms: 0,
        operators,
        chunks: Vec::new(),
        beginning: None,
    };
    std::fs::write(folder.join(MANIFEST), serde_json::to_vec(&manifest).expect("JSON")).expect("the manifest");
}

async fn restore(folder: &Path, backend: &Backend, store: &Arc<dyn Store>, parallelism: u32) {
    let text = std::fs::read(folder.join(MANIFEST)).expect("the manifest: write first");
    let manifest: Manifest = serde_json::from_slice(&text).expect("a manifest");
    let millions = i64::try_from(manifest.epoch.0).expect("a few") * 10;
    let takes = Takes {
        operators: [(id(), StateKind::Deduplicate)].into(),
        max_parallelism: MAX_PARALLELISM,
        drops_the_rest: false,
    };
    let ranges: Vec<KeyRange> = (0..parallelism).map(|subtask| range(subtask, parallelism)).collect();
    let begun = tidegate::env::monotonic();
    let since = || tidegate::env::monotonic().saturating_sub(begun);
    let supply = Supply::remote(store.clone());
    let restored = Restored::load(&supply, &manifest, &takes, &ranges, backend).await.expect("the checkpoint");
    println!("downloaded in {:.1?}; {}", since(), peak());
    let dropped = Dropped::default();
    let mut subtasks: Vec<(KeyRange, Deduplicate)> = Vec::new();
    for range in ranges {
        let mut subtask = operator(range, backend, &dropped);
        subtask.restore(restored.keyed(&id(), range).expect("its state")).expect("its state");
        subtasks.push((range, subtask));
    }
    drop(restored);
    println!("{parallelism} subtasks restored in {:.1?}; {}", since(), peak());
    // Some keys of all ages, and some new ones.
    let (mut asked, mut new) = (0, 0);
    for from in (0..(millions + 1) * MILLION).step_by((ROWS * 97) as usize) {
        let rows = batch(from..from + ROWS, i64::MAX - 1);
        asked += ROWS as u64;
        new += (from..from + ROWS).filter(|key| *key >= millions * MILLION).count() as u64;
        for (range, subtask) in &mut subtasks {
            let keys: Vec<ArrayRef> = vec![rows.column(0).clone()];
            let own = range.filter(&rows, &keys).expect("rows");
            subtask.on_batch(own, &mut Output::default()).expect("rows");
        }
    }
    println!(
        "{asked} rows, {} of them duplicates, looked up after {:.1?}; {}",
        dropped.duplicates.get(),
        since(),
        peak()
    );
    assert_eq!(dropped.duplicates.get() + new, asked, "what was seen is known, and nothing else");
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, memory, what, count] = arguments.as_slice() else {
        panic!("usage: large-state <folder> <MiB of memory> write <million keys> | restore <parallelism>");
    };
    let folder = Path::new(folder);
    let memory = MemoryLimit::given(memory.parse::<u64>().expect("MiB of memory") << 20);
    let backend = Backend::new(StateBackend::RocksDb, folder.join("local"), memory);
    let _folder = backend.until_the_end();
    let store: Arc<dyn Store> = Arc::new(LocalStore::open(folder.join("store")).await.expect("a store"));
    match what.as_str() {
        "write" => write(folder, &backend, &store, count.parse().expect("millions")).await,
        _ => restore(folder, &backend, &store, count.parse().expect("a parallelism")).await,
    }
}
