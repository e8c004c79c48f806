//! Files of tables on their way between the local disk and the checkpoint storage, piece by piece: no whole file is in
//! memory, and of all tables of the process only a few pieces at a time.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::array::RecordBatch;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use super::supply::Supply;
use crate::{
    checkpoint::{
        manifest::{FileRef, PartRef, TableFile, folder},
        pack::{Life, Packer},
        store::ObjectPath,
    },
    env,
    ids::{Attempt, Epoch, Run},
    state::{
        StateError, StatePart,
        file::{self, FileError, LocalRows},
        known_file::{Identity, KnownFile},
        local::{LocalError, Scratch},
        table::{
            TableError,
            rocks::{Downloaded, Engine, FrozenTable, LocalFile, Rows},
        },
    },
};

/// Files that one table has under way.
const AT_ONCE: usize = 4;
/// Rows of a part of a table that is written as rows.
const PART_ROWS: usize = 1 << 17;

/// Where a subtask's files go.
pub struct Destination<'a> {
    pub packer: &'a Packer,
    pub attempt: Attempt,
    pub run: Run,
    pub epoch: Epoch,
    /// What the files of the subtask's operator begin with.
    pub name: String,
}

impl Destination<'_> {
    /// Of a file that belongs to the table, and not to one epoch: the epochs that name it may come to nothing, and the
    /// next one names it all the same. The tables of two runs number their files alike.
    fn of_table(&self, name: &str) -> String {
        format!("{}{}-{}-{name}", folder(self.attempt, Epoch(0)), self.name, self.run)
    }

    fn of_epoch(&self, name: &str) -> String {
        format!("{}{}-{name}", folder(self.attempt, self.epoch), self.name)
    }
}

/// Uploads what the storage does not have yet of a table. Gives all its files, and how many bytes were new.
pub async fn upload(
    to: &Destination<'_>,
    table: &FrozenTable,
) -> Result<(Vec<(TableFile, KnownFile)>, u64), StateError> {
    let mut uploaded: Vec<(TableFile, KnownFile, u64)> = stream::iter(table.files()?)
        .map(|file| upload_new(to, table, file))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    uploaded.sort_by(|(one, ..), (other, ..)| one.name.cmp(&other.name));
    let bytes = uploaded.iter().map(|(.., bytes)| bytes).sum();
    Ok((uploaded.into_iter().map(|(file, copy, _)| (file, copy)).collect(), bytes))
}

async fn upload_new(
    to: &Destination<'_>,
    table: &FrozenTable,
    file: LocalFile,
) -> Result<(TableFile, KnownFile, u64), StateError> {
    let LocalFile { name, path, bytes, never_changes } = file;
    // Several checkpoints may be under way that have it.
    let _turn = if never_changes { Some(table.uploaded().turn(&name).await) } else { None };
    if let Some((known, identity)) = table.uploaded().get(&name) {
        return Ok((known, KnownFile::new(path, table.folder().clone(), identity), 0));
    }
    let (life, place) =
        if never_changes { (Life::Lasting, to.of_table(&name)) } else { (Life::Passing, to.of_epoch(&name)) };
    let pieces = upload_file(to.packer, table.engine(), life, &path, &place, bytes).await?;
    let (file, identity) = (TableFile { name, pieces }, Identity::of(&path).map_err(TableError::from)?);
    table.uploaded().add(file.clone(), identity);
    Ok((file, KnownFile::new(path, table.folder().clone(), identity), bytes))
}

async fn upload_file(
    packer: &Packer,
    engine: &Engine,
    life: Life,
    path: &Path,
    place: &str,
    bytes: u64,
) -> Result<Vec<FileRef>, StateError> {
    let mut pieces = Vec::new();
    let mut from = 0;
    while from < bytes || pieces.is_empty() {
        let _piece = engine.transfer().await;
        let length = (bytes - from).min(Engine::PIECE);
        let piece = read_piece(path.to_owned(), from, length).await?;
        let place = if from == 0 { place.to_owned() } else { format!("{place}.{}", pieces.len()) };
        pieces.push(packer.put(life, ObjectPath(place), piece).await.map_err(FileError::from)?);
        from += length;
    }
    Ok(pieces)
}

async fn read_piece(path: PathBuf, from: u64, length: u64) -> Result<Bytes, TableError> {
    let read = blocking(move || {
        let mut bytes = vec![0; length as usize];
        let file = File::open(&path).map_err(LocalError::at("open", &path))?;
        file.read_exact_at(&mut bytes, from).map_err(LocalError::at("read", &path))?;
        Ok::<_, TableError>(Bytes::from(bytes))
    });
    read.await?
}

