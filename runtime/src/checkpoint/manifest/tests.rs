use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::checkpoint::store::memory::MemoryStore;

fn file() -> impl Strategy<Value = FileRef> {
    ("[a-z]{1,8}", any::<Option<u64>>(), prop::collection::vec(any::<u8>(), 0..20))
        .prop_map(|(name, offset, bytes)| FileRef { offset, ..FileRef::of(ObjectPath(format!("data/{name}")), &bytes) })
}

fn part() -> impl Strategy<Value = PartRef> {
    (".*", any::<i64>(), any::<u64>(), file(), any::<u32>()).prop_map(|(kind, tag, rows, file, batch)| PartRef {
        kind,
        tag,
        rows,
        file,
        batch,
    })
}

/// Values as operators write them: the extremes of a watermark, the splits of a source.
fn value() -> impl Strategy<Value = serde_json::Value> {
    prop_oneof![
        Just(serde_json::Value::Null),
        any::<i64>().prop_map(|watermark| json!({ "watermark": watermark })),
        prop::collection::vec((".*", any::<u64>()), 0..3).prop_map(|splits| json!({ "splits": splits })),
    ]
}

fn operator() -> impl Strategy<Value = OperatorState> {
    let parts = prop::collection::vec(part(), 0..3);
    let file = (".*", prop::collection::vec(file(), 1..3)).prop_map(|(name, pieces)| TableFile { name, pieces });
    let table = prop::collection::vec(file, 0..3);
    let subtask = (value(), parts, table).prop_map(|(value, parts, table)| SubtaskState { value, parts, table });
    (".*", prop::collection::vec(subtask, 0..3)).prop_map(|(id, subtasks)| OperatorState {
        id: OperatorId(id),
        kind: StateKind::WindowAggregate,
        written_as: None,
        subtasks,
    })
}

fn chunk() -> impl Strategy<Value = ChunkRef> {
    (".*", ".*", any::<u32>(), any::<u64>(), any::<u32>(), any::<u64>(), file()).prop_map(
        |(lineage, sink, slot, epoch, index, rows, file)| ChunkRef {
            id: ChunkId { lineage, sink, slot, epoch: Epoch(epoch), index },
            rows,
            file,
        },
    )
}

fn manifest() -> impl Strategy<Value = Manifest> {
    let trigger =
        prop_oneof![Just(Trigger::Interval), Just(Trigger::Savepoint), Just(Trigger::Drain), Just(Trigger::Finish)];
    let counters = prop::array::uniform4(any::<u64>());
    let lists = (prop::collection::vec(operator(), 0..3), prop::collection::vec(chunk(), 0..3));
    (".*", ".*", counters, trigger, any::<u32>(), lists).prop_map(
        |(job, lineage, [epoch, attempt, revision, created_at_ms], trigger, max_parallelism, (operators, chunks))| {
            Manifest {
                format: Manifest::format_of(&operators, &chunks),
                job,
                lineage,
                epoch: Epoch(epoch),
                attempt: Attempt(attempt),
                revision: Revision(revision),
                trigger,
                max_parallelism,
                created_at_ms,
                operators,
                chunks,
                sinks: Destinations::new(),
                beginning: None,
            }
        },
    )
}

fn read(bytes: impl Into<Bytes>, checkpoint: &CheckpointRef) -> Result<Manifest, ManifestError> {
    let store = MemoryStore::new();
    store.plant(&checkpoint.manifest.0, bytes);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(Manifest::read(&store, checkpoint))
}

/// A manifest of these bytes, which the log vouches for.
fn vouched(bytes: &[u8]) -> CheckpointRef {
    CheckpointRef { epoch: Epoch(1), manifest: ObjectPath("data/1/1/manifest.json".into()), sha256: sha256(bytes) }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_manifest_is_read_as_it_was_written(manifest in manifest()) {
        let (bytes, checkpoint) = manifest.encode().unwrap();
        prop_assert_eq!(checkpoint.epoch, manifest.epoch);
        prop_assert_eq!(parse_folder(&checkpoint.manifest), Some((manifest.attempt, manifest.epoch)));
        prop_assert_eq!(read(bytes, &checkpoint).unwrap(), manifest);
    }

    #[test]
    fn a_damaged_byte_is_refused(manifest in manifest(), at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let (bytes, checkpoint) = manifest.encode().unwrap();
        let mut damaged = bytes.to_vec();
        damaged[at.index(bytes.len())] ^= 1_u8 << bit;
        let error = read(damaged, &checkpoint).unwrap_err();
        prop_assert!(matches!(error, ManifestError::Damaged { .. }), "{error}");
    }

    #[test]
    fn a_file_that_was_changed_cut_or_extended_does_not_match(
        bytes in prop::collection::vec(any::<u8>(), 1..50),
        at in any::<prop::sample::Index>(),
    ) {
        let at = at.index(bytes.len());
        let file = FileRef::of(ObjectPath("data/f".into()), &bytes);
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        let extended = [&bytes[..], &[0]].concat();
        prop_assert!(file.matches(&bytes));
        prop_assert!(!file.matches(&changed) && !file.matches(&bytes[..at]) && !file.matches(&extended));
    }

    #[test]
    fn every_file_that_is_named_is_needed(manifest in manifest()) {
        let files: Vec<ObjectPath> = manifest.files().collect();
        prop_assert!(files.contains(&manifest.path()));
        let subtasks = || manifest.operators.iter().flat_map(|o| &o.subtasks);
        let parts = subtasks().flat_map(|subtask| &subtask.parts).map(|part| &part.file);
        let pieces = subtasks().flat_map(|subtask| &subtask.table).flat_map(|file| &file.pieces);
        let named = parts.chain(pieces).chain(manifest.chunks.iter().map(|chunk| &chunk.file));
        prop_assert!(named.into_iter().all(|file| files.contains(&file.path)));
    }
}

