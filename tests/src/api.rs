//! What a process says of its job over HTTP.

use std::time::{Duration, Instant};

use tidegate_crds::api::{JobStatus, SavepointPhase, SavepointStatus};

use crate::job::Process;

impl Process {
    /// Waits for a status that is as wanted; none when the process ends before.
    pub async fn status_when(
        &mut self,
        what: &str,
        patience: Duration,
        is_so: impl Fn(&JobStatus) -> bool,
    ) -> Option<JobStatus> {
        let address = self.api(patience);
        let deadline = Instant::now() + patience;
        let mut last = None;
        while self.ended().is_none() {
            let status = async { reqwest::get(format!("http://{address}/v1/status")).await?.json::<JobStatus>().await };
            let left = deadline.saturating_duration_since(Instant::now());
            if let Ok(Ok(status)) = tokio::time::timeout(left, status).await {
                if is_so(&status) {
                    return Some(status);
                }
                last = Some(status);
            }
            assert!(Instant::now() < deadline, "in vain: {what}; at last {last:?}:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        None
    }

    /// As [`Process::status_when`], of a process that is to live until then.
    pub async fn wait_for(&mut self, what: &str, patience: Duration, is_so: impl Fn(&JobStatus) -> bool) -> JobStatus {
        let status = self.status_when(what, patience, is_so).await;
        status.unwrap_or_else(|| panic!("it has ended, and still in vain: {what}:\n{}", self.log()))
    }

    /// Waits until `epoch` or a later one is published; the newest one that is, or nothing when the job ends before.
    pub async fn committed(&mut self, epoch: u64, patience: Duration) -> Option<u64> {
        let published = |status: &JobStatus| status.committed_epoch >= Some(epoch);
        self.status_when(&format!("epoch {epoch}"), patience, published).await?.committed_epoch
    }

    /// As [`Process::committed`], of a job that is to live until then.
    pub async fn wait_for_epoch(&mut self, epoch: u64, patience: Duration) -> u64 {
        let committed = self.committed(epoch, patience).await;
        committed.unwrap_or_else(|| panic!("the job has ended before epoch {epoch}:\n{}", self.log()))
    }

    /// Records of a source that the process has read, those that it has read again among them.
    pub async fn records_read(&mut self, source: &str, patience: Duration) -> u64 {
        let (_, metrics) = self.get("/metrics", patience).await;
        let name = format!("tidegate_source_records_total{{name=\"{source}\"}} ");
        let count = metrics.lines().find_map(|line| line.strip_prefix(&name));
        count.map_or(0, |count| count.parse().expect("a number"))
    }

    /// Records that were late for a window or a deduplication of the process.
    pub async fn late_records(&mut self, patience: Duration) -> u64 {
        let (_, metrics) = self.get("/metrics", patience).await;
        let lines = metrics.lines().filter(|line| line.starts_with("tidegate_late_records_total{"));
        lines.map(|line| line.rsplit_once(' ').expect("a number").1.parse::<u64>().expect("a number")).sum()
    }

    /// Status code and body of the answer to a request to stop.
    pub async fn ask_to_stop(&mut self, body: &str, patience: Duration) -> (u16, String) {
        self.post("/v1/stop", body, patience).await
    }

    /// Status code and body of the answer to a request for a checkpoint.
    pub async fn ask_for_checkpoint(&mut self, patience: Duration) -> (u16, String) {
        self.post("/v1/checkpoints", "", patience).await
    }

    /// Status code and body of the answer to a request.
    pub async fn post(&mut self, path: &str, body: &str, patience: Duration) -> (u16, String) {
        let url = format!("http://{}{path}", self.api(patience));
        self.answer(reqwest::Client::new().post(url).body(body.to_owned()), patience).await
    }

    /// Asks for a savepoint, and waits until it is complete.
    pub async fn take_savepoint(&mut self, name: &str, patience: Duration) -> SavepointStatus {
        let (code, body) = self.post("/v1/savepoints", &format!(r#"{{"name": "{name}"}}"#), patience).await;
        assert_eq!(code, 202, "{body}");
        let ended = |status: &JobStatus| {
            let newest = status.last_savepoint.as_ref();
            newest.is_some_and(|newest| newest.name == name && newest.phase != SavepointPhase::InProgress)
        };
        let status = self.wait_for("the savepoint", patience, ended).await;
        let savepoint = status.last_savepoint.expect("it was there");
        assert_eq!(savepoint.phase, SavepointPhase::Completed, "{savepoint:?}");
        savepoint
    }

    /// Status code and body of a path of the API.
    pub async fn get(&mut self, path: &str, patience: Duration) -> (u16, String) {
        let url = format!("http://{}{path}", self.api(patience));
        self.answer(reqwest::Client::new().get(url), patience).await
    }

    async fn answer(&self, request: reqwest::RequestBuilder, patience: Duration) -> (u16, String) {
        let answer = async {
            let answer = request.timeout(patience).send().await?;
            Ok::<_, reqwest::Error>((answer.status().as_u16(), answer.text().await?))
        };
        answer.await.unwrap_or_else(|error| panic!("no answer ({error:?}):\n{}", self.log()))
    }
}
