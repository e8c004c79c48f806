//! Formats: bytes to Arrow and back.
