//! What can be said on the command line; everything has an environment variable too.

use std::net::SocketAddr;

use clap::{Parser, ValueEnum};
use tidegate_crds::HumanDuration;

/// The Kubernetes operator of Tidegate: runs every `StreamJob` as a pod.
#[derive(Debug, Clone, Parser)]
#[command(version)]
pub struct Arguments {
    /// Image of the runtime, for jobs that do not set `spec.image`.
    #[arg(long, env = "TIDEGATE_RUNTIME_IMAGE")]
    pub runtime_image: String,
    /// When the runtime's image is pulled: `Always`, `IfNotPresent` or `Never`. Default: as Kubernetes does by the tag.
    #[arg(long, env = "TIDEGATE_RUNTIME_IMAGE_PULL_POLICY")]
    pub runtime_image_pull_policy: Option<String>,
    /// Namespaces whose `StreamJob`s are run; all when none is named.
    #[arg(long = "watch-namespace", env = "TIDEGATE_WATCH_NAMESPACES", value_delimiter = ',')]
    pub watch_namespaces: Vec<String>,
    /// Namespace of the operator, where its lease is.
    #[arg(long, env = "POD_NAMESPACE", default_value = "default")]
    pub namespace: String,
    /// Name of this process in the lease and in events.
    #[arg(long, env = "POD_NAME", default_value = "tidegate-operator")]
    pub pod_name: String,
    /// Work only while holding the lease, so that several operators may run.
    #[arg(long, env = "TIDEGATE_LEADER_ELECT", default_value_t = true, action = clap::ArgAction::Set)]
    pub leader_elect: bool,
    /// Name of the lease.
    #[arg(long, env = "TIDEGATE_LEASE_NAME", default_value = "tidegate-operator")]
    pub lease_name: String,
    /// Address of health and metrics.
    #[arg(long, env = "TIDEGATE_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// How many `StreamJob`s are worked on at the same time.
    #[arg(long, env = "TIDEGATE_CONCURRENCY", default_value_t = 8)]
    pub concurrency: u16,
    /// How often a job is asked how it fares.
    #[arg(long, env = "TIDEGATE_POLL_INTERVAL", default_value = "5s")]
    pub poll_interval: HumanDuration,
    /// How often the progress of a healthy job (checkpoint, lag) is written into its status; changes of its phase and its
    /// conditions are written at once.
    #[arg(long, env = "TIDEGATE_STATUS_INTERVAL", default_value = "30s")]
    pub status_interval: HumanDuration,
    /// How log lines are written to standard error. `RUST_LOG` sets what is logged.
    #[arg(long, value_enum, default_value = "json", env = "TIDEGATE_LOG_FORMAT")]
    pub log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}
