use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::checkpoint::{sample, store::memory::MemoryStore};

fn file() -> impl Strategy<Value = FileRef> {
    ("[a-z]{1,8}", prop::option::of(0..1_u64 << 50), prop::collection::vec(any::<u8>(), 0..20))
        .prop_map(|(name, offset, bytes)| FileRef { offset, ..FileRef::of(ObjectPath(format!("data/{name}")), &bytes) })
}

fn part() -> impl Strategy<Value = PartRef> {
    (".*", any::<i64>(), 0..1_u64 << 50, file(), any::<u32>()).prop_map(|(kind, tag, rows, file, batch)| PartRef {
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
    (".*", ".*", any::<u32>(), any::<u64>(), any::<u32>(), 0..1_u64 << 50, file()).prop_map(
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
                epoch: Epoch(epoch % LAST_EPOCH.0),
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

#[tokio::test]
async fn an_epoch_that_no_job_comes_to_is_refused() {
    let store = MemoryStore::new();
    let mut manifest = crate::checkpoint::sample::manifest(1, 1, Vec::new());
    manifest.epoch = Epoch(u64::MAX - 1);
    let checkpoint = crate::checkpoint::sample::write(&store, &manifest);
    let error = Manifest::read(&store, &checkpoint).await.unwrap_err().to_string();
    assert!(error.contains("its epoch is 18446744073709551614"), "{error}");
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
fn sizes_that_can_not_be_are_damage() {
    let file = |offset, bytes| FileRef { offset, bytes, ..FileRef::of(ObjectPath("data/f".into()), b"") };
    let with = |files: Vec<FileRef>, rows| {
        let mut manifest = sample::manifest(1, 1, files);
        manifest.operators[0].subtasks[0].parts.iter_mut().for_each(|part| part.rows = rows);
        let (bytes, reference) = manifest.encode().unwrap();
        Manifest::decode(&reference.manifest, &bytes)
            .map(|manifest| manifest.bytes())
            .map_err(|error| error.to_string())
    };
    assert_eq!(with(vec![file(None, 1 << 60), file(None, 1 << 61)], 1 << 60), Ok((1 << 60) + (1 << 61)));
    for (files, rows) in [
        (vec![file(None, u64::MAX), file(None, 1)], 1),
        (vec![file(Some(u64::MAX), 1)], 1),
        (vec![file(None, 1), file(None, 2)], 1 << 63),
    ] {
        let refused = with(files, rows).unwrap_err();
        assert!(refused.contains("data/00000001/000000000001/manifest.json"), "{refused}");
        assert!(refused.contains("more than there can be"), "{refused}");
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

/// A manifest that has everything.
fn whole() -> Manifest {
    let piece =
        FileRef { offset: Some(7), ..FileRef::of(ObjectPath("data/00000002/000000000006/shared-0".into()), b"rows") };
    let part = PartRef { kind: "keys".into(), tag: -60_000, rows: 3, file: piece.clone(), batch: 1 };
    let table = TableFile { name: "000012.sst".into(), pieces: vec![piece] };
    let subtask = SubtaskState { value: json!({ "watermark": i64::MIN }), parts: vec![part], table: vec![table] };
    let written_as =
        WrittenAs { name: "window over sales".into(), within: vec!["totals".into()], source: None, columns: None };
    let operator = |id: &str, kind, written_as| {
        let subtasks = vec![subtask.clone(), SubtaskState::default()];
        OperatorState { id: OperatorId(id.into()), kind, written_as, subtasks }
    };
    let operators = vec![
        operator("source-orders", StateKind::Source, None),
        operator("deduplicate", StateKind::Deduplicate, None),
        operator("window", StateKind::WindowAggregate, Some(written_as)),
        operator("exchange-window", StateKind::InFlight, None),
    ];
    let id = ChunkId { lineage: "sales-9f2c".into(), sink: "totals".into(), slot: 1, epoch: Epoch(7), index: 0 };
    let file = FileRef::of(ObjectPath("data/00000002/000000000007/wal-1-0.arrow".into()), b"chunk");
    let chunks = vec![ChunkRef { id, rows: 5, file }];
    Manifest {
        format: Manifest::format_of(&operators, &chunks),
        job: "sales".into(),
        lineage: "sales-9f2c".into(),
        epoch: Epoch(7),
        attempt: Attempt(2),
        revision: Revision(4),
        trigger: Trigger::Interval,
        max_parallelism: 128,
        created_at_ms: 1_767_225_600_123,
        operators,
        chunks,
        sinks: [("totals".to_owned(), [("kafka.topic".to_owned(), "out".to_owned())].into())].into(),
        beginning: Some(Beginning { from: "s3://bucket/old".into(), sha256: "ab12".into() }),
    }
}

const OF_A_SUBTASK: &str = concat!(
    r#""subtasks":[{"value":{"watermark":-9223372036854775808},"#,
    r#""parts":[{"kind":"keys","tag":-60000,"rows":3,"file":{"path":"data/00000002/000000000006/shared-0","#,
    r#""offset":7,"bytes":4,"xxh3":"@rows"},"batch":1}],"#,
    r#""table":[{"name":"000012.sst","pieces":[{"path":"data/00000002/000000000006/shared-0","#,
    r#""offset":7,"bytes":4,"xxh3":"@rows"}]}]},{"value":null,"parts":[]}]"#,
);

/// Checkpoints of today are read by the programs of tomorrow.
#[test]
fn the_bytes_of_a_manifest_are_pinned() {
    let expected = concat!(
        r#"{"format":5,"job":"sales","lineage":"sales-9f2c","epoch":7,"attempt":2,"revision":4,"trigger":"Interval","#,
        r#""maxParallelism":128,"createdAtMs":1767225600123,"operators":["#,
        r#"{"id":"source-orders","kind":"Source",@subtasks},"#,
        r#"{"id":"deduplicate","kind":"Deduplicate",@subtasks},"#,
        r#"{"id":"window","kind":"WindowAggregate","#,
        r#""writtenAs":{"name":"window over sales","within":["totals"]},@subtasks},"#,
        r#"{"id":"exchange-window","kind":"InFlight",@subtasks}],"#,
        r#""chunks":[{"id":{"lineage":"sales-9f2c","sink":"totals","slot":1,"epoch":7,"index":0},"rows":5,"#,
        r#""file":{"path":"data/00000002/000000000007/wal-1-0.arrow","bytes":5,"xxh3":"@chunk"}}],"#,
        r#""sinks":{"totals":{"kafka.topic":"out"}},"#,
        r#""beginning":{"from":"s3://bucket/old","sha256":"ab12"}}"#,
    );
    let expected = expected
        .replace("@subtasks", OF_A_SUBTASK)
        .replace("@rows", "896f249d4a4013ec")
        .replace("@chunk", "751ccf1c95400518");
    let (bytes, reference) = whole().encode().unwrap();
    assert_eq!(std::str::from_utf8(&bytes), Ok(expected.as_str()));
    assert_eq!(reference.manifest.0, "data/00000002/000000000007/ab12/manifest.json");
    assert_eq!(reference.sha256, "42d9d73ca8e4b57e1bf9e0aa7383db2e81770c2e05115b7a2d0f87c9dcac8c75");
    assert_eq!(Manifest::decode(&reference.manifest, expected.as_bytes()).unwrap(), whole());

    let plain = sample::manifest(2, 7, Vec::new()).encode().unwrap().0;
    let expected = concat!(
        r#"{"format":1,"job":"job","lineage":"job","epoch":7,"attempt":2,"revision":1,"trigger":"Interval","#,
        r#""maxParallelism":128,"createdAtMs":0,"operators":[{"id":"operator","kind":"Deduplicate","#,
        r#""subtasks":[{"value":null,"parts":[]}]}],"chunks":[]}"#,
    );
    assert_eq!(std::str::from_utf8(&plain), Ok(expected), "what is not there is not written");
}
