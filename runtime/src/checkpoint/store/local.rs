//! A folder of this machine.
//!
//! An object is written to a file of its own under `.temporary`, made durable, and only then given its name, so nobody
//! ever sees a torn one. `link(2)` gives the name for a create: it fails when the name is taken, however many processes
//! try at once. `rename(2)` gives it for a put. The folder is made durable before the answer.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Read, Seek, SeekFrom, Write},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Create, Listed, ObjectPath, Store, StoreError, path};
use crate::env;

const TEMPORARY: &str = ".temporary";
/// A temporary file that is older was left by a process that is gone.
const ABANDONED: Duration = Duration::from_hours(1);

/// Objects as files below a root folder.
#[derive(Debug, Clone)]
pub struct LocalStore {
    root: Arc<PathBuf>,
}

impl LocalStore {
    /// Makes the folder if it is not there, and removes what crashed writers left in it.
    pub async fn open(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let store = Self { root: Arc::new(root.into()) };
        store
            .run("make the folder", ".", |root| {
                make_folders(root, &root.join(TEMPORARY))?;
                remove_abandoned(&root.join(TEMPORARY))
            })
            .await?;
        Ok(store)
    }

    /// A folder that is there, for who reads: nothing is made in it or removed.
    pub fn existing(root: impl Into<PathBuf>) -> Self {
        Self { root: Arc::new(root.into()) }
    }

    /// File work blocks, so it is done on the runtime's threads for that.
    async fn run<T: Send + 'static>(
        &self,
        action: &'static str,
        path: &str,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let root = Arc::clone(&self.root);
        let done = tokio::task::spawn_blocking(move || work(&root)).await.map_err(io::Error::other);
        done.and_then(|result| result).map_err(|cause| StoreError::Failed {
            action,
            path: path.to_owned(),
            location: self.location(),
            cause: cause.into(),
        })
    }
}

#[async_trait]
impl Store for LocalStore {
    async fn create(&self, path: &ObjectPath, bytes: Bytes) -> Result<Create, StoreError> {
        let name = path::check(path, &self.location())?.to_owned();
        self.run("create", &path.0, move |root| {
            write(root, &name, &bytes, |temporary, target| match fs::hard_link(temporary, target) {
                Ok(()) => Ok(Create::Created),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(Create::Exists),
                Err(error) => Err(error),
            })
        })
        .await
    }

    async fn put(&self, path: &ObjectPath, bytes: Bytes) -> Result<(), StoreError> {
        let name = path::check(path, &self.location())?.to_owned();
        self.run("write", &path.0, move |root| {
            write(root, &name, &bytes, |temporary, target| fs::rename(temporary, target))
        })
        .await
    }

    async fn get(&self, path: &ObjectPath) -> Result<Option<Bytes>, StoreError> {
        self.get_range(path, 0..u64::MAX).await
    }

    async fn get_range(&self, path: &ObjectPath, range: Range<u64>) -> Result<Option<Bytes>, StoreError> {
        let name = path::check(path, &self.location())?.to_owned();
        self.run("read", &path.0, move |root| {
            let mut file = match File::open(root.join(name)) {
                Ok(file) => file,
                Err(error) if absent(&error) => return Ok(None),
                Err(error) => return Err(error),
            };
            let mut bytes = Vec::new();
            file.seek(SeekFrom::Start(range.start))?;
            file.take(range.end.saturating_sub(range.start)).read_to_end(&mut bytes)?;
            Ok(Some(Bytes::from(bytes)))
        })
        .await
    }

    async fn list(&self, prefix: &str, after: Option<&ObjectPath>) -> Result<Vec<Listed>, StoreError> {
        let (folder, after) = (prefix.to_owned(), after.cloned());
        self.run("list", prefix, move |root| {
            let mut found = Vec::new();
            collect(root, &folder, &mut found)?;
            found.retain(|listed| after.as_ref().is_none_or(|after| listed.path > *after));
            found.sort_by(|a, b| a.path.cmp(&b.path));
            Ok(found)
        })
        .await
    }

