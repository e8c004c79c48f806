//! What a test holds: a cluster of ours or of somebody else's.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::super::Error;
use super::super::server::named_by;
use super::kubectl::Client;
use super::own::Own;
use super::{NAME, PROGRAM, available, images};

/// Names the kubeconfig of a cluster to use instead of ours.
pub const VARIABLE: &str = "TIDEGATE_TEST_KUBECONFIG";

/// A cluster that runs. Dropping it switches its machines off and removes their disks.
#[derive(Debug)]
pub struct Cluster {
    pub(super) client: Client,
    /// None if the cluster is somebody else's.
    own: Option<Own>,
}

impl Cluster {
    /// Whether this machine can run a cluster; the error says why not.
    pub fn available() -> Result<(), String> {
        available::check()
    }

    /// Starts an empty cluster of two nodes (6 s), or takes the one named by [`VARIABLE`].
    pub async fn start() -> Result<Self, Error> {
        if let Some(kubeconfig) = named_by(VARIABLE) {
            let client =
                Client { programs: PROGRAM.ready().await?, kubeconfig: PathBuf::from(kubeconfig), memory: None };
            return Ok(Self { client, own: None });
        }
        Self::available().map_err(|reason| Error::Unavailable { server: NAME, reason })?;
        let (own, client) = Own::start(&PROGRAM.ready().await?).await?;
        Ok(Self { client, own: Some(own) })
    }

    /// What a client needs to talk to the API server with every right.
    pub fn kubeconfig(&self) -> &Path {
        &self.client.kubeconfig
    }

    /// Runs `kubectl` and gives what it prints: `cluster.kubectl(&["get", "pods"])`.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String, Error> {
        self.client.kubectl(arguments).await
    }

    /// As [`Cluster::kubectl`], with `input` for a `-f -`.
    pub async fn kubectl_with(&self, arguments: &[&str], input: &str) -> Result<String, Error> {
        self.client.run("kubectl", arguments, input).await
    }

    /// Creates or changes the objects of some YAML documents.
    pub async fn apply(&self, documents: &str) -> Result<String, Error> {
        self.kubectl_with(&["apply", "-f", "-"], documents).await
    }

    /// Runs `helm` and gives what it prints.
    pub async fn helm(&self, arguments: &[&str]) -> Result<String, Error> {
        self.client.run("helm", arguments, "").await
    }

    /// The address of this machine by which pods reach it: for servers that tests start, as by
    /// [`super::super::Kafka::start_at`].
    pub fn host_address(&self) -> Result<IpAddr, Error> {
        Ok(self.own("look for the host of")?.plan.addresses.host().into())
    }

    /// The names of the nodes.
    pub fn nodes(&self) -> Result<Vec<&'static str>, Error> {
        Ok(self.own("list the nodes of")?.nodes.iter().map(|node| node.id.name).collect())
    }

    /// Brings the images of an archive (OCI or Docker) onto every node. All of them must have power.
    pub async fn load_image(&self, archive: &Path) -> Result<(), Error> {
        for node in &self.own("load an image into")?.nodes {
            images::import(node.machine()?, archive).await?;
        }
        Ok(())
    }

    /// The archive of [`images::HELLO`].
    pub fn hello_image(&self) -> PathBuf {
        self.client.programs.join("hello.tar")
    }

    /// The cluster, if it is ours to `action`.
    pub(super) fn own(&self, action: &'static str) -> Result<&Own, Error> {
        self.own.as_ref().ok_or(Error::External { server: NAME, action, variable: VARIABLE })
    }

    pub(super) fn own_mut(&mut self, action: &'static str) -> Result<&mut Own, Error> {
        self.own.as_mut().ok_or(Error::External { server: NAME, action, variable: VARIABLE })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_of_others_is_used_but_not_broken() {
        let client = Client { programs: "/programs".into(), kubeconfig: "/theirs".into(), memory: None };
        let mut cluster = Cluster { client, own: None };
        assert_eq!(cluster.kubeconfig(), Path::new("/theirs"));
        assert_eq!(
            cluster.power_off("n1").unwrap_err().to_string(),
            "can't switch off a node of kubernetes: it was named by TIDEGATE_TEST_KUBECONFIG, so it isn't ours"
        );
    }
}
