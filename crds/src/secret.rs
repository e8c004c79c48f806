//! Secrets by reference: the document names a key, never the secret itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A secret, named and not spelled out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(
    rename_all = "camelCase",
    deny_unknown_fields,
    expecting = "a reference, such as { secretKeyRef: { name: shop, key: password } }; its text is in the environment, as \
                 TIDEGATE_SECRET_SHOP_PASSWORD"
)]
pub struct SecretRef {
    /// Key of a Kubernetes Secret in the job's namespace. Outside Kubernetes the environment holds it, see
    /// [`SecretRef::variable`].
    pub secret_key_ref: SecretKeyRef,
}

/// One key of one Secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretKeyRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key inside the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

impl SecretRef {
    /// The environment variable that carries the secret to the runtime: `TIDEGATE_SECRET_<NAME>_<KEY>`, upper case, with
    /// `_` for what is no letter or digit.
    pub fn variable(&self) -> String {
        let SecretKeyRef { name, key } = &self.secret_key_ref;
        format!("TIDEGATE_SECRET_{name}_{key}")
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' })
            .collect()
    }
}
