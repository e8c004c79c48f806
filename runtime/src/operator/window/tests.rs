use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, TimestampMillisecondArray},
    datatypes::{DataType, Field, Float64Type, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMillisecondType},
};
use prometheus_client::metrics::counter::Counter;
use proptest::prelude::*;
use tidegate_crds::StateBackend;

use super::*;
use crate::{
    checkpoint::manifest::{FileRef, PartRef, SubtaskState},
    checkpoint::store::ObjectPath,
    graph::{NodeKind, WindowAggregate, WindowColumn},
    ids::{EventTime, OperatorId, SubtaskIndex},
    memory::MemoryLimit,
    operator::{
        Emitted, KeyRange, Named, Operator, Output, RestoredPart, RestoredState,
        fleet::{Fleet, Outputs},
    },
    sql::{Catalog, CatalogSource, plan},
    state::Backend,
};

mod floats;

const SIZE_MS: i64 = 10_000;
const SQL: &str = "
INSERT INTO totals
SELECT window_start, window_end, store, count(*) AS n, sum(amount) AS total, avg(amount) AS mean,
       count(DISTINCT amount) AS kinds
FROM TUMBLE(TABLE sales, DESCRIPTOR(ts), INTERVAL '10' SECOND)
GROUP BY window_start, window_end, store";

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    store: Option<i64>,
    time: i64,
    amount: Option<i64>,
}

/// A window's result for one store.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
struct Total {
    start: i64,
    end: i64,
    store: Option<i64>,
    count: i64,
    sum: Option<i64>,
    mean: Option<f64>,
    kinds: i64,
}

/// The operator as the SQL makes it, and the columns it reads and puts out.
struct Planned {
    window: WindowAggregate,
    input: SchemaRef,
    output: SchemaRef,
}

fn planned() -> Planned {
    planned_of(SQL)
}

fn planned_of(sql: &str) -> Planned {
    let timestamp = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    let schema = Arc::new(Schema::new(vec![
        Field::new("store", DataType::Int64, true),
        Field::new("ts", timestamp, false),
        Field::new("amount", DataType::Int64, true),
    ]));
    let source = CatalogSource { name: "sales".into(), schema, event_time: Some("ts".into()) };
    let catalog = Catalog { sources: vec![source], sinks: vec!["totals".into()] };
    let graph = plan(sql, &catalog).unwrap();
    let window = graph.nodes.iter().find_map(|node| match &node.kind {
        NodeKind::WindowAggregate(window) => Some((node, window.clone())),
        _ => None,
    });
    let (node, window) = window.unwrap();
    assert_eq!(window.output[..3], [WindowColumn::Start, WindowColumn::End, WindowColumn::Key(0)]);
    Planned { window, input: graph.nodes[node.inputs[0].0].schema.clone(), output: node.schema.clone() }
}

/// A share of a window's keys may be empty: there are more shares than keys where memory has no room for the states of few.
#[test]
fn no_groups_have_columns_of_the_same_types() {
    let aggregates = [
        "count(*)",
        "sum(amount)",
        "avg(amount)",
        "min(CAST(amount AS VARCHAR))",
        "max(amount > 3)",
        "count(DISTINCT amount)",
        "count(DISTINCT amount > 3)",
        "count(DISTINCT CAST(amount AS DECIMAL(20, 2)))",
        "count(DISTINCT CAST(amount AS VARCHAR))",
    ];
    for aggregate in aggregates {
        let planned = planned_of(&format!(
            "INSERT INTO totals SELECT window_start, window_end, store, {aggregate} AS a FROM \
             TUMBLE(TABLE sales, DESCRIPTOR(ts), INTERVAL '10' SECOND) GROUP BY window_start, window_end, store"
        ));
        let groups = vec![Arc::new(Field::new("window_start", DataType::Int64, false))];
        let shape = super::accumulate::Shape::new(groups, planned.window.aggregates.clone()).unwrap();
        let partial = shape.partial(shape.nothing().unwrap()).unwrap();
        assert_eq!((partial.num_rows(), partial.schema()), (0, shape.partial.clone()), "{aggregate}");
        let (_, values) = shape.nothing().unwrap().take_values().unwrap();
        assert_eq!(values[0].data_type(), planned.output.field(3).data_type(), "{aggregate}");
    }
}

