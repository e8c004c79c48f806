use std::{fs, sync::Arc};

use arrow::{
    array::{Decimal128Array, RecordBatch, StringArray, TimestampMillisecondArray},
    datatypes::{DataType, Field, Schema, TimeUnit},
};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use tidegate_crds::{FileFormat, FilesSink};

use super::FilesPublisher;
use crate::{
    checkpoint::CommitPermit,
    ids::Epoch,
    sink::{Chunk, ChunkId, Publisher, SinkError},
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
    Chunk { id, schema, rows: vec![rows.unwrap()] }
}

fn publisher(folder: &std::path::Path, format: FileFormat) -> FilesPublisher {
    FilesPublisher::new("sales", &FilesSink { path: folder.join("out").to_str().unwrap().to_owned(), format })
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
        publisher.preflight(&chunks[0].schema, 1).await.unwrap();
        for _ in 0..3 {
            for chunk in &chunks {
                publisher.publish(&permit(), chunk).await.unwrap();
            }
        }
        let expected: Vec<String> =
            (0..2).map(|index| format!("sales-0003-0000000012-{index:04}.{extension}")).collect();
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
async fn a_file_of_another_job_is_refused_and_stays() {
    for format in [FileFormat::JsonLines, FileFormat::Parquet] {
        let folder = tempfile::tempdir().unwrap();
        let publisher = publisher(folder.path(), format);
        let theirs = chunk("theirs", 0, &["a"]);
        publisher.preflight(&theirs.schema, 1).await.unwrap();
        publisher.publish(&permit(), &theirs).await.unwrap();
        let before = fs::read(folder.path().join("out").join(&names(folder.path())[0])).unwrap();
        let error = publisher.publish(&permit(), &chunk("ours", 0, &["b"])).await.unwrap_err();
        assert!(matches!(error, SinkError::Refused { .. }), "{error}");
        assert!(error.to_string().contains("a folder of its own"), "{error}");
        assert_eq!(fs::read(folder.path().join("out").join(&names(folder.path())[0])).unwrap(), before);
        assert_eq!(names(folder.path()).len(), 1);
    }
}

#[tokio::test]
async fn a_path_that_is_no_folder_is_refused_before_the_start() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("out"), "a file").unwrap();
    let error =
        publisher(folder.path(), FileFormat::JsonLines).preflight(&chunk("j", 0, &[]).schema, 1).await.unwrap_err();
    assert!(error.to_string().contains("is not a folder"), "{error}");
}
