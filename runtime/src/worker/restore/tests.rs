//! What a process has of a checkpoint is not read from the storage; what it lacks, or has only a changed copy of, is.

use std::{collections::BTreeSet, fs, ops::Range};

use arrow::array::{AsArray, Int64Array};
use arrow::datatypes::Int64Type;
use tokio::runtime::Handle;

use super::*;
use crate::{
    checkpoint::{
        manifest::{FileRef, TableFile},
        pack::{Life, Packer},
        sample,
        store::{
            ObjectPath, Store,
            memory::{Action, Fault, MemoryStore},
        },
    },
    ids::{Attempt, Run},
    memory::MemoryLimit,
    state::{
        StatePart,
        known_file::KnownFile,
        table::{
            Changes, Table, group,
            rocks::{FrozenTable, RocksTable},
        },
    },
    worker::{
        at_hand::{AtHand, Named},
        tables::{Destination, upload},
    },
};

const GROUPS: Range<u32> = 0..128;

/// A storage, a process, and one operator with one subtask.
struct World {
    store: MemoryStore,
    backend: Backend,
    at_hand: AtHand,
    _folder: tempfile::TempDir,
}

impl World {
    fn new(kind: StateBackend) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let backend = Backend::new(kind, folder.path().to_owned(), MemoryLimit::given(64 << 20));
        Self { store: MemoryStore::new(), backend, at_hand: AtHand::default(), _folder: folder }
    }

    /// From now on nothing can be read from the storage.
    fn cut_off(&self) {
        self.store.fail(Action::Get, "", Fault::Before, u32::MAX);
    }

    async fn load(&self, subtask: &SubtaskState) -> (Restored, Supply) {
        let mut manifest = sample::manifest(1, 1, Vec::new());
        manifest.operators[0].subtasks = vec![subtask.clone()];
        let operators = [(manifest.operators[0].id.clone(), manifest.operators[0].kind)].into();
        let takes = Takes { operators, max_parallelism: 128, drops_the_rest: false };
        let supply = Supply::new(Arc::new(self.store.clone()), self.at_hand.clone());
        let restored = Restored::load(&supply, &manifest, &takes, &[all()], &self.backend).await.unwrap();
        (restored, supply)
    }
}

fn all() -> KeyRange {
    KeyRange { subtask: SubtaskIndex(0), parallelism: 1, max_parallelism: 128 }
}

fn came(supply: &Supply) -> (u64, u64, u64) {
    let came = supply.came();
    (came.local_memory_bytes, came.local_disk_bytes, came.remote_bytes)
}

fn numbers(restored: &Restored) -> Vec<Vec<i64>> {
    let states = restored.keyed(&OperatorId("operator".into()), all()).unwrap();
    let rows = |part: &RestoredPart| part.batch().unwrap().column(0).as_primitive::<Int64Type>().values().to_vec();
    states.iter().flat_map(|state| &state.parts).map(rows).collect()
}

/// Two parts in one file.
async fn parts(store: &MemoryStore) -> Vec<(Arc<StatePart>, PartRef)> {
    let batch = |numbers: &[i64]| {
        RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(numbers.to_vec())) as _)]).unwrap()
    };
    let batches = [batch(&[1, 2]), batch(&[3])];
    let bytes = file::encode(&batches[0].schema(), &batches).unwrap();
    let file = FileRef::of(ObjectPath("data/00000001/000000000001/rows.arrow".into()), &bytes);
    store.put(&file.path, bytes).await.unwrap();
    let part = |(index, batch): (usize, RecordBatch)| {
        let rows = batch.num_rows() as u64;
        let reference = PartRef { kind: "rows".into(), tag: 0, rows, file: file.clone(), batch: index as u32 };
        (StatePart::new("rows", 0, batch), reference)
    };
    batches.into_iter().enumerate().map(part).collect()
}

fn state_of(parts: &[(Arc<StatePart>, PartRef)]) -> SubtaskState {
    SubtaskState { parts: parts.iter().map(|(_, reference)| reference.clone()).collect(), ..SubtaskState::default() }
}

