//! The processes of pods, as the host sees them: a test can kill them in ways that Kubernetes doesn't know of.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::Error;
use super::Cluster;
use super::command::run;
use super::machine;

impl Cluster {
    /// The processes of one container, as the host numbers them.
    pub async fn processes(&self, namespace: &str, pod: &str, container: &str) -> Result<Vec<u32>, Error> {
        let own = self.own("look for the processes of")?;
        let format = format!("jsonpath={{.status.containerStatuses[?(@.name==\"{container}\")].containerID}}");
        let id = self.kubectl(&["--namespace", namespace, "get", "pod", pod, "--output", &format]).await?;
        // `containerd://<id>`, and the id is the name of its cgroup.
        let id = id.rsplit('/').next().filter(|id| !id.is_empty());
        let cgroups = own.nodes.iter().map(|node| tree().join(machine::cgroup(&own.plan.node(node.id))));
        let list = id
            .and_then(|id| cgroups.into_iter().find_map(|cgroup| find(&cgroup, id)))
            .ok_or_else(|| Error::NoContainer { pod: pod.to_owned(), container: container.to_owned() })?
            .join("cgroup.procs");
        let text = fs::read_to_string(&list).map_err(Error::io("read", &list))?;
        Ok(text.lines().filter_map(|pid| pid.parse().ok()).collect())
    }

    /// Kills every process of one container by `SIGKILL`, behind Kubernetes' back.
    pub async fn kill_9(&self, namespace: &str, pod: &str, container: &str) -> Result<(), Error> {
        let processes = self.processes(namespace, pod, container).await?;
        run(Command::new("kill").arg("-KILL").args(processes.iter().map(u32::to_string))).map(drop)
    }
}

/// The tree of cgroups that has every process: the only one, or in version 1 one of several.
fn tree() -> PathBuf {
    let root = Path::new("/sys/fs/cgroup");
    if root.join("cgroup.controllers").exists() { root.to_owned() } else { root.join("pids") }
}

/// The cgroup of that name at any depth below.
fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    // A cgroup may go while we look.
    let folders = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).filter(|path| path.is_dir());
    for folder in folders {
        if folder.ends_with(name) {
            return Some(folder);
        }
        if let Some(found) = find(&folder, name) {
            return Some(found);
        }
    }
    None
}
