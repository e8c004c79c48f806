use std::{fs, sync::Arc};

use arrow::{
    array::{
        ArrayRef, AsArray, Decimal128Array, RecordBatch, StringArray, TimestampMicrosecondArray,
        TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray,
    },
    compute::cast,
    datatypes::{DataType, Field, Int64Type, Schema, TimeUnit},
};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use tidegate_crds::{FileFormat, FilesSink};

use super::FilesPublisher;
use crate::{
    checkpoint::{
        CommitPermit,
        store::{ObjectPath, Store, memory::MemoryStore},
    },
    ids::Epoch,
    sink::{Chunk, ChunkId, Preflight, Publisher, SinkError},
};

fn chunk(lineage: &str, index: u32, stores: &[&str]) -> Chunk {
    let schema = Arc::new(Schema::new(vec![
        Field::new("store", DataType::Utf8, false),
        Field::new("total", DataType::Decimal128(22, 2), true),
        Field::new("window_start", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), false),
    ]));
    let count = stores.len() as i64;
    let rows = RecordBatch::try_new(
        schema.clone(),
        vec![
            Arc::new(StringArray::from(stores.to_vec())),
            Arc::new(
                (0..count)
                    .map(|n| (n > 0).then_some(i128::from(n) * 105))
                    .collect::<Decimal128Array>()
                    .with_precision_and_scale(22, 2)
                    .unwrap(),
            ),
            Arc::new(TimestampMillisecondArray::from_iter_values((0..count).map(|n| n * 60_000)).with_timezone("UTC")),
        ],
    );
    let id = ChunkId { lineage: lineage.into(), sink: "sales".into(), slot: 3, epoch: Epoch(12), index };
    Chunk { id, schema, rows: vec![rows.unwrap()], checksum: String::new() }
}

fn publisher(folder: &std::path::Path, format: FileFormat) -> FilesPublisher {
    FilesPublisher::new(
        "sales",
        &FilesSink { path: folder.join("out").to_str().unwrap().to_owned(), shared: false, format },
    )
}

/// A CAST in SQL gives instants without a zone; all are in UTC.
#[test]
fn instants_in_parquet_are_in_utc_whatever_made_them() {
    let at = [i64::MAX, 1, i64::MIN];
    let columns: [(&str, ArrayRef, TimeUnit); 4] = [
        ("s", Arc::new(TimestampSecondArray::from(vec![0, 1, -1])), TimeUnit::Millisecond),
        ("ms", Arc::new(TimestampMillisecondArray::from(at.to_vec())), TimeUnit::Millisecond),
        ("us", Arc::new(TimestampMicrosecondArray::from(at.to_vec())), TimeUnit::Microsecond),
        ("ns", Arc::new(TimestampNanosecondArray::from(at.to_vec())), TimeUnit::Nanosecond),
    ];
    let rows = columns.iter().map(|(name, values, _)| (*name, values.clone()));
    let rows = RecordBatch::try_from_iter(rows).unwrap();
    let chunk = Chunk { schema: rows.schema(), rows: vec![rows], ..chunk("job", 0, &[]) };
    let file = super::content::encode(FileFormat::Parquet, &chunk).unwrap();
    let read = ParquetRecordBatchReader::try_new(Bytes::from(file), 1024).unwrap().next().unwrap().unwrap();
    for ((name, values, unit), found) in columns.iter().zip(read.columns()) {
        assert_eq!(*found.data_type(), DataType::Timestamp(*unit, Some("UTC".into())), "{name}");
        let number = |values: &ArrayRef| cast(values, &DataType::Int64).unwrap();
        if *name == "s" {
            assert_eq!(number(found).as_primitive::<Int64Type>().values(), &[0, 1_000, -1_000]);
        } else {
            assert_eq!(&number(found), &number(values), "{name}");
        }
    }
}

fn permit() -> CommitPermit {
    CommitPermit::for_test(Epoch(12))
}

