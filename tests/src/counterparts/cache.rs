//! Where the servers' programs live between runs, and how they get there.
//!
//! Each program has a folder `<name>-<version>` below [`root`]. It is filled under another name
//! and renamed when whole, so a folder with that name is complete or was tampered with; the last
//! case is caught by a marker file, and the folder made anew. A file lock beside it makes a second
//! process wait for the first rather than do the same work. Whatever is in the cache can be
//! deleted at any time while no test runs.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use super::Error;

/// Written last; a folder without it is not complete.
const MARKER: &str = ".complete";

/// One program that a server needs.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    pub name: &'static str,
    /// Names the folder too: a change of anything that `fill` does needs a change of this.
    pub version: &'static str,
    /// Fills the empty folder it is given, whose path is not the final one.
    pub fill: fn(&Path) -> Result<(), Error>,
}

impl Program {
    /// The folder of the installed program, installing it first if needed (minutes at worst).
    ///
    /// Blocks the thread: wrap it in `spawn_blocking` in async code, as [`Program::ready`] does.
    pub fn install(&self) -> Result<PathBuf, Error> {
        self.install_in(&root()?)
    }

    fn install_in(&self, root: &Path) -> Result<PathBuf, Error> {
        let folder = root.join(format!("{}-{}", self.name, self.version));
        if folder.join(MARKER).exists() {
            return Ok(folder);
        }
        fs::create_dir_all(root).map_err(Error::io("create", root))?;
        let _lock = lock(&root.join(format!("{}-{}.lock", self.name, self.version)))?;
        if folder.join(MARKER).exists() {
            return Ok(folder); // another process was quicker
        }

        say(&format!("{} {}: installing …", self.name, self.version));
        let started = Instant::now();
        remove_folder(&folder)?;
        let partial = root.join(format!("{}-{}.partial", self.name, self.version));
        remove_folder(&partial)?;
        fs::create_dir_all(&partial).map_err(Error::io("create", &partial))?;
        (self.fill)(&partial)?;
        let marker = partial.join(MARKER);
        fs::write(&marker, b"").map_err(Error::io("create", &marker))?;
        fs::rename(&partial, &folder).map_err(Error::io("rename to", &folder))?;
        say(&format!("{} {}: installed in {:.1} s", self.name, self.version, started.elapsed().as_secs_f64()));
        Ok(folder)
    }

    /// [`Program::install`] for async code.
    pub async fn ready(self) -> Result<PathBuf, Error> {
        match tokio::task::spawn_blocking(move || self.install()).await {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
}

/// `$XDG_CACHE_HOME/tidegate/counterparts`, by default below `~/.cache`.
pub fn root() -> Result<PathBuf, Error> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let base = set("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| set("HOME").map(|home| Path::new(&home).join(".cache")))
        .ok_or(Error::NoCacheFolder)?;
    Ok(base.join("tidegate").join("counterparts"))
}

/// A file of this crate's `counterparts/` folder: a pom, a server script.
pub(crate) fn recipe(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("counterparts").join(path)
}

/// Runs one step of an installation to its end; its output is shown only if it fails.
pub(crate) fn run(name: &str, command: &mut Command) -> Result<(), Error> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|source| Error::Spawn { program, source })?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Install {
        name: name.to_owned(),
        command: format!("{command:?}"),
        status: output.status,
        output: tail(&[output.stdout, output.stderr].concat(), 40),
    })
}

/// The last `lines` lines of some program's output.
pub(crate) fn tail(output: &[u8], lines: usize) -> String {
    let text = String::from_utf8_lossy(output);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Copies the plain files of a folder without sub-folders, which a formatted one is.
pub(crate) fn copy_folder(from: &Path, to: &Path) -> Result<(), Error> {
    fs::create_dir_all(to).map_err(Error::io("create", to))?;
    for entry in fs::read_dir(from).map_err(Error::io("list", from))? {
        let entry = entry.map_err(Error::io("list", from))?;
        let target = to.join(entry.file_name());
        fs::copy(entry.path(), &target).map_err(Error::io("write", &target))?;
    }
    Ok(())
}

/// Holds the lock until the file is dropped or its process ends, however it ends.
fn lock(path: &Path) -> Result<File, Error> {
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(Error::io("open", path))?;
    if file.try_lock().is_err() {
        say(&format!("waiting for another process at {}", path.display()));
        file.lock().map_err(Error::io("lock", path))?;
    }
    Ok(file)
}

fn remove_folder(folder: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", folder)(error)),
        _ => Ok(()),
    }
}

fn say(line: &str) {
    eprintln!("counterparts: {line}");
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn many_at_once_install_once() {
        static FILLED: AtomicUsize = AtomicUsize::new(0);
        const PROGRAM: Program = Program {
            name: "many",
            version: "1",
            fill: |folder| {
                FILLED.fetch_add(1, Ordering::SeqCst);
                fs::write(folder.join("binary"), "whole").map_err(Error::io("write", folder))
            },
        };
        let root = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let folder = PROGRAM.install_in(root.path()).unwrap();
                    assert_eq!(fs::read(folder.join("binary")).unwrap(), b"whole");
                });
            }
        });
        assert_eq!(FILLED.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_half_filled_folder_is_made_anew() {
        const PROGRAM: Program = Program {
            name: "half",
            version: "1",
            fill: |folder| fs::write(folder.join("b"), "").map_err(Error::io("write", folder)),
        };
        let root = tempfile::tempdir().unwrap();
        for broken in ["half-1", "half-1.partial"] {
            fs::create_dir(root.path().join(broken)).unwrap();
            fs::write(root.path().join(broken).join("a"), "").unwrap();
        }
        let folder = PROGRAM.install_in(root.path()).unwrap();
        assert!(folder.join("b").exists() && !folder.join("a").exists());
    }

    #[test]
    fn a_failed_install_shows_its_output_and_leaves_nothing_that_counts() {
        const PROGRAM: Program = Program {
            name: "broken",
            version: "1",
            fill: |_| run("broken", Command::new("sh").args(["-c", "echo no space; exit 3"])),
        };
        let root = tempfile::tempdir().unwrap();
        let error = PROGRAM.install_in(root.path()).unwrap_err().to_string();
        assert!(error.contains("no space") && error.contains("exit status: 3"), "{error}");
        assert!(!root.path().join("broken-1").exists());
    }
}
