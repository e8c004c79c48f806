//! What a coordinator and its workers tell each other: JSON in pieces.

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::{assert_plain, pieces};
use crate::link::{
    ToCoordinator, ToWorker,
    codec::{self, Assembly, read_piece},
};

/// Pieces as they come over the wire, of either end.
pub fn stream(bytes: &[u8]) {
    each::<ToCoordinator>(bytes);
    each::<ToWorker>(bytes);
}

/// What can be read can be passed on.
fn each<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    let given = String::from_utf8_lossy(bytes);
    let mut assembly = Assembly::<T>::default();
    for piece in pieces(bytes) {
        match read_piece(&mut Bytes::copy_from_slice(piece)).and_then(|piece| assembly.add(piece)) {
            Ok(None) => {}
            Ok(Some(message)) => {
                let again = codec::pieces(&message).into_iter().map(|piece| Assembly::<T>::default().add(piece));
                assert!(again.into_iter().all(|again| again.is_ok()), "{given}");
            }
            Err(status) => return assert_plain(&given, status.message()),
        }
    }
}
