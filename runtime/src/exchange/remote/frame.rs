//! Elements as Flight messages, and back.

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
    #[error("{0}")]
    Malformed(&'static str),
}

/// Writes one channel. Schemas and dictionaries are sent when they are new.
pub struct Encoder {
    schema: Option<SchemaRef>,
    dictionaries: DictionaryTracker,
    options: IpcWriteOptions,
    context: IpcWriteContext,
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
        })
    }

    /// The messages that bring an element.
    pub fn encode(&mut self, element: &Element) -> Result<Vec<FlightData>, FrameError> {
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

/// Reads one channel.
#[derive(Default)]
pub struct Decoder {
    schema: Option<SchemaRef>,
    dictionaries: HashMap<i64, ArrayRef>,
}

impl Decoder {
    /// Takes in a message; gives the element, once it is whole.
    pub fn decode(&mut self, data: &FlightData) -> Result<Option<Element>, FrameError> {
        if data.data_header.is_empty() {
            return Ok(Some(match serde_json::from_slice(&data.app_metadata)? {
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