fn batch(input: &SchemaRef, rows: &[Row]) -> RecordBatch {
    let times = TimestampMillisecondArray::from_iter_values(rows.iter().map(|row| row.time)).with_timezone("UTC");
    let column = |field: &Arc<Field>| -> ArrayRef {
        match (field.name().as_str(), field.data_type()) {
            ("store", _) => Arc::new(rows.iter().map(|row| row.store).collect::<Int64Array>()),
            ("ts", _) => Arc::new(times.clone()),
            ("amount", _) => Arc::new(rows.iter().map(|row| row.amount).collect::<Int64Array>()),
            // The amounts as the average wants them.
            (_, DataType::Float64) => {
                Arc::new(rows.iter().map(|row| Some(row.amount? as f64)).collect::<Float64Array>())
            }
            (other, _) => panic!("the window reads {other}"),
        }
    };
    RecordBatch::try_new(input.clone(), input.fields().iter().map(column).collect()).unwrap()
}

fn totals(batch: &RecordBatch) -> Vec<Total> {
    let instant = |column: usize, row| batch.column(column).as_primitive::<TimestampMillisecondType>().value(row);
    let number = |column: usize, row| {
        let column = batch.column(column).as_primitive::<Int64Type>();
        column.is_valid(row).then(|| column.value(row))
    };
    let mean = batch.column(5).as_primitive::<Float64Type>();
    let total = |row| Total {
        start: instant(0, row),
        end: instant(1, row),
        store: number(2, row),
        count: number(3, row).unwrap(),
        sum: number(4, row),
        mean: mean.is_valid(row).then(|| mean.value(row)),
        kinds: number(6, row).unwrap(),
    };
    (0..batch.num_rows()).map(total).collect()
}

fn subtask(planned: &Planned, range: KeyRange, late: &Counter, backend: &Backend) -> Window {
    let late = LateRows { counted: late.clone(), encode: Some(late_encoder("sales".into())) };
    let name = Named(OperatorId("window".into()));
    Window::new(name, planned.window.clone(), range, &planned.input, planned.output.clone(), late, backend).unwrap()
}

/// More than any of these tests needs.
fn plenty() -> Backend {
    Backend::new(StateBackend::Memory, "unused".into(), MemoryLimit::given(64 << 20))
}

struct Test {
    fleet: Fleet<Window>,
    input: SchemaRef,
    late: Counter,
    /// Late rows as they came out on the side: end of the window and the record.
    side: Vec<(i64, String)>,
}

impl Test {
    fn new(parallelism: u32) -> Self {
        Self::within(MemoryLimit::given(64 << 20), parallelism)
    }

    fn within(memory: MemoryLimit, parallelism: u32) -> Self {
        let (planned, late) = (planned(), Counter::default());
        let (input, keys, counter) = (planned.input.clone(), planned.window.keys.clone(), late.clone());
        let fleet = Fleet::new(parallelism, keys, usize::MAX, memory, move |range, states, _, backend| {
            let mut operator = subtask(&planned, range, &counter, backend);
            operator.restore(states).unwrap();
            operator
        });
        Self { fleet, input, late, side: Vec::new() }
    }

    fn rows(&mut self, rows: &[Row]) {
        let outputs = self.fleet.rows(&batch(&self.input, rows));
        assert_eq!(self.take(outputs), [], "a window closes by a watermark only");
    }

    fn watermark(&mut self, watermark: i64) -> Vec<Total> {
        let outputs = self.fleet.watermark(watermark);
        let promised = |emitted: &Emitted| matches!(emitted, Emitted::Watermark(at) if at.0 == watermark);
        assert!(outputs.iter().all(|(_, emitted)| emitted.last().is_some_and(promised)));
        self.take(outputs)
    }

