use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{
    ids::SubtaskIndex,
    state::{
        local::LocalFolder,
        table::{
            MemoryTable, Table,
            rocks::{Engine, RocksTable},
        },
    },
};

/// Runs a test with a table of each kind.
fn on_both(test: impl Fn(&mut dyn Table)) {
    test(&mut MemoryTable::default());
    let parent = tempfile::tempdir().unwrap();
    let engine = Engine::new(LocalFolder::create(parent.path()).unwrap(), 0).unwrap();
    test(&mut RocksTable::create(&engine, "typed").unwrap());
}

/// A batch without a time to live.
fn session(table: &mut dyn Table) -> Session<'_> {
    Session::new(table, 0, i64::MIN)
}

#[derive(Debug, Clone)]
enum Step {
    Set(u8, i64),
    Clear(u8),
    Insert(u8, i64, String),
    Remove(u8, i64),
    ClearMap(u8),
    Add(u8, u64),
    EndOfBatch,
}

fn step() -> impl Strategy<Value = Step> {
    let key = || 0_u8..4;
    let field = || prop_oneof![Just(-1_i64), Just(0), Just(7), Just(i64::MAX)];
    prop_oneof![
        2 => (key(), any::<i64>()).prop_map(|(key, value)| Step::Set(key, value)),
        1 => key().prop_map(Step::Clear),
        3 => (key(), field(), "[a-c]{0,3}").prop_map(|(key, field, value)| Step::Insert(key, field, value)),
        2 => (key(), field()).prop_map(|(key, field)| Step::Remove(key, field)),
        1 => key().prop_map(Step::ClearMap),
        3 => (key(), 0_u64..9).prop_map(|(key, value)| Step::Add(key, value)),
        2 => Just(Step::EndOfBatch),
    ]
}

const VALUE: ValueState<i64> = ValueState::named("value");
const MAP: MapState<i64, String> = MapState::named("map");
const LIST: ListState<u64> = ListState::named("list");
const SUM: ReducingState<u64> = ReducingState::named("sum", |one, other| one + other);

/// Keys with zero bytes, one the beginning of the other.
fn key(number: u8) -> Key {
    Key::new(u32::from(number % 2), &vec![0; usize::from(number)])
}