#[tokio::test]
async fn rows_in_memory_are_handed_on_and_a_file_is_fetched_only_for_what_is_missing() {
    for kind in [StateBackend::Memory, StateBackend::RocksDb] {
        let world = World::new(kind);
        let parts = parts(&world.store).await;
        let (state, bytes) = (state_of(&parts), parts[0].1.file.bytes);

        world.at_hand.completed(Named { parts: parts[1..].to_vec(), files: Vec::new() });
        let (restored, supply) = world.load(&state).await;
        assert_eq!(numbers(&restored), [vec![1, 2], vec![3]]);
        assert_eq!(came(&supply), (0, 0, bytes), "{kind:?}: one part of the file was not there");

        world.cut_off();
        world.at_hand.completed(Named { parts: parts.clone(), files: Vec::new() });
        let (restored, supply) = world.load(&state).await;
        assert_eq!(numbers(&restored), [vec![1, 2], vec![3]]);
        assert_eq!(came(&supply), (bytes, 0, 0), "{kind:?}");
        let states = restored.keyed(&OperatorId("operator".into()), all()).unwrap();
        let (had, kept) = (states[0].parts[0].batch().unwrap(), parts[0].0.batch().unwrap());
        assert!(Arc::ptr_eq(had.column(0), kept.column(0)), "{kind:?}: not a copy");
    }
}

#[tokio::test]
async fn rows_that_were_fetched_to_the_disk_are_not_fetched_by_the_next_try() {
    let world = World::new(StateBackend::RocksDb);
    let state = state_of(&parts(&world.store).await);
    let bytes = state.parts[0].file.bytes;
    let (restored, supply) = world.load(&state).await;
    assert_eq!(came(&supply), (0, 0, bytes));
    drop(restored);
    world.cut_off();
    let (restored, supply) = world.load(&state).await;
    assert_eq!(numbers(&restored), [vec![1, 2], vec![3]]);
    assert_eq!(came(&supply), (0, bytes, 0));
}

#[tokio::test]
async fn pieces_of_a_shared_file_are_told_apart_wherever_they_come_from() {
    for kind in [StateBackend::Memory, StateBackend::RocksDb] {
        let world = World::new(kind);
        let packer = Packer::eager(Arc::new(world.store.clone()), Handle::current());
        let batch =
            |number| RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![number])) as _)]).unwrap();
        let batches = [batch(1), batch(2), batch(3)];
        let written = batches.iter().enumerate().map(|(number, batch)| {
            let bytes = file::encode(&batch.schema(), [batch]).unwrap();
            packer.put(Life::Lasting, ObjectPath(format!("data/00000001/000000000001/{number}.arrow")), bytes)
        });
        let files = futures::future::try_join_all(written).await.unwrap();
        assert_eq!(world.store.paths().len(), 1, "{files:?}");
        let named = |(batch, file): (&RecordBatch, &FileRef)| {
            let reference = PartRef { kind: "rows".into(), tag: 0, rows: 1, file: file.clone(), batch: 0 };
            (StatePart::new("rows", 0, batch.clone()), reference)
        };
        let parts: Vec<_> = batches.iter().zip(&files).map(named).collect();

        world.at_hand.completed(Named { parts: parts[1..2].to_vec(), files: Vec::new() });
        let (restored, supply) = world.load(&state_of(&parts)).await;
        assert_eq!(numbers(&restored), [[1], [2], [3]], "{kind:?}");
        assert_eq!(
            came(&supply),
            (files[1].bytes, 0, files[0].bytes + files[2].bytes),
            "{kind:?}: only what is wanted"
        );
    }
}

