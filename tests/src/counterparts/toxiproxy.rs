//! toxiproxy: a network between a client and a server that a test can break.
//!
//! ```text
//! client ── 127.0.0.1:<proxy> ── toxics ── 127.0.0.1:<server>
//! ```
//!
//! A disabled proxy refuses connections at once and cuts those that are open: the server is gone.
//! [`Toxic::Timeout`] or [`Toxic::LimitData`] towards the client let a request arrive and lose its
//! answer, the case that tests an unknown outcome.

use std::path::Path;
use std::process::Command;

use reqwest::Method;
use serde_json::{Value, json};

use super::Error;
use super::cache::{self, Program};
use super::port::Port;
use super::process::Launch;
use super::server::{Place, Server};

const NAME: &str = "toxiproxy";

/// The proxy's one binary, `toxiproxy-server`.
pub const PROGRAM: Program = Program { name: NAME, version: "2.5.0", fill };

/// A running toxiproxy; the proxies it carries end with it.
#[derive(Debug)]
pub struct Toxiproxy {
    server: Server,
}

/// One way through the network, to one server.
#[derive(Debug)]
pub struct Proxy {
    name: String,
    api: String,
    client: reqwest::Client,
    port: Port,
}

/// Which way the data flows that a toxic touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Requests: from the client to the server.
    ToServer,
    /// Answers: from the server to the client.
    ToClient,
}

/// How a connection suffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Toxic {
    /// Nothing passes; the connection is closed after so many milliseconds, with 0 when the toxic
    /// is removed.
    Timeout { ms: u64 },
    /// The connection is closed once so many bytes have passed.
    LimitData { bytes: u64 },
    /// Data arrives so many milliseconds later, give or take the jitter.
    Latency { ms: u64, jitter_ms: u64 },
    /// The connection is reset (TCP RST) after so many milliseconds.
    ResetPeer { ms: u64 },
}

impl Toxiproxy {
    /// Starts a toxiproxy without proxies (0.1 s).
    pub async fn start() -> Result<Self, Error> {
        let installed = PROGRAM.ready().await?;
        let place = Place::reserve(NAME)?;
        let launch = Launch {
            program: installed.join("toxiproxy-server"),
            arguments: vec!["-host".into(), "127.0.0.1".into(), "-port".into(), place.port.number().to_string().into()],
            environment: Vec::new(),
        };
        let server = Server::start(NAME, place, launch).await?;
        Ok(Self { server })
    }

    /// Opens a way to `upstream`, a `host:port`.
    pub async fn proxy(&self, upstream: &str) -> Result<Proxy, Error> {
        let port = Port::reserve()?;
        let proxy = Proxy {
            name: port.number().to_string(),
            api: format!("http://{}/proxies", self.server.address()),
            client: reqwest::Client::new(),
            port,
        };
        let body = json!({
            "name": proxy.name,
            "listen": proxy.address(),
            "upstream": upstream,
            "enabled": true,
        });
        ask(&proxy.client, Method::POST, proxy.api.clone(), Some(body)).await?;
        Ok(proxy)
    }

    /// The process, if it runs.
    pub fn pid(&self) -> Option<u32> {
        self.server.pid()
    }
}

impl Proxy {
    /// Where clients connect: `127.0.0.1:<port>`.
    pub fn address(&self) -> String {
        self.port.address()
    }

    /// Lets connections through again.
    pub async fn enable(&self) -> Result<(), Error> {
        self.set_enabled(true).await
    }

    /// Cuts open connections and refuses new ones.
    pub async fn disable(&self) -> Result<(), Error> {
        self.set_enabled(false).await
    }

    /// Makes connections suffer, those that are open and new ones, until [`Proxy::remove`].
    ///
    /// `name` is for the removal; one toxic of a name at a time.
    pub async fn add(&self, name: &str, toxic: Toxic, direction: Direction) -> Result<(), Error> {
        let (kind, attributes) = match toxic {
            Toxic::Timeout { ms } => ("timeout", json!({ "timeout": ms })),
            Toxic::LimitData { bytes } => ("limit_data", json!({ "bytes": bytes })),
            Toxic::Latency { ms, jitter_ms } => ("latency", json!({ "latency": ms, "jitter": jitter_ms })),
            Toxic::ResetPeer { ms } => ("reset_peer", json!({ "timeout": ms })),
        };
        let stream = match direction {
            Direction::ToServer => "upstream",
            Direction::ToClient => "downstream",
        };
        let body = json!({
            "name": name,
            "type": kind,
            "stream": stream,
            "attributes": attributes,
        });
        self.ask(Method::POST, "/toxics", Some(body)).await
    }

    /// Heals what the toxic `name` did.
    pub async fn remove(&self, name: &str) -> Result<(), Error> {
        self.ask(Method::DELETE, &format!("/toxics/{name}"), None).await
    }

    async fn set_enabled(&self, enabled: bool) -> Result<(), Error> {
        let body = json!({ "enabled": enabled });
        self.ask(Method::POST, "", Some(body)).await
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<(), Error> {
        let url = format!("{}/{}{path}", self.api, self.name);
        ask(&self.client, method, url, body).await
    }
}

async fn ask(client: &reqwest::Client, method: Method, url: String, body: Option<Value>) -> Result<(), Error> {
    let mut request = client.request(method, &url);
    if let Some(body) = body {
        request = request.json(&body);
    }
    let failed = |source| Error::Http { server: NAME, url, source };
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) => return Err(failed(error)),
    };
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    Err(Error::Refused { server: NAME, status: status.as_u16(), message: response.text().await.map_err(failed)? })
}

fn fill(folder: &Path) -> Result<(), Error> {
    cache::run(
        NAME,
        Command::new("go")
            .arg("-C")
            .arg(cache::recipe("toxiproxy"))
            .args(["build", "-trimpath", "-ldflags=-s -w", "-o"])
            .arg(folder.join("toxiproxy-server"))
            .arg("github.com/Shopify/toxiproxy/v2/cmd/server"),
    )
}
