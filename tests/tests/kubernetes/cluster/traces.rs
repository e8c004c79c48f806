use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What a cluster has on the machine while it runs.
pub(super) struct Traces {
    folder: PathBuf,
    /// Those of its machines' processes.
    namespaces: BTreeSet<PathBuf>,
}

impl Traces {
    /// The kubeconfig lies in `<folder>/control-plane/pki`.
    pub(super) fn of(kubeconfig: &Path) -> Self {
        let folder = kubeconfig.ancestors().nth(3).unwrap().to_owned();
        let mut traces = Self { folder, namespaces: BTreeSet::new() };
        let own = namespace(Path::new("/proc/self"));
        let namespaces = traces.processes().into_iter().filter_map(|process| namespace(&process));
        traces.namespaces = namespaces.filter(|namespace| Some(namespace) != own.as_ref()).collect();
        assert_eq!(traces.namespaces.len(), 3, "of control plane and nodes");
        assert!(!traces.links().is_empty() && !traces.cgroups().is_empty());
        traces
    }

    pub(super) fn assert_gone(&self) {
        assert!(!self.folder.exists());
        for left in [self.links(), self.cgroups(), self.processes()] {
            assert_eq!(left, [] as [PathBuf; 0]);
        }
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
        assert!(!mounts.contains(self.folder.to_str().unwrap()), "{mounts}");
    }

    /// Whether the last of them is gone, which the folder is.
    pub(super) fn are_gone(&self) -> bool {
        !self.folder.exists() && self.processes().is_empty()
    }

    fn links(&self) -> Vec<PathBuf> {
        let name = format!("tidegate-{}", self.folder.to_str().unwrap().rsplit('-').next().unwrap());
        list("/sys/class/net", |link| link.ends_with(&name))
    }

    fn cgroups(&self) -> Vec<PathBuf> {
        let name = self.folder.file_name().unwrap().to_str().unwrap();
        let mut trees = list("/sys/fs/cgroup", |tree| tree.is_dir());
        trees.push("/sys/fs/cgroup".into());
        let in_tree = |tree: PathBuf| list(tree, |cgroup| cgroup.to_str().unwrap().contains(name));
        trees.into_iter().flat_map(in_tree).collect()
    }

    /// Those that name the folder, and those in the machines.
    fn processes(&self) -> Vec<PathBuf> {
        let folder = self.folder.to_str().unwrap();
        list("/proc", |process| {
            let command = std::fs::read(process.join("cmdline")).unwrap_or_default();
            let namespace = namespace(process).is_some_and(|namespace| self.namespaces.contains(&namespace));
            namespace || String::from_utf8_lossy(&command).contains(folder)
        })
    }
}

fn namespace(process: &Path) -> Option<PathBuf> {
    std::fs::read_link(process.join("ns/pid")).ok()
}

fn list(folder: impl AsRef<Path>, matches: impl Fn(&PathBuf) -> bool) -> Vec<PathBuf> {
    std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path()).filter(matches).collect()
}
