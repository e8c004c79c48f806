//! The kubelet, which runs the pods that were assigned to its node.

use serde_json::json;

use super::super::Error;
use super::super::process::Launch;
use super::files::write;
use super::machine;
use super::plan::{NodeId, Plan};

/// Its command line, after its settings are written.
pub(super) fn launch(plan: &Plan, node: NodeId) -> Result<Launch, Error> {
    let folder = plan.node(node);
    let (config, empty) = (folder.join("kubelet.json"), folder.join("resolv.conf"));
    write(&empty, "")?;
    let settings = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": { "enabled": false },
            "webhook": { "enabled": true },
            "x509": { "clientCAFile": plan.pki("ca.crt") },
        },
        "authorization": { "mode": "Webhook" },
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", machine::cgroup(&folder)),
        "failCgroupV1": false,
        "failSwapOn": false,
        "clusterDNS": [plan.addresses.control_plane()],
        "clusterDomain": "cluster.local",
        // The host's own has nothing that pods could reach.
        "resolvConf": empty,
        "podLogsDir": folder.join("logs"),
        "volumePluginDir": folder.join("volume-plugins"),
        // Images are put there by hand, and there is no registry to get them from again.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {
            "memory.available": "50Mi",
            "nodefs.available": "0%",
            "nodefs.inodesFree": "0%",
            "imagefs.available": "0%",
        },
        "nodeStatusUpdateFrequency": "2s",
        "nodeStatusReportFrequency": "2s",
        "nodeLeaseDurationSeconds": 8,
        "syncFrequency": "10s",
        "maxPods": 200,
        // A pod that was killed often is started again after 5 s, not after minutes.
        "crashLoopBackOff": { "maxContainerRestartPeriod": "5s" },
        "featureGates": { "KubeletCrashLoopBackOffMax": true },
    });
    write(&config, settings.to_string())?;
    Ok(plan.launch(
        "kubelet",
        [
            ("config", config),
            ("kubeconfig", plan.kubeconfig(node.name)),
            ("root-dir", folder.join("kubelet")),
            ("cert-dir", folder.join("kubelet/pki")),
            ("hostname-override", node.name.into()),
            ("node-ip", plan.addresses.node(node.number).to_string().into()),
            ("node-labels", format!("topology.kubernetes.io/zone=z{}", node.number).into()),
        ],
    ))
}
