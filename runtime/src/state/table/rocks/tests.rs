use std::{collections::BTreeSet, fs, path::Path, sync::Arc, time::Duration};

use arrow::array::{Int64Array, RecordBatch};
use tidegate_crds::api::FailureReason;

use super::*;
use crate::{
    checkpoint::manifest::TableFile,
    env,
    failure::Reason,
    state::{
        StatePart,
        known_file::Identity,
        local::{LocalError, LocalFolder},
        table::{Changes, Table, TableError, group, time_of},
    },
};

const GROUPS: u32 = 8;

fn engine(parent: &Path) -> Engine {
    Engine::new(LocalFolder::create(parent).unwrap(), 0).unwrap()
}

/// Entries with the numbers as their times, spread over the key groups.
fn put(table: &mut RocksTable, numbers: impl Iterator<Item = i64>) {
    let mut changes = Changes::default();
    for number in numbers {
        let key_group = number as u32 % GROUPS;
        changes.put(&[&group(key_group)[..], &number.to_be_bytes()].concat(), &number.to_le_bytes());
    }
    table.write(&changes).unwrap();
}

fn times(table: &RocksTable) -> BTreeSet<i64> {
    let mut times = BTreeSet::new();
    let mut take = |_: &[u8], value: &[u8]| {
        assert!(times.insert(time_of(value).unwrap()));
        Ok(())
    };
    table.scan_groups(0..GROUPS, &mut take).unwrap();
    times
}

fn encode(entries: &Changes) -> Result<Arc<StatePart>, TableError> {
    let times = entries.iter().filter_map(|(_, value)| time_of(value?));
    let column = Arc::new(Int64Array::from_iter_values(times));
    Ok(StatePart::new("entries", 0, RecordBatch::try_from_iter([("time", column as _)])?))
}

/// What a checkpoint storage would do: keeps the files of a table elsewhere, and brings them back.
fn carry(engine: &Engine, frozen: &FrozenTable, groups: std::ops::Range<u32>) -> Downloaded {
    let folder = Arc::new(engine.scratch("carried").unwrap());
    let files = frozen.files().unwrap().into_iter().map(|file| {
        fs::copy(&file.path, folder.path().join(&file.name)).unwrap();
        TableFile { name: file.name, pieces: Vec::new() }
    });
    let files = files.collect();
    Downloaded::new(folder, files, groups).unwrap()
}

#[test]
fn a_frozen_table_stays_as_it_was_and_goes_when_nobody_needs_it() {
    let parent = tempfile::tempdir().unwrap();
    let engine = engine(parent.path());
    let mut table = RocksTable::create(&engine, "table").unwrap();
    put(&mut table, 0..100);
    let frozen = table.freeze(encode).unwrap();
    put(&mut table, 100..200);
    let carried = carry(&engine, &frozen, 0..GROUPS);
    let restored = RocksTable::restore(&engine, "again", 0..GROUPS, &[carried], i64::MIN).unwrap();
    assert_eq!(times(&restored), (0..100).collect());
    assert_eq!(times(&table), (0..200).collect());
    drop((table, frozen, restored));
    let left: Vec<_> = fs::read_dir(engine.folder().path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["lock"]);
    drop(engine);
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
}

#[test]
fn a_checkpoint_has_the_files_of_the_one_before_and_new_ones_also_after_a_restart() {
    let parent = tempfile::tempdir().unwrap();
    let engine = engine(parent.path());
    let entries = |frozen: &FrozenTable| -> BTreeSet<String> {
        frozen.files().unwrap().into_iter().filter(|file| file.never_changes).map(|file| file.name).collect()
    };
    let mut table = RocksTable::create(&engine, "table").unwrap();
    put(&mut table, 0..100);
    let first = table.freeze(encode).unwrap();
    first.files().unwrap().into_iter().for_each(|file| {
        let identity = Identity::of(&file.path).unwrap();
        first.uploaded().add(TableFile { name: file.name, pieces: Vec::new() }, identity);
    });
    put(&mut table, 100..200);
    let second = table.freeze(encode).unwrap();
    assert!(entries(&second).is_superset(&entries(&first)) && entries(&second).len() == entries(&first).len() + 1);
    for file in second.files().unwrap() {
        assert_eq!(second.uploaded().get(&file.name).is_some(), entries(&first).contains(&file.name), "{}", file.name);
    }
    let carried = carry(&engine, &second, 0..GROUPS);
    let mut restored = RocksTable::restore(&engine, "again", 0..GROUPS, &[carried], i64::MIN).unwrap();
    put(&mut restored, 200..300);
    let third = restored.freeze(encode).unwrap();
    let known = third.files().unwrap().into_iter().filter(|file| third.uploaded().get(&file.name).is_some());
    assert_eq!(known.map(|file| file.name).collect::<BTreeSet<_>>(), entries(&second));
}

