//! Whatever ends a test, no process and no folder of its servers stays.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tidegate_tests::counterparts::process::until;

/// What a server leaves on the machine: its process and its folder.
pub(crate) struct Traces {
    process: PathBuf,
    folder: PathBuf,
}

impl Traces {
    pub(crate) fn of(pid: Option<u32>) -> Self {
        let process = PathBuf::from(format!("/proc/{}", pid.unwrap()));
        let folder = std::fs::read_link(process.join("cwd")).unwrap();
        assert!(folder.is_dir());
        Self { process, folder }
    }

    pub(crate) fn are_gone(&self) -> bool {
        !self.process.exists() && !self.folder.exists()
    }
}

#[tokio::test]
async fn a_test_that_is_killed_leaves_nothing() {
    let mut harness = Command::new(env!("CARGO_BIN_EXE_counterparts"))
        .args(["up", "s3"])
        .env_remove("TIDEGATE_TEST_S3")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(harness.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("export TIDEGATE_TEST_S3='http://127.0.0.1:"), "{line}");

    let keeper = children_of(harness.id())[0];
    let server = children_of(keeper).into_iter().find(|pid| command_of(*pid).contains("versitygw")).unwrap();
    let traces = Traces::of(Some(server));
    harness.kill().unwrap(); // SIGKILL: no destructor runs
    harness.wait().unwrap();
    until(Duration::from_secs(10), || traces.are_gone() && !Path::new(&format!("/proc/{keeper}")).exists())
        .await
        .unwrap();
}

fn children_of(parent: u32) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            // After the name in parentheses: state, then the parent.
            let fields = stat.rsplit(')').next().unwrap_or_default();
            fields.split_whitespace().nth(1) == Some(&parent.to_string())
        })
        .collect()
}

fn command_of(pid: u32) -> String {
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let program = command.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(program).into_owned()
}
