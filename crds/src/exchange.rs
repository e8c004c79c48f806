//! How rows go from worker to worker.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How rows on their way to another worker are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ExchangeCompression {
    /// Not at all: where the network is faster than the processors.
    #[default]
    None,
    /// By LZ4: fewer bytes for more work. Where workers wait for the network, or its bytes are paid for.
    #[serde(rename = "LZ4")]
    Lz4,
}

impl ExchangeCompression {
    #[allow(clippy::trivially_copy_pass_by_ref)] // serde hands out references
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