/// A table with the numbers, frozen and uploaded.
async fn table(world: &World, numbers: Range<i64>) -> (FrozenTable, Vec<(TableFile, KnownFile)>) {
    let engine = world.backend.engine().unwrap();
    let mut table = RocksTable::create(&engine, "table").unwrap();
    // Several files.
    let mut middle = numbers.start;
    while middle < numbers.end {
        let mut changes = Changes::default();
        for number in middle..numbers.end.min(middle + 100) {
            changes.put(&[&group(number as u32 % 128)[..], &number.to_be_bytes()].concat(), &number.to_le_bytes());
        }
        table.write(&changes).unwrap();
        table.freeze(|_| unreachable!("it is not written as rows")).unwrap();
        middle += 100;
    }
    let frozen = table.freeze(|_| unreachable!("it is not written as rows")).unwrap();
    let packer = Packer::eager(Arc::new(world.store.clone()), Handle::current());
    let to = Destination { packer: &packer, attempt: Attempt(1), run: Run(1), epoch: Epoch(1), name: "table".into() };
    let (files, _) = upload(&to, &frozen).await.unwrap();
    (frozen, files)
}

fn entries(world: &World, restored: &Restored) -> BTreeSet<i64> {
    let states = restored.keyed(&OperatorId("operator".into()), all()).unwrap();
    let tables: Vec<Downloaded> = states.into_iter().filter_map(|state| state.table).collect();
    let engine = world.backend.engine().unwrap();
    let table = RocksTable::restore(&engine, "again", GROUPS, &tables, i64::MIN).unwrap();
    let mut found = BTreeSet::new();
    let mut take = |_: &[u8], value: &[u8]| {
        found.insert(i64::from_le_bytes(value.try_into().unwrap()));
        Ok(())
    };
    table.scan_groups(GROUPS, &mut take).unwrap();
    found
}

fn size(file: &TableFile) -> u64 {
    file.pieces.iter().map(|piece| piece.bytes).sum()
}

fn kept(files: &[(TableFile, KnownFile)]) -> Named {
    let files = files.iter().map(|(file, copy)| (file.pieces.clone(), copy.clone())).collect();
    Named { parts: Vec::new(), files }
}

#[tokio::test]
async fn files_of_a_table_are_linked_and_only_those_that_are_missing_or_changed_are_fetched() {
    let world = World::new(StateBackend::RocksDb);
    let (frozen, files) = table(&world, 0..300).await;
    let paths: Vec<_> = frozen.files().unwrap().into_iter().map(|file| file.path).collect();
    drop(frozen);
    assert!(files.len() > 3, "{files:?}");
    let state = SubtaskState { table: files.iter().map(|(file, _)| file.clone()).collect(), ..SubtaskState::default() };
    let (total, first) = (state.table.iter().map(size).sum::<u64>(), size(&files[0].0));

    world.at_hand.completed(kept(&files[1..]));
    let (restored, supply) = world.load(&state).await;
    assert_eq!(entries(&world, &restored), (0..300).collect());
    assert_eq!(came(&supply), (0, total - first, first), "one was not there");

    world.at_hand.completed(kept(&files));
    fs::write(&paths[0], b"somebody has written to it").unwrap();
    let (restored, supply) = world.load(&state).await;
    assert_eq!(entries(&world, &restored), (0..300).collect());
    assert_eq!(came(&supply), (0, total - first, first), "one was changed");

    // What was fetched in its place is there for the next try.
    world.cut_off();
    let (restored, supply) = world.load(&state).await;
    assert_eq!(entries(&world, &restored), (0..300).collect());
    assert_eq!(came(&supply), (0, total, 0));
}

#[tokio::test]
async fn what_is_kept_of_a_table_leaves_the_disk_when_the_next_checkpoint_completes() {
    let world = World::new(StateBackend::RocksDb);
    let (frozen, files) = table(&world, 0..10).await;
    world.at_hand.completed(kept(&files));
    let folder = frozen.folder().path().to_owned();
    drop((frozen, files));
    assert!(folder.is_dir());
    world.at_hand.completed(Named::default());
    assert!(!folder.exists());
}

#[test]
fn another_number_of_key_groups_is_refused() {
    let takes = |max_parallelism| Takes { operators: BTreeMap::new(), max_parallelism, drops_the_rest: true };
    let manifest = sample::manifest(1, 1, Vec::new());
    assert!(takes(128).fits(&manifest).is_ok());
    for other in [127, 129, 256] {
        let error = takes(other).fits(&manifest).unwrap_err().to_string();
        assert!(error.contains(&format!("found {other}; the checkpoint was taken with 128")), "{error}");
    }
}
