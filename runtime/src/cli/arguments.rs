//! What can be said on the command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use tidegate_crds::{HumanDuration, StateBackend};

use crate::{error_chain, memory::MemoryLimit, state::Backend, tls::Security};

/// Exactly-once stream jobs.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Arguments {
    /// How log lines are written to standard error. `RUST_LOG` sets what is logged.
    #[arg(long, global = true, value_enum, default_value = "text", env = "TIDEGATE_LOG_FORMAT")]
    pub log_format: LogFormat,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs a job in this process, until its bounded sources end or it is stopped (SIGTERM, Ctrl-C).
    Run(RunArguments),
    /// Runs a job as `run` does, with workers in other processes.
    Coordinator(CoordinatorArguments),
    /// Runs subtasks of a job for its coordinator, until it is stopped (SIGTERM, Ctrl-C).
    Worker(WorkerArguments),
    /// Checks a job, asks its sources and sinks, and prints its operators.
    Validate(JobArguments),
    /// Shows what a checkpoint storage has: attempts, checkpoints, savepoints, what waits to be published; or a savepoint.
    Inspect(InspectArguments),
}

#[derive(Debug, Clone, Args)]
pub struct JobArguments {
    /// The `StreamJob` document, YAML.
    pub job: PathBuf,
    /// Sets a field over the document's, such as `spec.sources[0].kafka.bootstrapServers=localhost:9092`. Repeatable.
    #[arg(long, value_name = "PATH=VALUE", value_parser = pair)]
    pub set: Vec<(String, String)>,
}

#[derive(Debug, Args)]
pub struct RunArguments {
    #[command(flatten)]
    pub job: JobArguments,
    /// Address of the HTTP API.
    #[arg(long, default_value = "127.0.0.1:0", env = "TIDEGATE_LISTEN")]
    pub listen: SocketAddr,
    /// Address that other processes reach the HTTP API at. Default: the one it listens on.
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port, env = "TIDEGATE_ADVERTISE")]
    pub advertise: Option<String>,
    /// Name of this process that a restart keeps, such as its pod's. Default: host, process id and a random number.
    #[arg(long, env = "TIDEGATE_POD_NAME")]
    pub pod_name: Option<String>,
    /// Which `StreamJob` this is, by its uid in Kubernetes: where one was cancelled and deleted, only another begins anew.
    #[arg(long, env = "TIDEGATE_JOB_UID")]
    pub job_uid: Option<String>,
    /// Version of the spec; a process never takes a job from a higher one.
    #[arg(long, default_value_t = 1, env = "TIDEGATE_REVISION")]
    pub revision: u64,
    /// While another healthy process runs the job, wait instead of giving up.
    #[arg(long, env = "TIDEGATE_STAND_BY")]
    pub stand_by: bool,
    /// Something watches this process by its HTTP API: wait for systems that can't be reached instead of giving up, and
    /// serve the status of a job that has stopped or finished until SIGTERM.
    #[arg(long, env = "TIDEGATE_SUPERVISED")]
    pub supervised: bool,
    #[command(flatten)]
    pub local: LocalArguments,
    /// File that gets, as JSON, why the job was refused or has failed, at most 4096 bytes: a container's termination
    /// message.
    #[arg(long, value_name = "PATH", env = "TIDEGATE_TERMINATION_LOG")]
    pub termination_log: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct CoordinatorArguments {
    #[command(flatten)]
    pub run: RunArguments,
    /// Address that workers join at.
    #[arg(long, default_value = "127.0.0.1:0", env = "TIDEGATE_WORKERS_LISTEN")]
    pub workers_listen: SocketAddr,
    /// How many workers to wait for, 3 s at most, before the first start, so that subtasks are spread over all of them.
    #[arg(long, default_value_t = 0, env = "TIDEGATE_WORKERS")]
    pub workers: usize,
    #[command(flatten)]
    pub link: LinkArguments,
}

/// Between a coordinator and its workers.
#[derive(Debug, Args)]
pub struct LinkArguments {
    /// A process that says nothing for so long is lost to the other.
    #[arg(long, default_value = "10s", env = "TIDEGATE_HEARTBEAT_TIMEOUT")]
    pub heartbeat_timeout: HumanDuration,
    /// Folder with `ca.crt`, `tls.crt` and `tls.key` (PEM): the job's certificate authority, and a certificate of it for
    /// `job.tidegate`. Every process of the job needs one.
    #[arg(long, value_name = "FOLDER", env = "TIDEGATE_TLS")]
    pub tls: Option<PathBuf>,
    /// Let in who reaches the port. Between processes of one machine this needs no word.
    #[arg(long, conflicts_with = "tls", env = "TIDEGATE_PLAIN")]
    pub plain: bool,
}

impl LinkArguments {
    /// For a process that others reach at `listen`.
    pub fn security(&self, listen: SocketAddr) -> Result<Security, String> {
        Security::read(self.tls.as_deref(), self.plain, listen).map_err(|error| error_chain(&error))
    }
}