#[test]
fn a_manifest_of_another_format_is_refused_by_its_number_whatever_else_it_holds() {
    let store = MemoryStore::new();
    let missing = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let missing = missing.block_on(Manifest::read(&store, &vouched(b""))).unwrap_err();
    assert!(matches!(missing, ManifestError::Missing { .. }), "{missing}");
    for (found, words) in [
        (
            json!({ "format": 6, "epochs": "as nobody writes them yet" }),
            "it is of format 6, this program reads formats 1 to 5",
        ),
        (json!({ "format": 1 }), "missing field"),
        (json!({ "job": "store-sales" }), "missing field `format`"),
    ] {
        let bytes = serde_json::to_vec(&found).unwrap();
        let error = read(bytes.clone(), &vouched(&bytes)).unwrap_err().to_string();
        assert!(error.contains(words) && error.contains("data/1/1/manifest.json"), "{found}: {error}");
    }
}

/// A program that does not know of tables reads format 1, one that does not know of rows in flight format 2, one that does
/// not know of pieces format 3, one that does not know of names format 4; none must go on without them, nor refuse a manifest
/// that has none.
#[test]
fn only_a_manifest_with_tables_rows_in_flight_pieces_or_names_is_of_the_format_that_has_them() {
    let file = FileRef::of(ObjectPath("data/f".into()), b"");
    let mut subtask = SubtaskState::default();
    let format = |subtask: &SubtaskState| {
        let (id, kind) = (OperatorId("operator".into()), StateKind::Deduplicate);
        Manifest::format_of(
            &[OperatorState { id, kind, written_as: None, subtasks: vec![SubtaskState::default(), subtask.clone()] }],
            &[],
        )
    };
    assert_eq!(format(&subtask), 1);
    subtask.table.push(TableFile { name: "1.sst".into(), pieces: vec![file.clone()] });
    assert_eq!(format(&subtask), 2);
    assert_eq!(subtask.files().count(), 1);
    let (id, kind) = (OperatorId("exchange-operator".into()), StateKind::InFlight);
    let in_flight = [OperatorState { id, kind, written_as: None, subtasks: vec![subtask.clone()] }];
    assert_eq!(Manifest::format_of(&in_flight, &[]), 3);

    let piece = FileRef { offset: Some(0), ..file.clone() };
    let id = ChunkId { lineage: "job".into(), sink: "out".into(), slot: 0, epoch: Epoch(1), index: 0 };
    let chunk = |file| ChunkRef { id: id.clone(), rows: 1, file };
    assert_eq!(Manifest::format_of(&in_flight, &[chunk(file)]), 3);
    assert_eq!(Manifest::format_of(&in_flight, &[chunk(piece.clone())]), 4);
    subtask.table[0].pieces.push(piece);
    assert_eq!(format(&subtask), 4);
    let named = OperatorState { written_as: Some(WrittenAs::default()), ..in_flight[0].clone() };
    assert_eq!(Manifest::format_of(&[named], &[]), 5);
}

#[test]
fn a_whole_file_is_written_down_as_it_always_was_and_a_piece_with_its_place() {
    let whole = FileRef::of(ObjectPath("data/f".into()), b"rows");
    let piece = FileRef { offset: Some(7), ..whole.clone() };
    assert_eq!(serde_json::to_value(&whole).unwrap(), json!({ "path": "data/f", "bytes": 4, "xxh3": whole.xxh3 }));
    assert_eq!(serde_json::to_value(&piece).unwrap()["offset"], 7);
    assert_eq!((whole.to_string(), piece.to_string()), ("data/f".to_owned(), "data/f[7..11]".to_owned()));
    assert_eq!(bytes_of([&whole, &piece, &piece]), 8, "each is counted once");
}
