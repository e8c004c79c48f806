//! A node: containerd, kubelet and kube-proxy on a machine of their own.

use std::time::Duration;

use super::super::Error;
use super::super::process::{Launch, Process, until};
use super::machine::Machine;
use super::pki::PROXY;
use super::plan::{NodeId, Plan};
use super::{containerd, images, kubelet, network};

const READY_WITHIN: Duration = Duration::from_mins(1);

/// A node, switched on or off.
#[derive(Debug)]
pub(super) struct Node {
    pub id: NodeId,
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
    pub fn new(id: NodeId) -> Self {
        Self { id, power: None }
    }

    /// Starts the machine and what runs on it; it is ready a second later.
    pub async fn power_on(&mut self, plan: &Plan, control_plane: &Machine) -> Result<(), Error> {
        if self.power.is_some() {
            return Err(Error::Running { server: self.id.name });
        }
        let machine = Machine::boot(&plan.node(self.id), &plan.pause())?;
        network::connect_node(plan.addresses, control_plane, &machine, self.id)?;
        let containerd = machine.spawn("containerd", &containerd::launch(plan, self.id)?)?;
        let ready = until(READY_WITHIN, || images::are_accepted(&machine)).await;
        ready.map_err(|waited| Error::NotReady { server: "containerd", waited, log: containerd.log_tail() })?;
        images::import(&machine, &images::sandbox(plan)).await?;
        let kubelet = machine.spawn("kubelet", &kubelet::launch(plan, self.id)?)?;
        let proxy = machine.spawn("kube-proxy", &proxy(plan, self.id))?;
        self.power = Some(Running { machine, kubelet, _others: vec![containerd, proxy] });
        Ok(())
    }

    /// Ends every process of the node at once.
    pub fn power_off(&mut self, control_plane: &Machine) -> Result<(), Error> {
        self.machine()?;
        // First: while the kernel ends its processes, it would close their connections.
        network::disconnect_node(control_plane, self.id.name)?;
        self.power = None;
        Ok(())
    }

    pub fn machine(&self) -> Result<&Machine, Error> {
        self.power.as_ref().map(|power| &power.machine).ok_or(Error::NotRunning { server: self.id.name })
    }

    /// Why the node may not be ready: the end of the kubelet's log.
    pub fn log_tail(&self) -> String {
        self.power.as_ref().map_or_else(|| "(it is switched off)".to_owned(), |power| power.kubelet.log_tail())
    }
}

/// The way from one machine to services.
pub(super) fn proxy(plan: &Plan, node: NodeId) -> Launch {
    plan.launch(
        "kube-proxy",
        [
            ("kubeconfig", plan.kubeconfig(PROXY)),
            ("hostname-override", node.name.into()),
            ("proxy-mode", "iptables".into()),
            ("cluster-cidr", plan.addresses.pods().into()),
            // Limits of the whole kernel, which are not for us to set.
            ("conntrack-max-per-core", "0".into()),
            ("conntrack-tcp-timeout-established", "0".into()),
            ("conntrack-tcp-timeout-close-wait", "0".into()),
        ],
    )
}
