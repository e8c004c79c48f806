//! A folder on this machine's disk, for state beyond memory.
//!
//! Nothing in it is durable: what counts is in the checkpoint storage, and a process that starts anew begins with an
//! empty folder. Each process makes one of its own below the folder it is given, `tidegate-<unique>`, deletes it at its
//! end, and deletes at its start those that processes left which were killed. A process that lives holds a lock on the
//! file `lock` in its folder; a folder whose lock is free is nobody's.

use std::{
    fs::{self, DirBuilder, DirEntry, File, TryLockError},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
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
    /// Locked for as long as it is open. None once the folder is deleted for good.
    lock: Mutex<Option<File>>,
}

impl LocalFolder {
    /// Makes this process's folder below `parent`, and deletes those of processes that are gone.
    pub fn create(parent: &Path) -> Result<Self, LocalError> {
        fs::create_dir_all(parent).map_err(LocalError::at("create", parent))?;
        sweep(parent);
        let path = parent.join(format!("{PREFIX}{}", env::unique_id()));
        let lock = Mutex::new(Some(make(&path)?));
        Ok(Self { home: Arc::new(Home { path, next: AtomicU64::new(0), lock }) })
    }

    pub fn path(&self) -> &Path {
        &self.home.path
    }

    /// Deletes it now: who still has something in it fails.
    pub fn remove(&self) {
        let _locked_until_then = self.home.lock().take();
        let path = &self.home.path;
        remove_aside(path, &path.with_file_name(format!("{PREFIX}{}", env::unique_id())));
    }

    /// A new empty folder in it, whose name begins with `name`.
    pub fn scratch(&self, name: &str) -> Result<Scratch, LocalError> {
        let number = self.home.next.fetch_add(1, Ordering::Relaxed);
        let path = self.home.path.join(format!("{name}-{number}"));
        let created = match fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.home.make_anew()?;
                fs::create_dir(&path)
            }
            created => created,
        };
        created.map_err(LocalError::at("create", &path))?;
        Ok(Scratch { path, folder: self.clone() })
    }
}

/// Makes a process's folder, and locks it.
fn make(path: &Path) -> Result<File, LocalError> {
    let unlocked = path.with_file_name(format!("{UNLOCKED}{}", env::unique_id()));
    DirBuilder::new().mode(0o700).create(&unlocked).map_err(LocalError::at("create", &unlocked))?;
    let lock = File::create_new(unlocked.join(LOCK)).map_err(LocalError::at("create a lock in", &unlocked))?;
    lock.lock().map_err(LocalError::at("lock", &unlocked))?;
    fs::rename(&unlocked, path).map_err(LocalError::at("create", path))?;
    Ok(lock)
}

impl Home {
    /// Somebody has tidied up, such as a cleaner of `/tmp`. Whoever had something in it fails, and begins anew.
    fn make_anew(&self) -> Result<(), LocalError> {
        let mut lock = self.lock();
        let Some(lock) = lock.as_mut().filter(|_| !self.path.exists()) else { return Ok(()) };
        if let Some(parent) = self.path.parent() {
            fs::create_dir_all(parent).map_err(LocalError::at("create", parent))?;
        }
        *lock = make(&self.path)?;
        tracing::warn!(folder = %self.path.display(), "somebody has deleted the local folder, it is made anew");
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Option<File>> {
        // A lock is put in or taken out as a whole: a panic elsewhere leaves it usable.
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
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
        remove_aside(&self.path, &self.path.with_added_extension("deleted"));
    }
}

/// Under another name at first: who still writes does not find it any more, so nothing comes into it while it is deleted.
fn remove_aside(path: &Path, aside: &Path) {
    remove(if fs::rename(path, aside).is_ok() { aside } else { path });
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
    for folder in entries.flatten().filter(is_ours).map(|entry| entry.path()) {
        let lock = folder.join(LOCK);
        match fs::symlink_metadata(&lock) {
            // To open anything but a file may wait, or do something.
            Ok(metadata) if metadata.is_file() && metadata.len() == 0 => remove_if_free(&folder, &lock),
            // It came with its lock, and somebody was killed while he deleted it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => remove(&folder),
            Ok(_) | Err(_) => {}
        }
    }
}

fn remove_if_free(folder: &Path, lock: &Path) {
    let Ok(lock) = File::open(lock) else { return };
    match lock.try_lock() {
        Ok(()) => remove(folder),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => tracing::debug!(path = %folder.display(), %error, "not looked at"),
    }
}

/// Whether it is called as [`LocalFolder::create`] calls its folders: others have folders here, whose names may begin alike.
fn is_ours(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    let Some(id) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { return false };
    let is_id = id.len() == env::unique_id().len() && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id && entry.file_type().is_ok_and(|kind| kind.is_dir())
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
        let left = parent.path().join("tidegate-0123456789abcdef0001");
        fs::create_dir_all(left.join("state-0")).unwrap();
        fs::write(left.join(LOCK), "").unwrap();
        let half_deleted = parent.path().join("tidegate-0123456789abcdef0004");
        fs::create_dir_all(half_deleted.join("state-0")).unwrap();
        fs::create_dir(parent.path().join("tidegate-of-somebody-else")).unwrap();

        let living = LocalFolder::create(parent.path()).unwrap();
        let scratch = living.scratch("state").unwrap();
        let other = LocalFolder::create(parent.path()).unwrap();
        assert!(scratch.path().is_dir(), "the folder of a process that lives stays");
        assert!(!left.exists() && !half_deleted.exists(), "that of a killed one goes, and what is left of such a one");
        drop(other);
        drop(living);
        let beside = scratch.beside("state").unwrap();
        assert!(beside.path() != scratch.path() && beside.path().is_dir(), "a folder in it keeps it");
        drop((scratch, beside));
        assert_eq!(names(parent.path()), ["tidegate-of-somebody-else"], "what has no lock is not ours");
    }

