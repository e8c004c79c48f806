//! `kubectl` and `helm`, the versions that fit the cluster.

use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::super::Error;
use super::Cluster;
use super::command::printed;

impl Cluster {
    /// Runs `kubectl` and gives what it prints: `cluster.kubectl(&["get", "pods"])`.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String, Error> {
        self.kubectl_with(arguments, "").await
    }

    /// As [`Cluster::kubectl`], with `input` for a `-f -`.
    pub async fn kubectl_with(&self, arguments: &[&str], input: &str) -> Result<String, Error> {
        self.run("kubectl", arguments, input).await
    }

    /// Creates or changes the objects of some YAML documents.
    pub async fn apply(&self, documents: &str) -> Result<String, Error> {
        self.kubectl_with(&["apply", "-f", "-"], documents).await
    }

    /// Runs `helm` and gives what it prints.
    pub async fn helm(&self, arguments: &[&str]) -> Result<String, Error> {
        self.run("helm", arguments, "").await
    }

    async fn run(&self, program: &str, arguments: &[&str], input: &str) -> Result<String, Error> {
        let mut command = Command::new(self.programs.join(program));
        command.args(arguments).env("KUBECONFIG", &self.kubeconfig).envs(self.homes());
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
}