fn names(folder: &std::path::Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder.join("out"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_chunk_published_twice_is_there_once() {
    for (format, extension) in [(FileFormat::JsonLines, "jsonl"), (FileFormat::Parquet, "parquet")] {
        let folder = tempfile::tempdir().unwrap();
        let publisher = publisher(folder.path(), format);
        let chunks = [chunk("job", 0, &["a", "b"]), chunk("job", 1, &["c"])];
        publisher.preflight(&chunks[0].schema, 1, Preflight::default()).await.unwrap();
        for _ in 0..3 {
            for chunk in &chunks {
                publisher.publish(&permit(), chunk).await.unwrap();
            }
        }
        let expected: Vec<String> =
            (0..2).map(|index| format!("sales-job-0003-0000000012-{index:04}.{extension}")).collect();
        assert_eq!(names(folder.path()), expected);
        let bytes = fs::read(folder.path().join("out").join(&expected[0])).unwrap();
        if format == FileFormat::JsonLines {
            let lines = "{\"store\":\"a\",\"total\":null,\"window_start\":\"1970-01-01T00:00:00.000Z\"}\n\
                         {\"store\":\"b\",\"total\":1.05,\"window_start\":\"1970-01-01T00:01:00.000Z\"}\n";
            assert_eq!(String::from_utf8(bytes).unwrap(), lines);
        } else {
            let mut reader = ParquetRecordBatchReader::try_new(Bytes::from(bytes), 1024).unwrap();
            assert_eq!(reader.next().unwrap().unwrap().columns(), chunks[0].rows[0].columns());
        }
    }
}

#[tokio::test]
async fn jobs_share_a_folder() {
    for format in [FileFormat::JsonLines, FileFormat::Parquet] {
        let folder = tempfile::tempdir().unwrap();
        let publisher = publisher(folder.path(), format);
        let (theirs, ours) = (chunk("theirs", 0, &["a"]), chunk("ours", 0, &["b"]));
        publisher.preflight(&theirs.schema, 1, Preflight::default()).await.unwrap();
        publisher.publish(&permit(), &theirs).await.unwrap();
        publisher.publish(&permit(), &ours).await.unwrap();
        assert_eq!(names(folder.path()).len(), 2);
    }
}

/// Where this publisher would put the chunk, and where earlier builds did.
fn paths(folder: &std::path::Path, chunk: &Chunk, extension: &str) -> [std::path::PathBuf; 2] {
    let new = format!("sales-{}-0003-0000000012-{:04}.{extension}", chunk.id.lineage, chunk.id.index);
    [new, format!("sales-0003-0000000012-{:04}.{extension}", chunk.id.index)].map(|name| folder.join("out").join(name))
}

/// A publisher, a chunk that it has published, and the places of its file.
async fn published(
    folder: &std::path::Path,
    format: FileFormat,
    extension: &str,
) -> (FilesPublisher, Chunk, [std::path::PathBuf; 2]) {
    let (publisher, chunk) = (publisher(folder, format), chunk("job", 0, &["a", "b"]));
    publisher.preflight(&chunk.schema, 1, Preflight::default()).await.unwrap();
    publisher.publish(&permit(), &chunk).await.unwrap();
    let places = paths(folder, &chunk, extension);
    (publisher, chunk, places)
}

#[tokio::test]
async fn what_earlier_builds_published_is_not_published_again() {
    for (format, extension) in [(FileFormat::JsonLines, "jsonl"), (FileFormat::Parquet, "parquet")] {
        let folder = tempfile::tempdir().unwrap();
        let (publisher, chunk, [new, former]) = published(folder.path(), format, extension).await;
        fs::rename(new, former).unwrap();
        publisher.publish(&permit(), &chunk).await.unwrap();
        assert_eq!(names(folder.path()), [format!("sales-0003-0000000012-0000.{extension}")]);
    }
}

#[tokio::test]
async fn a_file_that_an_earlier_version_spelled_otherwise_is_the_chunk() {
    let folder = tempfile::tempdir().unwrap();
    let (publisher, chunk, [new, former]) = published(folder.path(), FileFormat::JsonLines, "jsonl").await;
    let otherwise = fs::read_to_string(&new).unwrap().replace("\":", "\" : ").replace("1.05", "1.050");
    fs::write(&new, &otherwise).unwrap();
    publisher.publish(&permit(), &chunk).await.unwrap();
    fs::rename(&new, &former).unwrap();
    publisher.publish(&permit(), &chunk).await.unwrap();
    assert_eq!(fs::read_to_string(&former).unwrap(), otherwise);
    assert_eq!(names(folder.path()).len(), 1);
}

#[tokio::test]
async fn other_rows_under_a_chunk_s_name_are_refused_and_stay() {
    for (format, extension) in [(FileFormat::JsonLines, "jsonl"), (FileFormat::Parquet, "parquet")] {
        let folder = tempfile::tempdir().unwrap();
        let (publisher, mine, [new, former]) = published(folder.path(), format, extension).await;
        let before = fs::read(&new).unwrap();
        let others = Chunk { checksum: "of others".into(), ..chunk("job", 0, &["c"]) };
        for _ in 0..2 {
            let error = publisher.publish(&permit(), &others).await.unwrap_err();
            assert!(matches!(error, SinkError::Refused { .. }), "{error}");
            assert!(error.to_string().contains("does not hold chunk job/sales/3/12/0"), "{error}");
            if new.exists() {
                assert_eq!(fs::read(&new).unwrap(), before);
                fs::rename(&new, &former).unwrap();
            }
        }
        assert_eq!(fs::read(&former).unwrap(), before);
        publisher.publish(&permit(), &mine).await.unwrap();
        assert_eq!(names(folder.path()).len(), 1);
    }
}

#[tokio::test]
async fn a_folder_that_is_ahead_of_the_log_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (publisher, ..) = published(folder.path(), FileFormat::JsonLines, "jsonl").await;
    publisher.take_over(&permit(), "job").await.unwrap();
    publisher.take_over(&CommitPermit::for_test(Epoch(11)), "another").await.unwrap();
    let error = publisher.take_over(&CommitPermit::for_test(Epoch(11)), "job").await.unwrap_err();
    assert!(
        error.to_string().contains("has files of epoch 12, and the newest epoch that the log owns is 11"),
        "{error}"
    );
    // A zombie, whose successor went on.
    let store = Arc::new(MemoryStore::default());
    store.create(&ObjectPath("log/00000002/000000000000".into()), "{}".into()).await.unwrap();
    publisher.take_over(&CommitPermit::for_test_in(Epoch(11), store), "job").await.unwrap();
}

#[tokio::test]
async fn what_a_kill_left_half_written_is_deleted_by_the_next_attempt_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (publisher, chunk, _) = published(folder.path(), FileFormat::JsonLines, "jsonl").await;
    let left = [".job-00000000-9f2c61d07be0a4430003", ".job-00000001-9f2c61d07be0a4430004"];
    let others = [".job-2-00000000-9f2c61d07be0a4430005", ".9f2c61d07be0a4430006", ".notes"];
    for name in left.iter().chain(&others) {
        fs::write(folder.path().join("out").join(name), "half a chu").unwrap();
    }
    // The permit is one of attempt 1, which may be writing.
    publisher.take_over(&permit(), "job").await.unwrap();
    let mut expected: Vec<&str> = others.iter().copied().chain([left[1]]).collect();
    let visible = names(folder.path()).into_iter().filter(|name| !name.starts_with('.')).collect::<Vec<_>>();
    expected.extend(visible.iter().map(String::as_str));
    expected.sort_unstable();
    assert_eq!(names(folder.path()), expected);
    publisher.publish(&permit(), &chunk).await.unwrap();
    assert_eq!(names(folder.path()), expected);
}

#[tokio::test]
async fn a_path_that_is_no_folder_is_refused_before_the_start() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("out"), "a file").unwrap();
    let error = publisher(folder.path(), FileFormat::JsonLines)
        .preflight(&chunk("j", 0, &[]).schema, 1, Preflight::default())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("is not a folder"), "{error}");
}
