//! A cluster from its start to its end.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::super::Error;
use super::super::server::named_by;
use super::control_plane::ControlPlane;
use super::node::Node;
use super::plan::{NODES, Plan};
use super::slot::Slot;
use super::{PROGRAM, available, images, pki};

/// Names the kubeconfig of a cluster to use instead of ours.
pub const VARIABLE: &str = "TIDEGATE_TEST_KUBECONFIG";

const NAME: &str = "kubernetes";

/// Long, because the tests may share two cores with a build.
const READY_WITHIN: Duration = Duration::from_mins(3);

/// A cluster that runs. Dropping it switches its machines off and removes their disks.
#[derive(Debug)]
pub struct Cluster {
    pub(super) programs: PathBuf,
    pub(super) kubeconfig: PathBuf,
    /// None if the cluster is somebody else's.
    own: Option<Own>,
}

/// A cluster of ours.
#[derive(Debug)]
pub(super) struct Own {
    // Dropped in this order: the machines, nodes first, before the disks, before somebody else may have the place.
    pub nodes: Vec<Node>,
    pub control_plane: ControlPlane,
    pub plan: Plan,
    _folder: TempDir,
    _slot: Slot,
}

impl Cluster {
    /// Whether this machine can run a cluster; the error says why not.
    pub fn available() -> Result<(), String> {
        available::check()
    }

    /// Starts an empty cluster of two nodes (about six seconds), or takes the one named by [`VARIABLE`].
    pub async fn start() -> Result<Self, Error> {
        if let Some(kubeconfig) = named_by(VARIABLE) {
            return Ok(Self { programs: PROGRAM.ready().await?, kubeconfig: kubeconfig.into(), own: None });
        }
        Self::available().map_err(|reason| Error::Unavailable { server: NAME, reason })?;
        let programs = PROGRAM.ready().await?;
        let mut slot = Slot::claim()?;
        let folder = tempfile::Builder::new()
            .prefix("tidegate-cluster-")
            .tempdir()
            .map_err(Error::io("create a folder in", std::env::temp_dir()))?;
        slot.occupy(folder.path())?;
        let plan = Plan { programs: programs.clone(), folder: folder.path().to_owned(), addresses: slot.addresses };
        pki::issue(&plan)?;
        let control_plane = ControlPlane::start(&plan)?;
        let own = Own { nodes: NODES.map(Node::new).into(), control_plane, plan, _folder: folder, _slot: slot };
        let mut cluster = Self { programs, kubeconfig: own.plan.kubeconfig(pki::ADMIN), own: Some(own) };
        for (_, node) in NODES {
            cluster.power_on(node).await?;
        }
        cluster.api_server_ready().await?;
        if let Some(Own { control_plane, plan, .. }) = &mut cluster.own {
            control_plane.start_clients(plan)?;
        }
        cluster.ready().await?;
        Ok(cluster)
    }

    /// What a client needs to talk to the API server with every right.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The address of this machine by which pods reach it: for servers that tests start, as by
    /// [`super::super::Kafka::start_at`].
    pub fn host_address(&self) -> Result<IpAddr, Error> {
        Ok(self.own("look for the host of")?.plan.addresses.host().into())
    }

    /// The names of the nodes.
    pub fn nodes(&self) -> Result<Vec<&'static str>, Error> {
        Ok(self.own("list the nodes of")?.nodes.iter().map(|node| node.name).collect())
    }

    /// Brings the images of an archive (OCI or Docker) onto every node that has power.
    pub async fn load_image(&self, archive: &Path) -> Result<(), Error> {
        for node in &self.own("load an image into")?.nodes {
            images::import(node.machine()?, archive).await?;
        }
        Ok(())
    }

    /// The archive of [`images::HELLO`].
    pub fn hello_image(&self) -> PathBuf {
        self.programs.join("hello.tar")
    }

    /// Waits until the API server answers and has what it starts with.
    pub(super) async fn api_server_ready(&self) -> Result<(), Error> {
        let started = Instant::now();
        while let Err(error) = self.kubectl(&["get", "--raw=/readyz"]).await {
            let waited = started.elapsed();
            if waited > READY_WITHIN {
                let log = self.own.as_ref().map(|own| own.control_plane.log_tail()).unwrap_or_default();
                return Err(Error::NotReady { server: NAME, waited, log: format!("{error}\n{log}") });
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// Waits for the nodes, and for the account without which no pod is accepted.
    async fn ready(&self) -> Result<(), Error> {
        let started = Instant::now();
        let timeout = format!("--timeout={}s", READY_WITHIN.as_secs());
        let mut waits: Vec<Vec<&str>> = NODES.iter().map(|(_, node)| vec!["--for=create", "node", *node]).collect();
        waits.push(vec!["--for=condition=Ready", "node", "--all"]);
        waits.push(vec!["--for=create", "serviceaccount", "default"]);
        for wait in waits {
            if let Err(error) = self.kubectl(&[&["wait", &timeout], &wait[..]].concat()).await {
                let logs = self.own.iter().flat_map(|own| &own.nodes).map(Node::log_tail);
                let log = std::iter::once(error.to_string()).chain(logs).collect::<Vec<_>>().join("\n");
                return Err(Error::NotReady { server: NAME, waited: started.elapsed(), log });
            }
        }
        Ok(())
    }

    /// The cluster, if it is ours to `action`.
    pub(super) fn own(&self, action: &'static str) -> Result<&Own, Error> {
        self.own.as_ref().ok_or(Error::External { server: NAME, action, variable: VARIABLE })
    }

    pub(super) fn own_mut(&mut self, action: &'static str) -> Result<&mut Own, Error> {
        self.own.as_mut().ok_or(Error::External { server: NAME, action, variable: VARIABLE })
    }

    /// Folders in which Helm and kubectl may remember what they like, for a cluster of ours: the next one has the same
    /// address, and they would take it for this one.
    pub(super) fn homes(&self) -> Vec<(&'static str, PathBuf)> {
        let variables = ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME", "KUBECACHEDIR"];
        let folder = self.own.as_ref().map(|own| own.plan.control_plane().join("clients"));
        folder.map(|folder| variables.map(|variable| (variable, folder.join(variable))).into()).unwrap_or_default()
    }
}