    async fn list_folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let folder = prefix.to_owned();
        self.run("list", prefix, move |root| {
            let mut folders = Vec::new();
            for (name, _) in entries(root, &folder)?.into_iter().filter(|(_, metadata)| metadata.is_dir()) {
                if any_file(root, &format!("{folder}{name}/"))? {
                    folders.push(name);
                }
            }
            folders.sort();
            Ok(folders)
        })
        .await
    }

    async fn delete(&self, path: &ObjectPath) -> Result<(), StoreError> {
        let name = path::check(path, &self.location())?.to_owned();
        self.run("delete", &path.0, move |root| {
            let target = root.join(name);
            match fs::remove_file(&target) {
                Err(error) if !absent(&error) => return Err(error),
                _ => {}
            }
            // Empty folders go too, as far up as they are empty: in a bucket there are none either.
            for folder in target.ancestors().skip(1).take_while(|folder| *folder != root) {
                if fs::remove_dir(folder).is_err() {
                    break;
                }
            }
            Ok(())
        })
        .await
    }

    fn location(&self) -> String {
        self.root.display().to_string()
    }
}

fn absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// Writes a durable temporary file and lets `name` give it its place.
fn write<T>(root: &Path, path: &str, bytes: &[u8], name: impl Fn(&Path, &Path) -> io::Result<T>) -> io::Result<T> {
    let target = root.join(path);
    let folder = target.parent().unwrap_or(root);
    let temporary = root.join(TEMPORARY).join(env::unique_id());
    let mut file = match File::create_new(&temporary) {
        // Somebody has tidied up under a process that runs.
        Err(error) if error.kind() == ErrorKind::NotFound && root.is_dir() => {
            make_below(root, &root.join(TEMPORARY))?;
            File::create_new(&temporary)?
        }
        opened => opened?,
    };
    let result = (|| {
        file.write_all(bytes)?;
        file.sync_all()?;
        let mut tries = 0;
        let named = loop {
            match make_below(root, folder).and_then(|()| name(&temporary, &target)) {
                // A delete took an empty folder away under our feet.
                Err(error) if error.kind() == ErrorKind::NotFound && tries < 100 => tries += 1,
                other => break other?,
            }
        };
        File::open(folder)?.sync_all()?;
        Ok(named)
    })();
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != ErrorKind::NotFound => tracing::debug!(%error, "temporary file stays behind"),
        _ => {}
    }
    result
}

/// `mkdir -p`, with each new name made durable in its parent.
fn make_folders(root: &Path, folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_folders(root, parent)?;
    }
    make_folder(root, folder)
}

/// As [`make_folders`], in a root that is there: one that was taken away is not made again, for it would be an empty store.
fn make_below(root: &Path, folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    match folder.parent() {
        Some(parent) if folder != root => make_below(root, parent)?,
        _ => return Err(io::Error::new(ErrorKind::NotFound, format!("{} is not there any more", root.display()))),
    }
    make_folder(root, folder)
}

fn make_folder(root: &Path, folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    match folder.parent() {
        Some(parent) if folder.starts_with(root) && !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}

fn remove_abandoned(folder: &Path) -> io::Result<()> {
    let now = Duration::from_millis(env::wall_clock_ms());
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(modified) = entry.metadata().and_then(|metadata| metadata.modified()) else { continue };
        let age = now.saturating_sub(modified.duration_since(UNIX_EPOCH).unwrap_or(now));
        if age > ABANDONED
            && let Err(error) = fs::remove_file(entry.path())
            // Of several that start, another was faster.
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!(path = %entry.path().display(), %error, "an abandoned temporary file was not deleted");
        }
    }
    Ok(())
}

fn entries(root: &Path, prefix: &str) -> io::Result<Vec<(String, fs::Metadata)>> {
    let listing = match fs::read_dir(root.join(prefix)) {
        Ok(listing) => listing,
        Err(error) if absent(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut entries = Vec::new();
    for entry in listing {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if prefix.is_empty() && name == TEMPORARY {
            continue;
        }
        match entry.metadata() {
            Ok(metadata) => entries.push((name, metadata)),
            Err(error) if absent(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(entries)
}

fn collect(root: &Path, prefix: &str, found: &mut Vec<Listed>) -> io::Result<()> {
    for (name, metadata) in entries(root, prefix)? {
        if metadata.is_dir() {
            collect(root, &format!("{prefix}{name}/"), found)?;
        } else {
            found.push(Listed { path: ObjectPath(format!("{prefix}{name}")), bytes: metadata.len() });
        }
    }
    Ok(())
}

fn any_file(root: &Path, prefix: &str) -> io::Result<bool> {
    for (name, metadata) in entries(root, prefix)? {
        if !metadata.is_dir() || any_file(root, &format!("{prefix}{name}/"))? {
            return Ok(true);
        }
    }
    Ok(false)
}
