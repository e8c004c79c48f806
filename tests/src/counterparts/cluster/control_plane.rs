//! The machine that is no node: etcd, API server, controllers, scheduler, DNS, and the way to services.
//!
//! Times are short, as in no cluster that people use: a node that is silent for 10 s counts as lost, and its pods are
//! replaced 5 s later.

use super::super::Error;
use super::super::process::{Launch, Process};
use super::files::write;
use super::machine::Machine;
use super::pki::{ADMIN, MANAGER, SCHEDULER};
use super::plan::{NODES, Plan};
use super::{network, node};

/// The control plane, switched on.
#[derive(Debug)]
pub(super) struct ControlPlane {
    // Dropped first, which ends the others at once.
    pub machine: Machine,
    etcd: Option<Process>,
    api_server: Option<Process>,
    clients: Vec<Process>,
}

impl ControlPlane {
    /// Starts the API server, which takes 2 s to be ready.
    pub fn start(plan: &Plan) -> Result<Self, Error> {
        let machine = Machine::boot(&plan.control_plane(), &plan.pause())?;
        network::connect_control_plane(plan, &machine)?;
        let etcd = Some(machine.spawn("etcd", &etcd(plan))?);
        let api_server = Some(machine.spawn("kube-apiserver", &api_server(plan))?);
        Ok(Self { machine, etcd, api_server, clients: Vec::new() })
    }

    /// Starts the rest, for which the API server has to be ready.
    pub fn start_clients(&mut self, plan: &Plan) -> Result<(), Error> {
        for (name, launch) in [
            ("kube-controller-manager", controller_manager(plan)),
            ("kube-scheduler", scheduler(plan)),
            ("coredns", dns(plan)?),
            // One must belong to some node; any will do for the way to services.
            ("kube-proxy", node::proxy(plan, NODES[0])),
        ] {
            self.clients.push(self.machine.spawn(name, &launch)?);
        }
        Ok(())
    }

    /// `SIGKILL`.
    pub fn kill_api_server(&mut self) {
        self.api_server = None;
    }

    pub fn start_api_server(&mut self, plan: &Plan) -> Result<(), Error> {
        if self.api_server.is_none() {
            self.api_server = Some(self.machine.spawn("kube-apiserver", &api_server(plan))?);
        }
        Ok(())
    }

    /// `SIGKILL`.
    pub fn kill_etcd(&mut self) {
        self.etcd = None;
    }

    pub fn start_etcd(&mut self, plan: &Plan) -> Result<(), Error> {
        if self.etcd.is_none() {
            self.etcd = Some(self.machine.spawn("etcd", &etcd(plan))?);
        }
        Ok(())
    }

    /// Why the API server may not be ready: the end of its log.
    pub fn log_tail(&self) -> String {
        self.api_server.as_ref().map_or_else(|| "(it was killed)".to_owned(), Process::log_tail)
    }
}

fn etcd(plan: &Plan) -> Launch {
    plan.launch(
        "etcd",
        [
            ("data-dir", plan.control_plane().join("etcd")),
            ("listen-client-urls", "http://127.0.0.1:2379".into()),
            ("advertise-client-urls", "http://127.0.0.1:2379".into()),
            ("listen-peer-urls", "http://127.0.0.1:2380".into()),
            ("log-level", "warn".into()),
            // The data has to survive the death of the process, not that of the host.
            ("unsafe-no-fsync", "true".into()),
        ],
    )
}

fn api_server(plan: &Plan) -> Launch {
    let addresses = plan.addresses;
    plan.launch(
        "kube-apiserver",
        [
            ("etcd-servers", "http://127.0.0.1:2379".into()),
            ("advertise-address", addresses.control_plane().to_string().into()),
            ("secure-port", "6443".into()),
            ("tls-cert-file", plan.pki("apiserver.crt")),
            ("tls-private-key-file", plan.pki("apiserver.key")),
            ("client-ca-file", plan.pki("ca.crt")),
            ("service-account-issuer", "https://kubernetes.default.svc".into()),
            ("service-account-key-file", plan.pki("sa.pub")),
            ("service-account-signing-key-file", plan.pki("sa.key")),
            ("kubelet-client-certificate", plan.pki("admin.crt")),
            ("kubelet-client-key", plan.pki("admin.key")),
            ("kubelet-preferred-address-types", "InternalIP".into()),
            ("authorization-mode", "Node,RBAC".into()),
            ("enable-admission-plugins", "NodeRestriction".into()),
            ("allow-privileged", "true".into()),
            ("service-cluster-ip-range", addresses.services().into()),
            // Webhooks are asked at their pods, as the control plane has a way to them.
            ("enable-aggregator-routing", "true".into()),
            ("default-not-ready-toleration-seconds", "5".into()),
            ("default-unreachable-toleration-seconds", "5".into()),
            ("cert-dir", plan.control_plane().join("kube-apiserver")),
        ],
    )
}

fn controller_manager(plan: &Plan) -> Launch {
    let kubeconfig = plan.kubeconfig(MANAGER);
    plan.launch(
        "kube-controller-manager",
        [
            ("kubeconfig", kubeconfig.clone()),
            ("authentication-kubeconfig", kubeconfig.clone()),
            ("authorization-kubeconfig", kubeconfig),
            ("use-service-account-credentials", "true".into()),
            ("service-account-private-key-file", plan.pki("sa.key")),
            ("root-ca-file", plan.pki("ca.crt")),
            ("cluster-signing-cert-file", plan.pki("ca.crt")),
            ("cluster-signing-key-file", plan.pki("ca.key")),
            ("leader-elect", "false".into()),
            ("kube-api-qps", "300".into()),
            ("kube-api-burst", "600".into()),
            ("node-monitor-period", "1s".into()),
            ("node-monitor-grace-period", "10s".into()),
            ("cert-dir", plan.control_plane().join("kube-controller-manager")),
        ],
    )
}

fn scheduler(plan: &Plan) -> Launch {
    let kubeconfig = plan.kubeconfig(SCHEDULER);
    plan.launch(
        "kube-scheduler",
        [
            ("kubeconfig", kubeconfig.clone()),
            ("authentication-kubeconfig", kubeconfig.clone()),
            ("authorization-kubeconfig", kubeconfig),
            ("leader-elect", "false".into()),
            ("kube-api-qps", "300".into()),
            ("kube-api-burst", "600".into()),
            ("cert-dir", plan.control_plane().join("kube-scheduler")),
        ],
    )
}

/// Names of the cluster only; answers are remembered for a second.
fn dns(plan: &Plan) -> Result<Launch, Error> {
    let corefile = plan.control_plane().join("Corefile");
    let text = format!(
        ".:53 {{
 bind {address}
 errors
 kubernetes cluster.local in-addr.arpa {{
  kubeconfig {kubeconfig}
  pods insecure
  ttl 1
 }}
 cache 1
}}
",
        address = plan.addresses.control_plane(),
        kubeconfig = plan.kubeconfig(ADMIN).display(),
    );
    write(&corefile, text)?;
    Ok(plan.launch("coredns", [("conf", corefile)]))
}
