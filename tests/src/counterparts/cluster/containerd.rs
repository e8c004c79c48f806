//! containerd, which runs a node's containers by runc, and gives pods their network.

use serde_json::json;

use super::super::Error;
use super::super::process::Launch;
use super::files::write;
use super::plan::{NodeId, Plan};
use super::{available, images};

/// Its command line, after its settings are written.
pub(super) fn launch(plan: &Plan, node: NodeId) -> Result<Launch, Error> {
    let folder = plan.node(node);
    let (config, network) = (folder.join("containerd.toml"), folder.join("cni"));
    // Each pod has a link of its own to the node, and an address of the node's.
    let pods = json!({
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": false,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{ "subnet": plan.addresses.pods_of(node.number) }]],
                    "routes": [{ "dst": "0.0.0.0/0" }],
                },
            },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ],
    });
    write(&network.join("pods.conflist"), pods.to_string())?;
    // Without `restrict_oom_score_adj`, no pod starts where root lacks CAP_SYS_RESOURCE, as in many containers.
    let text = format!(
        r#"version = 2
root = "{root}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{opt}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{sandbox}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{network}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
"#,
        root = folder.join("containerd").display(),
        opt = folder.join("opt").display(),
        sandbox = images::SANDBOX,
        plugins = available::network_plugins()?.display(),
        network = network.display(),
    );
    write(&config, text)?;
    let arguments = vec!["--config".into(), config.into(), "--log-level".into(), "warn".into()];
    Ok(Launch { program: "containerd".into(), arguments, environment: Vec::new() })
}
