//! A machine of the cluster: processes with a network of their own that can be switched off together.
//!
//! It is made of kernel namespaces, which its first process holds (`machine.sh`). All that a node does to a machine,
//! its mounts, links, packet filters and kernel settings, it does inside of them, so that ending the first process
//! undoes it: by a fault, by the end of the test, or by the death of the test's process. Files are those of the host,
//! but for empty folders at `/run`, `/var/lib` and `/var/log`.

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

    /// Starts a server in the machine, which numbers its processes itself; its log is in a folder of its name.
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::available;
    use super::*;

    #[test]
    fn a_machine_ends_with_all_that_runs_in_it_and_all_it_has_outside() {
        let Some((_cluster, folder, machine, server)) = machine_with_a_server() else { return };
        let first = machine.pid();
        assert!(link(&folder).exists() && !cgroups(&folder).is_empty() && runs(first));
        drop(machine);
        assert!(!link(&folder).exists() && !runs(first));
        assert_eq!(cgroups(&folder), [] as [PathBuf; 0]);
        assert!(folder.exists(), "its disk remains");
        drop(server);
    }

    #[test]
    fn what_is_left_of_a_machine_whose_keeper_was_killed_is_cleared_away() {
        let Some((_cluster, folder, machine, server)) = machine_with_a_server() else { return };
        let first = machine.pid();
        run(Command::new("pkill").args(["-KILL", "-f", &format!("machine {}", folder.display())])).unwrap();
        drop((machine, server));
        assert!(link(&folder).exists() && !cgroups(&folder).is_empty() && runs(first));
        clear(&folder).unwrap();
        assert!(!link(&folder).exists() && !runs(first) && !folder.exists());
        assert_eq!(cgroups(&folder), [] as [PathBuf; 0]);
    }

    /// None, saying why, where there can't be one.
    fn machine_with_a_server() -> Option<(tempfile::TempDir, PathBuf, Machine, Process)> {
        if let Err(reason) = available::check() {
            crate::skip::skip(reason);
            return None;
        }
        let cluster = tempfile::Builder::new().prefix("tidegate-machine-").tempdir().unwrap();
        let init = cluster.path().join("init.sh");
        write(&init, "#!/bin/sh\nexec sleep infinity").unwrap();
        fs::set_permissions(&init, fs::Permissions::from_mode(0o755)).unwrap();
        let folder = cluster.path().join("n1");
        let machine = Machine::boot(&folder, &init).unwrap();

        machine.has_link(&link_name(&folder)).unwrap();
        let pid = machine.pid().to_string();
        let ends = ["type", "veth", "peer", "name", "eth0", "netns", &pid];
        run(Command::new("ip").args(["link", "add", &link_name(&folder)]).args(ends)).unwrap();
        let launch = Launch { program: "sleep".into(), arguments: vec!["infinity".into()], environment: Vec::new() };
        let server = machine.spawn("sleep", &launch).unwrap();
        Some((cluster, folder, machine, server))
    }

    fn link_name(folder: &Path) -> String {
        let cluster = folder.parent().unwrap().to_str().unwrap();
        format!("tidegate-{}", cluster.rsplit('-').next().unwrap())
    }

    fn link(folder: &Path) -> PathBuf {
        Path::new("/sys/class/net").join(link_name(folder))
    }

    /// False for a zombie: whose child it is may take its time.
    fn runs(pid: u32) -> bool {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|state| !state.is_empty() && !state.starts_with('Z'))
    }

    fn cgroups(folder: &Path) -> Vec<PathBuf> {
        let trees = fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|tree| tree.path());
        let all = trees.chain([PathBuf::from("/sys/fs/cgroup")]).map(|tree| tree.join(cgroup(folder)));
        all.filter(|cgroup| cgroup.exists()).collect()
    }
}
