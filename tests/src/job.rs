//! The program under test, as a process: started with a document and settings, killed, awaited.

use std::{
    ffi::OsString,
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

/// Of a job that is [paced](Job::paced).
pub const EPOCHS: u64 = 30;

/// A job that can be started again and again.
#[derive(Debug)]
pub struct Job {
    document: PathBuf,
    settings: Vec<(String, String)>,
    environment: Vec<(String, String)>,
    /// Where it is started, if not where the tests are.
    folder: Option<PathBuf>,
    /// Gets a file for what each start prints.
    prints: Option<PathBuf>,
    /// Gets a log file for each start.
    logs: Arc<tempfile::TempDir>,
    starts: usize,
}

/// One start of the job; killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
    _logs: Arc<tempfile::TempDir>,
}

/// How a start has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    Finished,
    /// By `kill -9`.
    Killed,
    /// With this on standard error.
    Failed(String),
}

impl Job {
    /// A job from a document of `examples/`.
    pub fn example(name: &str) -> Self {
        Self::of(Self::path_of(name))
    }

    /// Where a document of `examples/` is.
    pub fn path_of(example: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(example)
    }

    pub fn of(document: impl Into<PathBuf>) -> Self {
        let logs = Arc::new(tempfile::tempdir().expect("a temporary folder"));
        let document = document.into();
        Self { document, settings: Vec::new(), environment: Vec::new(), folder: None, prints: None, logs, starts: 0 }
    }

    /// Sets a field over the document's.
    #[must_use]
    pub fn set(mut self, path: &str, value: impl ToString) -> Self {
        self.settings.push((path.to_owned(), value.to_string()));
        self
    }

    #[must_use]
    pub fn env(mut self, name: &str, value: impl ToString) -> Self {
        self.environment.push((name.to_owned(), value.to_string()));
        self
    }

    /// Starts it in this folder: paths in its document are of there.
    #[must_use]
    pub fn within(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// What each start writes to its standard output is in a file of its own in this folder, which is there.
    #[must_use]
    pub fn printing_to(mut self, folder: impl Into<PathBuf>) -> Self {
        self.prints = Some(folder.into());
        self
    }

    /// Ties the progress of a job that reads so many records to its checkpoints: it has about [`EPOCHS`] of them before it
    /// ends, however fast the machine is. Only for a job that takes checkpoints by itself; without one it reads no further.
    #[must_use]
    pub fn paced(self, records: u64) -> Self {
        self.env("TIDEGATE_EPOCH_RECORDS", (records / EPOCHS).max(1))
    }

    /// The document and the settings, as arguments of a program that takes a job.
    pub fn arguments(&self) -> Vec<OsString> {
        let settings =
            self.settings.iter().flat_map(|(path, value)| ["--set".into(), format!("{path}={value}").into()]);
        std::iter::once(self.document.clone().into()).chain(settings).collect()
    }

    /// Starts the job.
    pub fn start(&mut self) -> Process {
        self.start_as("run", &[], &[])
    }

    /// Starts the job so that it is killed when it reaches `place` for the `nth` time.
    pub fn start_with_fault(&mut self, place: &str, nth: u64) -> Process {
        assert!(tidegate::fault::PLACES.contains(&place), "there is no fault point `{place}`");
        self.start_as("run", &[], &[("TIDEGATE_FAULT", &format!("{place}@{nth}"))])
    }

    /// Starts the job once for each of these places, and has it killed there when it reaches it for the n-th time.
    pub fn kill_at_each(&mut self, faults: &[(&str, u64)], patience: Duration) {
        for (place, nth) in faults {
            let end = self.start_with_fault(place, *nth).wait(patience);
            assert_eq!(end, End::Killed, "the job was to be killed at `{place}`");
        }
    }

    /// Starts a process of the job: `run`, or one of several as `coordinator` or `worker`.
    pub fn start_as(&mut self, role: &str, options: &[String], environment: &[(&str, &str)]) -> Process {
        self.starts += 1;
        let log = self.logs.path().join(format!("{}.log", self.starts));
        let mut command = Command::new(program());
        command.arg(role).args(self.arguments()).args(options);
        let own = self.environment.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        command
            .envs(own)
            .envs(environment.iter().copied())
            .env("RUST_LOG", std::env::var("TIDEGATE_TEST_LOG").unwrap_or_else(|_| "warn,tidegate=info".to_owned()));
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        let output = self.prints.as_ref().map_or_else(Stdio::null, |folder| {
            File::create(folder.join(format!("{}.jsonl", self.starts))).expect("a file to print to").into()
        });
        command.stdin(Stdio::null()).stdout(output).stderr(File::create(&log).expect("a log file"));
        Process { child: command.spawn().expect("the program starts"), log, _logs: self.logs.clone() }
    }

    /// The rows of a query over the newest checkpoint of a storage folder.
    pub fn inspect(storage: &Path, sql: &str) -> Vec<serde_json::Value> {
        let mut command = Command::new(program());
        command.arg("inspect").arg(storage).args(["--format", "json", "--sql", sql]);
        let inspected = command.output().expect("the program starts");
        let error = String::from_utf8_lossy(&inspected.stderr);
        assert!(inspected.status.success(), "failed to ask {}: {error}", storage.display());
        let said = String::from_utf8_lossy(&inspected.stdout);
        said.lines().map(|line| serde_json::from_str(line).expect("a row")).collect()
    }

    /// Runs the job to its end, however often it was killed before.
    pub fn finish(&mut self, patience: Duration) {
        let process = self.start();
        assert_eq!(process.wait(patience), End::Finished);
    }
}

impl Process {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What the process has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("the log")
    }

