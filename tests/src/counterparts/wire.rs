//! A wire between a client and a server that fails when it sees certain bytes.
//!
//! ```text
//! client ── 127.0.0.1:<wire> ── 127.0.0.1:<server>
//! ```
//!
//! Where [`super::Toxiproxy`] breaks all connections alike, this one knows requests: a rule names bytes that only they
//! have, such as `PUT /bucket/log/1/0` of S3 or `rename2` of HDFS, and what becomes of the next few of them. It looks
//! for the bytes in what the client sends at once, and a client sends the beginning of a request at once.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::Error;

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It never arrives, and this is the answer: a proxy's 503, say. The server hears nothing more over this connection,
    /// which the answer should tell.
    Answer(Vec<u8>),
    /// It arrives, and instead of the answer the connection ends.
    LoseAnswer,
    /// It arrives, and the answer breaks off after so many bytes.
    CutAnswer(usize),
    /// It arrives, and the answer takes so much longer.
    Delay(Duration),
    /// It arrives, and the answer never comes.
    Hold,
}

#[derive(Debug)]
struct Rule {
    needle: Vec<u8>,
    fault: Fault,
    left: usize,
    met: usize,
}

/// A wire to one server; it ends when dropped, with the connections over it.
#[derive(Debug)]
pub struct Wire {
    address: SocketAddr,
    rules: Arc<Mutex<Vec<Rule>>>,
    _accepting: JoinSet<()>,
}

impl Wire {
    /// Lays a wire to `server`, a `host:port`.
    pub async fn to(server: &str) -> Result<Self, Error> {
        let listening = TcpListener::bind("127.0.0.1:0").await;
        let listener = listening.map_err(Error::io("listen for connections to", server))?;
        let address = listener.local_addr().map_err(Error::io("listen for connections to", server))?;
        let rules = Arc::new(Mutex::new(Vec::new()));
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, server.to_owned(), Arc::clone(&rules)));
        Ok(Self { address, rules, _accepting: accepting })
    }

    /// Where the client connects: `127.0.0.1:<port>`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// The next `times` requests that have `needle` in them suffer so. Rules are tried in the order they were made.
    pub fn fail(&self, needle: &str, fault: Fault, times: usize) {
        self.lock().push(Rule { needle: needle.into(), fault, left: times, met: 0 });
    }

    /// Forgets all rules; returns how many requests suffered.
    pub fn heal(&self) -> usize {
        self.lock().drain(..).map(|rule| rule.met).sum()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Rule>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(listener: TcpListener, server: String, rules: Arc<Mutex<Vec<Rule>>>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let (server, rules) = (server.clone(), Arc::clone(&rules));
        connections.spawn(async move {
            // A connection that ends badly is what this is for.
            if let Ok(server) = TcpStream::connect(server).await {
                let _ = carry(client, server, &rules).await;
            }
        });
    }
}

async fn carry(mut client: TcpStream, mut server: TcpStream, rules: &Mutex<Vec<Rule>>) -> std::io::Result<()> {
    let (mut request, mut answer) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let mut fault = None;
    loop {
        tokio::select! {
            biased;
            read = client.read(&mut request) => {
                let sent = &request[..read?];
                if sent.is_empty() {
                    return Ok(());
                }
                fault = meet(rules, sent).or(fault);
                if let Some(Fault::Answer(answer)) = fault {
                    client.write_all(&answer).await?;
                    return drain(client, &mut request).await;
                }
                server.write_all(sent).await?;
            }
            read = server.read(&mut answer) => {
                let got = &answer[..read?];
                if got.is_empty() {
                    return Ok(());
                }
                match fault.take() {
                    None | Some(Fault::Answer(_)) => client.write_all(got).await?,
                    Some(Fault::LoseAnswer) => return Ok(()),
                    Some(Fault::CutAnswer(left)) => {
                        client.write_all(&got[..got.len().min(left)]).await?;
                        if left <= got.len() {
                            return Ok(());
                        }
                        fault = Some(Fault::CutAnswer(left - got.len()));
                    }
                    Some(Fault::Delay(time)) => {
                        tokio::time::sleep(time).await;
                        client.write_all(got).await?;
                    }
                    Some(Fault::Hold) => return drain(client, &mut request).await,
                }
            }
        }
    }
}

/// What becomes of a request that begins with these bytes.
fn meet(rules: &Mutex<Vec<Rule>>, sent: &[u8]) -> Option<Fault> {
    let mut rules = rules.lock().unwrap_or_else(PoisonError::into_inner);
    let has = |needle: &[u8]| sent.windows(needle.len()).any(|window| window == needle);
    let rule = rules.iter_mut().find(|rule| rule.left > 0 && has(&rule.needle))?;
    rule.left -= 1;
    rule.met += 1;
    Some(rule.fault.clone())
}

/// Reads what the client still has to say, until it hangs up.
async fn drain(mut client: TcpStream, buffer: &mut [u8]) -> std::io::Result<()> {
    while client.read(buffer).await? > 0 {}
    Ok(())
}
