use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{
    AsArray,
    types::{Decimal128Type, Int64Type, TimestampMillisecondType},
};
use tidegate_crds::GeneratorSource;

use super::{Generator, Order, Orders};
use crate::{
    ids::SubtaskIndex,
    source::{Fetched, Positions, ReaderContext, Source, SourceReader, SplitState},
};

fn spec(json: &str) -> GeneratorSource {
    serde_json::from_str(json).unwrap()
}

fn busy(count: u64) -> GeneratorSource {
    spec(&format!(
        r#"{{"count":{count},"seed":7,"stores":20,"duplicates":0.1,"outOfOrder":0.2,"maxDelay":"3s","stepMicros":1500}}"#
    ))
}

async fn reader(
    source: &Generator,
    subtask: u32,
    parallelism: u32,
    from: Option<Vec<SplitState>>,
) -> Box<dyn SourceReader> {
    let from = match from {
        Some(splits) => Positions::Restored(splits),
        None => Positions::Found(source.find_splits(None).await.unwrap()),
    };
    source.reader(ReaderContext { subtask: SubtaskIndex(subtask), parallelism }, from).await.unwrap()
}

/// The orders by index, as `(split, order)`, of up to `batches` batches.
async fn read(reader: &mut dyn SourceReader, batches: usize, into: &mut BTreeMap<u64, Order>) -> bool {
    for _ in 0..batches {
        let before = reader.positions();
        let (batch, runs) = match reader.fetch().await.unwrap() {
            Fetched::Rows { batch, runs } => (batch, runs),
            Fetched::Exhausted => return false,
            _ => panic!("a generator has rows only"),
        };
        assert_eq!(batch.schema(), Orders::schema());
        assert_eq!(runs.last().unwrap().records.end, batch.num_rows());
        for run in runs {
            for (nth, row) in run.records.enumerate() {
                let index = before[run.split].next + 8 * nth as u64;
                let order = Order {
                    number: batch.column(0).as_string::<i32>().value(row)[2..].parse().unwrap(),
                    store_id: batch.column(1).as_primitive::<Int64Type>().value(row),
                    cents: batch.column(2).as_primitive::<Decimal128Type>().value(row) as i64,
                    ts_ms: batch.column(3).as_primitive::<TimestampMillisecondType>().value(row),
                };
                assert!(into.insert(index, order).is_none(), "order {index} came twice");
            }
        }
    }
    true
}

#[tokio::test]
async fn every_order_comes_once_whatever_the_parallelism_and_the_cuts() {
    let source = Generator::new("orders", &busy(100_003)).unwrap();
    let orders = Orders::new(&busy(0)).unwrap();
    let mut found = BTreeMap::new();
    // Two batches by three readers, then a resume by two, then by eleven.
    let mut positions: Option<Vec<SplitState>> = None;
    for (parallelism, batches) in [(3, 2), (2, 1), (11, usize::MAX)] {
        let mut next = Vec::new();
        for subtask in 0..parallelism {
            let mut reader = reader(&source, subtask, parallelism, positions.clone()).await;
            let more = read(reader.as_mut(), batches, &mut found).await;
            assert_eq!(more, batches < usize::MAX);
            next.extend(reader.positions());
        }
        assert_eq!(next.len(), 8);
        positions = Some(next);
    }
    assert_eq!(found.len(), 100_003);
    assert!(found.iter().all(|(index, order)| *order == orders.order(*index)));
}

#[test]
fn shares_and_delays_are_as_the_document_says() {
    let orders = Orders::new(&busy(0)).unwrap();
    let (mut repeats, mut behind, mut stores) = (0, 0, BTreeSet::new());
    for index in 0..50_000_u64 {
        let order = orders.order(index);
        let now = 1_767_225_600_000 + (index * 1500 / 1000) as i64;
        assert!(order.ts_ms <= now && order.ts_ms >= now - 3000, "order {index} is at {} of {now}", order.ts_ms);
        assert!((100..=50_000).contains(&order.cents));
        stores.insert(order.store_id);
        if order.number == index {
            behind += u32::from(order.ts_ms < now);
        } else {
            assert!(index - order.number <= 10_000);
            assert_eq!(order, orders.order(order.number), "order {index} repeats one that is a repeat");
            repeats += 1;
        }
    }
    assert_eq!(stores, (1..=20).collect());
    assert!((4500..5500).contains(&repeats), "{repeats}");
    assert!((8000..10_000).contains(&behind), "{behind}");
    assert_ne!(orders.order(5).cents, Orders::new(&spec(r#"{"seed":8}"#)).unwrap().order(5).cents);
}

#[test]
fn the_first_orders_of_a_seed_stay_what_they_are() {
    let orders = Orders::new(&spec(r#"{"seed":1}"#)).unwrap();
    let first = orders.order(0);
    assert_eq!((first.id().as_str(), first.ts_ms), ("o-0", 1_767_225_600_000));
    assert_eq!((0..4).map(|i| (orders.order(i).store_id, orders.order(i).cents)).collect::<Vec<_>>(), GOLDEN);
}

/// Store and amount: a checkpoint's positions mean these orders, so they never change.
const GOLDEN: [(i64, i64); 4] = [(945, 13549), (136, 45359), (946, 32381), (559, 33238)];

#[test]
fn extreme_shares_end_and_odd_ones_are_refused() {
    let orders = Orders::new(&spec(r#"{"duplicates":1.0,"outOfOrder":1.0,"maxDelay":"1s"}"#)).unwrap();
    assert_eq!((0..100).filter(|index| orders.order(*index).number != *index).count(), 0);
    for (json, words) in [
        (r#"{"duplicates":1.5}"#, "duplicates is 1.5; accepted are shares from 0 to 1"),
        (r#"{"start":"today"}"#, "RFC 3339"),
    ] {
        let error = Generator::new("orders", &spec(json)).unwrap_err().to_string();
        assert!(error.contains(words) && error.contains("source `orders`"), "{error}");
    }
}

#[tokio::test]
async fn a_rate_is_kept_over_all_readers() {
    let source = Generator::new("orders", &spec(r#"{"rate":1000}"#)).unwrap();
    let mut reader = reader(&source, 0, 2, None).await;
    let Fetched::Rows { batch, .. } = reader.fetch().await.unwrap() else { panic!("rows") };
    assert_eq!(batch.num_rows(), 5, "half of ten milliseconds' orders");
}
