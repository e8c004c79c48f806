//! Secrets, from the environment they are handed over in.

use thiserror::Error;
use tidegate_crds::{SecretRef, api::FailureReason};

use crate::failure::Reason;

/// A secret is not there.
#[derive(Debug, Error)]
#[error("{field}: secret `{name}`, key `{key}` is not set; set the environment variable {variable}")]
pub struct MissingSecret {
    field: String,
    name: String,
    key: String,
    variable: String,
}

impl Reason for MissingSecret {
    fn reason(&self) -> FailureReason {
        FailureReason::SecretMissing
    }
}

/// The secret's text. `field` is the path of the reference in the document, for the error.
pub fn resolve(field: &str, secret: &SecretRef) -> Result<String, MissingSecret> {
    let variable = secret.variable();
    std::env::var(&variable).map_err(|_| MissingSecret {
        field: field.to_owned(),
        name: secret.secret_key_ref.name.clone(),
        key: secret.secret_key_ref.key.clone(),
        variable,
    })
}
