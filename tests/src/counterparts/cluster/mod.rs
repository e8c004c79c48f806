//! A Kubernetes cluster: a real control plane, and nodes on which containers run.
//!
//! Nothing of it is made for tests but its size: API server, controllers, scheduler, kubelets and etcd are built from
//! source ([`programs`]), and containerd and runc are the system's. What a machine in a data centre would be is here a
//! set of kernel namespaces ([`machine`]), one for the control plane and one for each of two nodes. So a node can lose
//! its power (its processes end, all at once) or its network (they go on), and a cluster leaves nothing behind, however
//! the test ends.
//!
//! ```text
//! host: tests, Kafka, S3, ClickHouse      reach pods, services and the API server by their addresses
//!   │                                     and are reached at `Cluster::host_address`
//! control plane: etcd, API server, controllers, scheduler, DNS
//!   ├── n1: containerd, kubelet, kube-proxy, pods
//!   └── n2: the same
//! ```
//!
//! It needs root on Linux ([`Cluster::available`] says what else) and about 600 MB of memory; a test that can't have it
//! is skipped. It was tried with cgroups of version 1, and is meant to run with version 2. Where
//! [`VARIABLE`] names another cluster that one is used; it isn't ours, so faults and images are refused, and its pods
//! must reach the other servers in some way of their own.
//!
//! What there isn't: network policies are not enforced, names outside of the cluster are not resolved, there are no
//! volumes but those on a node, no load balancers, no metrics of pods, and no registry.
//!
//! Layers, each using only those before it: [`command`], [`files`], [`addresses`], [`machine`], [`slot`] (where on this
//! machine), [`plan`], [`pki`], [`network`]; [`archive`], [`images`], [`programs`]; [`containerd`], [`kubelet`],
//! [`node`], [`control_plane`]; [`kubectl`], [`own`] (all of that in one piece), [`lifecycle`], which has the
//! [`Cluster`], and [`faults`] and [`pods`], which are what a test does to it.

mod addresses;
mod archive;
mod available;
mod command;
mod containerd;
mod control_plane;
mod faults;
mod files;
mod images;
mod kubectl;
mod kubelet;
mod lifecycle;
mod machine;
mod network;
mod node;
mod own;
mod pki;
mod plan;
mod pods;
mod programs;
mod slot;

pub use images::{HELLO, SANDBOX};
pub use lifecycle::{Cluster, VARIABLE};
pub use programs::PROGRAM;

const NAME: &str = "kubernetes";
