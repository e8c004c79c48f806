//! The files of a table, local and in the checkpoint storage.

use std::{
    collections::BTreeMap,
    fs,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    engine::Engine,
    table::{open_to_read, walk},
};
use crate::{
    checkpoint::manifest::TableFile,
    state::{
        known_file::Identity,
        local::{LocalError, Scratch},
        table::{TableError, Visit, group},
    },
};

/// A file of entries never changes. Any other one does, and is uploaded with each checkpoint.
pub(super) fn is_of_entries(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "sst")
}

/// Lists which files the others belong to.
pub(super) fn is_list(name: &str) -> bool {
    name.starts_with("MANIFEST-")
}

/// Which files of entries the checkpoint storage has, where, and which local ones those are: of one table, for as long as
/// it lives.
#[derive(Debug, Default)]
pub struct Uploaded {
    files: Mutex<BTreeMap<String, (TableFile, Identity)>>,
    /// Held while a file is uploaded, by its name.
    turns: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Uploaded {
    pub fn get(&self, name: &str) -> Option<(TableFile, Identity)> {
        self.lock().get(name).cloned()
    }

    /// Waits until no other checkpoint uploads the file: it may have done so then.
    pub async fn turn(&self, name: &str) -> tokio::sync::OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.entry(name.to_owned()).or_default().clone()
        };
        turn.lock_owned().await
    }

    /// The file is in the storage, and stays there for as long as the table has it.
    pub fn add(&self, file: TableFile, identity: Identity) {
        if is_of_entries(&file.name) {
            self.lock().insert(file.name.clone(), (file, identity));
        }
    }

    /// A file that the table does not have any more never comes back.
    pub(super) fn retain(&self, names: &[String]) {
        self.lock().retain(|name, _| names.contains(name));
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|name, turn| names.contains(name) || Arc::strong_count(turn) > 1);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, (TableFile, Identity)>> {
        // An entry is put in or taken out as a whole: a panic elsewhere leaves the map usable.
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A former subtask's table, as a checkpoint had it, in a local folder.
#[derive(Debug, Clone)]
pub struct Downloaded {
    folder: Arc<Scratch>,
    files: Vec<TableFile>,
    /// The key groups that the former subtask had.
    groups: Range<u32>,
}

impl Downloaded {
    /// All `files` are in `folder`.
    pub fn new(folder: Arc<Scratch>, files: Vec<TableFile>, groups: Range<u32>) -> Result<Self, TableError> {
        let list = files.iter().map(|file| &file.name).find(|name| is_list(name));
        let list = list.ok_or_else(|| TableError::Damaged("the list of its files is missing".to_owned()))?;
        let current = folder.path().join("CURRENT");
        fs::write(&current, format!("{list}\n")).map_err(LocalError::at("write", &current))?;
        Ok(Self { folder, files, groups })
    }

    #[cfg(test)]
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn groups(&self) -> Range<u32> {
        self.groups.clone()
    }

    /// Bytes of its files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().flat_map(|file| &file.pieces).map(|piece| piece.bytes).sum()
    }

    /// Hands over the entries of some key groups, in order.
    pub fn scan_groups(&self, engine: &Engine, groups: Range<u32>, visit: &mut Visit<'_>) -> Result<(), TableError> {
        let db = open_to_read(engine, self.folder.path())?;
        walk(&db, self.folder.path(), group(groups.start).to_vec(), Some(group(groups.end).to_vec()), visit)
    }

    /// Gives the table a place of its own: files of entries under a second name, the others as copies.
    pub(super) fn place_in(&self, folder: &Path) -> Result<Uploaded, TableError> {
        let uploaded = Uploaded::default();
        for file in &self.files {
            let (from, to) = (self.folder.path().join(&file.name), folder.join(&file.name));
            if is_of_entries(&file.name) {
                fs::hard_link(&from, &to).map_err(LocalError::at("link", &to))?;
            } else {
                fs::copy(&from, &to).map_err(LocalError::at("copy", &to))?;
            }
            uploaded.add(file.clone(), Identity::of(&to)?);
        }
        let (from, to) = (self.folder.path().join("CURRENT"), folder.join("CURRENT"));
        fs::copy(&from, &to).map_err(LocalError::at("copy", &to))?;
        Ok(uploaded)
    }
}

/// A file of a frozen table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LocalFile {
    pub name: String,
    pub path: PathBuf,
    pub bytes: u64,
    /// As long as the table has a file of this name, it is this one.
    pub never_changes: bool,
}

/// The files of a frozen table that a checkpoint needs, by name.
pub(super) fn list(folder: &Path) -> Result<Vec<LocalFile>, TableError> {
    let failed = |cause| LocalError::at("list", folder)(cause);
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let never_changes = is_of_entries(&name);
        if never_changes || is_list(&name) {
            let bytes = entry.metadata().map_err(failed)?.len();
            files.push(LocalFile { name, path: entry.path(), bytes, never_changes });
        }
    }
    files.sort();
    Ok(files)
}
