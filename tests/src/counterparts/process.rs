//! One running server process that can't outlive the test.
//!
//! A test may be killed by a deadline, by a person or by the kernel, and then runs no destructor.
//! So the server is the child of a small shell script, `keeper.sh`, that holds a pipe to us: the
//! kernel closes our end when we are gone, and the script kills the server and removes its folder.
//! Signals go through the same pipe, and the script alone waits for the server, so a pid that was
//! given to somebody else is never signalled.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use super::{Error, cache};

const KEEPER: &str = include_str!("keeper.sh");

/// The command line of a server, kept so that it can be started again.
#[derive(Debug, Clone)]
pub struct Launch {
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
    pub environment: Vec<(&'static str, OsString)>,
}

/// A server that runs, or ran until a moment ago.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    pid: u32,
    log: PathBuf,
    keeper: Child,
    signals: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Process {
    /// Starts `launch`; its output is appended to `server.log` in `folder`, which is removed if
    /// this process dies.
    pub fn spawn(name: &'static str, launch: &Launch, folder: &Path) -> Result<Self, Error> {
        Self::spawn_by(Command::new("sh"), name, launch, folder)
    }

    /// As [`Process::spawn`], by a command that runs the shell somewhere else, such as in another namespace.
    pub(super) fn spawn_by(
        mut shell: Command,
        name: &'static str,
        launch: &Launch,
        folder: &Path,
    ) -> Result<Self, Error> {
        shell
            .args(["-c", KEEPER, "keeper"])
            .arg(folder)
            .arg(&launch.program)
            .args(&launch.arguments)
            .envs(launch.environment.iter().map(|(key, value)| (key, value)));
        Self::kept(shell, name, folder)
    }

    /// Starts a keeper, which logs to `server.log` in `folder` and speaks as `keeper.sh` does: prints a pid, then
    /// reads names of signals until its input ends.
    pub(super) fn kept(mut keeper: Command, name: &'static str, folder: &Path) -> Result<Self, Error> {
        let mut keeper = keeper
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0) // a Ctrl-C is for us, and we then end the servers
            .spawn()
            .map_err(|source| Error::Spawn { program: keeper.get_program().to_string_lossy().into_owned(), source })?;
        let (Some(signals), Some(answers)) = (keeper.stdin.take(), keeper.stdout.take()) else {
            return Err(Error::NotRunning { server: name });
        };
        let mut process =
            Self { name, pid: 0, log: folder.join("server.log"), keeper, signals, answers: BufReader::new(answers) };
        let Ok(pid) = process.answer().parse() else {
            let status = process.keeper.wait().map_err(Error::io("wait for the keeper in", folder))?;
            return Err(Error::Died { server: name, status, log: process.log_tail() });
        };
        process.pid = pid;
        Ok(process)
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The exit status once the server has ended, by itself or by a signal (then 128 + signal).
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.keeper.try_wait().ok().flatten()
    }

    /// `SIGKILL`, and waits until the process is gone: its port is free and its files are closed.
    pub fn kill_9(&mut self) {
        self.signal("KILL");
        // The keeper ends as soon as the server does; nothing survives SIGKILL.
        let _ = self.keeper.wait();
    }

    /// `SIGTERM`, and waits for a clean end.
    pub async fn terminate(&mut self, patience: Duration) -> Result<(), Error> {
        self.signal("TERM");
        until(patience, || self.ended().is_some()).await.map_err(|waited| Error::Signal {
            server: self.name,
            signal: "SIGTERM",
            waited,
        })
    }

    /// `SIGSTOP`: the server keeps its connections and answers nothing.
    pub fn pause(&mut self) {
        self.signal("STOP");
    }

    /// `SIGCONT`.
    pub fn resume(&mut self) {
        self.signal("CONT");
    }

    /// The end of the server's log, for an error message.
    pub fn log_tail(&self) -> String {
        std::fs::read(&self.log).map_or_else(|error| format!("(no log: {error})"), |log| cache::tail(&log, 30))
    }

    /// Returns when the signal was sent, or when the server has ended anyway.
    fn signal(&mut self, signal: &str) {
        // A closed pipe means that the keeper ended, hence the server too.
        if writeln!(self.signals, "{signal}").is_ok() {
            self.answer();
        }
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        let _ = self.answers.read_line(&mut line);
        line.trim_end().to_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill_9();
    }
}

/// Asks `condition` every 10 ms until it holds; the error is the time waited in vain.
pub async fn until(patience: Duration, mut condition: impl FnMut() -> bool) -> Result<(), Duration> {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(patience, wait).await.map_err(|_| patience)
}
