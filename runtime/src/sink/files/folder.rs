//! What is in the folder: chunks under their names, and what is being written.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
};

use tidegate_crds::FileFormat;

use super::super::ChunkId;
use crate::{
    env, fault,
    ids::{Attempt, Epoch},
};

/// The folder of a sink.
#[derive(Debug, Clone)]
pub(super) struct Folder(pub(super) PathBuf);

/// The name of a chunk's file, without its extension: `<sink>-<lineage>-<slot>-<epoch>-<index>`. Names of a lineage are in
/// the order of slot and epoch.
#[derive(Debug)]
pub(super) struct Name(String);

/// What an attempt that takes the job over finds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Looked {
    /// Files of earlier attempts that were half written.
    pub(super) deleted: usize,
    /// The newest epoch of the lineage that there is a file of.
    pub(super) newest: Option<Epoch>,
}

impl Name {
    pub(super) fn of(id: &ChunkId) -> Self {
        let ChunkId { lineage, sink, slot, epoch, index } = id;
        Self(format!("{}{slot:04}-{:010}-{index:04}", prefix(sink, lineage), epoch.0))
    }

    pub(super) fn in_format(&self, format: FileFormat) -> String {
        format!("{}.{}", self.0, extension(format))
    }
}

fn prefix(sink: &str, lineage: &str) -> String {
    format!("{sink}-{lineage}-")
}

fn extension(format: FileFormat) -> &'static str {
    match format {
        FileFormat::JsonLines => "jsonl",
        FileFormat::Parquet => "parquet",
    }
}

/// The epoch of a file of this sink and lineage.
fn epoch_of(name: &str, sink: &str, lineage: &str) -> Option<Epoch> {
    let place = name.strip_prefix(&prefix(sink, lineage))?;
    let mut numbers = place.split('.').next()?.split('-').skip(1);
    Some(Epoch(numbers.next()?.parse().ok()?))
}

/// The name that builds gave a chunk's file which left the lineage out.
pub(super) fn former_name(id: &ChunkId, format: FileFormat) -> String {
    let ChunkId { sink, slot, epoch, index, .. } = id;
    format!("{sink}-{slot:04}-{:010}-{index:04}.{}", epoch.0, extension(format))
}

/// What a file is called while an attempt writes it: hidden, unlike any other, and to be known again.
pub(super) fn temporary_name(lineage: &str, attempt: Attempt) -> String {
    format!(".{lineage}-{:08}-{}", attempt.0, env::unique_id())
}

fn attempt_of(temporary: &str, lineage: &str) -> Option<Attempt> {
    let rest = temporary.strip_prefix('.')?.strip_prefix(lineage)?.strip_prefix('-')?;
    let (attempt, unique) = rest.split_once('-')?;
    let is_ours = unique.chars().all(|c| c.is_ascii_hexdigit());
    attempt.parse().ok().filter(|_| is_ours).map(Attempt)
}

/// The bytes of a file, if it is there.
pub(super) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Deletes a file that another process may have deleted.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl Folder {
    /// Makes the folder, and a file in it for a moment.
    pub(super) fn try_to_write(&self) -> io::Result<()> {
        let probe = self.0.join(format!(".{}", env::unique_id()));
        fs::create_dir_all(&self.0)?;
        File::create_new(&probe)?;
        fs::remove_file(&probe)
    }

    /// Whether the file is new; it is durable either way.
    pub(super) fn create(&self, target: &Path, temporary: &str, bytes: &[u8]) -> io::Result<bool> {
        let temporary = self.0.join(temporary);
        let mut file = File::create_new(&temporary)?;
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        fault::reach("files-before-link");
        let linked = written.and_then(|()| match fs::hard_link(&temporary, target) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        });
        remove(&temporary)?;
        let created = linked?;
        File::open(&self.0)?.sync_all()?;
        Ok(created)
    }

    /// Deletes what attempts of the lineage before this one were writing, and looks how far its files go.
    pub(super) fn look(&self, sink: &str, lineage: &str, attempt: Attempt) -> io::Result<Looked> {
        let mut looked = Looked::default();
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(looked),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            // Ours are text.
            let Some(name) = name.to_str() else { continue };
            looked.newest = looked.newest.max(epoch_of(name, sink, lineage));
            if attempt_of(name, lineage).is_some_and(|of| of < attempt) {
                remove(&entry.path())?;
                looked.deleted += 1;
            }
        }
        Ok(looked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_its_epoch_and_a_hidden_one_its_attempt() {
        let id = ChunkId { lineage: "shop.sales-9f".into(), sink: "out".into(), slot: 3, epoch: Epoch(12), index: 1 };
        let name = Name::of(&id).in_format(FileFormat::Parquet);
        assert_eq!(name, "out-shop.sales-9f-0003-0000000012-0001.parquet");
        assert_eq!(epoch_of(&name, "out", "shop.sales-9f"), Some(Epoch(12)));
        for (sink, lineage) in [("out", "shop.sales-9"), ("out", "shop"), ("other", "shop.sales-9f")] {
            assert_eq!(epoch_of(&name, sink, lineage), None, "{sink} {lineage}");
        }
        let hidden = temporary_name("shop.sales-9f", Attempt(7));
        assert_eq!(attempt_of(&hidden, "shop.sales-9f"), Some(Attempt(7)));
        for lineage in ["shop.sales-9", "shop", "sales-9f"] {
            assert_eq!(attempt_of(&hidden, lineage), None, "{lineage}");
        }
        for strange in
            [".9f2c61d07be0a4430003", "shop.sales-9f-00000007-ab", ".shop.sales-9f-x-ab", ".shop.sales-9f-1-xy"]
        {
            assert_eq!(attempt_of(strange, "shop.sales-9f"), None, "{strange}");
        }
    }
}
