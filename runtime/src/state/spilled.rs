//! Rows that had to leave memory, on the local disk.
//!
//! They are split into [`BUCKETS`] by the hash of their key, and are read bucket by bucket: so what is in several files can
//! be put together a share of the keys at a time, in the memory that one bucket needs. A file is a row of segments, each an
//! Arrow IPC file with rows of one bucket; where each begins, and its checksum, is kept in memory. The file goes when
//! nobody needs it any more.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    ops::Range,
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arrow::{
    array::{ArrayRef, RecordBatch, UInt32Array},
    compute::{concat_batches, take_record_batch},
    datatypes::SchemaRef,
    error::ArrowError,
};
use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::{
    Backend,
    file::{self, FileError},
    local::{LocalError, Scratch},
};
use crate::exchange::partition::hash_rows;

/// Into how many shares the keys are split.
pub const BUCKETS: usize = 128;

/// The rows of each bucket, by their keys.
pub fn by_bucket(keys: &[ArrayRef], rows: usize) -> Result<Vec<Vec<u32>>, ArrowError> {
    let mut rows_of = vec![Vec::new(); BUCKETS];
    for (row, hash) in (0..).zip(hash_rows(keys, rows)?) {
        // By the highest bits: the lowest make the key group, of which a subtask has only some.
        let bucket = (hash >> (u128::BITS - BUCKETS.trailing_zeros())) as usize;
        rows_of[bucket].push(row);
    }
    Ok(rows_of)
}

/// Where a subtask of an operator writes such files. Clones write to the same folder.
#[derive(Debug, Clone)]
pub struct SpillFolder {
    folder: Arc<Scratch>,
    next: Arc<AtomicU64>,
}

impl SpillFolder {
    /// A new folder on the local disk whose name begins with `name`.
    pub fn create(backend: &Backend, name: &str) -> Result<Self, LocalError> {
        Ok(Self { folder: Arc::new(backend.folder()?.scratch(name)?), next: Arc::default() })
    }

    /// Writes the rows of a batch, whose keys are `keys`.
    pub fn write(&self, batch: &RecordBatch, keys: &[ArrayRef]) -> Result<SpilledRows, FileError> {
        let rows_of = by_bucket(keys, batch.num_rows())?;
        let mut writer = self.writer(batch.schema())?;
        for (bucket, rows) in rows_of.into_iter().enumerate().filter(|(_, rows)| !rows.is_empty()) {
            writer.add(bucket, &take_record_batch(batch, &UInt32Array::from(rows))?)?;
        }
        writer.finish()
    }

    /// Writes rows that are only read all together.
    pub fn write_whole(&self, batch: &RecordBatch) -> Result<SpilledRows, FileError> {
        let mut writer = self.writer(batch.schema())?;
        writer.add(0, batch)?;
        writer.finish()
    }

    /// A new file for rows of this schema.
    pub fn writer(&self, schema: SchemaRef) -> Result<SpillWriter, FileError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.path().join(format!("{number}.rows"));
        let out = File::create_new(&path).map_err(LocalError::at("create", &path))?;
        let file = SpillFile { path, _folder: self.folder.clone() };
        let (out, segments) = (BufWriter::new(out), Vec::new());
        Ok(SpillWriter { out, rows: SpilledRows { file, schema, segments, rows: 0, bytes: 0 } })
    }
}

/// A file that is being written.
pub struct SpillWriter {
    out: BufWriter<File>,
    rows: SpilledRows,
}

impl SpillWriter {
    /// Writes rows of one bucket. Buckets come in ascending order.
    pub fn add(&mut self, bucket: usize, batch: &RecordBatch) -> Result<(), FileError> {
        let bytes = file::encode(&self.rows.schema, [batch])?;
        self.out.write_all(&bytes).map_err(LocalError::at("write", &self.rows.file.path))?;
        let (from, length) = (self.rows.bytes, bytes.len() as u64);
        self.rows.segments.push(Segment { bucket, from, length, checksum: xxh3_64(&bytes) });
        self.rows.rows += batch.num_rows();
        self.rows.bytes += length;
        Ok(())
    }

    pub fn bytes(&self) -> u64 {
        self.rows.bytes
    }

    pub fn finish(mut self) -> Result<SpilledRows, FileError> {
        self.out.flush().map_err(LocalError::at("write", &self.rows.file.path))?;
        Ok(self.rows)
    }
}

/// Rows in a file of their own.
#[derive(Debug)]
pub struct SpilledRows {
    file: SpillFile,
    schema: SchemaRef,
    segments: Vec<Segment>,
    rows: usize,
    bytes: u64,
}

#[derive(Debug)]
struct Segment {
    bucket: usize,
    from: u64,
    length: u64,
    /// XXH3, 64 bits.
    checksum: u64,
}

