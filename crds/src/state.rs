//! Where a job keeps what it remembers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where state is while the job runs. Checkpoints of one are read by the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StateBackend {
    /// In the memory of the job's processes.
    #[default]
    Memory,
    /// On their local disks, by RocksDB, and in memory as far as there is room: for more than fits into memory. A
    /// checkpoint uploads the files that are new.
    #[serde(rename = "RocksDB")]
    RocksDb,
}

impl StateBackend {
    #[allow(clippy::trivially_copy_pass_by_ref)] // serde hands out references
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
