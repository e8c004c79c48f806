//! Mutual TLS between the processes of a job.
//!
//! Each has a certificate of the job's own authority, and lets nobody in without one. The authority signs for this job's
//! processes alone, so a certificate names the job and no host: processes come and go under any address.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use thiserror::Error;
use tonic::{
    body::Body,
    codegen::http::{HeaderValue, Response, header::DATE},
    transport::{Endpoint, Server},
};
use tower::{
    layer::util::{Identity, Stack},
    util::MapResponseLayer,
};

use crate::{env, features::NotBuilt};

#[cfg(not(feature = "tls"))]
pub use self::absent::Tls;
#[cfg(feature = "tls")]
pub use self::mutual::Tls;

#[cfg(not(feature = "tls"))]
mod absent;
#[cfg(feature = "tls")]
mod mutual;

/// The name in every process's certificate.
pub const NAME: &str = "job.tidegate";

/// How a job's processes speak to each other.
#[derive(Debug, Clone)]
pub enum Security {
    Mutual(Tls),
    /// Who reaches the port is let in.
    Plain,
}

#[derive(Debug, Error)]
pub enum TlsError {
    #[error(
        "--tls: failed to read {}; accepted is a folder with `ca.crt`, `tls.crt` and `tls.key`, PEM", path.display()
    )]
    Unreadable {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "{0} can be reached from other machines, and without --tls would let everybody in; add --tls, or --plain if \
             that is meant"
    )]
    Open(SocketAddr),
    #[error("--tls: {0}")]
    NotBuilt(#[from] NotBuilt),
    #[error("--tls: the certificates are not accepted")]
    Refused(#[from] tonic::transport::Error),
}

/// Dates its answers by [`env`]. By itself the library asks the machine, whose time no simulation decides on.
pub type Dating = Server<Stack<MapResponseLayer<fn(Response<Body>) -> Response<Body>>, Identity>>;

fn dated(mut response: Response<Body>) -> Response<Body> {
    let now = UNIX_EPOCH + Duration::from_millis(env::wall_clock_ms());
    if let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(now)) {
        response.headers_mut().insert(DATE, date);
    }
    response
}

/// Why a process can't be reached by others.
#[derive(Debug, Error)]
pub enum ListenError {
    #[error("failed to listen")]
    Port(#[from] std::io::Error),
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl Security {
    /// By the files of `folder`. Without one nothing is secured, which is refused where `listen` is not this machine's
    /// own, unless `plain` is asked for.
    pub fn read(folder: Option<&Path>, plain: bool, listen: SocketAddr) -> Result<Self, TlsError> {
        match folder {
            Some(folder) => Tls::read(folder).map(Self::Mutual),
            None if plain || listen.ip().is_loopback() => Ok(Self::Plain),
            None => Err(TlsError::Open(listen)),
        }
    }

    pub fn server(&self) -> Result<Dating, TlsError> {
        let server = match self {
            Self::Plain => Server::builder(),
            Self::Mutual(tls) => tls.server()?,
        };
        Ok(server.layer(MapResponseLayer::new(dated as fn(_) -> _)))
    }

    /// The way to a process at `host:port`.
    pub fn endpoint(&self, address: &str) -> Result<Endpoint, tonic::transport::Error> {
        match self {
            Self::Plain => Endpoint::from_shared(format!("http://{address}")),
            Self::Mutual(tls) => tls.endpoint(address),
        }
    }
}
