//! Values as bytes.

use crate::state::table::TableError;

/// What state can hold. Keys of a map stand in the order of their bytes.
pub trait Bytes: Sized {
    fn write(&self, bytes: &mut Vec<u8>);

    fn read(bytes: &[u8]) -> Result<Self, TableError>;
}

fn damaged(kind: &str, found: usize) -> TableError {
    TableError::Damaged(format!("{found} bytes are no {kind}"))
}

impl Bytes for Vec<u8> {
    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(self);
    }

    fn read(bytes: &[u8]) -> Result<Self, TableError> {
        Ok(bytes.to_vec())
    }
}

impl Bytes for String {
    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(self.as_bytes());
    }

    fn read(bytes: &[u8]) -> Result<Self, TableError> {
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| damaged("text", bytes.len()))
    }
}

impl Bytes for u64 {
    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.to_be_bytes());
    }

    fn read(bytes: &[u8]) -> Result<Self, TableError> {
        bytes.try_into().map(Self::from_be_bytes).map_err(|_| damaged("number", bytes.len()))
    }
}

impl Bytes for i64 {
    /// With the sign turned round, so that negative numbers stand before the others.
    fn write(&self, bytes: &mut Vec<u8>) {
        (self.cast_unsigned() ^ (1 << 63)).write(bytes);
    }

    fn read(bytes: &[u8]) -> Result<Self, TableError> {
        Ok((u64::read(bytes)? ^ (1 << 63)).cast_signed())
    }
}
