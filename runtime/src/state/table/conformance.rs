//! What every table does, in memory or on disk: the same as a sorted map.

use std::{
    collections::BTreeMap,
    ops::{Bound, Range},
};

use proptest::prelude::*;

use super::{Changes, MemoryTable, Table, group, rocks::RocksTable, time_of};
use crate::state::{local::LocalFolder, table::rocks::Engine};

/// Keys of 4 key groups, few enough to be met again.
const GROUPS: u32 = 4;

#[derive(Debug, Clone)]
enum Step {
    /// Keys with their new values; without one they are deleted.
    Write(Vec<(Vec<u8>, Option<Vec<u8>>)>),
    Get(Vec<Vec<u8>>),
    ScanPrefix(Vec<u8>),
    ScanGroups(Range<u32>),
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    let rest = prop::collection::vec(prop_oneof![Just(0), Just(1), Just(0xff)], 0..3);
    (0..GROUPS, rest).prop_map(|(key_group, rest)| [&group(key_group)[..], &rest].concat())
}

fn step() -> impl Strategy<Value = Step> {
    let value = prop::option::weighted(0.8, prop::collection::vec(any::<u8>(), 0..20));
    let groups = (0..=GROUPS, 0..=GROUPS).prop_map(|(one, other)| one.min(other)..one.max(other));
    prop_oneof![
        4 => prop::collection::vec((key(), value), 0..20).prop_map(Step::Write),
        2 => prop::collection::vec(key(), 0..20).prop_map(Step::Get),
        1 => key().prop_map(Step::ScanPrefix),
        1 => groups.prop_map(Step::ScanGroups),
    ]
}

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn owned(key: &[u8], value: &[u8]) -> (Vec<u8>, Vec<u8>) {
    (key.to_vec(), value.to_vec())
}

/// Plays steps on a table that is empty, and on a map.
fn play(table: &mut dyn Table, steps: &[Step]) {
    let mut model = Model::new();
    for step in steps {
        match step {
            Step::Write(entries) => {
                let mut changes = Changes::default();
                for (key, value) in entries {
                    match value {
                        Some(value) => {
                            changes.put(key, value);
                            model.insert(key.clone(), value.clone());
                        }
                        None => {
                            changes.delete(key);
                            model.remove(key);
                        }
                    }
                }
                table.write(&changes).unwrap();
            }
            Step::Get(keys) => {
                let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
                let mut found = Vec::new();
                let mut take = |index, value: Option<&[u8]>| {
                    found.push((index, value.map(<[u8]>::to_vec)));
                    Ok(())
                };
                table.get_many(&keys, &mut take).unwrap();
                let wanted = keys.iter().map(|key| model.get(*key).cloned()).enumerate();
                assert_eq!(found, wanted.collect::<Vec<_>>());
            }
            Step::ScanPrefix(prefix) => {
                let mut found = Vec::new();
                table
                    .scan_prefix(prefix, &mut |key, value| {
                        found.push(owned(key, value));
                        Ok(())
                    })
                    .unwrap();
                let wanted = model.iter().filter(|(key, _)| key.starts_with(prefix)).map(|(k, v)| owned(k, v));
                assert_eq!(found, wanted.collect::<Vec<_>>());
            }
            Step::ScanGroups(groups) => {
                let mut found = Vec::new();
                table
                    .scan_groups(groups.clone(), &mut |key, value| {
                        found.push(owned(key, value));
                        Ok(())
                    })
                    .unwrap();
                let (from, to) = (group(groups.start), group(groups.end));
                let own = model.range::<[u8], _>((Bound::Included(&from[..]), Bound::Unbounded));
                let wanted = own.take_while(|(key, _)| key.as_slice() < &to[..]).map(|(k, v)| owned(k, v));
                assert_eq!(found, wanted.collect::<Vec<_>>());
            }
        }
    }
}

/// What was forgotten may be there or not; all else is.
fn forgets(table: &mut dyn Table) {
    let value = |time: i64| [&time.to_le_bytes()[..], b"more"].concat();
    let mut changes = Changes::default();
    for time in 0..100_u32 {
        changes.put(&[&group(time % GROUPS)[..], &[time as u8]].concat(), &value(i64::from(time)));
    }
    table.write(&changes).unwrap();
    table.forget(60).unwrap();
    let mut times = Vec::new();
    table
        .scan_groups(0..GROUPS, &mut |_, value| {
            times.extend(time_of(value));
            Ok(())
        })
        .unwrap();
    times.retain(|time| *time >= 60);
    times.sort_unstable();
    assert_eq!(times, (60..100).collect::<Vec<_>>());
}

fn on_disk(test: impl FnOnce(&mut dyn Table)) {
    let parent = tempfile::tempdir().unwrap();
    let engine = Engine::new(LocalFolder::create(parent.path()).unwrap(), 0).unwrap();
    test(&mut RocksTable::create(&engine, "table").unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_table_in_memory_is_a_sorted_map(steps in prop::collection::vec(step(), 0..40)) {
        play(&mut MemoryTable::default(), &steps);
    }

    #[test]
    fn a_table_on_disk_is_a_sorted_map(steps in prop::collection::vec(step(), 0..40)) {
        on_disk(|table| play(table, &steps));
    }
}

#[test]
fn a_table_forgets_only_what_is_old() {
    forgets(&mut MemoryTable::default());
    on_disk(forgets);
}
