//! A folder on this machine's disk, for state beyond memory.
//!
//! Nothing in it is durable: what counts is in the checkpoint storage, and a process that starts anew begins with an
//! empty folder. Each process makes one of its own below the folder it is given, `tidegate-<unique>`, deletes it at its
//! end, and deletes at its start those that processes left which were killed. A process that lives holds a lock on the
//! file `lock` in its folder; a folder whose lock is free is nobody's.

use std::{
    fs::{self, DirBuilder, File, TryLockError},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use thiserror::Error;
use tidegate_crds::api::FailureReason;

use crate::{env, failure::Reason};

const PREFIX: &str = "tidegate-";
/// Of a folder that has no lock yet. A process that dies right then leaves it, empty.
const UNLOCKED: &str = ".tidegate-";
const LOCK: &str = "lock";

#[derive(Debug, Error)]
#[error("the local folder: failed to {action} {}", .path.display())]
pub struct LocalError {
    pub action: &'static str,
    pub path: PathBuf,
    #[source]
    pub cause: io::Error,
}

impl LocalError {
    pub fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self { action, path: path.to_owned(), cause }
    }
}

impl Reason for LocalError {
    fn reason(&self) -> FailureReason {
        FailureReason::LocalDiskFailed
    }
}

/// The folder of this process. It goes with the last clone and the last [`Scratch`].
#[derive(Debug, Clone)]
pub struct LocalFolder {
    home: Arc<Home>,
}

#[derive(Debug)]
struct Home {
    path: PathBuf,
    next: AtomicU64,
    /// Locked for as long as it is open.
    _lock: File,
}

impl LocalFolder {
    /// Makes this process's folder below `parent`, and deletes those of processes that are gone.
    pub fn create(parent: &Path) -> Result<Self, LocalError> {
        fs::create_dir_all(parent).map_err(LocalError::at("create", parent))?;
        sweep(parent);
        let id = env::unique_id();
        let unlocked = parent.join(format!("{UNLOCKED}{id}"));
        DirBuilder::new().mode(0o700).create(&unlocked).map_err(LocalError::at("create", &unlocked))?;
        let lock = File::create_new(unlocked.join(LOCK)).map_err(LocalError::at("create a lock in", &unlocked))?;
        lock.lock().map_err(LocalError::at("lock", &unlocked))?;
        let path = parent.join(format!("{PREFIX}{id}"));
        fs::rename(&unlocked, &path).map_err(LocalError::at("create", &path))?;
        Ok(Self { home: Arc::new(Home { path, next: AtomicU64::new(0), _lock: lock }) })
    }

    pub fn path(&self) -> &Path {
        &self.home.path
    }

    /// Deletes it now: who still has something in it fails.
    pub fn remove(&self) {
        remove(&self.home.path);
    }

    /// A new empty folder in it, whose name begins with `name`.
    pub fn scratch(&self, name: &str) -> Result<Scratch, LocalError> {
        let number = self.home.next.fetch_add(1, Ordering::Relaxed);
        let path = self.home.path.join(format!("{name}-{number}"));
        fs::create_dir(&path).map_err(LocalError::at("create", &path))?;
        Ok(Scratch { path, folder: self.clone() })
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// A folder that is deleted when nobody needs it any more.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    folder: LocalFolder,
}

impl Scratch {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A new empty folder beside it.
    pub fn beside(&self, name: &str) -> Result<Self, LocalError> {
        self.folder.scratch(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

fn remove(path: &Path) {
    match fs::remove_dir_all(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "a folder is left on the local disk; the next start deletes it");
        }
    }
}

/// Deletes the folders of processes that are gone. One that can't be looked at is another user's.
pub(super) fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let is_ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        let Some(lock) = is_ours.then(|| File::open(entry.path().join(LOCK)).ok()).flatten() else { continue };
        match lock.try_lock() {
            Ok(()) => remove(&entry.path()),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => {
                tracing::debug!(path = %entry.path().display(), %error, "not looked at");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(parent: &Path) -> Vec<String> {
        fs::read_dir(parent).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn what_a_process_leaves_goes_at_its_end_and_what_a_killed_one_left_at_the_next_start() {
        let parent = tempfile::tempdir().unwrap();
        let left = parent.path().join("tidegate-killed");
        fs::create_dir_all(left.join("state-0")).unwrap();
        fs::write(left.join(LOCK), "").unwrap();
        fs::create_dir(parent.path().join("tidegate-of-somebody-else")).unwrap();

        let living = LocalFolder::create(parent.path()).unwrap();
        let scratch = living.scratch("state").unwrap();
        let other = LocalFolder::create(parent.path()).unwrap();
        assert!(scratch.path().is_dir(), "the folder of a process that lives stays");
        assert!(!left.exists(), "that of a killed one goes");
        drop(other);
        drop(living);
        let beside = scratch.beside("state").unwrap();
        assert!(beside.path() != scratch.path() && beside.path().is_dir(), "a folder in it keeps it");
        drop((scratch, beside));
        assert_eq!(names(parent.path()), ["tidegate-of-somebody-else"], "what has no lock is not ours");
    }
}