    fn take(&mut self, outputs: Outputs) -> Vec<Total> {
        let mut results = Vec::new();
        for (range, element) in outputs.into_iter().flat_map(|(range, out)| out.into_iter().map(move |e| (range, e))) {
            match element {
                Emitted::Batch(batch) => {
                    assert_eq!(range.filter(&batch, &[batch.column(2).clone()]).unwrap(), batch, "foreign keys");
                    results.extend(totals(&batch));
                }
                Emitted::Side(batch) => {
                    assert_eq!(batch.schema(), late_schema());
                    let ends = batch.column(1).as_primitive::<TimestampMillisecondType>();
                    let records = batch.column(2).as_string::<i32>();
                    let rows = ends.values().iter().zip(records).map(|(end, record)| (*end, record.unwrap().into()));
                    self.side.extend(rows);
                }
                Emitted::Watermark(_) => {}
                Emitted::Idle => panic!("idle"),
            }
        }
        results.sort_by(|a, b| a.partial_cmp(b).unwrap());
        results
    }
}

/// One pass over everything, without batches, subtasks or checkpoints.
#[derive(Default)]
struct Naive {
    watermark: Option<i64>,
    /// Amounts by window and store.
    open: BTreeMap<(i64, Option<i64>), Vec<Option<i64>>>,
    late: Vec<(i64, Option<i64>, Option<i64>)>,
}

impl Naive {
    fn row(&mut self, row: &Row) {
        let start = row.time.div_euclid(SIZE_MS) * SIZE_MS;
        if self.watermark.is_some_and(|watermark| start + SIZE_MS - 1 <= watermark) {
            self.late.push((start + SIZE_MS, row.store, row.amount));
        } else {
            self.open.entry((start, row.store)).or_default().push(row.amount);
        }
    }

