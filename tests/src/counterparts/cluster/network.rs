//! The network between host, control plane and nodes.
//!
//! ```text
//! host ── tidegate-… ══ host ┐                  ┌ n1 ══ eth0 ── node n1 ── pods
//!                            ├── br0, control ──┤
//!                            ┘      plane       └ n2 ══ eth0 ── node n2 ── pods
//! ```
//!
//! Every link has an end in the control plane, whose bridge is the switch: a node is cut off by taking its port down,
//! and nobody inside the node can tell that from a cable that was pulled. Each machine has a route to the pods of each
//! node. Services are reached by the control plane's kube-proxy, so the host may use them, too.

use std::process::Command;

use super::super::Error;
use super::addresses::Addresses;
use super::command::{feed, run};
use super::machine::Machine;
use super::plan::{NODES, NodeId, Plan};

const BRIDGE: &str = "br0";

/// Connects host and control plane.
pub(super) fn connect_control_plane(plan: &Plan, control_plane: &Machine) -> Result<(), Error> {
    let (addresses, link, prefix) = (plan.addresses, plan.link(), Addresses::MACHINES_PREFIX);
    control_plane.has_link(&link)?;
    let host = format!(
        "link add {link} type veth peer name host netns {pid}
         addr add {host}/{prefix} dev {link}
         link set {link} up
         route add {services} via {control_plane}
         {pods}",
        pid = control_plane.pid(),
        host = addresses.host(),
        services = addresses.services(),
        control_plane = addresses.control_plane(),
        pods = routes_to_pods(addresses, None),
    );
    feed(Command::new("ip").args(["-batch", "-"]), &host)?;

    let inside = format!(
        "link set lo up
         link add {BRIDGE} type bridge
         addr add {address}/{prefix} dev {BRIDGE}
         link set {BRIDGE} up
         link set host master {BRIDGE} up
         route add {services} dev {BRIDGE}
         {pods}",
        address = addresses.control_plane(),
        services = addresses.services(),
        pods = routes_to_pods(addresses, None),
    );
    feed(control_plane.command("ip").args(["-batch", "-"]), &inside)?;
    // It switches for the nodes, whose packets its own filters have no business with.
    run(control_plane.command("sh").args([
        "-ec",
        "echo 1 >/proc/sys/net/ipv4/ip_forward
         filters=/proc/sys/net/bridge/bridge-nf-call-iptables
         [ ! -e $filters ] || echo 0 >$filters",
    ]))
    .map(drop)
}

/// Connects a node that was just switched on.
pub(super) fn connect_node(
    addresses: Addresses,
    control_plane: &Machine,
    node: &Machine,
    NodeId { number, name }: NodeId,
) -> Result<(), Error> {
    let port = format!(
        "link add {name} type veth peer name eth0 address 02:00:00:00:00:{number:02x} netns {pid}
         link set {name} master {BRIDGE} up",
        pid = node.pid(),
    );
    // Pids are the host's, so this is not for the machine's own `ip` but for ours in its network.
    let mut command = Command::new("nsenter");
    command.args(["--net".into(), "--target".into(), control_plane.pid().to_string()]);
    feed(command.args(["--", "ip", "-batch", "-"]), &port)?;

    let inside = format!(
        "link set lo up
         addr add {address}/{prefix} dev eth0
         link set eth0 up
         route add {services} via {control_plane}
         {pods}",
        address = addresses.node(number),
        prefix = Addresses::MACHINES_PREFIX,
        services = addresses.services(),
        control_plane = addresses.control_plane(),
        pods = routes_to_pods(addresses, Some(number)),
    );
    feed(node.command("ip").args(["-batch", "-"]), &inside)?;
    run(node.command("sh").args(["-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"])).map(drop)
}

/// Pulls a node's cable, or plugs it in.
pub(super) fn set_port(control_plane: &Machine, node: &str, up: bool) -> Result<(), Error> {
    let state = if up { "up" } else { "down" };
    run(control_plane.command("ip").args(["link", "set", node, state])).map(drop)
}

/// Takes a node off the network for good.
pub(super) fn disconnect_node(control_plane: &Machine, node: &str) -> Result<(), Error> {
    run(control_plane.command("ip").args(["link", "del", node])).map(drop)
}

/// A node has its own pods on its own links.
fn routes_to_pods(addresses: Addresses, own: Option<u8>) -> String {
    let numbers = NODES.map(|node| node.number).into_iter().filter(|number| Some(*number) != own);
    numbers.map(|node| format!("route add {} via {}\n", addresses.pods_of(node), addresses.node(node))).collect()
}
