//! The checksum by which bytes are known again.

use xxhash_rust::xxh3::xxh3_64;

/// XXH3, 64 bits, hexadecimal.
pub fn xxh3(bytes: &[u8]) -> String {
    format!("{:016x}", xxh3_64(bytes))
}
