//! Whether this machine can run a cluster, and if not, why.

use std::path::Path;
use std::process::Command;

use super::super::{Error, cache};
use super::NAME;
use super::command::{feed, run};
use super::machine::HIDDEN;

/// Programs of the system and the Debian packages that have them.
const PROGRAMS: [(&str, &str); 9] = [
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("go", "golang"),
    ("ip", "iproute2"),
    ("iptables", "iptables"),
    ("nsenter", "util-linux"),
    ("openssl", "openssl"),
    ("runc", "runc"),
    ("unshare", "util-linux"),
];

/// Debian's place for them, and everybody else's.
const NETWORK_PLUGINS: [&str; 2] = ["/usr/lib/cni", "/opt/cni/bin"];

/// Does in passing what a machine needs of the kernel.
const TRIAL: &str = "
    ip link add br0 type bridge
    ip link add one type veth peer name two
    iptables --table nat --list-rules >/dev/null
    mount -t proc proc /proc
    mount -t tmpfs none /run
";

/// Looks at the machine, and tries in namespaces that are gone afterwards.
pub(super) fn check() -> Result<(), String> {
    let user = run(Command::new("id").arg("-u")).map_err(|error| error.to_string())?;
    if user.trim() != "0" {
        return Err(format!("a cluster needs root, and this is user {}", user.trim()));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = |program: &str| std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    if let Some((program, package)) = PROGRAMS.into_iter().find(|(program, _)| !there(program)) {
        return Err(format!(
            "there is no `{program}`; Debian's package is `{package}`, and scripts/setup.sh test installs it"
        ));
    }
    network_plugins().map_err(|error| error.to_string())?;

    let cache = cache::root().map_err(|error| error.to_string())?;
    for place in [cache, std::env::temp_dir()] {
        if let Some(hidden) = HIDDEN.into_iter().find(|hidden| place.starts_with(hidden)) {
            return Err(format!("`{}` lies below `{hidden}`, which a machine can't see", place.display()));
        }
    }
    cgroups()?;
    let mut trial = Command::new("unshare");
    feed(trial.args(["--fork", "--pid", "--mount", "--net", "sh", "-e"]), TRIAL)
        .map(drop)
        .map_err(|error| format!("the kernel, or the container around us, refuses what a machine is made of: {error}"))
}

/// The folder of the programs by which containerd connects pods.
pub(super) fn network_plugins() -> Result<&'static Path, Error> {
    NETWORK_PLUGINS.into_iter().map(Path::new).find(|folder| folder.join("ptp").is_file()).ok_or_else(|| {
        Error::Unavailable {
            server: NAME,
            reason: format!(
                "there is no `ptp` in {}; Debian's package is `containernetworking-plugins`, and scripts/setup.sh test \
                 installs it",
                NETWORK_PLUGINS.join(" or ")
            ),
        }
    })
}

/// A new cgroup needs the controllers, which version 2 hands down only if it was told to.
fn cgroups() -> Result<(), String> {
    let root = Path::new("/sys/fs/cgroup");
    let missing = |controllers: &str| {
        ["cpu", "cpuset", "memory", "pids"]
            .into_iter()
            .find(|controller| !controllers.split_whitespace().any(|known| known == *controller))
    };
    let (place, missing) = if root.join("cgroup.controllers").exists() {
        let place = root.join("cgroup.subtree_control");
        let text = std::fs::read_to_string(&place).map_err(|error| format!("{}: {error}", place.display()))?;
        (place, missing(&text))
    } else {
        let entries = std::fs::read_dir(root).map_err(|error| format!("{}: {error}", root.display()))?;
        let names: Vec<String> =
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        (root.to_owned(), missing(&names.join(" ")))
    };
    match missing {
        Some(controller) => Err(format!("cgroup controller `{controller}` is not in {}", place.display())),
        None => Ok(()),
    }
}
