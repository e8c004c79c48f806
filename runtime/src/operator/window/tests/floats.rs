//! `MIN` and `MAX` of floats: NaN is above all numbers and zero is one number, in whatever order they come.

use arrow::{array::Float32Array, datatypes::Float32Type};

use super::*;
use crate::operator::float::canonical64;

const SQL: &str = "
INSERT INTO totals
SELECT window_start, window_end, store, min(d) AS a, max(d) AS b, min(f) AS c, max(f) AS d,
       min(d) FILTER (WHERE store = 1) AS e, max(d) FILTER (WHERE store = 1) AS f
FROM TUMBLE(TABLE sales, DESCRIPTOR(ts), INTERVAL '10' SECOND)
GROUP BY window_start, window_end, store";

/// Those that are equal have other bits.
const VALUES: [f64; 10] = [
    5.0,
    1.0,
    -1.5,
    0.0,
    -0.0,
    f64::NAN,
    -f64::NAN,
    f64::from_bits(0x7ff8_0000_0000_0001),
    f64::INFINITY,
    f64::NEG_INFINITY,
];

type Value = (i64, Option<f64>);

fn planned() -> Planned {
    let timestamp = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    let schema = Arc::new(Schema::new(vec![
        Field::new("store", DataType::Int64, true),
        Field::new("ts", timestamp, false),
        Field::new("d", DataType::Float64, true),
        Field::new("f", DataType::Float32, true),
    ]));
    let source = CatalogSource { name: "sales".into(), schema, event_time: Some("ts".into()) };
    let graph = plan(SQL, &Catalog { sources: vec![source], sinks: vec!["totals".into()] }).unwrap();
    let window = graph.nodes.iter().find_map(|node| match &node.kind {
        NodeKind::WindowAggregate(window) => Some((node, window.clone())),
        _ => None,
    });
    let (node, window) = window.unwrap();
    Planned { window, input: graph.nodes[node.inputs[0].0].schema.clone(), output: node.schema.clone() }
}

fn batch(input: &SchemaRef, rows: &[Value]) -> RecordBatch {
    let column = |field: &Arc<Field>| -> ArrayRef {
        match (field.name().as_str(), field.data_type()) {
            ("store", _) => Arc::new(rows.iter().map(|(store, _)| Some(*store)).collect::<Int64Array>()),
            ("ts", _) => {
                Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(|_| 5)).with_timezone("UTC"))
            }
            ("d", _) => Arc::new(rows.iter().map(|(_, value)| *value).collect::<Float64Array>()),
            ("f", _) => Arc::new(rows.iter().map(|(_, value)| Some((*value)? as f32)).collect::<Float32Array>()),
            // The value where the filter keeps it.
            (_, DataType::Float64) => {
                Arc::new(rows.iter().map(|(store, value)| value.filter(|_| *store == 1)).collect::<Float64Array>())
            }
            (other, _) => panic!("the window reads {other}"),
        }
    };
    RecordBatch::try_new(input.clone(), input.fields().iter().map(column).collect()).unwrap()
}

/// The bits of the least and the greatest of each store, as the columns have them.
fn naive(rows: &[Value]) -> BTreeMap<i64, Vec<Option<u64>>> {
    let mut stores: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
    for (store, value) in rows {
        stores.entry(*store).or_default().extend(value.map(canonical64));
    }
    let extremes = |(store, mut values): (i64, Vec<f64>)| {
        values.sort_by(f64::total_cmp);
        let both = [values.first(), values.last()].map(|value| value.map(|value| value.to_bits()));
        let filtered = both.map(|value| value.filter(|_| store == 1));
        (store, [both, both, filtered].concat())
    };
    stores.into_iter().map(extremes).collect()
}

fn found(out: Output) -> BTreeMap<i64, Vec<Option<u64>>> {
    let mut found = BTreeMap::new();
    for element in out.elements {
        let Emitted::Batch(batch) = element else { continue };
        for row in 0..batch.num_rows() {
            let bits = batch.columns()[3..].iter().map(|column| {
                let wide = column.as_primitive_opt::<Float64Type>().map(|column| column.value(row));
                let value = wide.unwrap_or_else(|| f64::from(column.as_primitive::<Float32Type>().value(row)));
                column.is_valid(row).then(|| value.to_bits())
            });
            found.insert(batch.column(2).as_primitive::<Int64Type>().value(row), bits.collect());
        }
    }
    found
}

/// The rows of each step, then a checkpoint that the next operator restores, if it is said so.
fn through(steps: &[(Vec<Value>, bool)]) -> BTreeMap<i64, Vec<Option<u64>>> {
    let planned = planned();
    let range = KeyRange { subtask: SubtaskIndex(0), parallelism: 1, max_parallelism: 16 };
    let start = || subtask(&planned, range, &Counter::default(), &plenty());
    let (mut operator, mut out) = (start(), Output::default());
    for (rows, is_restored) in steps {
        if !rows.is_empty() {
            operator.on_batch(batch(&planned.input, rows), &mut out).unwrap();
        }
        let state = remembered(&mut operator);
        if *is_restored {
            operator = start();
            operator.restore(vec![state]).unwrap();
        }
    }
    let mut more = operator.on_watermark(EventTime(SIZE_MS), &mut out).unwrap();
    while more {
        more = operator.go_on(&mut out).unwrap();
    }
    found(out)
}

#[test]
fn the_least_and_greatest_do_not_forget_what_came_before_a_nan() {
    for values in [[5.0, f64::NAN, 1.0], [1.0, f64::NAN, 5.0], [f64::NAN, 5.0, 1.0]] {
        let rows: Vec<Value> = values.iter().map(|value| (1, Some(*value))).collect();
        let expected = [Some(1.0_f64.to_bits()), Some(f64::NAN.to_bits())].repeat(3);
        assert_eq!(through(&[(rows, false)]), BTreeMap::from([(1, expected)]), "{values:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// However they are cut in batches, merged and restored.
    #[test]
    fn the_least_and_greatest_do_not_depend_on_the_order(
        (rows, shuffled) in prop::collection::vec(
            (0_i64..3, prop::option::weighted(0.9, prop::sample::select(&VALUES[..]))),
            0..24,
        ).prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle())),
        cuts in prop::collection::vec((1_usize..6, any::<bool>()), 24),
    ) {
        let expected = naive(&rows);
        for rows in [rows, shuffled] {
            let mut rest = rows.as_slice();
            let steps = cuts.iter().map(|(size, is_restored)| {
                let (now, later) = rest.split_at(rest.len().min(*size));
                rest = later;
                (now.to_vec(), *is_restored)
            });
            prop_assert_eq!(&through(&steps.collect::<Vec<_>>()), &expected);
        }
    }
}