    #[test]
    fn a_folder_that_somebody_has_deleted_is_made_anew_and_stays_ours() {
        let parent = tempfile::tempdir().unwrap();
        let below = parent.path().join("local");
        let folder = LocalFolder::create(&below).unwrap();
        for deleted in [folder.path(), &below] {
            let lost = folder.scratch("state").unwrap();
            fs::remove_dir_all(deleted).unwrap();
            let scratch = folder.scratch("state").unwrap();
            assert!(scratch.path().is_dir());
            drop(lost);
            // Of another process, which sweeps.
            drop(LocalFolder::create(&below).unwrap());
            assert!(scratch.path().is_dir());
        }
        drop(folder);
        assert_eq!(names(&below).len(), 0);
    }

    #[test]
    fn what_is_written_while_the_folder_is_deleted_holds_nobody_up() {
        let parent = tempfile::tempdir().unwrap();
        let folder = LocalFolder::create(parent.path()).unwrap();
        let scratch = folder.scratch("state").unwrap();
        let path = scratch.path().to_owned();
        // Until it finds the folder no more.
        let write = move || while fs::write(path.join(env::unique_id()), "entries").is_ok() {};
        let writes = env::spawn_thread("writes", write).unwrap();
        while fs::read_dir(scratch.path()).unwrap().count() < 100 {
            std::thread::yield_now();
        }
        folder.remove();
        writes.join().unwrap();
        assert!(folder.scratch("state").is_err(), "it is not made anew");
        assert_eq!(names(parent.path()).len(), 0);
    }

    #[test]
    fn what_only_looks_like_a_folder_of_ours_is_not_touched_and_holds_nobody_up() {
        let parent = tempfile::tempdir().unwrap();
        let of = |name: &str| parent.path().join(name);
        // A checkpoint storage with a job that is called `lock`; one with a file of that name; a pipe that nobody writes.
        fs::create_dir_all(of("tidegate-checkpoints/lock/log")).unwrap();
        fs::create_dir_all(of("tidegate-0123456789abcdef0002/lock/log")).unwrap();
        fs::create_dir_all(of("tidegate-files")).unwrap();
        fs::write(of("tidegate-files/lock"), "").unwrap();
        fs::create_dir_all(of("tidegate-0123456789abcdef0003")).unwrap();
        let pipe = of("tidegate-0123456789abcdef0003/lock");
        assert!(std::process::Command::new("mkfifo").arg(pipe).status().unwrap().success());
        let mut before = names(parent.path());
        before.sort();
        drop(LocalFolder::create(parent.path()).unwrap());
        let mut after = names(parent.path());
        after.sort();
        assert_eq!(after, before);
        assert!(of("tidegate-checkpoints/lock/log").is_dir() && of("tidegate-0123456789abcdef0002/lock/log").is_dir());
    }
}
