//! A second door of the broker: TLS, and a user with a password.

use std::{fs, path::Path, process::Command};

use super::super::{Error, cache, port::Port};

const STORE_PASSWORD: &str = "of-no-worth";

/// How a client gets in by the secured listener.
#[derive(Debug)]
pub struct Secured {
    port: Port,
    /// PEM of the authority to trust.
    pub ca: String,
    pub username: &'static str,
    pub password: &'static str,
}

impl Secured {
    /// Makes a certificate for loopback below `folder`.
    pub(super) fn prepare(folder: &Path) -> Result<Self, Error> {
        let port = Port::reserve()?;
        let store = folder.join("tls.p12");
        keytool(&store, &["-genkeypair", "-keyalg", "EC", "-dname", "CN=127.0.0.1", "-ext", "san=ip:127.0.0.1"])?;
        let pem = folder.join("tls.pem");
        keytool(&store, &["-exportcert", "-rfc", "-file", &pem.to_string_lossy()])?;
        let ca = fs::read_to_string(&pem).map_err(Error::io("read", &pem))?;
        Ok(Self { port, ca, username: "reader", password: "correct-horse" })
    }

    /// `host:port` of the listener.
    pub fn address(&self) -> String {
        self.port.address()
    }

    /// Lines for the broker's properties, `folder` being that of the certificate.
    pub(super) fn properties(&self, folder: &Path) -> String {
        format!(
            "ssl.keystore.location={store}
ssl.keystore.type=PKCS12
ssl.keystore.password={STORE_PASSWORD}
listener.name.sasl_ssl.sasl.enabled.mechanisms=PLAIN
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
             user_{user}=\"{password}\";
",
            store = folder.join("tls.p12").display(),
            user = self.username,
            password = self.password,
        )
    }
}

fn keytool(store: &Path, arguments: &[&str]) -> Result<(), Error> {
    let mut command = Command::new("keytool");
    command.args(arguments).args(["-alias", "broker", "-storetype", "PKCS12", "-storepass", STORE_PASSWORD]);
    cache::run("keytool", command.arg("-keystore").arg(store))
}