#[test]
fn the_list_of_a_tables_files_grows_no_longer_than_it_may() {
    let parent = tempfile::tempdir().unwrap();
    let engine = engine(parent.path());
    let mut table = RocksTable::create(&engine, "table").unwrap();
    let mut lists = BTreeSet::new();
    // A checkpoint adds some 200 bytes to it.
    for epoch in 0..1_500 {
        put(&mut table, [epoch % 10].into_iter());
        let frozen = table.freeze(encode).unwrap();
        let files = frozen.files().unwrap();
        let [list] = files.iter().filter(|file| !file.never_changes).collect::<Vec<_>>()[..] else {
            panic!("epoch {epoch}: of {files:?} one is the list")
        };
        assert!(
            list.bytes < options::LIST_BYTES as u64 + 4096,
            "epoch {epoch}: {} has {} bytes",
            list.name,
            list.bytes
        );
        if lists.insert(list.name.clone()) {
            let carried = carry(&engine, &frozen, 0..GROUPS);
            let restored = RocksTable::restore(&engine, "again", 0..GROUPS, &[carried], i64::MIN).unwrap();
            assert_eq!(times(&restored), (0..=epoch.min(9)).collect(), "epoch {epoch}");
        }
    }
    assert!(lists.len() > 2, "it is to be begun anew now and then: {lists:?}");
}

#[test]
fn other_key_groups_take_their_own_entries_out_of_each_former_table() {
    let parent = tempfile::tempdir().unwrap();
    let engine = engine(parent.path());
    let former: Vec<Downloaded> = [0..4, 4..8]
        .into_iter()
        .map(|groups| {
            let mut table = RocksTable::create(&engine, "table").unwrap();
            put(&mut table, (0..1_000).filter(|number| groups.contains(&(*number as u32 % GROUPS))));
            carry(&engine, &table.freeze(encode).unwrap(), groups)
        })
        .collect();
    for own in [0..8, 2..6, 0..2, 7..8] {
        let mut table = RocksTable::restore(&engine, "own", own.clone(), &former, 500).unwrap();
        let is_own = |number: &i64| own.contains(&(*number as u32 % GROUPS));
        assert_eq!(times(&table), (500..1_000).filter(is_own).collect(), "{own:?}: what was forgotten is left behind");
        // It is a table like any other.
        put(&mut table, (1_000..1_100).filter(is_own));
        let frozen = table.freeze(encode).unwrap();
        let mut written = BTreeSet::new();
        let mut rows = frozen.rows().unwrap();
        while let Some(part) = rows.next(16).unwrap() {
            let batch = part.batch().unwrap();
            assert!(batch.num_rows() <= 16);
            for time in batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap().values() {
                assert!(written.insert(*time), "{time} twice");
            }
        }
        assert_eq!(written, (500..1_100).filter(is_own).collect(), "{own:?}: as rows");
    }
}

#[test]
fn entries_that_were_forgotten_vanish_when_files_are_merged() {
    let parent = tempfile::tempdir().unwrap();
    let engine = engine(parent.path());
    let mut table = RocksTable::create(&engine, "table").unwrap();
    put(&mut table, 0..1_000);
    table.freeze(encode).unwrap();
    table.forget(900).unwrap();
    table.merge();
    assert_eq!(times(&table), (900..1_000).collect());
}

/// Takes in the entries of some numbers, as an owner does that sorts them itself.
fn take_in(table: &RocksTable, numbers: std::ops::Range<i64>) -> Result<(), TableError> {
    let mut entries: Vec<_> = numbers
        .map(|number| ([&group(number as u32 % GROUPS)[..], &number.to_be_bytes()].concat(), number.to_le_bytes()))
        .collect();
    entries.sort_unstable();
    table.take_in(|add| entries.iter().try_for_each(|(key, value)| add(key, value)))
}

