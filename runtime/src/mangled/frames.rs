//! Channels between workers: Flight messages, each with its checksum.

use arrow_flight::FlightData;
use bytes::Bytes;
use tidegate_crds::ExchangeCompression;

use super::{assert_plain, joined, pieces};
use crate::{
    element::Element,
    error_chain,
    exchange::remote::frame::{Decoder, Encoder, FrameError},
};

/// The messages that bring `elements` on one channel, as bytes.
pub fn written(elements: &[Element], compression: ExchangeCompression) -> Result<Vec<u8>, FrameError> {
    let mut encoder = Encoder::new(compression)?;
    let mut messages = Vec::new();
    for element in elements {
        for message in encoder.encode(element)? {
            messages.push(joined([&message.data_header, &message.app_metadata, &message.data_body]));
        }
    }
    Ok(joined(messages))
}

/// `came` is what has become of `sent`: it brings the first of the elements, and then no others.
pub fn channel(sent: &[u8], came: &[u8]) {
    let (sent, _) = read(sent);
    let (found, error) = read(came);
    assert!(sent.starts_with(&found), "{found:?} came of {sent:?}");
    if let Some(error) = error {
        assert_plain("", &error_chain(&error));
    }
}

fn read(bytes: &[u8]) -> (Vec<String>, Option<FrameError>) {
    let mut decoder = Decoder::default();
    let mut elements = Vec::new();
    for message in pieces(bytes) {
        let parts = pieces(message);
        let part = |index: usize| Bytes::copy_from_slice(parts.get(index).copied().unwrap_or_default());
        let message =
            FlightData { data_header: part(0), app_metadata: part(1), data_body: part(2), ..FlightData::default() };
        match decoder.decode(&message) {
            Ok(element) => elements.extend(element.map(|element| format!("{element:?}"))),
            Err(error) => return (elements, Some(error)),
        }
    }
    (elements, None)
}