impl SpilledRows {
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes on the disk, and about as many in memory when they are read.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The rows of some buckets.
    pub fn of_buckets(&self, buckets: &Range<usize>) -> Result<Vec<RecordBatch>, FileError> {
        let wanted: Vec<&Segment> = self.segments.iter().filter(|segment| buckets.contains(&segment.bucket)).collect();
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let file = File::open(&self.file.path).map_err(LocalError::at("open", &self.file.path))?;
        let mut batches = Vec::with_capacity(wanted.len());
        for segment in wanted {
            batches.extend(file::decode(self.file.read(&file, segment)?)?.1);
        }
        Ok(batches)
    }

    /// All rows.
    pub fn read(&self) -> Result<RecordBatch, FileError> {
        Ok(concat_batches(&self.schema, &self.of_buckets(&(0..BUCKETS))?)?)
    }
}

/// Deleted when it is dropped.
#[derive(Debug)]
struct SpillFile {
    path: PathBuf,
    /// What the file is in.
    _folder: Arc<Scratch>,
}

impl SpillFile {
    fn read(&self, file: &File, segment: &Segment) -> Result<Bytes, LocalError> {
        let mut bytes = vec![0; segment.length as usize];
        file.read_exact_at(&mut bytes, segment.from).map_err(LocalError::at("read", &self.path))?;
        if xxh3_64(&bytes) != segment.checksum {
            let cause = io::Error::new(io::ErrorKind::InvalidData, "its bytes are not the ones that were written");
            return Err(LocalError::at("read", &self.path)(cause));
        }
        Ok(Bytes::from(bytes))
    }
}

impl Drop for SpillFile {
    fn drop(&mut self) {
        match fs::remove_file(&self.path) {
            Ok(()) => {}
            // With the whole folder, at the end of the process.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "a file is left on the local disk until the process ends");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use arrow::{array::Int64Array, datatypes::Int64Type};
    use tidegate_crds::StateBackend;

    use super::*;
    use crate::memory::MemoryLimit;

    fn batch(keys: Range<i64>) -> RecordBatch {
        RecordBatch::try_from_iter([("key", Arc::new(Int64Array::from_iter_values(keys)) as ArrayRef)]).unwrap()
    }

    fn keys(batches: &[RecordBatch]) -> Vec<i64> {
        use arrow::array::AsArray;
        let mut keys: Vec<i64> =
            batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
        keys.sort_unstable();
        keys
    }

    fn spill(parent: &tempfile::TempDir, keys: Range<i64>) -> (SpillFolder, SpilledRows) {
        let backend = Backend::new(StateBackend::Memory, parent.path().to_owned(), MemoryLimit::given(1));
        let folder = SpillFolder::create(&backend, "window").unwrap();
        let batch = batch(keys);
        let rows = folder.write(&batch, batch.columns()).unwrap();
        (folder, rows)
    }

    #[test]
    fn every_row_is_read_again_with_its_bucket_and_once() {
        let parent = tempfile::tempdir().unwrap();
        let (_folder, spilled) = spill(&parent, 0..1000);
        assert_eq!(spilled.rows(), 1000);
        let mut read = Vec::new();
        for first in (0..BUCKETS).step_by(32) {
            let share = spilled.of_buckets(&(first..first + 32)).unwrap();
            for batch in &share {
                let rows_of = by_bucket(batch.columns(), batch.num_rows()).unwrap();
                let foreign = rows_of.iter().enumerate().filter(|(bucket, _)| !(first..first + 32).contains(bucket));
                assert!(foreign.map(|(_, rows)| rows.len()).all(|rows| rows == 0));
            }
            assert!(!share.is_empty(), "a thousand keys are in all quarters");
            read.extend(share);
        }
        assert_eq!(keys(&read), (0..1000).collect::<Vec<_>>());
        assert_eq!(keys(&[spilled.read().unwrap()]), (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn a_file_that_was_changed_is_told_and_its_rows_are_not_used() {
        let parent = tempfile::tempdir().unwrap();
        let (_folder, spilled) = spill(&parent, 0..10);
        File::options().write(true).open(&spilled.file.path).unwrap().write_all_at(&[7], spilled.bytes / 2).unwrap();
        let error = crate::error_chain(&spilled.read().unwrap_err());
        assert!(error.contains("its bytes are not the ones that were written"), "{error}");
        assert!(error.contains(&*spilled.file.path.to_string_lossy()), "{error}");
    }

    #[test]
    fn the_file_goes_with_its_rows() {
        let parent = tempfile::tempdir().unwrap();
        let (_folder, spilled) = spill(&parent, 0..10);
        let path = spilled.file.path.clone();
        assert!(path.exists());
        drop(spilled);
        assert!(!path.exists());
    }
}
