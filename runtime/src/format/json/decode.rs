//! Records to a batch.

use std::collections::HashMap;

use arrow::{
    array::{RecordBatch, RecordBatchOptions},
    datatypes::SchemaRef,
    error::ArrowError,
};
use thiserror::Error;

use super::{
    columns::Column,
    scan::{Parse, Scanner, Wrong},
};
use crate::source::RawRecords;

/// Positions in an object whose field name is remembered from one record to the next.
const REMEMBERED: usize = 64;

/// Decodes records to batches of one schema; keeps its buffers' sizes from batch to batch.
pub struct JsonDecoder {
    schema: SchemaRef,
    columns: Vec<Column>,
    by_name: HashMap<Vec<u8>, usize>,
    /// What stood at each position of the last object. Records of one topic look alike, so this is nearly always right
    /// and spares the search.
    expected: Vec<Expected>,
    scratch: Vec<u8>,
}

struct Expected {
    /// With its quotes.
    name: Vec<u8>,
    column: Option<usize>,
}

/// What became of a batch of records.
#[derive(Debug)]
pub struct Decoded {
    pub batch: RecordBatch,
    /// The record each row was made of; `None` when row *i* is record *i* throughout.
    pub kept: Option<Vec<u32>>,
    pub bad: Vec<BadRecord>,
}

/// A record that is no row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRecord {
    /// Its index among the records of the batch.
    pub index: usize,
    /// What was expected and what was found, with the column.
    pub error: String,
}

#[derive(Debug, Error)]
pub enum DecodeError {
    #[error("column `{column}` of type {found} can't be read from JSON")]
    Unsupported { column: String, found: String },
    #[error("failed to build a batch of decoded records")]
    Batch(#[from] ArrowError),
    #[error("a batch of records has 2 GiB or more; read smaller batches")]
    TooLarge,
}

impl JsonDecoder {
    /// A decoder for the wanted columns: names are those of the fields in the records. Nullability and time zones are
    /// taken from the schema, see [`crate::format::arrow_schema`].
    pub fn new(schema: SchemaRef) -> Result<Self, DecodeError> {
        let column = |field| {
            Column::new(field).ok_or_else(|| DecodeError::Unsupported {
                column: field.name().clone(),
                found: field.data_type().to_string(),
            })
        };
        let columns = schema.fields().iter().map(column).collect::<Result<Vec<_>, _>>()?;
        let by_name = columns.iter().enumerate().map(|(index, c)| (c.name().as_bytes().to_vec(), index)).collect();
        Ok(Self { schema, columns, by_name, expected: Vec::new(), scratch: Vec::new() })
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Decodes all records: each is a row or a bad record.
    pub fn decode(&mut self, records: &dyn RawRecords) -> Result<Decoded, DecodeError> {
        let count = records.len();
        let mut bad: Vec<BadRecord> = Vec::new();
        let mut kept: Option<Vec<u32>> = None;
        let (mut rows, mut bytes) = (0, 0);
        for index in 0..count {
            let row = match records.payload(index) {
                Some(payload) => {
                    // No column has more text than all records together, and its offsets are 32 bits wide.
                    bytes += payload.len();
                    if bytes > i32::MAX as usize {
                        return Err(DecodeError::TooLarge);
                    }
                    self.row(rows, payload)
                }
                None => Err(Wrong("the record has no value (a tombstone), where a JSON object is expected".to_owned())),
            };
            match row {
                Ok(()) => {
                    rows += 1;
                    if let Some(kept) = &mut kept {
                        kept.push(index as u32);
                    }
                }
                Err(Wrong(error)) => {
                    self.columns.iter_mut().for_each(|column| column.truncate(rows));
                    kept.get_or_insert_with(|| (0..index as u32).collect());
                    bad.push(BadRecord { index, error });
                }
            }
        }
        let columns = self.columns.iter_mut().map(Column::finish).collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?;
        Ok(Decoded { batch, kept, bad })
    }

    /// Reads one record as row `row`; after an error the columns may have a part of it.
    fn row(&mut self, row: usize, payload: &[u8]) -> Parse<()> {
        if let Err(error) = std::str::from_utf8(payload) {
            return Err(Wrong(format!("the record is not UTF-8 from byte {} on", error.valid_up_to())));
        }
        let mut scanner = Scanner::new(payload);
        scanner.blanks();
        if !scanner.eat(b'{') {
            return Err(scanner.expected("a JSON object"));
        }
        scanner.blanks();
        let mut position = 0;
        let mut more = !scanner.eat(b'}');
        while more {
            let column = self.field(position, &mut scanner)?;
            position += 1;
            scanner.blanks();
            if !scanner.eat(b':') {
                return Err(scanner.expected("`:`"));
            }
            scanner.blanks();
            match column.and_then(|column| self.columns.get_mut(column)) {
                Some(column) => {
                    if column.len() > row {
                        column.truncate(row);
                    }
                    if scanner.eat_all(b"null") {
                        column.push_null("null")?;
                    } else {
                        column.read(&mut scanner, &mut self.scratch)?;
                    }
                }
                None => scanner.skip()?,
            }
            scanner.blanks();
            more = scanner.eat(b',');
            if more {
                scanner.blanks();
            } else if !scanner.eat(b'}') {
                return Err(scanner.expected("`,` or `}`"));
            }
        }
        scanner.blanks();
        if scanner.peek().is_some() {
            return Err(scanner.expected("nothing after the object"));
        }
        for column in &mut self.columns {
            if column.len() == row {
                column.push_null("missing")?;
            }
        }
        Ok(())
    }

    /// Reads a field's name and says which column it is of.
    fn field(&mut self, position: usize, scanner: &mut Scanner<'_>) -> Parse<Option<usize>> {
        if let Some(expected) = self.expected.get(position)
            && scanner.eat_all(&expected.name)
        {
            return Ok(expected.column);
        }
        let start = scanner.at();
        let name = scanner.string(&mut self.scratch)?;
        let column = self.by_name.get(name).copied();
        let spelled = scanner.since(start);
        let remembered = self.expected.len();
        match self.expected.get_mut(position) {
            Some(expected) => {
                expected.name.clear();
                expected.name.extend_from_slice(spelled);
                expected.column = column;
            }
            None if position < REMEMBERED && position == remembered => {
                self.expected.push(Expected { name: spelled.to_vec(), column });
            }
            None => {}
        }
        Ok(column)
    }
}
