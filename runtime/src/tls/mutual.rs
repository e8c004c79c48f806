//! Certificates of a job's own authority.

use std::{fmt, path::Path};

use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Error, Identity, Server, ServerTlsConfig};

use super::{NAME, TlsError};

/// The authority's certificate, this process's own and its key.
#[derive(Clone)]
pub struct Tls {
    authority: Certificate,
    identity: Identity,
}

/// Names no key.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    pub(super) fn read(folder: &Path) -> Result<Self, TlsError> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read(&path).map_err(|source| TlsError::Unreadable { path, source })
        };
        let authority = Certificate::from_pem(read("ca.crt")?);
        Ok(Self { authority, identity: Identity::from_pem(read("tls.crt")?, read("tls.key")?) })
    }

    pub(super) fn server(&self) -> Result<Server, Error> {
        let config = ServerTlsConfig::new().identity(self.identity.clone()).client_ca_root(self.authority.clone());
        Server::builder().tls_config(config)
    }

    pub(super) fn endpoint(&self, address: &str) -> Result<Endpoint, Error> {
        let config = ClientTlsConfig::new().ca_certificate(self.authority.clone()).identity(self.identity.clone());
        Endpoint::from_shared(format!("https://{address}"))?.tls_config(config.domain_name(NAME))
    }
}
