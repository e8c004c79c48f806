//! Formats: bytes to Arrow and back.

pub mod intake;
pub mod json;
