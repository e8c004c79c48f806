//! A machine of the cluster: processes with a network of their own that can be switched off together.
//!
//! It is made of kernel namespaces, which its first process holds (`machine.sh`). All that a node does to a machine, its
//! mounts, links, packet filters and kernel settings, it does inside of them, so that ending the first process undoes
//! it: by a fault, by the end of the test, or by the death of the test's process. Files are those of the host, but for
//! empty folders at `/run`, `/var/lib` and `/var/log`.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::Error;
use super::super::process::{Launch, Process};
use super::command::run;
use super::files::write;

const KEEPER: &str = include_str!("machine.sh");

/// Folders that a machine has of its own; nothing it needs from outside may lie below them.
pub(super) const HIDDEN: [&str; 3] = ["/run", "/var/lib", "/var/log"];

/// A machine that is switched on. Dropping it switches it off.
#[derive(Debug)]
pub(super) struct Machine {
    first: Process,
    folder: PathBuf,
}

impl Machine {
    /// Switches a machine on, with `folder` as its disk and `init` as its first process.
    pub fn boot(folder: &Path, init: &Path) -> Result<Self, Error> {
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        let first = Process::kept(keeper(folder, Some(init)), "a machine of the cluster", folder)?;
        Ok(Self { first, folder: folder.to_owned() })
    }

    /// The first process, as the host numbers it.
    pub fn pid(&self) -> u32 {
        self.first.pid()
    }

    /// Has a link of the host removed when the machine ends.
    pub fn has_link(&self, name: &str) -> Result<(), Error> {
        write(&self.folder.join("links"), format!("{name}\n"))
    }

    /// A command that will run in the machine.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg("--target").arg(self.pid().to_string()).args(["--pid", "--mount", "--net", "--"]).arg(program);
        command
    }

    /// Starts a server in the machine; its log is in a folder of its name.
    pub fn spawn(&self, name: &'static str, launch: &Launch) -> Result<Process, Error> {
        let folder = self.folder.join("servers").join(name);
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        Process::spawn_by(self.command("sh"), name, launch, &folder)
    }
}

/// Removes what is left of a machine whose keeper was killed.
pub(super) fn clear(folder: &Path) -> Result<(), Error> {
    run(&mut keeper(folder, None)).map(drop)
}

/// The cgroup of the machine's pods; its name is used once, as that of the cluster's folder is.
pub(super) fn cgroup(folder: &Path) -> String {
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    format!("{}-{}", folder.parent().map(name).unwrap_or_default(), name(folder))
}

fn keeper(folder: &Path, init: Option<&Path>) -> Command {
    let mut keeper = Command::new("sh");
    keeper.args(["-c", KEEPER, "machine"]).arg(folder).arg(cgroup(folder)).args(init);
    keeper
}
