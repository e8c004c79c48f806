//! How much memory this process may use, and who gets which share of it.
//!
//! In a container the limit is its cgroup's, of version 2 or 1; a process that passes it is killed. Without one it is the
//! machine's memory, which the process shares with others and takes less of.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tidegate_crds::StateBackend;

pub use self::{
    budget::{Budget, Share},
    footprint::footprint,
};

mod budget;
mod footprint;

/// Where neither a cgroup nor the machine says anything.
const UNKNOWN: u64 = 4 << 30;

/// What a process may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryLimit {
    pub bytes: u64,
    /// Nobody else uses it: a cgroup's limit, or one that was asked for.
    pub is_own: bool,
}

impl MemoryLimit {
    /// That of this process.
    pub fn of_this_process() -> Self {
        Self::found(Path::new("/")).unwrap_or(Self { bytes: UNKNOWN, is_own: false })
    }

    /// As somebody has said.
    pub const fn given(bytes: u64) -> Self {
        Self { bytes, is_own: true }
    }

    /// What state on the local disk may keep of itself in memory: a third, or a sixth where it is there only because it did
    /// not fit. Of a machine that others use too, half of that.
    pub fn for_tables(self, kind: StateBackend) -> u64 {
        let own = match kind {
            StateBackend::Memory => self.bytes / 6,
            StateBackend::RocksDb => self.bytes / 3,
        };
        if self.is_own { own } else { own / 2 }
    }

    /// What operators may keep of their state in memory: a half, or a quarter beside tables. Of a machine that others use
    /// too, half of that.
    pub fn for_operators(self, kind: StateBackend) -> u64 {
        let own = match kind {
            StateBackend::Memory => self.bytes / 2,
            StateBackend::RocksDb => self.bytes / 4,
        };
        if self.is_own { own } else { own / 2 }
    }

    /// What rows that were made into files may take on their way to the checkpoint storage: a sixteenth.
    pub fn for_uploads(self) -> u64 {
        let own = self.bytes / 16;
        if self.is_own { own } else { own / 2 }
    }

    /// What the files of a system say whose root is `root`.
    fn found(root: &Path) -> Option<Self> {
        let machine = machine(root);
        let groups = cgroup_files(root).into_iter().filter_map(|file| read(&file)?.trim().parse().ok());
        // An unlimited group of version 1 says an absurdly high number, and one of version 2 `max`.
        match groups.min() {
            Some(bytes) if machine.is_none_or(|machine| bytes < machine) => Some(Self { bytes, is_own: true }),
            _ => machine.map(|bytes| Self { bytes, is_own: false }),
        }
    }
}

/// The files that have a limit of this process: its cgroups' and those of the groups they are in.
fn cgroup_files(root: &Path) -> Vec<PathBuf> {
    let mounted = root.join("sys/fs/cgroup");
    let groups = read(&root.join("proc/self/cgroup")).unwrap_or_default();
    let mut files = Vec::new();
    for line in groups.lines() {
        // `number:controllers:path`; of version 2 there are no controllers.
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (mounted, name) = if controllers.is_empty() {
            (mounted.clone(), "memory.max")
        } else if controllers.split(',').any(|controller| controller == "memory") {
            (mounted.join("memory"), "memory.limit_in_bytes")
        } else {
            continue;
        };
        // In a container the path may be the host's, and what is mounted the container's own group.
        for folder in Path::new(path.trim_start_matches('/')).ancestors() {
            files.push(mounted.join(folder).join(name));
        }
    }
    files
}

fn machine(root: &Path) -> Option<u64> {
    let text = read(&root.join("proc/meminfo"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// A file that is not there says nothing.
fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    const MACHINE: (&str, &str) = ("proc/meminfo", "MemTotal:       16777216 kB\nMemFree: 1 kB\n");

    #[test]
    fn the_limit_is_the_lowest_of_the_cgroups_and_else_the_machines_memory() {
        let own = |bytes| Some(MemoryLimit { bytes, is_own: true });
        let machine = Some(MemoryLimit { bytes: 16 << 30, is_own: false });
        let v1 = "5:cpu,cpuacct:/kubepods/pod\n4:memory:/kubepods/pod\n";
        let cases: [(&[(&str, &str)], Option<MemoryLimit>); 7] = [
            (&[MACHINE, ("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/memory.max", "2147483648\n")], own(2 << 30)),
            (&[MACHINE, ("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/memory.max", "max\n")], machine),
            (
                &[
                    MACHINE,
                    ("proc/self/cgroup", "0::/kubepods/pod\n"),
                    ("sys/fs/cgroup/kubepods/pod/memory.max", "max\n"),
                    ("sys/fs/cgroup/kubepods/memory.max", "1073741824\n"),
                ],
                own(1 << 30),
            ),
            (
                &[
                    MACHINE,
                    ("proc/self/cgroup", v1),
                    ("sys/fs/cgroup/memory/kubepods/pod/memory.limit_in_bytes", "536870912\n"),
                    ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
                ],
                own(512 << 20),
            ),
            (
                &[
                    MACHINE,
                    ("proc/self/cgroup", v1),
                    ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
                ],
                machine,
            ),
            (&[MACHINE], machine),
            (&[], None),
        ];
        for (files, wanted) in cases {
            assert_eq!(MemoryLimit::found(system(files).path()), wanted, "{files:?}");
        }
    }

    #[test]
    fn state_leaves_room_for_rows_on_their_way_and_takes_less_of_memory_that_others_use() {
        for kind in [StateBackend::Memory, StateBackend::RocksDb] {
            let (own, shared) = (MemoryLimit::given(12 << 30), MemoryLimit { bytes: 12 << 30, is_own: false });
            let all = |limit: MemoryLimit| limit.for_tables(kind) + limit.for_operators(kind);
            assert!((7 << 30..9 << 30).contains(&all(own)), "{kind:?}");
            assert_eq!(all(shared), all(own) / 2);
        }
        assert!(MemoryLimit::of_this_process().bytes > 0);
    }
}
