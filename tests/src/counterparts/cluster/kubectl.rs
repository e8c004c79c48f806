//! `kubectl` and `helm`, the versions that fit the cluster.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::super::Error;
use super::command::printed;

/// What talks to the API server for a test.
#[derive(Debug)]
pub(super) struct Client {
    /// Of [`super::PROGRAM`].
    pub programs: PathBuf,
    pub kubeconfig: PathBuf,
    /// Where the programs may remember what they like, if not where the user has it. For a cluster of ours: the next
    /// one has the same address, and they would take it for this one.
    pub memory: Option<PathBuf>,
}

impl Client {
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String, Error> {
        self.run("kubectl", arguments, "").await
    }

    /// Runs a program with `input`, and gives what it prints.
    pub async fn run(&self, program: &str, arguments: &[&str], input: &str) -> Result<String, Error> {
        let mut command = Command::new(self.programs.join(program));
        command.args(arguments).env("KUBECONFIG", &self.kubeconfig);
        for variable in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME", "KUBECACHEDIR"] {
            command.envs(self.memory.as_ref().map(|memory| (variable, memory.join(variable))));
        }
        let failed = |source| Error::Spawn { program: program.to_owned(), source };
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true) // with the future, when a test gives up on it
            .spawn()
            .map_err(failed)?;
        if let Some(mut stdin) = child.stdin.take() {
            // A program that doesn't read to the end says why by its status.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        let output = child.wait_with_output().await.map_err(failed)?;
        printed(command.as_std(), output)
    }

    /// Waits until the API server answers and has what it starts with; the error is the last refusal.
    pub async fn api_server_ready(&self, patience: Duration) -> Result<(), Error> {
        let started = Instant::now();
        loop {
            match self.kubectl(&["get", "--raw=/readyz"]).await {
                Ok(_) => return Ok(()),
                Err(error) if started.elapsed() > patience => return Err(error),
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    /// Waits until these nodes are ready, and the account is there without which no pod is accepted.
    pub async fn nodes_ready(&self, nodes: &[&str], patience: Duration) -> Result<(), Error> {
        let timeout = format!("--timeout={}s", patience.as_secs());
        for node in nodes {
            self.kubectl(&["wait", "--for=create", "node", node, &timeout]).await?;
            self.kubectl(&["wait", "--for=condition=Ready", "node", node, &timeout]).await?;
        }
        self.kubectl(&["wait", "--for=create", "serviceaccount", "default", &timeout]).await.map(drop)
    }
}
