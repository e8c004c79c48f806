use std::collections::BTreeMap;

use std::sync::Arc;

use arrow::{
    array::{Array, AsArray, Int64Array, StringArray, TimestampMillisecondArray},
    datatypes::{DataType, Field, Int64Type, Schema, TimeUnit},
};
use proptest::prelude::*;
use tidegate_crds::StateBackend;

use super::*;
use crate::{
    checkpoint::{
        manifest::{FileRef, PartRef, SubtaskState},
        pack::Packer,
        store::{ObjectPath, memory::MemoryStore},
    },
    ids::OperatorId,
    memory::MemoryLimit,
    operator::{
        Emitted, RestoredPart,
        fleet::{Fleet, Outputs},
    },
    state::{Backend, WriteAhead},
};

mod waiting;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    key: Option<u16>,
    time: i64,
    /// Tells rows apart.
    id: i64,
}

fn batch(rows: &[Row]) -> RecordBatch {
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, None), false),
        Field::new("key", DataType::Utf8, true),
    ]));
    let ids = Int64Array::from_iter_values(rows.iter().map(|row| row.id));
    let times = TimestampMillisecondArray::from_iter_values(rows.iter().map(|row| row.time));
    let keys: StringArray = rows.iter().map(|row| row.key.map(|key| format!("order-{key}"))).collect();
    RecordBatch::try_new(schema, vec![Arc::new(ids), Arc::new(times), Arc::new(keys)]).unwrap()
}

fn rows(batch: &RecordBatch) -> Vec<Row> {
    let ids = batch.column(0).as_primitive::<Int64Type>();
    let times = rowtime::millis(batch.column(1)).unwrap();
    let keys = batch.column(2).as_string::<i32>();
    let key = |row: usize| keys.is_valid(row).then(|| keys.value(row)["order-".len()..].parse().unwrap());
    (0..batch.num_rows()).map(|row| Row { key: key(row), time: times.value(row), id: ids.value(row) }).collect()
}

fn subtask(
    range: KeyRange,
    ttl_ms: Option<i64>,
    dropped: &Dropped,
    ahead: WriteAhead,
    backend: &Backend,
) -> Deduplicate {
    let columns = Columns { input: batch(&[]).schema(), keys: vec![2], key_names: vec!["key".into()], time: 1 };
    build(columns, range, ttl_ms, dropped, ahead, backend)
}

fn build(
    columns: Columns,
    range: KeyRange,
    ttl_ms: Option<i64>,
    dropped: &Dropped,
    ahead: WriteAhead,
    backend: &Backend,
) -> Deduplicate {
    let waiting = Waiting::new(&columns, backend, "waiting".into());
    let (name, seen) = (Named(OperatorId("dedup".into())), seen(range, ahead, backend));
    Deduplicate::new(name, columns, range, ttl_ms, dropped.clone(), seen, waiting)
}

fn seen(range: KeyRange, ahead: WriteAhead, backend: &Backend) -> Box<dyn Seen> {
    match backend.kind() {
        StateBackend::Memory => Box::new(Overflowing::new(range, ahead, backend, "dedup".into())),
        StateBackend::RocksDb => Box::new(InTable::new(range, backend.engine().unwrap(), "seen".into()).unwrap()),
    }
}

fn in_memory() -> (WriteAhead, Backend) {
    let io = tokio::runtime::Handle::current();
    let ahead = WriteAhead::new(Packer::eager(Arc::new(MemoryStore::new()), io.clone()), io, "data/1/0/".into());
    (ahead, Backend::new(StateBackend::Memory, "unused".into(), PLENTY))
}

/// More than any of these tests needs.
const PLENTY: MemoryLimit = MemoryLimit::given(64 << 20);
/// Less than the rows of any of them.
const LITTLE: MemoryLimit = MemoryLimit::given(1 << 10);

fn fleet(parallelism: u32, ttl_ms: Option<i64>) -> (Fleet<Deduplicate>, Dropped) {
    fleet_writing_ahead(parallelism, ttl_ms, usize::MAX, PLENTY)
}

fn fleet_writing_ahead(
    parallelism: u32,
    ttl_ms: Option<i64>,
    part_rows: usize,
    memory: MemoryLimit,
) -> (Fleet<Deduplicate>, Dropped) {
    let dropped = Dropped::default();
    let counters = dropped.clone();
    let fleet = Fleet::new(parallelism, vec![2], part_rows, memory, move |range, states, ahead, backend| {
        let mut operator = subtask(range, ttl_ms, &counters, ahead, backend);
        operator.restore(states, &Lacking::default()).unwrap();
        operator
    });
    (fleet, dropped)
}

