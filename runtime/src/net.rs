//! The only door to the network between a job's processes: TCP, or a simulation's.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture, stream};
use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};
use tonic::{
    codegen::{Service, http::Uri},
    transport::server::Connected,
};

use crate::env;
#[cfg(any(test, feature = "test-util"))]
use crate::simulation::{self, Connection, Listening};

/// Before the next try to accept after one has failed for want of something, such as file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// A connection that is silent for so long is asked whether its other end is there, and gone after [`PROBES`] of them.
const SILENCE: Duration = Duration::from_secs(30);
const BETWEEN_PROBES: Duration = Duration::from_secs(10);
const PROBES: u32 = 3;
/// Where an address does not say.
const HTTP_PORT: u16 = 80;

/// One end of a connection.
pub enum Stream {
    Tcp(TcpStream),
    #[cfg(any(test, feature = "test-util"))]
    Simulated(Box<dyn Connection>),
}

/// A port that is listened on.
pub enum Listener {
    Tcp(TcpListener),
    #[cfg(any(test, feature = "test-util"))]
    Simulated(Box<dyn Listening>),
}

/// Connects to `host:port`.
pub async fn connect(address: &str) -> io::Result<Stream> {
    #[cfg(any(test, feature = "test-util"))]
    if let Some(connected) = simulation::ask(|doors| doors.connect(address)) {
        return connected.await.map(Stream::Simulated);
    }
    let stream = TcpStream::connect(address).await?;
    prepare(&stream)?;
    Ok(Stream::Tcp(stream))
}

/// A host that loses its power says no farewell: without probes, a connection to it would last as long as this process.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let probes = TcpKeepalive::new().with_time(SILENCE).with_interval(BETWEEN_PROBES).with_retries(PROBES);
    SockRef::from(stream).set_tcp_keepalive(&probes)
}

impl Listener {
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        #[cfg(any(test, feature = "test-util"))]
        if let Some(listening) = simulation::ask(|doors| doors.listen(address)) {
            return listening.map(Self::Simulated);
        }
        TcpListener::bind(address).await.map(Self::Tcp)
    }

    pub fn address(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr(),
            #[cfg(any(test, feature = "test-util"))]
            Self::Simulated(listening) => Ok(listening.address()),
        }
    }

    async fn accept(&mut self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                prepare(&stream)?;
                Ok(Stream::Tcp(stream))
            }
            #[cfg(any(test, feature = "test-util"))]
            Self::Simulated(listening) => listening.accept().await.map(Stream::Simulated),
        }
    }

    /// All connections, for as long as this lives. One that fails while it is made concerns nobody else.
    pub fn incoming(self) -> impl stream::Stream<Item = io::Result<Stream>> + Send {
        stream::unfold(self, |mut listener| async {
            let stream = next(&mut listener).await;
            Some((Ok(stream), listener))
        })
    }
}

async fn next(listener: &mut Listener) -> Stream {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    loop {
        match listener.accept().await {
            Ok(stream) => return stream,
            Err(error) if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) => {}
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection, trying again");
                env::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Connects gRPC channels.
#[derive(Debug, Clone, Copy)]
pub struct Connector;

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<TokioIo<Stream>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let address = uri.host().map(|host| format!("{host}:{}", uri.port_u16().unwrap_or(HTTP_PORT)));
        async move {
            let unnamed = || io::Error::new(io::ErrorKind::InvalidInput, format!("{uri} names no host"));
            connect(&address.ok_or_else(unnamed)?).await.map(TokioIo::new)
        }
        .boxed()
    }
}

impl Connected for Stream {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            #[cfg(any(test, feature = "test-util"))]
            Self::Simulated(connection) => Pin::new(connection).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            #[cfg(any(test, feature = "test-util"))]
            Self::Simulated(connection) => Pin::new(connection).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(context, buffers),
            #[cfg(any(test, feature = "test-util"))]
            Self::Simulated(connection) => Pin::new(connection).poll_write_vectored(context, buffers),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            #[cfg(any(test, feature = "test-util"))]
            Self::Simulated(connection) => connection.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(context),
            #[cfg(any(test, feature = "test-util"))]
            Self::Simulated(connection) => Pin::new(connection).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            #[cfg(any(test, feature = "test-util"))]
            Self::Simulated(connection) => Pin::new(connection).poll_shutdown(context),
        }
    }
}