/// What a process that runs subtasks may use of its machine.
#[derive(Debug, Args)]
pub struct LocalArguments {
    /// Folder for state on the local disk (`stateBackend: RocksDB`). The process makes one of its own in it, and deletes it
    /// at its end; those of killed ones it deletes at its start. Default: the system's folder for temporary files.
    #[arg(long, value_name = "FOLDER", env = "TIDEGATE_LOCAL_FOLDER")]
    pub local_folder: Option<PathBuf>,
    /// Memory that this process may use, in MiB: 16 or more. Default: its cgroup's limit, or else the machine's memory.
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(16..), env = "TIDEGATE_MEMORY_LIMIT")]
    pub memory_limit: Option<u64>,
}

impl LocalArguments {
    /// Where the state of a job is kept in this process.
    pub fn backend(&self, kind: StateBackend) -> Backend {
        Backend::new(kind, self.folder(), self.memory())
    }

    pub fn folder(&self) -> PathBuf {
        self.local_folder.clone().unwrap_or_else(std::env::temp_dir)
    }

    pub fn memory(&self) -> MemoryLimit {
        let given = self.memory_limit.map(|limit| MemoryLimit::given(limit.saturating_mul(1 << 20)));
        given.unwrap_or_else(MemoryLimit::of_this_process)
    }
}

#[derive(Debug, Args)]
pub struct WorkerArguments {
    /// The document and settings that the coordinator has.
    #[command(flatten)]
    pub job: JobArguments,
    /// `host:port` of the coordinator's `--workers-listen`.
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port, env = "TIDEGATE_COORDINATOR")]
    pub coordinator: String,
    /// How many subtasks of every task may run here.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024), env = "TIDEGATE_SLOTS")]
    pub slots: u32,
    /// Address of the HTTP API: metrics and health.
    #[arg(long, default_value = "127.0.0.1:0", env = "TIDEGATE_LISTEN")]
    pub listen: SocketAddr,
    /// Address that other workers send rows to.
    #[arg(long, default_value = "127.0.0.1:0", env = "TIDEGATE_EXCHANGE_LISTEN")]
    pub exchange_listen: SocketAddr,
    /// `host:port` that other workers reach it at. Default: the one it listens on.
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port, env = "TIDEGATE_EXCHANGE_ADVERTISE")]
    pub exchange_advertise: Option<String>,
    /// Name of this process, such as its pod's. Default: host, process id and a random number.
    #[arg(long, env = "TIDEGATE_POD_NAME")]
    pub pod_name: Option<String>,
    #[command(flatten)]
    pub link: LinkArguments,
    #[command(flatten)]
    pub local: LocalArguments,
    /// File that gets, as JSON, why the worker could not begin, at most 4096 bytes: a container's termination message.
    #[arg(long, value_name = "PATH", env = "TIDEGATE_TERMINATION_LOG")]
    pub termination_log: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct InspectArguments {
    /// A job's folder or a savepoint's, as a path, an `s3://bucket/prefix/job` or an `hdfs://host:port/folder/job` address,
    /// or a `StreamJob` document whose storage is meant.
    pub storage: String,
    /// Reads every file that the newest checkpoint and the kept ones before it name, and fails if one is missing or is
    /// not as it was written. Says what is garbage. Changes nothing.
    #[arg(long)]
    pub verify: bool,
    /// Asks the newest checkpoint, or the savepoint, by one SELECT. Without it the tables are listed.
    #[arg(long, value_name = "QUERY", conflicts_with = "verify")]
    pub sql: Option<String>,
    /// How the rows of a query are written.
    #[arg(long, value_enum, default_value = "table", requires = "sql")]
    pub format: RowFormat,
    #[command(flatten)]
    pub local: LocalArguments,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RowFormat {
    /// For people: at most 10,000 rows.
    Table,
    /// One object a line.
    Json,
    Csv,
}

fn host_and_port(text: &str) -> Result<String, String> {
    let is_host = |host: &str| !host.is_empty() && !host.contains('/');
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    match text.rsplit_once(':') {
        Some((host, port)) if is_host(host) && is_port(port) => Ok(text.to_owned()),
        _ => Err("accepted is host:port, such as 10.0.0.7:8081".into()),
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (path, value) = text.split_once('=').ok_or("accepted is PATH=VALUE")?;
    Ok((path.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_to_reach_a_process_at_has_host_and_port() {
        for address in ["10.0.0.7:8081", "tidegate.shop.svc:8081", "[fd00::7]:8081", "fd00::7:8081"] {
            assert_eq!(host_and_port(address), Ok(address.to_owned()));
        }
        for address in ["foo", "foo:", ":8081", "foo:0", "foo:70000", "http://foo:8081", ""] {
            let error = host_and_port(address).unwrap_err();
            assert!(error.contains("host:port"), "{address}: {error}");
        }
    }
}