/// One pass over everything, without batches, subtasks or checkpoints.
#[derive(Default)]
struct Naive {
    ttl_ms: Option<i64>,
    watermark: Option<i64>,
    /// By key, the row with its smallest event time.
    seen: BTreeMap<Option<u16>, Row>,
    results: Vec<Row>,
    late: u64,
    duplicates: u64,
}

impl Naive {
    fn oldest(&self) -> i64 {
        self.ttl_ms.zip(self.watermark).map_or(i64::MIN, |(ttl, watermark)| watermark - ttl)
    }

    fn row(&mut self, row: &Row) {
        if self.watermark.is_some_and(|watermark| row.time <= watermark) {
            self.late += 1;
            return;
        }
        let oldest = self.oldest();
        if let Some(seen) = self.seen.get(&row.key).filter(|seen| seen.time >= oldest) {
            self.duplicates += 1;
            if row.time >= seen.time {
                return;
            }
            self.results.retain(|result| result != seen);
        }
        self.seen.insert(row.key, row.clone());
        self.results.push(row.clone());
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// Keys, and event times as seen from the watermark.
    Rows(Vec<(Option<u16>, i64)>),
    /// Milliseconds by which the watermark rises.
    Watermark(i64),
    Checkpoint {
        completes: bool,
    },
    Restart {
        parallelism: u32,
        on_disk: bool,
        from_savepoint: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let row = (prop::option::weighted(0.9, 0_u16..8), prop_oneof![30 => -20_i64..60, 1 => 1_000_i64..1_500]);
    prop_oneof![
        6 => prop::collection::vec(row, 1..12).prop_map(Step::Rows),
        4 => prop_oneof![9 => 0_i64..40, 1 => 900_i64..1_200].prop_map(Step::Watermark),
        1 => any::<bool>().prop_map(|completes| Step::Checkpoint { completes }),
        2 => (1_u32..5, any::<bool>(), any::<bool>()).prop_map(|(parallelism, on_disk, from_savepoint)| {
            Step::Restart { parallelism, on_disk, from_savepoint }
        }),
    ]
}

/// Checks what subtasks put out against the promises of time, and gives the rows.
#[derive(Default)]
struct Downstream {
    /// By subtask, since the last restart.
    promised: BTreeMap<u32, i64>,
    rows: Vec<Row>,
}

impl Downstream {
    fn take(&mut self, watermark: i64, outputs: Outputs) {
        for (range, emitted) in outputs {
            for element in emitted {
                match element {
                    Emitted::Watermark(promise) => {
                        assert!(promise.0 <= watermark);
                        self.promised.insert(range.subtask.0, promise.0);
                    }
                    Emitted::Batch(batch) => {
                        assert_eq!(range.filter(&batch, &[batch.column(2).clone()]).unwrap(), batch, "foreign keys");
                        let promised = self.promised.get(&range.subtask.0).copied().unwrap_or(i64::MIN);
                        let rows = rows(&batch);
                        assert!(rows.iter().all(|row| row.time <= watermark), "put out before its time: {rows:?}");
                        assert!(rows.iter().all(|row| row.time > promised), "late downstream of {promised}: {rows:?}");
                        self.rows.extend(rows);
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}

/// Plays steps on a fleet and on one naive pass, which must come to the same. `kind` says with which backend a start goes
/// on, when a step asks for this one or the other.
fn play(
    steps: Vec<Step>,
    parallelism: u32,
    ttl_ms: Option<i64>,
    memory: MemoryLimit,
    kind: impl Fn(bool) -> StateBackend,
) {
    let (mut fleet, dropped) = fleet_writing_ahead(parallelism, ttl_ms, 4, memory);
    fleet.restart_with(parallelism, kind(true), false);
    let mut naive = Naive { ttl_ms, ..Naive::default() };
    let mut downstream = Downstream::default();
    let mut id = 0;
    for step in steps {
        match step {
            Step::Rows(rows) => {
                let now = naive.watermark.unwrap_or(0);
                let mut given = Vec::new();
                for (key, ahead) in rows {
                    id += 1;
                    let row = Row { key, time: now + ahead, id };
                    naive.row(&row);
                    given.push(row);
                }
                let now = naive.watermark.unwrap_or(i64::MIN);
                downstream.take(now, fleet.rows(&batch(&given)));
            }
            Step::Watermark(by) => {
                let watermark = naive.watermark.unwrap_or(0) + by;
                naive.watermark = Some(watermark);
                downstream.take(watermark, fleet.watermark(watermark));
            }
            Step::Checkpoint { completes } => {
                fleet.checkpoint(completes);
            }
            Step::Restart { parallelism, on_disk, from_savepoint } => {
                fleet.restart_with(parallelism, kind(on_disk), from_savepoint);
                downstream.promised.clear();
            }
        }
    }
    downstream.take(i64::MAX, fleet.watermark(i64::MAX));
    downstream.rows.sort();
    naive.results.sort();
    assert_eq!(downstream.rows, naive.results);
    assert_eq!((dropped.late.get(), dropped.duplicates.get()), (naive.late, naive.duplicates));
}

// However the rows are batched, cut by barriers and spread over subtasks.
proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_rows_are_those_of_one_naive_pass(
        steps in prop::collection::vec(step(), 0..40),
        parallelism in 1_u32..5,
        ttl_ms in prop::option::of(100_i64..200),
    ) {
        play(steps, parallelism, ttl_ms, PLENTY, |_| StateBackend::Memory);
    }
}

// With databases that are opened, frozen and restored on a real disk: fewer, since each takes its time.
proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn on_the_local_disk_the_rows_are_those_of_one_naive_pass(
        steps in prop::collection::vec(step(), 0..30),
        parallelism in 1_u32..4,
        ttl_ms in prop::option::of(100_i64..200),
    ) {
        play(steps, parallelism, ttl_ms, PLENTY, |_| StateBackend::RocksDb);
    }

    #[test]
    fn when_memory_runs_short_the_rows_are_those_of_one_naive_pass(
        steps in prop::collection::vec(step(), 0..30),
        parallelism in 1_u32..4,
        ttl_ms in prop::option::of(100_i64..200),
    ) {
        play(steps, parallelism, ttl_ms, LITTLE, |_| StateBackend::Memory);
    }

    #[test]
    fn from_one_backend_to_the_other_the_rows_are_those_of_one_naive_pass(
        steps in prop::collection::vec(step(), 0..30),
        parallelism in 1_u32..4,
        ttl_ms in prop::option::of(100_i64..200),
    ) {
        let kind = |on_disk| if on_disk { StateBackend::RocksDb } else { StateBackend::Memory };
        play(steps, parallelism, ttl_ms, PLENTY, kind);
    }
}

fn row(key: u16, time: i64, id: i64) -> Row {
    Row { key: Some(key), time, id }
}

fn emitted(outputs: Outputs) -> Vec<Row> {
    let mut downstream = Downstream::default();
    downstream.take(i64::MAX, outputs);
    downstream.rows.sort();
    downstream.rows
}

#[test]
fn keys_that_memory_is_too_short_for_are_in_a_table_and_known_after_a_restart() {
    let (mut fleet, dropped) = fleet_writing_ahead(2, None, usize::MAX, LITTLE);
    let rows: Vec<Row> = (0..200).map(|key| row(key, 10, i64::from(key))).collect();
    fleet.rows(&batch(&rows));
    assert_eq!(fleet.in_memory(), 0, "what is in a table is not in memory");
    assert!(fleet.checkpoint(true).iter().all(|state| !state.table.is_empty()));
    assert_eq!(emitted(fleet.watermark(10)), rows);
    fleet.restart(1);
    fleet.rows(&batch(&rows.iter().map(|row| Row { time: 20, ..row.clone() }).collect::<Vec<_>>()));
    assert_eq!(emitted(fleet.watermark(30)), []);
    assert_eq!(dropped.duplicates.get(), 200);
}

/// Far more keys than those that were seen last, of which many are not written yet.
#[test]
fn keys_are_known_wherever_they_are() {
    let (mut fleet, dropped) = fleet(1, None);
    fleet.restart_with(1, StateBackend::RocksDb, false);
    let rows = |time: i64| (0..60_000).map(move |key| row(key, time, 0)).collect::<Vec<_>>();
    let mut pass = |time: i64| rows(time).chunks(8_192).for_each(|rows| _ = fleet.rows(&batch(rows)));
    pass(10);
    pass(20);
    assert_eq!(emitted(fleet.watermark(30)), rows(10));
    assert_eq!(dropped.duplicates.get(), 60_000);
    for passes in 2..=3 {
        fleet.restart(1);
        rows(40).chunks(8_192).for_each(|rows| _ = fleet.rows(&batch(rows)));
        assert_eq!(dropped.duplicates.get(), passes * 60_000);
    }
}

#[test]
fn after_a_restart_keys_take_the_memory_that_others_leave() {
    let (mut fleet, dropped) = fleet_writing_ahead(1, None, 1_000, MemoryLimit::given(1_500 << 10));
    let keys: Vec<u16> = (0..10_000).collect();
    for (time, keys) in keys.chunks(1_000).enumerate() {
        let rows: Vec<Row> = keys.iter().map(|key| row(*key, time as i64, 0)).collect();
        fleet.rows(&batch(&rows));
        fleet.watermark(time as i64);
    }
    fleet.checkpoint(true);
    let before = fleet.in_memory();
    assert!(before > fleet.even_share(), "{before} bytes in memory are what others leave");
    fleet.restart(1);
    assert!(fleet.in_memory() > fleet.even_share(), "as before: {} bytes of {before}", fleet.in_memory());
    fleet.rows(&batch(&[row(1, 100, 1), row(9_999, 100, 1)]));
    assert_eq!((emitted(fleet.watermark(100)), dropped.duplicates.get()), (vec![], 2));
}

#[test]
fn a_later_record_with_an_earlier_time_wins_while_the_first_one_waits() {
    let (mut fleet, dropped) = fleet(1, None);
    fleet.rows(&batch(&[row(1, 20, 1), row(2, 20, 2)]));
    fleet.rows(&batch(&[row(1, 10, 3), row(2, 20, 4)]));
    fleet.restart(1);
    fleet.rows(&batch(&[row(2, 15, 5)]));
    assert_eq!(emitted(fleet.watermark(30)), [row(1, 10, 3), row(2, 15, 5)]);
    fleet.rows(&batch(&[row(1, 40, 6), row(1, 5, 7)]));
    assert_eq!(emitted(fleet.watermark(i64::MAX)), []);
    assert_eq!((dropped.duplicates.get(), dropped.late.get()), (4, 1));
}

/// Parts of one checkpoint hold a key twice when it was forgotten and seen again: the newer sight counts.
#[test]
fn a_key_that_came_again_after_its_time_to_live_is_remembered_over_a_restart() {
    let (mut fleet, _) = fleet(1, Some(100));
    fleet.rows(&batch(&[row(1, 10, 1), row(2, 60, 2)]));
    fleet.watermark(70);
    fleet.checkpoint(true);
    fleet.watermark(150);
    fleet.rows(&batch(&[row(1, 160, 3)]));
    assert_eq!(emitted(fleet.watermark(155)), []);
    fleet.restart(1);
    fleet.rows(&batch(&[row(1, 170, 4), row(2, 170, 5)]));
    assert_eq!(emitted(fleet.watermark(i64::MAX)), [row(1, 160, 3)]);
}

/// Two sights of a key, the later one first: what counts is forgotten before what it took the place of.
#[test]
fn what_an_earlier_row_took_the_place_of_is_not_remembered_after_a_restart() {
    let (mut fleet, _) = fleet(1, Some(100));
    fleet.rows(&batch(&[row(1, 50, 1)]));
    fleet.rows(&batch(&[row(1, 0, 2), row(2, 50, 3), row(2, 0, 4)]));
    assert_eq!(emitted(fleet.watermark(120)), [row(1, 0, 2), row(2, 0, 4)]);
    fleet.rows(&batch(&[row(1, 140, 5)]));
    fleet.checkpoint(true);
    fleet.restart(1);
    // The first is remembered from 140 on, the second not at all.
    fleet.rows(&batch(&[row(1, 170, 6), row(2, 140, 7)]));
    assert_eq!(emitted(fleet.watermark(160)), [row(1, 140, 5), row(2, 140, 7)]);
    fleet.rows(&batch(&[row(1, 180, 8)]));
    assert_eq!(emitted(fleet.watermark(i64::MAX)), []);
}

#[test]
fn a_part_leaves_the_checkpoint_when_all_of_its_keys_are_forgotten() {
    let (mut fleet, _) = fleet(1, Some(100));
    let keys = |states: &[SubtaskState]| states[0].parts.iter().map(|part| (part.kind.clone(), part.tag)).collect();
    let mut at = |watermark: i64, key: u16| -> Vec<(String, i64)> {
        fleet.rows(&batch(&[row(key, watermark - 5, 0)]));
        fleet.watermark(watermark);
        keys(&fleet.checkpoint(true))
    };
    let part = |tag| (KEYS.to_owned(), tag);
    assert_eq!(at(10, 1), [part(5)]);
    assert_eq!(at(60, 2), [part(5), part(55)]);
    assert_eq!(at(130, 3), [part(55), part(125)]);
    assert_eq!(at(600, 4), [part(595)]);
}

#[test]
fn keys_that_were_uploaded_are_named_again_and_not_uploaded() {
    let (mut fleet, _) = fleet(2, None);
    let rows: Vec<Row> = (0..50).map(|key| row(key, 10, 0)).collect();
    fleet.rows(&batch(&rows));
    fleet.watermark(20);
    fleet.checkpoint(false);
    let first = fleet.checkpoint(true);
    assert_eq!(fleet.uploads(), 2, "what could not be uploaded before");
    assert_eq!((fleet.checkpoint(true), fleet.uploads()), (first.clone(), 0));
    fleet.restart(2);
    assert_eq!((fleet.checkpoint(true), fleet.uploads()), (first.clone(), 0));
    // Each of three subtasks names what holds some of its keys, and keeps these only.
    fleet.restart(3);
    let spread = fleet.checkpoint(true);
    assert_eq!(fleet.uploads(), 0);
    let named: Vec<Vec<&PartRef>> = spread.iter().map(|state| state.parts.iter().collect()).collect();
    let [a, b] = [&first[0].parts[0], &first[1].parts[0]];
    assert_eq!(named, [vec![a], vec![a, b], vec![b]]);
    let again: Vec<Row> = (0..60).map(|key| row(key, 30, 1)).collect();
    fleet.rows(&batch(&again));
    assert_eq!(emitted(fleet.watermark(40)), again[50..]);
}

#[tokio::test]
async fn a_part_of_an_unknown_kind_is_refused() {
    let range = KeyRange { subtask: crate::ids::SubtaskIndex(0), parallelism: 1, max_parallelism: 16 };
    let file = FileRef::of(ObjectPath("data/f".into()), b"");
    let reference = PartRef { kind: "partial".into(), tag: 0, rows: 1, file, batch: 0 };
    let state = |watermark: serde_json::Value, parts| RestoredState {
        groups: range.groups(),
        value: serde_json::json!({ "watermark": watermark, "keyTypes": ["Utf8"] }),
        parts,
        table: None,
    };
    let (ahead, backend) = in_memory();
    let mut operator = subtask(range, None, &Dropped::default(), ahead, &backend);
    let part = RestoredPart::new(reference, batch(&[row(1, 1, 1)]));
    let unknown = operator.restore(vec![state(1.into(), vec![part])], &Lacking::default()).unwrap_err().to_string();
    assert!(unknown.contains("`dedup`") && unknown.contains("found a part `partial`; accepted are"), "{unknown}");
    let broken = operator.restore(vec![state("x".into(), vec![])], &Lacking::default()).unwrap_err().to_string();
    assert!(broken.contains("its value"), "{broken}");
    let other_keys = serde_json::json!({ "watermark": 1, "keyTypes": ["Int64"] });
    let refused = operator
        .restore(
            vec![RestoredState { groups: range.groups(), value: other_keys, parts: vec![], table: None }],
            &Lacking::default(),
        )
        .unwrap_err()
        .to_string();
    assert!(refused.contains("its keys were of types Int64, and are of Utf8"), "{refused}");
}

#[tokio::test]
async fn rows_in_flight_count_as_of_the_time_where_they_were_going_to() {
    let range = KeyRange { subtask: crate::ids::SubtaskIndex(0), parallelism: 1, max_parallelism: 16 };
    let dropped = Dropped::default();
    let (ahead, backend) = in_memory();
    let mut operator = subtask(range, None, &dropped, ahead, &backend);
    let mut value = operator.freeze().unwrap().state.unwrap().value;
    // Of two that were cut at different times, and are one now.
    let states = [60, 10].map(|watermark: i64| {
        value["watermark"] = watermark.into();
        RestoredState { groups: range.groups(), value: value.clone(), parts: Vec::new(), table: None }
    });
    operator.restore(states.into(), &Lacking::default()).unwrap();
    let mut out = Output::default();
    operator.on_restored(batch(&[row(1, 15, 1)]), EventTime(10), &mut out).unwrap();
    operator.on_restored(batch(&[row(2, 15, 2)]), EventTime(60), &mut out).unwrap();
    operator.on_batch(batch(&[row(3, 15, 3)]), &mut out).unwrap();
    assert_eq!((dropped.late.get(), operator.watermark()), (2, EventTime(60)));
    operator.on_watermark(EventTime(60), &mut out).unwrap();
    let [Emitted::Batch(passed), Emitted::Watermark(EventTime(60))] = out.elements.as_slice() else {
        panic!("{out:?}")
    };
    assert_eq!(rows(passed), [row(1, 15, 1)]);
}

/// What an operator remembers, as if it had been written and read.
fn remembered(operator: &mut Deduplicate, range: KeyRange) -> RestoredState {
    let state = operator.freeze().unwrap().state.unwrap();
    let parts = (0..).zip(&state.parts).map(|(index, part)| {
        let file = FileRef::of(ObjectPath(format!("data/{}", range.subtask)), b"");
        let (kind, rows) = (part.kind.to_owned(), part.rows() as u64);
        RestoredPart::new(PartRef { kind, tag: part.tag(), rows, file, batch: index }, part.batch().unwrap())
    });
    RestoredState { groups: range.groups(), value: state.value, parts: parts.collect(), table: None }
}

/// As after a checkpoint whose barriers did not wait: the first has forgotten what it saw at 10, the second has not.
#[tokio::test]
async fn of_two_that_have_come_differently_far_each_has_forgotten_by_its_own_watermark() {
    let ttl = Some(30);
    let range = |subtask, parallelism| KeyRange {
        subtask: crate::ids::SubtaskIndex(subtask),
        parallelism,
        max_parallelism: 16,
    };
    let of = |range: KeyRange, time, id| {
        let all = batch(&(0..200).map(|key| row(key, time, id)).collect::<Vec<_>>());
        rows(&range.filter(&all, &[all.column(2).clone()]).unwrap())
    };
    for (parallelism, on_disk) in [(1, false), (1, true), (3, false), (3, true)] {
        let mut out = Output::default();
        let states = [(0, 60), (1, 20)].map(|(index, watermark)| {
            let (ahead, backend) = in_memory();
            let mut former = subtask(range(index, 2), ttl, &Dropped::default(), ahead, &backend);
            former.on_batch(batch(&of(range(index, 2), 10, 1)), &mut out).unwrap();
            former.on_watermark(EventTime(watermark - 10), &mut out).unwrap();
            former.on_batch(batch(&of(range(index, 2), 55, 2)), &mut out).unwrap();
            former.on_watermark(EventTime(watermark), &mut out).unwrap();
            remembered(&mut former, range(index, 2))
        });
        for index in 0..parallelism {
            let own = range(index, parallelism);
            let states: Vec<RestoredState> = states
                .iter()
                .filter(|state| state.groups.start < own.groups().end && own.groups().start < state.groups.end)
                .map(|state| RestoredState {
                    groups: state.groups.clone(),
                    value: state.value.clone(),
                    parts: state
                        .parts
                        .iter()
                        .map(|part| RestoredPart::new(part.reference.clone(), part.batch().unwrap()))
                        .collect(),
                    table: None,
                })
                .collect();
            let folder = tempfile::tempdir().unwrap();
            let (ahead, memory) = in_memory();
            let disk = Backend::new(StateBackend::RocksDb, folder.path().join("tables"), PLENTY);
            let dropped = Dropped::default();
            let mut now = subtask(own, ttl, &dropped, ahead, if on_disk { &disk } else { &memory });
            now.restore(states, &Lacking::default()).unwrap();
            // In flight to the second, which remembers 10.
            let mine = of(own, 45, 3);
            let in_flight: Vec<Row> =
                of(range(1, 2), 30, 3).into_iter().filter(|row| mine.iter().any(|own| own.key == row.key)).collect();
            now.on_restored(batch(&in_flight), EventTime(20), &mut out).unwrap();
            assert_eq!(dropped.duplicates.get(), in_flight.len() as u64, "{parallelism}, {on_disk}: in flight");
            // Then its time is that of the further one: the first's keys are remembered since 55, the second's forgotten.
            let again = of(own, 70, 4);
            now.on_batch(batch(&again), &mut out).unwrap();
            let is_further = now.watermark() == EventTime(60);
            let remembered = again.iter().filter(|row| of(range(0, 2), 70, 4).contains(row) == is_further).count();
            assert!(remembered > 0);
            assert_eq!(
                dropped.duplicates.get(),
                (in_flight.len() + remembered) as u64,
                "{parallelism}, {on_disk}: again"
            );
        }
    }
}
