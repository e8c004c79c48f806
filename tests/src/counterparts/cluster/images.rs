//! Container images, brought onto nodes without a registry.
//!
//! A name must have a registry in front (`localhost/`) and a tag other than `latest`, or the kubelet looks for it
//! elsewhere.

use std::fs::File;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::super::Error;
use super::command::{printed, run};
use super::machine::Machine;
use super::plan::Plan;

/// The image of a pod's first process.
pub const SANDBOX: &str = "localhost/pause:1";
/// An image for tests: `/hello :8080` answers with the pod's name, `/hello http://…` asks.
pub const HELLO: &str = "localhost/hello:1";

/// The archive of [`SANDBOX`].
pub(super) fn sandbox(plan: &Plan) -> PathBuf {
    plan.programs.join("pause.tar")
}

/// Whether the node's containerd answers by now.
pub(super) fn are_accepted(node: &Machine) -> bool {
    run(node.command("ctr").args(["--connect-timeout=1s", "version"])).is_ok()
}

/// Brings an archive's images onto a node.
pub(super) async fn import(node: &Machine, archive: &Path) -> Result<(), Error> {
    let file = File::open(archive).map_err(Error::io("open", archive))?;
    let mut command = Command::from(node.command("ctr"));
    command.args(["--namespace=k8s.io", "images", "import", "-"]).stdin(file).kill_on_drop(true);
    let output = command.output().await.map_err(|source| Error::Spawn { program: "ctr".to_owned(), source })?;
    printed(command.as_std(), output).map(drop)
}