#[tokio::test]
async fn what_was_handed_over_before_a_table_is_frozen_is_in_it_also_when_the_owner_is_gone_by_then() {
    let parent = tempfile::tempdir().unwrap();
    let engine = engine(parent.path());
    let table = RocksTable::create(&engine, "table").unwrap();
    let mut behind = Behind::start(table.clone()).unwrap();
    behind.step(|table| {
        env::pause(Duration::from_millis(50));
        take_in(table, 0..100)
    });
    behind.step(|table| take_in(table, 50..200));
    let frozen = behind.freeze(encode);
    behind.step(|table| take_in(table, 200..300));
    drop(behind);
    let carried = carry(&engine, &frozen.frozen().await.unwrap(), 0..GROUPS);
    let restored = RocksTable::restore(&engine, "again", 0..GROUPS, &[carried], i64::MIN).unwrap();
    assert_eq!(times(&restored), (0..200).collect());
}

#[tokio::test]
async fn after_a_step_that_failed_a_table_is_not_frozen_and_the_owner_is_told_why() {
    let parent = tempfile::tempdir().unwrap();
    let engine = engine(parent.path());
    let mut behind = Behind::start(RocksTable::create(&engine, "table").unwrap()).unwrap();
    behind.step(|table| take_in(table, 0..100));
    behind.step(|_| Err(TableError::Damaged("a test".to_owned())));
    let frozen = behind.freeze(encode);
    let is_why =
        |error: &TableError| matches!(error, TableError::Earlier(first) if matches!(**first, TableError::Damaged(_)));
    assert!(frozen.frozen().await.is_err_and(|error| is_why(&error)));
    assert!(behind.settle(0).is_err_and(|error| is_why(&error)));
}

#[test]
fn a_damaged_file_is_told_of() {
    let parent = tempfile::tempdir().unwrap();
    let engine = engine(parent.path());
    let mut table = RocksTable::create(&engine, "table").unwrap();
    put(&mut table, 0..1_000);
    let frozen = table.freeze(encode).unwrap();
    let carried = carry(&engine, &frozen, 0..GROUPS);
    for file in frozen.files().unwrap().iter().filter(|file| file.never_changes) {
        let path = carried.folder().join(&file.name);
        let mut bytes = fs::read(&path).unwrap();
        bytes[10] ^= 1;
        fs::write(&path, bytes).unwrap();
    }
    let told = RocksTable::restore(&engine, "again", 0..4, &[carried], i64::MIN).err().unwrap();
    assert!(crate::error_chain(&told).contains("Corruption"), "{}", crate::error_chain(&told));
}

#[test]
fn many_keys_are_found_in_their_order_however_many_threads_look_for_them() {
    let parent = tempfile::tempdir().unwrap();
    let mut table = RocksTable::create(&engine(parent.path()), "table").unwrap();
    put(&mut table, (0..5_000).filter(|number| number % 3 > 0));
    for count in [0, 1, 64, 65, 100, 5_000] {
        let keys: Vec<[u8; 10]> = (0..count)
            .map(|number: i64| [&group(number as u32 % GROUPS)[..], &number.to_be_bytes()].concat().try_into().unwrap())
            .collect();
        let keys: Vec<&[u8]> = keys.iter().map(<[u8; 10]>::as_slice).collect();
        for cached in [Duration::ZERO, Duration::MAX] {
            let mut found = Vec::new();
            let mut take = |index, value: Option<&[u8]>| {
                found.push((index, value.and_then(time_of)));
                Ok(())
            };
            table.look_up(&keys, cached, &mut take).unwrap();
            let expected = (0..count).map(|number| (number as usize, Some(number).filter(|number| number % 3 > 0)));
            assert_eq!(found, expected.collect::<Vec<_>>());
        }
    }
}

#[tokio::test]
async fn a_full_disk_is_told_to_all_who_wait_for_the_table_and_a_system_may_mend_it() {
    let parent = tempfile::tempdir().unwrap();
    let mut behind = Behind::start(RocksTable::create(&engine(parent.path()), "table").unwrap()).unwrap();
    behind.step(|_| {
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        Err(LocalError::at("write", Path::new("/local/1.sst"))(full).into())
    });
    let before = behind.freeze(encode).frozen().await;
    let task = behind.settle(0);
    let (again, after) = (behind.settle(0), behind.freeze(encode).frozen().await);
    for failed in [before.map(drop), task.map(drop), again.map(drop), after.map(drop)] {
        let error = failed.unwrap_err();
        assert_eq!(error.reason(), FailureReason::LocalDiskFailed);
        let told = crate::error_chain(&error);
        assert!(told.contains("/local/1.sst") && told.contains("space"), "{told}");
    }
    assert!(FailureReason::LocalDiskFailed.may_pass());
}
