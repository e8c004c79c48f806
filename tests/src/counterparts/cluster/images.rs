//! Container images, brought onto nodes without a registry.
//!
//! A name must have a registry in front (`localhost/`) and a tag other than `latest`, or the kubelet looks for it
//! elsewhere.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::Error;
use super::super::process::until;
use super::command::run;
use super::machine::Machine;
use super::plan::Plan;

/// The image of a pod's first process.
pub(super) const SANDBOX: &str = "localhost/pause:1";
/// An image for tests: `/hello :8080` answers with the pod's name, `/hello http://…` asks.
pub const HELLO: &str = "localhost/hello:1";

const READY_WITHIN: Duration = Duration::from_mins(1);

/// The archive of [`SANDBOX`].
pub(super) fn sandbox(plan: &Plan) -> PathBuf {
    plan.programs.join("pause.tar")
}

/// Brings an archive's images onto a node, once its containerd answers.
pub(super) async fn import(node: &Machine, archive: &Path) -> Result<(), Error> {
    let ready = until(READY_WITHIN, || run(node.command("ctr").args(["--connect-timeout=1s", "version"])).is_ok());
    ready.await.map_err(|waited| Error::NotReady { server: "containerd", waited, log: String::new() })?;
    let file = File::open(archive).map_err(Error::io("open", archive))?;
    run(node.command("ctr").args(["--namespace=k8s.io", "images", "import", "-"]).stdin(file)).map(drop)
}
