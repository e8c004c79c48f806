//! A node: containerd, kubelet and kube-proxy on a machine of their own.

use serde_json::json;

use super::super::Error;
use super::super::process::{Launch, Process};
use super::files::write;
use super::machine::{self, Machine};
use super::pki::PROXY;
use super::plan::Plan;
use super::{images, network};

/// A node, switched on or off.
#[derive(Debug)]
pub(super) struct Node {
    pub number: u8,
    pub name: &'static str,
    power: Option<Running>,
}

#[derive(Debug)]
struct Running {
    // Dropped first, which ends the others at once.
    machine: Machine,
    kubelet: Process,
    _others: Vec<Process>,
}

impl Node {
    /// A node that has to be switched on.
    pub fn new((number, name): (u8, &'static str)) -> Self {
        Self { number, name, power: None }
    }

    /// Starts the machine and what runs on it; it is ready a second later.
    pub async fn power_on(&mut self, plan: &Plan, control_plane: &Machine) -> Result<(), Error> {
        if self.power.is_some() {
            return Err(Error::Running { server: self.name });
        }
        let machine = Machine::boot(&plan.node(self.name), &plan.pause())?;
        network::connect_node(plan.addresses, control_plane, &machine, (self.number, self.name))?;
        let containerd = machine.spawn("containerd", &self.containerd(plan)?)?;
        images::import(&machine, &images::sandbox(plan)).await?;
        let kubelet = machine.spawn("kubelet", &self.kubelet(plan)?)?;
        let proxy = machine.spawn("kube-proxy", &proxy(plan, self.name))?;
        self.power = Some(Running { machine, kubelet, _others: vec![containerd, proxy] });
        Ok(())
    }

    /// Ends every process of the node at once.
    pub fn power_off(&mut self, control_plane: &Machine) -> Result<(), Error> {
        network::disconnect_node(control_plane, self.name)?;
        self.power = None;
        Ok(())
    }

    pub fn machine(&self) -> Result<&Machine, Error> {
        self.power.as_ref().map(|power| &power.machine).ok_or(Error::NotRunning { server: self.name })
    }

    /// Why the node may not be ready: the end of the kubelet's log.
    pub fn log_tail(&self) -> String {
        self.power.as_ref().map_or_else(|| "(it is switched off)".to_owned(), |power| power.kubelet.log_tail())
    }

    fn containerd(&self, plan: &Plan) -> Result<Launch, Error> {
        let folder = plan.node(self.name);
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
                        "ranges": [[{ "subnet": plan.addresses.pods_of(self.number) }]],
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
            plugins = super::available::network_plugins()?.display(),
            network = network.display(),
        );
        write(&config, text)?;
        let arguments = vec!["--config".into(), config.into(), "--log-level".into(), "warn".into()];
        Ok(Launch { program: "containerd".into(), arguments, environment: Vec::new() })
    }

    fn kubelet(&self, plan: &Plan) -> Result<Launch, Error> {
        let folder = plan.node(self.name);
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
                ("kubeconfig", plan.kubeconfig(self.name)),
                ("root-dir", folder.join("kubelet")),
                ("cert-dir", folder.join("kubelet/pki")),
                ("hostname-override", self.name.into()),
                ("node-ip", plan.addresses.node(self.number).to_string().into()),
                ("node-labels", format!("topology.kubernetes.io/zone=z{}", self.number).into()),
            ],
        ))
    }
}

/// The way from one machine to services.
pub(super) fn proxy(plan: &Plan, node: &str) -> Launch {
    plan.launch(
        "kube-proxy",
        [
            ("kubeconfig", plan.kubeconfig(PROXY)),
            ("hostname-override", node.into()),
            ("proxy-mode", "iptables".into()),
            ("cluster-cidr", plan.addresses.pods().into()),
            // Limits of the whole kernel, which are not for us to set.
            ("conntrack-max-per-core", "0".into()),
            ("conntrack-tcp-timeout-established", "0".into()),
            ("conntrack-tcp-timeout-close-wait", "0".into()),
        ],
    )
}
