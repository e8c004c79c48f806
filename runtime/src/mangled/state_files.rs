//! Files of state and of the write-ahead log: Arrow's format, which a manifest vouches for by length and XXH3.

use std::sync::Arc;

use super::{assert_plain, outcome};
use crate::{
    checkpoint::{
        manifest::FileRef,
        store::{ObjectPath, Store, memory::MemoryStore},
    },
    error_chain,
    state::file,
};
use bytes::Bytes;

const PATH: &str = "data/00000001/000000000001/part-0.arrow";

/// `found` is where `written` was: the same bytes are read, or none.
pub fn file(written: &[u8], found: &[u8]) {
    let whole = FileRef::of(ObjectPath(PATH.to_owned()), written);
    let piece = FileRef { offset: Some(0), ..whole.clone() };
    let endless = FileRef { offset: Some(u64::MAX), bytes: u64::MAX, ..whole.clone() };
    let memory = MemoryStore::default();
    memory.plant(PATH, Bytes::copy_from_slice(found));
    let store: Arc<dyn Store> = Arc::new(memory);
    for file in [whole, piece, endless] {
        match outcome(file::fetch(&store, &file)) {
            Ok(bytes) => assert_eq!(bytes, written, "{file}"),
            Err(error) => {
                let message = error_chain(&error);
                assert!(message.contains(PATH), "{message}");
                assert_plain("", &message);
            }
        }
    }
}