/// Plays steps on a table, cut into batches, and on maps of Rust's own.
fn play(table: &mut dyn Table, steps: &[Step]) {
    let mut values: BTreeMap<u8, i64> = BTreeMap::new();
    let mut maps: BTreeMap<u8, BTreeMap<i64, String>> = BTreeMap::new();
    let mut lists: BTreeMap<u8, Vec<u64>> = BTreeMap::new();
    for batch in steps.split(|step| matches!(step, Step::EndOfBatch)) {
        let mut session = session(table);
        let keys: Vec<Key> = (0..3).map(key).collect();
        session.prefetch("value", &keys).unwrap();
        for step in batch {
            match step {
                Step::Set(of, value) => {
                    VALUE.set(&mut session, &key(*of), value);
                    values.insert(*of, *value);
                }
                Step::Clear(of) => {
                    VALUE.clear(&mut session, &key(*of));
                    values.remove(of);
                }
                Step::Insert(of, field, value) => {
                    MAP.insert(&mut session, &key(*of), field, value);
                    maps.entry(*of).or_default().insert(*field, value.clone());
                }
                Step::Remove(of, field) => {
                    MAP.remove(&mut session, &key(*of), field);
                    maps.entry(*of).or_default().remove(field);
                }
                Step::ClearMap(of) => {
                    MAP.clear(&mut session, &key(*of)).unwrap();
                    maps.remove(of);
                }
                Step::Add(of, value) => {
                    LIST.add(&mut session, &key(*of), value).unwrap();
                    SUM.add(&mut session, &key(*of), *value).unwrap();
                    lists.entry(*of).or_default().push(*value);
                }
                Step::EndOfBatch => {}
            }
            for of in 0..4 {
                assert_eq!(VALUE.get(&mut session, &key(of)).unwrap(), values.get(&of).copied());
                let map = maps.get(&of).cloned().unwrap_or_default();
                assert_eq!(MAP.get(&mut session, &key(of), &7).unwrap(), map.get(&7).cloned());
                assert_eq!(MAP.entries(&mut session, &key(of)).unwrap(), map.into_iter().collect::<Vec<_>>());
                let list = lists.get(&of).cloned().unwrap_or_default();
                let sum = (!list.is_empty()).then(|| list.iter().sum());
                assert_eq!(SUM.get(&mut session, &key(of)).unwrap(), sum);
                assert_eq!(LIST.get(&mut session, &key(of)).unwrap(), list);
            }
        }
        session.finish().unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn typed_state_is_what_was_written_over_all_batches(steps in prop::collection::vec(step(), 0..40)) {
        on_both(|table| play(table, &steps));
    }
}

struct Mean;

impl Aggregate for Mean {
    type Input = u64;
    type Accumulator = String;
    type Output = u64;

    fn add(accumulator: String, input: u64) -> String {
        format!("{accumulator}{input};")
    }

    fn result(accumulator: &String) -> u64 {
        let inputs: Vec<u64> = accumulator.split_terminator(';').map(|input| input.parse().unwrap()).collect();
        inputs.iter().sum::<u64>() / inputs.len() as u64
    }
}

#[test]
fn an_aggregate_puts_out_another_type_than_it_takes_in() {
    on_both(|table| {
        let mean = AggregatingState::<Mean>::named("mean");
        for inputs in [vec![1, 2], vec![9]] {
            let mut session = session(table);
            inputs.into_iter().for_each(|input| mean.add(&mut session, &key(1), input).unwrap());
            session.finish().unwrap();
        }
        let mut session = session(table);
        assert_eq!(mean.get(&mut session, &key(1)).unwrap(), Some(4));
        mean.clear(&mut session, &key(1));
        assert_eq!(mean.get(&mut session, &key(1)).unwrap(), None);
    });
}

#[test]
fn what_nobody_has_written_for_its_time_to_live_is_forgotten() {
    on_both(|table| {
        for (now, of) in [(10, 1), (20, 2)] {
            let mut session = Session::new(table, now, i64::MIN);
            VALUE.set(&mut session, &key(of), &now);
            MAP.insert(&mut session, &key(3), &now, &"entry".to_owned());
            session.finish().unwrap();
        }
        let mut session = Session::new(table, 30, 15);
        assert_eq!(VALUE.get(&mut session, &key(1)).unwrap(), None);
        assert_eq!(VALUE.get(&mut session, &key(2)).unwrap(), Some(20));
        assert_eq!(MAP.entries(&mut session, &key(3)).unwrap(), [(20, "entry".to_owned())]);
        VALUE.set(&mut session, &key(2), &30);
        session.finish().unwrap();
        table.forget(25).unwrap();
        let mut session = Session::new(table, 30, 25);
        assert_eq!(VALUE.get(&mut session, &key(2)).unwrap(), Some(30), "written again, it lives on");
    });
}

#[test]
fn timers_fire_once_in_the_order_of_their_times_and_are_found_again() {
    on_both(|table| {
        let timer = |key_group, time, key: &[u8]| Timer { key_group, time, key: key.to_vec() };
        let mut timers = Timers::new(0..4);
        let all = [timer(3, -5, b"a"), timer(0, 10, b"b"), timer(2, 10, b""), timer(1, 30, b"c"), timer(0, 10, b"a")];
        timers.add(table, Clock::Event, &all).unwrap();
        timers.add(table, Clock::Event, &all[1..2]).unwrap();
        timers.add(table, Clock::Processing, &[timer(0, 1, b"other")]).unwrap();
        timers.remove(table, Clock::Event, &[timer(1, 30, b"c"), timer(1, 31, b"never")]).unwrap();
        assert_eq!(timers.due(table, Clock::Event, -6).unwrap(), []);
        assert_eq!(timers.due(table, Clock::Event, 9).unwrap(), [timer(3, -5, b"a")]);
        // As after a restore: nothing but the table is left.
        let mut timers = Timers::new(0..4);
        let due = [timer(0, 10, b"a"), timer(0, 10, b"b"), timer(2, 10, b"")];
        assert_eq!(timers.due(table, Clock::Event, 10).unwrap(), due);
        assert_eq!(timers.due(table, Clock::Event, i64::MAX).unwrap(), []);
        timers.add(table, Clock::Event, &[timer(1, 5, b"late")]).unwrap();
        assert_eq!(timers.due(table, Clock::Event, 40).unwrap(), [timer(1, 5, b"late")]);
        assert_eq!(timers.due(table, Clock::Processing, 1).unwrap(), [timer(0, 1, b"other")]);
    });
}

#[test]
fn lists_are_handed_out_whole_whatever_the_parallelism() {
    let former = [vec![1, 2, 3], vec![], vec![4, 5, 6, 7]];
    for parallelism in 1..10 {
        let shares: Vec<Vec<i32>> =
            (0..parallelism).map(|subtask| list::split(&former, SubtaskIndex(subtask), parallelism)).collect();
        let (least, most) = (shares.iter().map(Vec::len).min(), shares.iter().map(Vec::len).max());
        assert!(most.unwrap() - least.unwrap() <= 1, "{shares:?}");
        let mut all = shares.concat();
        all.sort_unstable();
        assert_eq!(all, [1, 2, 3, 4, 5, 6, 7]);
    }
    assert_eq!(list::union(&former), [1, 2, 3, 4, 5, 6, 7]);
    let alike = [vec!["rule"], vec!["rule"]];
    for subtask in 0..5 {
        assert_eq!(list::broadcast(&alike, SubtaskIndex(subtask)), ["rule"]);
        assert!(list::broadcast::<i32>(&[], SubtaskIndex(subtask)).is_empty());
    }
}
