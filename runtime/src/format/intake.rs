//! The way in: what a reader fetched becomes rows, and bad records go where the job wants them.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use prometheus_client::metrics::counter::Counter;
use tidegate_crds::{BadRecords, WatermarkSpec};

use super::{
    future::Future,
    json::{BadRecord, JsonDecoder},
};
use crate::{
    operator::rowtime,
    source::{RawRecords, Run, SourceError},
};

/// Decodes the wanted columns of one source.
pub struct Intake {
    source: String,
    /// Columns of the source that are decoded: those wanted, and the event time.
    decoded: Vec<usize>,
    /// How many of them, from the first, are wanted.
    wanted: usize,
    /// Which of them is the event time.
    event_time: Option<usize>,
    /// How far ahead it may be.
    future: Option<Future>,
    decoder: JsonDecoder,
    bad_records: BadRecords,
    bad: Counter,
}

/// What became of some records.
pub struct Taken {
    pub rows: RecordBatch,
    /// Splits of the rows.
    pub runs: Vec<Run>,
    pub dead_letters: Option<RecordBatch>,
}

impl Intake {
    /// `projection` are the wanted columns of `schema`, `watermark` names the event time.
    pub fn new(
        source: String,
        schema: &SchemaRef,
        projection: &[usize],
        watermark: Option<&WatermarkSpec>,
        bad_records: BadRecords,
        bad: Counter,
    ) -> Result<Self, SourceError> {
        let mut decoded = projection.to_vec();
        let time = watermark.and_then(|watermark| schema.index_of(&watermark.column).ok());
        let event_time = time.map(|time| {
            decoded.iter().position(|column| *column == time).unwrap_or_else(|| {
                decoded.push(time);
                decoded.len() - 1
            })
        });
        let failed = |cause: Box<dyn std::error::Error + Send + Sync>| SourceError::Failed {
            source_name: source.clone(),
            action: "prepare its decoder".to_owned(),
            cause,
        };
        let columns = Arc::new(schema.project(&decoded).map_err(|cause| failed(cause.into()))?);
        let decoder = JsonDecoder::new(columns).map_err(|cause| failed(cause.into()))?;
        let future = watermark.and_then(Future::new);
        Ok(Self { wanted: projection.len(), source, decoded, event_time, future, decoder, bad_records, bad })
    }

    pub fn has_event_time(&self) -> bool {
        self.event_time.is_some()
    }

    /// Decodes records. `name` is that of a split, by its index in the records' runs; `now` is the time of this machine's
    /// clock, in milliseconds since 1970.
    pub fn decode<'a>(
        &mut self,
        records: &dyn RawRecords,
        name: impl Fn(usize) -> &'a str,
        now: u64,
    ) -> Result<Taken, SourceError> {
        let mut decoded = self.decoder.decode(records).map_err(|cause| self.failed("decode records", cause))?;
        if let (Some(future), Some(times)) = (&self.future, self.event_times(&decoded.batch)?) {
            let refused = future.refuse(decoded, &times, now);
            decoded = refused.map_err(|cause| self.failed("look at event times", cause))?;
        }
        if decoded.bad.is_empty() {
            return Ok(Taken { rows: decoded.batch, runs: records.runs().to_vec(), dead_letters: None });
        }
        self.bad.inc_by(decoded.bad.len() as u64);
        let dead_letters = self.judge(records, name, &decoded.bad)?;
        let runs = without(records.runs(), &decoded.bad);
        Ok(Taken { rows: decoded.batch, runs, dead_letters })
    }

    fn judge<'a>(
        &self,
        records: &dyn RawRecords,
        name: impl Fn(usize) -> &'a str,
        bad: &[BadRecord],
    ) -> Result<Option<RecordBatch>, SourceError> {
        let split_of = |index: usize| {
            let run = records.runs().iter().find(|run| run.records.contains(&index));
            run.map_or("", |run| name(run.split))
        };
        let Some(first) = bad.first() else { return Ok(None) };
        let (split, position) = (split_of(first.index), records.position(first.index));
        match self.bad_records {
            BadRecords::Fail => Err(SourceError::Refused {
                source_name: self.source.clone(),
                message: format!(
                    "bad record in {split} at {position}: {}; set `format.badRecords` to Skip or DeadLetter to go on without such records",
                    first.error
                ),
            }),
            BadRecords::Skip => {
                tracing::warn!(
                    source = self.source,
                    split,
                    position,
                    count = bad.len(),
                    error = first.error,
                    "skipped bad records; the first is named"
                );
                Ok(None)
            }
            BadRecords::DeadLetter => {
                let columns: [ArrayRef; 5] = [
                    Arc::new(StringArray::from_iter_values(bad.iter().map(|_| &self.source))),
                    Arc::new(StringArray::from_iter_values(bad.iter().map(|bad| split_of(bad.index)))),
                    Arc::new(Int64Array::from_iter_values(bad.iter().map(|bad| records.position(bad.index) as i64))),
                    Arc::new(StringArray::from_iter_values(bad.iter().map(|bad| &bad.error))),
                    Arc::new(
                        bad.iter()
                            .map(|bad| records.payload(bad.index).map(String::from_utf8_lossy))
                            .collect::<StringArray>(),
                    ),
                ];
                let batch = RecordBatch::try_new(dead_letter_schema(), columns.to_vec());
                batch.map(Some).map_err(|cause| self.failed("build dead letters", cause))
            }
        }
    }

    /// The decoded columns of rows that have all of the source's.
    pub fn project(&self, batch: &RecordBatch) -> Result<RecordBatch, SourceError> {
        batch.project(&self.decoded).map_err(|cause| self.failed("project rows", cause))
    }

    /// The rows' event times, where the source has them.
    pub fn event_times(&self, rows: &RecordBatch) -> Result<Option<TimestampMillisecondArray>, SourceError> {
        let times = self.event_time.map(|column| rowtime::millis(rows.column(column))).transpose();
        times.map_err(|cause| self.failed("read event times", cause))
    }

    /// The rows with the wanted columns only.
    pub fn wanted(&self, rows: RecordBatch) -> Result<RecordBatch, SourceError> {
        if self.wanted == rows.num_columns() {
            return Ok(rows);
        }
        let columns: Vec<usize> = (0..self.wanted).collect();
        rows.project(&columns).map_err(|cause| self.failed("project rows", cause))
    }

    pub fn failed(&self, action: &str, cause: impl std::error::Error + Send + Sync + 'static) -> SourceError {
        SourceError::Failed { source_name: self.source.clone(), action: action.to_owned(), cause: cause.into() }
    }
}

/// The runs of the rows that are left when the bad records are taken out.
fn without(runs: &[Run], bad: &[BadRecord]) -> Vec<Run> {
    let bad_before = |record: usize| bad.partition_point(|bad| bad.index < record);
    runs.iter()
        .map(|run| {
            let (start, end) = (run.records.start, run.records.end);
            Run { split: run.split, records: start - bad_before(start)..end - bad_before(end) }
        })
        .filter(|run| !run.records.is_empty())
        .collect()
}

/// Columns of the sink that takes bad records.
pub fn dead_letter_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("source", DataType::Utf8, false),
        Field::new("partition", DataType::Utf8, false),
        Field::new("offset", DataType::Int64, false),
        Field::new("error", DataType::Utf8, false),
        Field::new("record", DataType::Utf8, true),
    ]))
}
