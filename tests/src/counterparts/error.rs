//! What can go wrong around a test server, worded for the person who reads a failed test.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// A server could not be installed, started, reached or stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to {action} `{}`", path.display())]
    Io {
        /// A verb phrase: "create", "lock", "read".
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },

    #[error("failed to run `{program}`; `scripts/setup.sh test` installs what the tests need")]
    Spawn {
        program: String,
        #[source]
        source: std::io::Error,
    },

    #[error("failed to install {name}: `{command}` ended with {status}\n{output}")]
    Install { name: String, command: String, status: ExitStatus, output: String },

    #[error("no home for the cache of test servers: set HOME or XDG_CACHE_HOME")]
    NoCacheFolder,

    #[error("no free port on {address} between {from} and {to}")]
    NoFreePort { address: IpAddr, from: u16, to: u16 },

    #[error("{server} can't run on this machine: {reason}")]
    Unavailable { server: &'static str, reason: String },

    #[error(
        "all {tried} places for a cluster on this machine are taken, by other clusters or by routes to their \
             addresses (10.{first}.0.0/16 and the next ones)"
    )]
    NoPlace { tried: u8, first: u8 },

    #[error("the cluster has no node `{name}`, only: {nodes}")]
    NoNode { name: String, nodes: String },

    #[error("pod `{pod}` has no container `{container}` that runs")]
    NoContainer { pod: String, container: String },

    #[error("`{command}` ended with {status}\n{output}")]
    Command { command: String, status: ExitStatus, output: String },

    #[error("{server} ended before it was ready ({status}); the end of its log:\n{log}")]
    Died { server: &'static str, status: ExitStatus, log: String },

    #[error("{server} was not ready after {waited:?}; the end of its log:\n{log}")]
    NotReady { server: &'static str, waited: Duration, log: String },

    #[error("{server} is already running")]
    Running { server: &'static str },

    #[error("{server} is not running")]
    NotRunning { server: &'static str },

    #[error("{server} did not obey {signal} within {waited:?}")]
    Signal { server: &'static str, signal: &'static str, waited: Duration },

    #[error("can't {action} {server}: it was named by {variable}, so it isn't ours")]
    External { server: &'static str, action: &'static str, variable: &'static str },

    #[error("failed to understand {variable}=`{value}`, expected {expected}")]
    Variable { variable: &'static str, value: String, expected: &'static str },

    #[error("failed to ask {server} at {url}")]
    Http {
        server: &'static str,
        url: String,
        #[source]
        source: reqwest::Error,
    },

    #[error("{server} refused ({status}): {message}")]
    Refused {
        server: &'static str,
        /// The HTTP status.
        status: u16,
        message: String,
    },
}

impl Error {
    /// Names the file behind an I/O error: `.map_err(Error::io("create", &path))`.
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}
