//! Elements as Flight messages, and back.
//!
//! What reads Arrow's messages trusts them: one with a damaged length would make it panic, or ask for any amount of memory.
//! So each message begins its `app_metadata` with a checksum of itself and of its place on the channel, and is looked at no
//! further before that is right. A message that was changed, lost, repeated or overtaken breaks the channel.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{ArrayRef, RecordBatch},
    datatypes::{Schema, SchemaRef},
    error::ArrowError,
};
use arrow_flight::{FlightData, utils::flight_data_to_arrow_batch};
use arrow_ipc::{
    CompressionType, MessageHeader, reader, root_as_message,
    writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions},
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidegate_crds::ExchangeCompression;
use xxhash_rust::xxh3::Xxh3;

use crate::{
    element::{Barrier, Element},
    ids::EventTime,
};

/// What is not a batch.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Signal {
    Watermark(EventTime),
    Idle,
    Barrier(Barrier),
    End,
}

#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("rows can't be written for another worker, or read from it")]
    Arrow(#[from] ArrowError),
    #[error("a message that is neither rows nor a signal: {0}")]
    Signal(#[from] serde_json::Error),
    #[error(
        "message {place} of the channel is not the one that was sent there: it was damaged on its way, or the other worker \
         is of another version"
    )]
    Damaged { place: u64 },
    #[error("{0}")]
    Malformed(&'static str),
}

/// Writes one channel. Schemas and dictionaries are sent when they are new.
pub struct Encoder {
    schema: Option<SchemaRef>,
    dictionaries: DictionaryTracker,
    options: IpcWriteOptions,
    context: IpcWriteContext,
    /// How many messages there were.
    sent: u64,
}

impl Encoder {
    /// The reader sees by itself how rows are compressed.
    pub fn new(compression: ExchangeCompression) -> Result<Self, ArrowError> {
        let compression = match compression {
            ExchangeCompression::None => None,
            ExchangeCompression::Lz4 => Some(CompressionType::LZ4_FRAME),
        };
        Ok(Self {
            schema: None,
            dictionaries: DictionaryTracker::new(false),
            options: IpcWriteOptions::default().try_with_compression(compression)?,
            context: IpcWriteContext::default(),
            sent: 0,
        })
    }

    /// The messages that bring an element.
    pub fn encode(&mut self, element: &Element) -> Result<Vec<FlightData>, FrameError> {
        let mut messages = self.messages(element)?;
        for message in &mut messages {
            seal(message, self.sent);
            self.sent += 1;
        }
        Ok(messages)
    }

    fn messages(&mut self, element: &Element) -> Result<Vec<FlightData>, FrameError> {
        let signal = match element {
            Element::Batch(batch) => return self.batch(batch),
            Element::Watermark(time) => Signal::Watermark(*time),
            Element::Idle => Signal::Idle,
            Element::Barrier(barrier) => Signal::Barrier(*barrier),
            Element::End => Signal::End,
        };
        Ok(vec![metadata(&signal)?])
    }

    fn batch(&mut self, batch: &RecordBatch) -> Result<Vec<FlightData>, FrameError> {
        let mut messages = Vec::new();
        let schema = batch.schema_ref();
        if !self.schema.as_ref().is_some_and(|last| Arc::ptr_eq(last, schema) || last == schema) {
            self.dictionaries = DictionaryTracker::new(false);
            let encoded = IpcDataGenerator::default().schema_to_bytes_with_dictionary_tracker(
                schema,
                &mut self.dictionaries,
                &self.options,
            );
            messages.push(encoded.into());
            self.schema = Some(schema.clone());
        }
        let (dictionaries, rows) =
            IpcDataGenerator::default().encode(batch, &mut self.dictionaries, &self.options, &mut self.context)?;
        messages.extend(dictionaries.into_iter().map(FlightData::from));
        messages.push(rows.into());
        Ok(messages)
    }
}

/// A message of nothing but JSON.
pub fn metadata(value: &impl Serialize) -> Result<FlightData, serde_json::Error> {
    Ok(FlightData { app_metadata: Bytes::from(serde_json::to_vec(value)?), ..FlightData::default() })
}

/// Puts the checksum of a message at this place of the channel before its metadata.
pub(super) fn seal(message: &mut FlightData, place: u64) {
    let checksum = checksum(message, &message.app_metadata, place).to_le_bytes();
    message.app_metadata = [&checksum, &message.app_metadata[..]].concat().into();
}

/// The metadata of a message that is the one that was sent at this place.
fn unsealed(message: &FlightData, place: u64) -> Result<&[u8], FrameError> {
    let damaged = FrameError::Damaged { place };
    let Some((found, metadata)) = message.app_metadata.split_first_chunk() else { return Err(damaged) };
    if u64::from_le_bytes(*found) == checksum(message, metadata, place) { Ok(metadata) } else { Err(damaged) }
}

/// XXH3, 64 bits, seeded with the place.
fn checksum(message: &FlightData, metadata: &[u8], place: u64) -> u64 {
    let mut hash = Xxh3::with_seed(place);
    for part in [&message.data_header, metadata, &message.data_body] {
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.digest()
}

/// Reads one channel.
#[derive(Default)]
pub struct Decoder {
    schema: Option<SchemaRef>,
    dictionaries: HashMap<i64, ArrayRef>,
    /// How many messages there were.
    taken: u64,
}

impl Decoder {
    /// Takes in a message; gives the element, once it is whole.
    pub fn decode(&mut self, data: &FlightData) -> Result<Option<Element>, FrameError> {
        let metadata = unsealed(data, self.taken)?;
        self.taken += 1;
        if data.data_header.is_empty() {
            return Ok(Some(match serde_json::from_slice(metadata)? {
                Signal::Watermark(time) => Element::Watermark(time),
                Signal::Idle => Element::Idle,
                Signal::Barrier(barrier) => Element::Barrier(barrier),
                Signal::End => Element::End,
            }));
        }
        let message = root_as_message(&data.data_header)
            .map_err(|_| FrameError::Malformed("a message whose header is no Arrow message"))?;
        match message.header_type() {
            MessageHeader::Schema => {
                self.schema = Some(Arc::new(Schema::try_from(data)?));
                self.dictionaries.clear();
                Ok(None)
            }
            MessageHeader::DictionaryBatch => {
                let schema = self.schema()?;
                let batch = message
                    .header_as_dictionary_batch()
                    .ok_or(FrameError::Malformed("a dictionary message without one"))?;
                let body = data.data_body.clone().into();
                reader::read_dictionary(&body, batch, &schema, &mut self.dictionaries, &message.version())?;
                Ok(None)
            }
            MessageHeader::RecordBatch => {
                let batch = flight_data_to_arrow_batch(data, self.schema()?, &self.dictionaries)?;
                Ok(Some(Element::Batch(batch)))
            }
            _ => Err(FrameError::Malformed("an Arrow message of a kind that no worker sends")),
        }
    }

    fn schema(&self) -> Result<Arc<Schema>, FrameError> {
        self.schema.clone().ok_or(FrameError::Malformed("rows before their schema"))
    }
}