    pub fn kill_9(mut self) -> End {
        self.child.kill().expect("a process to kill");
        end(self.child.wait().expect("its end"), String::new())
    }

    /// Sends a signal by its name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]).status();
        assert!(status.expect("kill runs").success(), "failed to send {name}");
    }

    /// The end, if it has come.
    pub fn ended(&mut self) -> Option<End> {
        self.child.try_wait().expect("a child").map(|status| end(status, self.log()))
    }

    /// Waits for the end.
    pub fn wait(mut self, patience: Duration) -> End {
        self.await_end(patience)
    }

    /// As [`Process::wait`]; its log can still be read afterwards.
    pub fn await_end(&mut self, patience: Duration) -> End {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(end) = self.ended() {
                return end;
            }
            assert!(Instant::now() < deadline, "still running after {patience:?}; its log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The `host:port` of the job's HTTP API, once it is logged.
    pub fn api(&mut self, patience: Duration) -> String {
        let deadline = Instant::now() + patience;
        loop {
            if let Some((_, rest)) = self.log().split_once("address=")
                && let Some((address, _)) = rest.split_once(char::is_whitespace)
            {
                return address.to_owned();
            }
            if let Some(end) = self.ended() {
                panic!("it has ended before it listened: {end:?}");
            }
            assert!(Instant::now() < deadline, "no address in its log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended can't be killed, which is as good.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

fn end(status: ExitStatus, log: String) -> End {
    use std::os::unix::process::ExitStatusExt;
    match (status.success(), status.signal()) {
        (true, _) => End::Finished,
        (false, Some(9)) => End::Killed,
        (false, _) => End::Failed(log),
    }
}

/// The program: `TIDEGATE_BIN`, else the one that was built together with the tests.
pub fn program() -> PathBuf {
    std::env::var_os("TIDEGATE_BIN").map_or_else(
        || {
            // A program of this crate lies beside it, a test one folder below.
            let own = std::env::current_exe().expect("this program");
            let built =
                own.ancestors().skip(1).take(2).map(|folder| folder.join("tidegate")).find(|path| path.exists());
            built.unwrap_or_else(|| panic!("`tidegate` is not built beside {}; use `make`", own.display()))
        },
        PathBuf::from,
    )
}
