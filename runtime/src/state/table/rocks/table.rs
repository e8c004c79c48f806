//! The table itself.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use rocksdb::{
    ColumnFamilyDescriptor, DB, DEFAULT_COLUMN_FAMILY_NAME, IngestExternalFileOptions, Options, SstFileWriter,
    WriteBatch, WriteOptions, checkpoint::Checkpoint, properties,
};

use super::{
    engine::{Engine, Open},
    files::{self, Downloaded, Uploaded},
    frozen::{Encode, FrozenTable},
    lookup::CACHED,
    options,
};
use crate::state::{
    local::Scratch,
    table::{Changes, Table, TableError, Visit, group, time_of},
};

/// One database. Clones are the same one; with the last of them it is gone, and its files.
#[derive(Clone)]
pub struct RocksTable {
    inner: Arc<Inner>,
}

struct Inner {
    // Closed before its folder goes.
    db: DB,
    folder: Scratch,
    engine: Engine,
    oldest: Arc<AtomicI64>,
    uploaded: Arc<Uploaded>,
    write: WriteOptions,
    _open: Open,
}

/// Names what failed in `folder`.
pub(super) fn at(action: &'static str, folder: &Path) -> impl FnOnce(rocksdb::Error) -> TableError {
    let path = folder.to_owned();
    move |cause| TableError::Rocks { action, path, cause }
}

fn open(folder: &Path, mut options: Options, is_new: bool) -> Result<DB, TableError> {
    options.create_if_missing(is_new);
    let default = ColumnFamilyDescriptor::new(DEFAULT_COLUMN_FAMILY_NAME, options.clone());
    DB::open_cf_descriptors(&options, folder, [default]).map_err(at("open", folder))
}

/// Opens a table that nobody writes to any more; several may have it open.
pub(super) fn open_to_read(engine: &Engine, folder: &Path) -> Result<DB, TableError> {
    let options = options::table(engine, Arc::new(AtomicI64::new(i64::MIN)));
    DB::open_for_read_only(&options, folder, false).map_err(at("open", folder))
}

/// Hands over the entries from a key on and before another.
pub(super) fn walk(
    db: &DB,
    folder: &Path,
    from: Vec<u8>,
    to: Option<Vec<u8>>,
    visit: &mut Visit<'_>,
) -> Result<(), TableError> {
    let mut entries = db.raw_iterator_opt(options::walk(from, to));
    entries.seek_to_first();
    while let Some((key, value)) = entries.item() {
        visit(key, value)?;
        entries.next();
    }
    entries.status().map_err(at("read", folder))
}

impl RocksTable {
    /// An empty table, in a folder whose name begins with `name`.
    pub fn create(engine: &Engine, name: &str) -> Result<Self, TableError> {
        Self::open(engine, engine.scratch(name)?, true, Uploaded::default())
    }

    /// A table of some key groups, with what former tables have of them.
    pub fn restore(
        engine: &Engine,
        name: &str,
        groups: Range<u32>,
        former: &[Downloaded],
        oldest: i64,
    ) -> Result<Self, TableError> {
        let folder = engine.scratch(name)?;
        let mut table = match former {
            [same] if same.groups() == groups => {
                let uploaded = same.place_in(folder.path())?;
                Self::open(engine, folder, false, uploaded)?
            }
            others => {
                let table = Self::open(engine, folder, true, Uploaded::default())?;
                others.iter().try_for_each(|former| table.copy(former, groups.clone(), oldest))?;
                table
            }
        };
        table.forget(oldest)?;
        Ok(table)
    }

    fn open(engine: &Engine, folder: Scratch, is_new: bool, uploaded: Uploaded) -> Result<Self, TableError> {
        let oldest = Arc::new(AtomicI64::new(i64::MIN));
        let db = open(folder.path(), options::table(engine, oldest.clone()), is_new)?;
        let (open, uploaded, write) = (engine.open(), Arc::new(uploaded), options::write());
        let engine = engine.clone();
        Ok(Self { inner: Arc::new(Inner { db, folder, engine, oldest, uploaded, write, _open: open }) })
    }

    /// Takes over what a former table has of some key groups.
    fn copy(&self, former: &Downloaded, groups: Range<u32>, oldest: i64) -> Result<(), TableError> {
        self.take_in(|add| {
            former.scan_groups(&self.inner.engine, groups, &mut |key, value| {
                let is_forgotten = oldest > i64::MIN && time_of(value).is_some_and(|time| time < oldest);
                if is_forgotten { Ok(()) } else { add(key, value) }
            })
        })
    }

