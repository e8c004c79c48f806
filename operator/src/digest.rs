//! Short names for what something is: to tell whether it has changed, not to keep anybody from changing it.

use sha2::{Digest, Sha256};

/// The first `bytes` of the SHA-256 of all parts, in hexadecimal.
pub fn of(parts: &[&[u8]], bytes: usize) -> String {
    let mut hasher = Sha256::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().iter().take(bytes).map(|byte| format!("{byte:02x}")).collect()
}