    fn watermark(&mut self, watermark: i64) -> Vec<Total> {
        self.watermark = Some(watermark);
        let closed = self.open.extract_if(.., |(start, _), _| *start + SIZE_MS - 1 <= watermark);
        let total = |((start, store), amounts): ((i64, Option<i64>), Vec<Option<i64>>)| {
            let mut present: Vec<i64> = amounts.iter().flatten().copied().collect();
            let sum: i64 = present.iter().sum();
            let some = !present.is_empty();
            let mean = some.then(|| sum as f64 / present.len() as f64);
            present.sort_unstable();
            present.dedup();
            let (count, kinds) = (amounts.len() as i64, present.len() as i64);
            Total { start, end: start + SIZE_MS, store, count, sum: some.then_some(sum), mean, kinds }
        };
        closed.map(total).collect()
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// Store, event time as seen from the watermark, amount.
    Rows(Vec<(Option<i64>, i64, Option<i64>)>),
    /// Milliseconds by which the watermark rises.
    Watermark(i64),
    Checkpoint {
        completes: bool,
    },
    Restart {
        parallelism: u32,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let amount = prop::option::weighted(0.9, -5_i64..100);
    let row = (prop::option::weighted(0.9, 0_i64..6), -12_000_i64..25_000, amount);
    prop_oneof![
        6 => prop::collection::vec(row, 1..12).prop_map(Step::Rows),
        3 => (0_i64..9_000).prop_map(Step::Watermark),
        3 => any::<bool>().prop_map(|completes| Step::Checkpoint { completes }),
        2 => (1_u32..5).prop_map(|parallelism| Step::Restart { parallelism }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// However the rows are batched, cut by barriers and spread over subtasks, and however little memory there is: without
    /// any, partials are on the disk as soon as they are made.
    #[test]
    fn the_windows_are_those_of_one_naive_pass(
        steps in prop::collection::vec(step(), 0..40),
        parallelism in 1_u32..5,
        memory in prop_oneof![Just(64 << 20), Just(64 << 10), Just(0)],
    ) {
        let mut test = Test::within(MemoryLimit::given(memory), parallelism);
        let mut naive = Naive::default();
        for step in steps {
            match step {
                Step::Rows(rows) => {
                    let now = naive.watermark.unwrap_or(-5_000);
                    let row = |(store, ahead, amount)| Row { store, time: now + ahead, amount };
                    let rows: Vec<Row> = rows.into_iter().map(row).collect();
                    rows.iter().for_each(|row| naive.row(row));
                    test.rows(&rows);
                }
                Step::Watermark(by) => {
                    let watermark = naive.watermark.unwrap_or(-5_000) + by;
                    prop_assert_eq!(test.watermark(watermark), naive.watermark(watermark));
                }
                Step::Checkpoint { completes } => {
                    test.fleet.checkpoint(completes);
                }
                Step::Restart { parallelism } => test.fleet.restart(parallelism),
            }
        }
        prop_assert_eq!(test.late.get(), naive.late.len() as u64);
        let mut late: Vec<_> = test.side.iter().map(|(end, record)| {
            let record: serde_json::Value = serde_json::from_str(record).unwrap();
            (*end, record["store"].as_i64(), record["amount"].as_i64())
        }).collect();
        late.sort_unstable();
        naive.late.sort_unstable();
        prop_assert_eq!(late, std::mem::take(&mut naive.late));
        prop_assert_eq!(test.watermark(i64::MAX - SIZE_MS), naive.watermark(i64::MAX - SIZE_MS));
    }
}

#[test]
fn a_window_of_more_keys_than_memory_is_put_out_a_share_at_a_time() {
    const KEYS: i64 = 100_000;
    // Half of it is for state: 20 bytes a key, and a group takes several times that.
    let mut test = Test::within(MemoryLimit::given(4 << 20), 1);
    let mut most = 0;
    for round in 0..5 {
        for first in (0..KEYS).step_by(4096) {
            let rows: Vec<Row> = (first..KEYS.min(first + 4096)).map(|store| row(store, round)).collect();
            test.rows(&rows);
            most = most.max(test.fleet.in_memory());
        }
        test.fleet.checkpoint(round % 2 == 0);
        if round == 3 {
            test.fleet.restart(2);
        }
    }
    assert!(most < 3 << 20, "{most} bytes were in memory");
    let outputs = test.fleet.watermark(SIZE_MS);
    let batches = outputs.iter().flat_map(|(_, out)| out).filter_map(|emitted| match emitted {
        Emitted::Batch(batch) => Some(batch.num_rows()),
        _ => None,
    });
    let batches: Vec<usize> = batches.collect();
    assert!(batches.len() > 8 && batches.iter().all(|rows| *rows < KEYS as usize / 8), "{batches:?}");
    let totals = test.take(outputs);
    assert_eq!(totals.len() as i64, KEYS);
    for (store, total) in (0..).zip(totals) {
        let expected = (Some(store), 5, Some(35), Some(7.0), 1);
        assert_eq!((total.store, total.count, total.sum, total.mean, total.kinds), expected);
    }
}

#[test]
fn a_local_disk_that_fails_is_told() {
    let mut test = Test::within(MemoryLimit::given(0), 1);
    test.rows(&[row(1, 0), row(2, 0)]);
    test.fleet.lose_local_folder();
    let (_, mut window) = test.fleet.subtasks.pop().unwrap();
    let mut out = Output::default();
    let mut step = window.on_watermark(crate::ids::EventTime(SIZE_MS), &mut out);
    while matches!(step, Ok(true)) {
        step = window.go_on(&mut out);
    }
    let error = step.unwrap_err();
    let told = crate::error_chain(&error);
    assert!(told.contains("`window`") && told.contains("failed to open"), "{told}");
}

fn row(store: i64, time: i64) -> Row {
    Row { store: Some(store), time, amount: Some(7) }
}

#[test]
fn a_row_is_late_when_its_window_has_closed_and_not_before() {
    let mut test = Test::new(1);
    test.rows(&[row(1, 0)]);
    assert_eq!(test.watermark(9_998), []);
    test.rows(&[row(1, 5)]);
    let closed = test.watermark(9_999);
    assert_eq!(closed.iter().map(|total| (total.start, total.end, total.count)).collect::<Vec<_>>(), [(0, 10_000, 2)]);
    test.rows(&[row(1, 9_999), row(2, 10_000), row(1, -1)]);
    test.fleet.restart(1);
    test.rows(&[row(3, 0)]);
    assert_eq!(test.late.get(), 3);
    let ends: Vec<i64> = test.side.iter().map(|(end, _)| *end).collect();
    assert_eq!(ends, [10_000, 0, 10_000]);
    let record: serde_json::Value = serde_json::from_str(&test.side[0].1).unwrap();
    assert_eq!((record["store"].as_i64(), record["ts"].as_str()), (Some(1), Some("1970-01-01T00:00:09.999Z")));
    let names: Vec<&String> = record.as_object().unwrap().keys().collect();
    assert!(names.iter().all(|name| !name.starts_with('$')), "what was computed is no part of the record: {names:?}");
    assert_eq!(test.watermark(i64::MAX - SIZE_MS).len(), 1);
}

fn files(states: &[SubtaskState]) -> Vec<&ObjectPath> {
    states.iter().flat_map(|state| &state.parts).map(|part| &part.file.path).collect()
}

#[test]
fn partials_that_were_uploaded_are_named_again_and_not_uploaded() {
    let mut test = Test::new(2);
    let stores: Vec<Row> = (0..40).map(|store| row(store, store * 500)).collect();
    test.rows(&stores);
    test.fleet.checkpoint(false);
    let first = test.fleet.checkpoint(true);
    assert_eq!(test.fleet.uploads(), 2, "what could not be uploaded before");
    assert_eq!((test.fleet.checkpoint(true), test.fleet.uploads()), (first.clone(), 0));
    test.fleet.restart(2);
    assert_eq!((test.fleet.checkpoint(true), test.fleet.uploads()), (first.clone(), 0));
    // A new window is uploaded, and nothing else; one that has closed is named no more.
    test.rows(&[row(1, 20_000)]);
    let second = test.fleet.checkpoint(true);
    assert_eq!(test.fleet.uploads(), 1);
    assert!(files(&first).iter().all(|file| files(&second).contains(file)));
    test.watermark(30_000);
    assert_eq!(test.fleet.checkpoint(true).iter().map(|state| state.parts.len()).sum::<usize>(), 0);
}

#[test]
fn a_restart_with_more_subtasks_gives_each_the_rows_of_its_keys() {
    let mut test = Test::new(2);
    let stores: Vec<Row> = (0..40).map(|store| row(store, 0)).collect();
    test.rows(&stores);
    for parallelism in [3, 1, 4, 2] {
        test.fleet.restart(parallelism);
        let states = test.fleet.checkpoint(true);
        let rows = |state: &SubtaskState| state.parts.iter().map(|part| part.rows).sum::<u64>();
        assert_eq!(states.iter().map(rows).sum::<u64>(), 40, "{parallelism}");
        assert!(states.iter().all(|state| rows(state) > 0), "{parallelism}");
    }
    assert_eq!(test.watermark(10_000).len(), 40);
}

#[test]
fn the_number_of_a_windows_partials_grows_with_the_logarithm_of_its_epochs() {
    let mut test = Test::new(1);
    for epoch in 0..100 {
        test.rows(&[row(epoch, 1), row(epoch + 1, 2)]);
        let parts = test.fleet.checkpoint(true)[0].parts.len();
        assert!(parts <= 8, "{parts} partials after {epoch} epochs");
    }
    assert_eq!(test.watermark(10_000).iter().map(|total| total.count).sum::<i64>(), 200);
}

#[test]
fn state_of_another_operator_is_refused() {
    let planned = planned();
    let range = KeyRange { subtask: crate::ids::SubtaskIndex(0), parallelism: 1, max_parallelism: 16 };
    let file = FileRef::of(ObjectPath("data/f".into()), b"");
    for kind in ["keys", "partial"] {
        let reference = PartRef { kind: kind.into(), tag: 0, rows: 1, file: file.clone(), batch: 0 };
        // Columns of rows, not of partial states.
        let part = RestoredPart::new(reference, batch(&planned.input, &[row(1, 1)]));
        let value = serde_json::json!({ "watermark": 1, "aggregates": [{ "computes": "count(1)", "states": 1 }] });
        let state = RestoredState { groups: range.groups(), value, parts: vec![part], table: None };
        let mut operator = subtask(&planned, range, &Counter::default(), &plenty());
        let error = operator.restore(vec![state]).unwrap_err().to_string();
        let told = if kind == "keys" { "accepted is partial" } else { "the checkpoint names states for 3" };
        assert!(error.contains("`window`") && error.contains(told), "{error}");
    }
}

/// What an operator remembers, as if it had been written and read.
fn remembered(operator: &mut Window) -> RestoredState {
    let state = operator.freeze().unwrap().state.unwrap();
    let file = FileRef::of(ObjectPath("data/f".into()), b"");
    let parts = state.parts.iter().map(|part| {
        let (kind, rows) = (part.kind.to_owned(), part.rows() as u64);
        let reference = PartRef { kind, tag: part.tag(), rows, file: file.clone(), batch: 0 };
        RestoredPart::new(reference, part.batch().unwrap())
    });
    RestoredState { groups: 0..16, value: state.value, parts: parts.collect(), table: None }
}

#[test]
fn an_aggregate_that_stays_keeps_its_states_and_a_new_one_begins_with_what_comes() {
    let of = |aggregates: &str| {
        planned_of(&format!(
            "INSERT INTO totals SELECT window_start, window_end, store, {aggregates}
             FROM TUMBLE(TABLE sales, DESCRIPTOR(ts), INTERVAL '10' SECOND) AS s GROUP BY window_start, window_end, store"
        ))
    };
    let range = KeyRange { subtask: crate::ids::SubtaskIndex(0), parallelism: 1, max_parallelism: 16 };
    let (before, now) = (of("sum(s.amount) AS all_of_it, min(amount) AS least, count(*) AS n"), planned());
    let mut old = subtask(&before, range, &Counter::default(), &plenty());
    let mut out = Output::default();
    old.on_batch(batch(&before.input, &[row(1, 1), row(1, 2), row(2, 3)]), &mut out).unwrap();
    let mut new = subtask(&now, range, &Counter::default(), &plenty());
    new.restore(vec![remembered(&mut old)]).unwrap();
    new.on_batch(batch(&now.input, &[row(1, 4)]), &mut out).unwrap();
    // Once more, now that all are known.
    let mut last = subtask(&now, range, &Counter::default(), &plenty());
    last.restore(vec![remembered(&mut new)]).unwrap();
    last.on_watermark(crate::ids::EventTime(SIZE_MS), &mut out).unwrap();
    let Some(Emitted::Batch(result)) = out.elements.into_iter().next() else { panic!("nothing came out") };
    let mut results = totals(&result);
    results.sort_by(|a, b| a.partial_cmp(b).unwrap());
    let told: Vec<_> = results.iter().map(|total| (total.count, total.sum, total.mean, total.kinds)).collect();
    assert_eq!(told, [(3, Some(21), Some(7.0), 1), (1, Some(7), None, 0)]);
}

#[test]
fn rows_in_flight_count_as_of_the_time_where_they_were_going_to() {
    let (planned, late) = (planned(), Counter::default());
    let range = KeyRange { subtask: SubtaskIndex(0), parallelism: 1, max_parallelism: 16 };
    let mut window = subtask(&planned, range, &late, &plenty());
    let mut value = window.freeze().unwrap().state.unwrap().value;
    // Of two that were cut at different times, and are one now.
    let states = [60_000, 10_000].map(|watermark: i64| {
        value["watermark"] = watermark.into();
        RestoredState { groups: range.groups(), value: value.clone(), parts: Vec::new(), table: None }
    });
    window.restore(states.into()).unwrap();
    assert_eq!(window.watermark(), EventTime(60_000));
    let rows = batch(&planned.input, &[Row { store: Some(1), time: 15_000, amount: Some(5) }]);
    let mut out = Output::default();
    window.on_restored(rows.clone(), EventTime(10_000), &mut out).unwrap();
    window.on_restored(rows.clone(), EventTime(60_000), &mut out).unwrap();
    window.on_batch(rows, &mut out).unwrap();
    assert_eq!((late.get(), window.watermark()), (2, EventTime(60_000)), "late for the one, and for who knows both");
    let mut out = Output::default();
    window.on_watermark(EventTime(60_000), &mut out).unwrap();
    let [Emitted::Batch(closed), Emitted::Watermark(_)] = out.elements.as_slice() else { panic!("{out:?}") };
    assert_eq!(totals(closed).iter().map(|total| (total.start, total.count)).collect::<Vec<_>>(), [(10_000, 1)]);
}