    /// Takes in entries that `hand_over` gives in the order of their keys, each key once: as files, past the write buffer.
    pub fn take_in(&self, hand_over: impl FnOnce(&mut Visit<'_>) -> Result<(), TableError>) -> Result<(), TableError> {
        let options = options::table(&self.inner.engine, self.inner.oldest.clone());
        let folder = self.inner.folder.beside("files")?;
        let failed = || at("write a file for", self.inner.folder.path());
        let mut writer = SstFileWriter::create(&options);
        let mut files: Vec<PathBuf> = Vec::new();
        let mut is_open = false;
        hand_over(&mut |key, value| {
            if !is_open {
                let file = folder.path().join(format!("{}.sst", files.len()));
                writer.open(&file).map_err(failed())?;
                files.push(file);
                is_open = true;
            }
            writer.put(key, value).map_err(failed())?;
            if writer.file_size() >= options::FILE_BYTES {
                writer.finish().map_err(failed())?;
                is_open = false;
            }
            Ok(())
        })?;
        if is_open {
            writer.finish().map_err(failed())?;
        }
        if files.is_empty() {
            return Ok(());
        }
        let mut take = IngestExternalFileOptions::default();
        take.set_move_files(true);
        let folder = self.inner.folder.path();
        self.inner.db.ingest_external_file_opts(&take, files).map_err(at("take files into", folder))
    }

    /// About how many entries there are, those that were forgotten and have not vanished yet among them.
    pub fn count(&self) -> u64 {
        self.inner.db.property_int_value(properties::ESTIMATE_NUM_KEYS).ok().flatten().unwrap_or(0)
    }

    pub(super) fn db(&self) -> &DB {
        &self.inner.db
    }

    pub(super) fn folder(&self) -> &Path {
        self.inner.folder.path()
    }

    /// The table as it is now. What is in memory is written first, and nothing is copied.
    pub fn freeze(&self, encode: Encode) -> Result<FrozenTable, TableError> {
        let folder = self.inner.folder.beside("frozen")?;
        let files = folder.path().join("files");
        let failed = || at("freeze", self.inner.folder.path());
        let checkpoint = Checkpoint::new(&self.inner.db).map_err(failed())?;
        checkpoint.create_checkpoint(&files).map_err(failed())?;
        let names: Vec<String> = files::list(&files)?.into_iter().map(|file| file.name).collect();
        self.inner.uploaded.retain(&names);
        let (engine, uploaded) = (self.inner.engine.clone(), self.inner.uploaded.clone());
        let oldest = self.inner.oldest.load(Ordering::Relaxed);
        Ok(FrozenTable { engine, folder: Arc::new(folder), files, uploaded, oldest, encode })
    }
}

impl Table for RocksTable {
    fn get_many(
        &self,
        keys: &[&[u8]],
        found: &mut dyn FnMut(usize, Option<&[u8]>) -> Result<(), TableError>,
    ) -> Result<(), TableError> {
        self.look_up(keys, CACHED, found)
    }

    fn write(&mut self, changes: &Changes) -> Result<(), TableError> {
        let mut batch = WriteBatch::default();
        for (key, value) in changes.iter() {
            match value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            }
        }
        self.inner.db.write_opt(batch, &self.inner.write).map_err(at("write to", self.inner.folder.path()))
    }

    fn scan_prefix(&self, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), TableError> {
        walk(&self.inner.db, self.inner.folder.path(), prefix.to_vec(), after(prefix), visit)
    }

    fn scan_groups(&self, groups: Range<u32>, visit: &mut Visit<'_>) -> Result<(), TableError> {
        let (from, to) = (group(groups.start).to_vec(), group(groups.end).to_vec());
        if from >= to { Ok(()) } else { walk(&self.inner.db, self.inner.folder.path(), from, Some(to), visit) }
    }

    fn forget(&mut self, oldest: i64) -> Result<(), TableError> {
        self.inner.oldest.fetch_max(oldest, Ordering::Relaxed);
        Ok(())
    }
}

/// The first key after all that begin with `prefix`; none if there is no such key.
fn after(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte < 0xff)?;
    let mut after = prefix.get(..=last)?.to_vec();
    *after.last_mut()? += 1;
    Some(after)
}