/// Writes a table as rows: parts that every backend reads, each in a file, or a piece of one, of its own.
pub async fn write_rows(to: &Destination<'_>, table: FrozenTable) -> Result<Vec<PartRef>, StateError> {
    let rows = blocking(move || table.rows()).await??;
    let (mut rows, mut read) = read_part(rows).await?;
    let mut parts = Vec::new();
    while let Some((part, batch)) = read {
        let place = to.of_epoch(&format!("{}-rows-{}.arrow", part.kind, parts.len()));
        // While one is written, the next is read.
        let (written, next) = tokio::try_join!(write_part(to.packer, &part, &batch, place), read_part(rows))?;
        parts.push(written);
        (rows, read) = next;
    }
    Ok(parts)
}

/// The next part of a table.
async fn read_part(mut rows: Rows) -> Result<(Rows, Option<(Arc<StatePart>, RecordBatch)>), StateError> {
    let read = blocking(move || {
        let part = rows.next(PART_ROWS)?;
        Ok::<_, TableError>((rows, part.and_then(|part| part.batch().map(|batch| (part, batch)))))
    });
    Ok(read.await??)
}

async fn write_part(
    packer: &Packer,
    part: &StatePart,
    batch: &RecordBatch,
    place: String,
) -> Result<PartRef, StateError> {
    let file = file::write(packer, Life::Lasting, ObjectPath(place), &batch.schema(), [batch]).await?;
    Ok(PartRef { kind: part.kind.to_owned(), tag: part.tag(), rows: part.rows() as u64, file, batch: 0 })
}

/// Brings a former subtask's table together on the local disk.
pub async fn download(
    supply: &Supply,
    engine: &Engine,
    files: Vec<TableFile>,
    groups: std::ops::Range<u32>,
) -> Result<Downloaded, StateError> {
    let folder = Arc::new(engine.scratch("restored").map_err(TableError::from)?);
    stream::iter(files.iter().map(Ok::<_, StateError>))
        .try_for_each_concurrent(AT_ONCE, |file| {
            let folder = folder.clone();
            async move { download_file(supply, engine, &file.pieces, &folder, &file.name).await }
        })
        .await?;
    Ok(Downloaded::new(folder, files, groups)?)
}

/// Brings an Arrow file, or a piece of a shared one, to the local disk, into `folder`.
pub async fn download_rows(
    supply: &Supply,
    engine: &Engine,
    file: &FileRef,
    folder: &Arc<Scratch>,
    number: usize,
) -> Result<LocalRows, StateError> {
    let name = format!("{number}.arrow");
    download_file(supply, engine, std::slice::from_ref(file), folder, &name).await?;
    Ok(LocalRows { name: file.clone(), path: folder.path().join(name), folder: folder.clone() })
}

/// Makes a file in `folder`, of what is on this disk already or else of what the storage has.
async fn download_file(
    supply: &Supply,
    engine: &Engine,
    pieces: &[FileRef],
    folder: &Arc<Scratch>,
    name: &str,
) -> Result<(), StateError> {
    let path = folder.path().join(name);
    if supply.link(pieces, &path).map_err(TableError::from)? {
        return Ok(());
    }
    fetch_file(supply, engine, pieces, &path).await?;
    let identity = Identity::of(&path).map_err(TableError::from)?;
    supply.fetched(pieces, KnownFile::new(path, folder.clone(), identity));
    Ok(())
}

async fn fetch_file(supply: &Supply, engine: &Engine, pieces: &[FileRef], path: &Path) -> Result<(), StateError> {
    let created = |path: PathBuf| move || File::create_new(&path).map_err(LocalError::at("create", &path));
    let mut file = blocking(created(path.to_owned())).await?.map_err(TableError::from)?;
    for piece in pieces {
        let _piece = engine.transfer().await;
        let bytes = supply.fetch(piece).await?;
        let path = path.to_owned();
        let write = move || -> io::Result<File> {
            file.write_all(&bytes)?;
            Ok(file)
        };
        file = blocking(write).await?.map_err(|cause| TableError::from(LocalError::at("write", &path)(cause)))?;
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, TableError> {
    env::busy(work).await.map_err(TableError::Interrupted)
}

#[cfg(test)]
mod tests;
