//! What a test can do to a cluster. Nodes go by their names, as in a pod's `spec.nodeName`.
//!
//! A node that is cut off or has lost its power is `NotReady` after 10 s, and 5 s later its pods are replaced
//! elsewhere, unless they tolerate it for longer. Those of a node that is cut off run on all the while.

use super::super::Error;
use super::Cluster;

impl Cluster {
    /// Takes a node off the network. Its processes go on, its pods talk to each other, and nobody hears of it.
    pub fn cut_node(&mut self, node: &str) -> Result<(), Error> {
        self.set_port("cut a node of", node, false)
    }

    /// Ends [`Cluster::cut_node`].
    pub fn heal_node(&mut self, node: &str) -> Result<(), Error> {
        self.set_port("heal a node of", node, true)
    }

    /// Ends every process of a node at once, with nobody told; its disk remains.
    pub fn power_off(&mut self, node: &str) -> Result<(), Error> {
        self.own_mut("switch off a node of")?.power_off(node)
    }

    /// Starts a node that lost its power. It is ready some seconds later.
    pub async fn power_on(&mut self, node: &str) -> Result<(), Error> {
        self.own_mut("switch on a node of")?.power_on(node).await
    }

    /// Kills the API server by `SIGKILL`.
    pub fn kill_api_server(&mut self) -> Result<(), Error> {
        self.own_mut("kill the API server of")?.control_plane.kill_api_server();
        Ok(())
    }

    /// Starts the API server again and waits until it is ready.
    pub async fn start_api_server(&mut self) -> Result<(), Error> {
        let own = self.own_mut("start the API server of")?;
        own.control_plane.start_api_server(&own.plan)?;
        self.api_server_ready().await
    }

    /// Kills etcd by `SIGKILL`: the API server runs on and can't answer.
    pub fn kill_etcd(&mut self) -> Result<(), Error> {
        self.own_mut("kill etcd of")?.control_plane.kill_etcd();
        Ok(())
    }

    /// Starts etcd again with the data it had and waits until the API server is ready.
    pub async fn start_etcd(&mut self) -> Result<(), Error> {
        let own = self.own_mut("start etcd of")?;
        own.control_plane.start_etcd(&own.plan)?;
        self.api_server_ready().await
    }

    fn set_port(&mut self, action: &'static str, node: &str, up: bool) -> Result<(), Error> {
        self.own_mut(action)?.set_port(node, up)
    }

    async fn api_server_ready(&self) -> Result<(), Error> {
        self.own("wait for")?.api_server_ready(&self.client).await
    }
}
