//! A server that keeps its port and its data over crashes and restarts.

use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::Error;
use super::port::Port;
use super::process::{Launch, Process, until};

/// Long, because the tests may share two cores with a build.
const READY_WITHIN: Duration = Duration::from_mins(5);
const END_WITHIN: Duration = Duration::from_mins(1);

/// One server of ours. Dropping it kills the process, then removes the data.
#[derive(Debug)]
pub struct Server {
    name: &'static str,
    launch: Launch,
    // Dropped in this order: the process before the folder it writes to.
    process: Option<Process>,
    folder: TempDir,
    port: Port,
}

/// What has to be there before a server can be described: a place for it.
#[derive(Debug)]
pub struct Place {
    /// In the system's temporary folder (`TMPDIR`); also holds `server.log`.
    pub folder: TempDir,
    /// Where clients connect.
    pub port: Port,
}

impl Place {
    /// A place whose port is one of loopback.
    pub fn reserve(name: &str) -> Result<Self, Error> {
        Self::reserve_at(name, Ipv4Addr::LOCALHOST.into())
    }

    /// A place whose port is one of another address of this machine.
    pub fn reserve_at(name: &str, address: IpAddr) -> Result<Self, Error> {
        let folder = tempfile::Builder::new()
            .prefix(&format!("tidegate-{name}-"))
            .tempdir()
            .map_err(Error::io("create a folder in", std::env::temp_dir()))?;
        let port = Port::reserve_at(address)?;
        Ok(Self { folder, port })
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Server {
    /// Starts the server and waits until its port accepts connections.
    pub async fn start(name: &'static str, place: Place, launch: Launch) -> Result<Self, Error> {
        let mut server = Self { name, launch, process: None, folder: place.folder, port: place.port };
        server.spawn().await?;
        Ok(server)
    }

    pub fn address(&self) -> String {
        self.port.address()
    }

    /// The folder with the server's data and log.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The process that runs now.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// Crashes the server: `SIGKILL`, returning when it is gone.
    pub fn kill_9(&mut self) {
        self.process = None;
    }

    /// Ends the server cleanly by `SIGTERM`.
    pub async fn terminate(&mut self) -> Result<(), Error> {
        match self.process.take() {
            Some(mut process) => process.terminate(END_WITHIN).await,
            None => Ok(()),
        }
    }

    /// Starts the server again on the same port and data, after a clean end if it still runs.
    pub async fn restart(&mut self) -> Result<(), Error> {
        self.terminate().await?;
        self.spawn().await
    }

    /// Like [`Server::restart`], from now on with another command line.
    pub async fn restart_as(&mut self, launch: Launch) -> Result<(), Error> {
        self.launch = launch;
        self.restart().await
    }

    /// Freezes the server (`SIGSTOP`): connections open, but nothing answers.
    pub fn pause(&mut self) -> Result<(), Error> {
        self.running()?.pause();
        Ok(())
    }

    /// Thaws a paused server (`SIGCONT`).
    pub fn resume(&mut self) -> Result<(), Error> {
        self.running()?.resume();
        Ok(())
    }

    fn running(&mut self) -> Result<&mut Process, Error> {
        let server = self.name;
        self.process.as_mut().ok_or(Error::NotRunning { server })
    }

    async fn spawn(&mut self) -> Result<(), Error> {
        let mut process = Process::spawn(self.name, &self.launch, self.folder.path())?;
        let address = self.port.socket();
        let mut ended = None;
        let ready = until(READY_WITHIN, || {
            ended = process.ended();
            ended.is_some() || TcpStream::connect(address).is_ok()
        })
        .await;
        let server = self.name;
        if let Some(status) = ended {
            let log = process.log_tail();
            return Err(Error::Died { server, status, log });
        }
        ready.map_err(|waited| Error::NotReady { server, waited, log: process.log_tail() })?;
        self.process = Some(process);
        Ok(())
    }
}

/// A server of ours, or one that an environment variable names.
#[derive(Debug)]
pub(crate) enum Origin {
    Ours(Box<Server>),
    Theirs { server: &'static str, variable: &'static str },
}

impl From<Server> for Origin {
    fn from(server: Server) -> Self {
        Self::Ours(Box::new(server))
    }
}

impl Origin {
    /// The server, if we may `action` it.
    pub(crate) fn ours(&mut self, action: &'static str) -> Result<&mut Server, Error> {
        match self {
            Self::Ours(server) => Ok(server),
            Self::Theirs { server, variable } => Err(Error::External { server, action, variable }),
        }
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        match self {
            Self::Ours(server) => server.pid(),
            Self::Theirs { .. } => None,
        }
    }
}

/// What a test may do to the process behind a server's `origin`, if it is ours.
macro_rules! controlled {
    ($server:ident) => {
        impl $server {
            /// The process, if it is ours and runs.
            pub fn pid(&self) -> Option<u32> {
                self.origin.pid()
            }

            /// Crashes the process; what it acknowledged is still there after a restart.
            pub fn kill_9(&mut self) -> Result<(), Error> {
                self.origin.ours("kill")?.kill_9();
                Ok(())
            }

            /// Freezes the process: clients see time-outs, not refused connections.
            pub fn pause(&mut self) -> Result<(), Error> {
                self.origin.ours("pause")?.pause()
            }

            pub fn resume(&mut self) -> Result<(), Error> {
                self.origin.ours("resume")?.resume()
            }
        }
    };
}

pub(crate) use controlled;

/// The value of an environment variable that names a server, if it is set and not empty.
pub(crate) fn named_by(variable: &'static str) -> Option<String> {
    std::env::var(variable).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_that_dies_at_once_shows_its_log_and_leaves_no_folder() {
        let place = Place::reserve("broken").unwrap();
        let folder = place.path().to_owned();
        let launch = Launch {
            program: "sh".into(),
            arguments: vec!["-c".into(), "echo no luck today >&2; exit 3".into()],
            environment: Vec::new(),
        };
        let error = Server::start("broken", place, launch).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "broken ended before it was ready (exit status: 3); the end of its log:\nno luck today"
        );
        assert!(!folder.exists());
    }
}
