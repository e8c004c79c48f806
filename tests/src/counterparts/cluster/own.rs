//! A cluster of ours, in one piece.

use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::super::Error;
use super::control_plane::ControlPlane;
use super::kubectl::Client;
use super::node::Node;
use super::plan::{NODES, Plan};
use super::slot::{self, Slot};
use super::{NAME, network, pki};

/// Long, because the tests may share two cores with a build.
const READY_WITHIN: Duration = Duration::from_mins(3);

#[derive(Debug)]
pub(super) struct Own {
    // Dropped in this order: the machines, nodes first, before the disks, before somebody else may have the place.
    pub nodes: Vec<Node>,
    pub control_plane: ControlPlane,
    pub plan: Plan,
    _folder: TempDir,
    _slot: Slot,
}

impl Own {
    /// Starts a cluster and waits until it takes pods.
    pub async fn start(programs: &Path) -> Result<(Self, Client), Error> {
        let mut slot = Slot::claim()?;
        let folder = tempfile::Builder::new()
            .prefix(slot::PREFIX)
            .tempdir()
            .map_err(Error::io("create a folder in", std::env::temp_dir()))?;
        slot.occupy(folder.path())?;
        let plan = Plan { programs: programs.to_owned(), folder: folder.path().to_owned(), addresses: slot.addresses };
        pki::issue(&plan)?;
        let client = Client {
            programs: programs.to_owned(),
            kubeconfig: plan.kubeconfig(pki::ADMIN),
            memory: Some(plan.control_plane().join("clients")),
        };

        let control_plane = ControlPlane::start(&plan)?;
        let mut own = Self { nodes: NODES.map(Node::new).into(), control_plane, plan, _folder: folder, _slot: slot };
        // A node tries until the API server answers; the rest of the control plane would give up.
        for node in &mut own.nodes {
            node.power_on(&own.plan, &own.control_plane.machine).await?;
        }
        own.api_server_ready(&client).await?;
        own.control_plane.start_clients(&own.plan)?;
        own.nodes_ready(&client).await?;
        Ok((own, client))
    }

    pub fn power_off(&mut self, node: &str) -> Result<(), Error> {
        let node = self.position(node)?;
        self.nodes[node].power_off(&self.control_plane.machine)
    }

    pub async fn power_on(&mut self, node: &str) -> Result<(), Error> {
        let node = self.position(node)?;
        self.nodes[node].power_on(&self.plan, &self.control_plane.machine).await
    }

    pub fn set_port(&self, node: &str, up: bool) -> Result<(), Error> {
        let node = self.position(node)?;
        network::set_port(&self.control_plane.machine, self.nodes[node].id.name, up)
    }

    pub async fn api_server_ready(&self, client: &Client) -> Result<(), Error> {
        let started = Instant::now();
        let ready = client.api_server_ready(READY_WITHIN).await;
        ready.map_err(|error| not_ready(started, &error, [self.control_plane.log_tail()]))
    }

    fn position(&self, node: &str) -> Result<usize, Error> {
        let position = self.nodes.iter().position(|candidate| candidate.id.name == node);
        position.ok_or_else(|| Error::NoNode { name: node.to_owned(), nodes: NODES.map(|node| node.name).join(", ") })
    }

    async fn nodes_ready(&self, client: &Client) -> Result<(), Error> {
        let started = Instant::now();
        let ready = client.nodes_ready(&NODES.map(|node| node.name), READY_WITHIN).await;
        ready.map_err(|error| not_ready(started, &error, self.nodes.iter().map(Node::log_tail)))
    }
}

fn not_ready(started: Instant, error: &Error, logs: impl IntoIterator<Item = String>) -> Error {
    let log = std::iter::once(error.to_string()).chain(logs).collect::<Vec<_>>().join("\n");
    Error::NotReady { server: NAME, waited: started.elapsed(), log }
}
