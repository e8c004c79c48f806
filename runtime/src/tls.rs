//! Mutual TLS between the processes of a job.
//!
//! Each has a certificate of the job's own authority, and lets nobody in without one. The authority signs for this job's
//! processes alone, so a certificate names the job and no host: processes come and go under any address.

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use thiserror::Error;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity, Server, ServerTlsConfig};

/// The name in every process's certificate.
pub const NAME: &str = "job.tidegate";

/// The authority's certificate, this process's own and its key.
#[derive(Clone)]
pub struct Tls {
    authority: Certificate,
    identity: Identity,
}

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
    #[error("--tls: the certificates are not accepted")]
    Refused(#[from] tonic::transport::Error),
}

/// Why a process can't be reached by others.
#[derive(Debug, Error)]
pub enum ListenError {
    #[error("failed to listen")]
    Port(#[from] std::io::Error),
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Names no key.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

impl Security {
    /// By the files of `folder`. Without one nothing is secured, which is refused where `listen` is not this machine's
    /// own, unless `plain` is asked for.
    pub fn read(folder: Option<&Path>, plain: bool, listen: SocketAddr) -> Result<Self, TlsError> {
        let Some(folder) = folder else {
            return if plain || listen.ip().is_loopback() { Ok(Self::Plain) } else { Err(TlsError::Open(listen)) };
        };
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read(&path).map_err(|source| TlsError::Unreadable { path, source })
        };
        let authority = Certificate::from_pem(read("ca.crt")?);
        Ok(Self::Mutual(Tls { authority, identity: Identity::from_pem(read("tls.crt")?, read("tls.key")?) }))
    }

    pub fn server(&self) -> Result<Server, TlsError> {
        Ok(match self {
            Self::Plain => Server::builder(),
            Self::Mutual(Tls { authority, identity }) => {
                let config = ServerTlsConfig::new().identity(identity.clone()).client_ca_root(authority.clone());
                Server::builder().tls_config(config)?
            }
        })
    }

    /// The way to a process at `host:port`.
    pub fn endpoint(&self, address: &str) -> Result<Endpoint, tonic::transport::Error> {
        match self {
            Self::Plain => Endpoint::from_shared(format!("http://{address}")),
            Self::Mutual(Tls { authority, identity }) => {
                let config = ClientTlsConfig::new().ca_certificate(authority.clone()).identity(identity.clone());
                Endpoint::from_shared(format!("https://{address}"))?.tls_config(config.domain_name(NAME))
            }
        }
    }
}
