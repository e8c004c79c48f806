//! What all parts of one cluster have to know.

use std::ffi::OsString;
use std::path::PathBuf;

use super::super::process::Launch;
use super::addresses::Addresses;

/// The nodes of a cluster.
pub(super) const NODES: [NodeId; 2] = [NodeId { number: 1, name: "n1" }, NodeId { number: 2, name: "n2" }];

/// A node by its number, which makes its addresses, and by the name that Kubernetes knows it by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NodeId {
    pub number: u8,
    pub name: &'static str,
}

/// Where a cluster's programs, files and addresses are.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// Of [`super::PROGRAM`].
    pub programs: PathBuf,
    /// Has a folder for each machine, and nothing else.
    pub folder: PathBuf,
    pub addresses: Addresses,
}

impl Plan {
    /// The control plane's folder has what belongs to the cluster as a whole, too.
    pub fn control_plane(&self) -> PathBuf {
        self.folder.join("control-plane")
    }

    pub fn node(&self, node: NodeId) -> PathBuf {
        self.folder.join(node.name)
    }

    /// A key or a certificate.
    pub fn pki(&self, file: &str) -> PathBuf {
        self.control_plane().join("pki").join(file)
    }

    /// What a client, by the name of its certificate, needs to talk to the API server.
    pub fn kubeconfig(&self, client: &str) -> PathBuf {
        self.pki(&format!("{client}.kubeconfig"))
    }

    /// The host's link to the cluster. Its name is used once, as that of the folder is, and has at most 15 letters.
    pub fn link(&self) -> String {
        let folder = self.folder.to_string_lossy();
        format!("tidegate-{}", folder.rsplit('-').next().unwrap_or_default())
    }

    pub fn pause(&self) -> PathBuf {
        self.programs.join("pause")
    }

    /// The command line of one of Kubernetes' programs, as `(option, value)`.
    pub fn launch<V: Into<OsString>>(
        &self,
        program: &str,
        options: impl IntoIterator<Item = (&'static str, V)>,
    ) -> Launch {
        let arguments = options.into_iter().map(|(option, value)| {
            let mut argument = OsString::from(format!("--{option}="));
            argument.push(value.into());
            argument
        });
        Launch { program: self.programs.join(program), arguments: arguments.collect(), environment: Vec::new() }
    }
}
