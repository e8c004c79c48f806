//! Certificates for the processes of a job: mutual TLS between its coordinator and its workers.
//!
//! The authority signs one certificate, which all of them share, and its key is thrown away: nobody can ever make another.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// The name in the certificate, which each process asks of the others.
const NAME: &str = "job.tidegate";

/// A new authority and its certificate, as the runtime's `--tls` reads them.
pub fn build(metadata: ObjectMeta, job: &str) -> Result<Secret, rcgen::Error> {
    let (authority_key, key) = (KeyPair::generate()?, KeyPair::generate()?);
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.distinguished_name.push(DnType::CommonName, format!("processes of job {job}"));
    let own = CertificateParams::new([NAME.to_owned()])?;
    let signed = own.signed_by(&key, &Issuer::from_params(&authority, &authority_key))?;
    let files = [
        ("ca.crt", authority.self_signed(&authority_key)?.pem()),
        ("tls.crt", signed.pem()),
        ("tls.key", key.serialize_pem()),
    ];
    let data: BTreeMap<String, ByteString> =
        files.into_iter().map(|(name, text)| (name.to_owned(), ByteString(text.into_bytes()))).collect();
    Ok(Secret {
        metadata,
        data: Some(data),
        type_: Some("kubernetes.io/tls".to_owned()),
        immutable: Some(true),
        ..Secret::default()
    })
}
