use std::{collections::BTreeSet, ops::Range};

use arrow::array::Int64Array;
use tidegate_crds::api::FailureReason;
use tokio::runtime::Handle;

use super::*;
use crate::{
    checkpoint::store::memory::{Action, Fault, MemoryStore},
    failure::Reason,
    state::{
        local::LocalFolder,
        table::{Changes, Table, group, rocks::RocksTable, time_of},
    },
};

const GROUPS: Range<u32> = 0..1;

/// A storage and a process.
struct World {
    store: MemoryStore,
    packer: Packer,
    engine: Engine,
    _folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let (store, folder) = (MemoryStore::new(), tempfile::tempdir().unwrap());
        let packer = Packer::eager(Arc::new(store.clone()), Handle::current());
        let engine = Engine::new(LocalFolder::create(folder.path()).unwrap(), 0).unwrap();
        Self { store, packer, engine, _folder: folder }
    }

    /// A new table with these numbers.
    fn table(&self, numbers: Range<i64>) -> RocksTable {
        let mut table = RocksTable::create(&self.engine, "table").unwrap();
        let mut changes = Changes::default();
        for number in numbers {
            changes.put(&[&group(0)[..], &number.to_be_bytes()].concat(), &number.to_le_bytes());
        }
        table.write(&changes).unwrap();
        table
    }

    /// Uploads a table for a checkpoint of a run.
    async fn checkpoint(&self, table: &RocksTable, run: u64, epoch: u64) -> Result<Vec<TableFile>, StateError> {
        let name = "state-0".to_owned();
        let to = Destination { packer: &self.packer, attempt: Attempt(1), run: Run(run), epoch: Epoch(epoch), name };
        let (files, _) = upload(&to, &table.freeze(encode).unwrap()).await?;
        Ok(files.into_iter().map(|(file, _)| file).collect())
    }

    /// The numbers of the table that a checkpoint has.
    async fn restore(&self, files: Vec<TableFile>) -> BTreeSet<i64> {
        let supply = Supply::remote(Arc::new(self.store.clone()));
        let downloaded = download(&supply, &self.engine, files, GROUPS).await.unwrap();
        let table = RocksTable::restore(&self.engine, "restored", GROUPS, &[downloaded], i64::MIN).unwrap();
        let mut numbers = BTreeSet::new();
        let mut take = |_: &[u8], value: &[u8]| {
            numbers.extend(time_of(value));
            Ok(())
        };
        table.scan_groups(GROUPS, &mut take).unwrap();
        numbers
    }
}

fn encode(entries: &Changes) -> Result<Arc<StatePart>, TableError> {
    let times = entries.iter().filter_map(|(_, value)| time_of(value?));
    let column = Arc::new(Int64Array::from_iter_values(times));
    Ok(StatePart::new("entries", 0, RecordBatch::try_from_iter([("time", column as _)])?))
}

#[tokio::test]
async fn what_one_checkpoint_could_not_upload_the_next_one_does() {
    let world = World::new();
    let table = world.table(0..100);
    world.store.fail(Action::Put, "", Fault::Before, u32::MAX);
    world.checkpoint(&table, 1, 1).await.unwrap_err();
    world.store.heal();
    let files = world.checkpoint(&table, 1, 2).await.unwrap();
    assert_eq!(world.restore(files).await, (0..100).collect());
}

#[tokio::test]
async fn a_write_that_takes_place_late_changes_nothing() {
    let world = World::new();
    let table = world.table(0..100);
    world.store.fail(Action::Put, "", Fault::Late, u32::MAX);
    world.checkpoint(&table, 1, 1).await.unwrap_err();
    world.store.heal();
    let files = world.checkpoint(&table, 1, 2).await.unwrap();
    world.store.land();
    assert_eq!(world.restore(files).await, (0..100).collect());
}

#[tokio::test]
async fn tables_of_two_runs_keep_their_files_apart() {
    let world = World::new();
    let first = world.checkpoint(&world.table(0..100), 1, 1).await.unwrap();
    // The regions of the first run have failed, and begin anew.
    let second = world.checkpoint(&world.table(200..300), 2, 2).await.unwrap();
    assert_eq!(world.restore(first).await, (0..100).collect());
    assert_eq!(world.restore(second).await, (200..300).collect());
}

#[tokio::test]
async fn work_that_panics_or_is_called_off_is_no_damage_and_is_tried_again() {
    let error = blocking(|| panic!("a fault")).await.unwrap_err();
    assert_eq!(error.reason(), FailureReason::TaskFailed);
    let told = crate::error_chain(&error);
    assert!(told.contains("has ended before it was done") && told.contains("a fault"), "{told}");
}
