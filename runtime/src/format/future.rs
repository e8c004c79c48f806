//! Records whose event time is too far ahead to be true.
//!
//! The watermark follows the newest event of a partition and never falls, so a single time far in the future (a sentinel
//! such as the year 9999, milliseconds taken for seconds) would make every later record late, for good: checkpoints keep
//! it. A time that is further ahead of this machine's clock than `watermark.maxAhead` is therefore no event time, and its
//! record a bad one.

use arrow::{
    array::{Array, BooleanArray, TimestampMillisecondArray},
    compute::filter_record_batch,
    error::ArrowError,
};
use chrono::DateTime;
use tidegate_crds::{HumanDuration, WatermarkSpec};

use super::json::{BadRecord, Decoded};

/// A year: far beyond what clocks and time zones differ by, far below the times that stand for "never".
const DEFAULT: HumanDuration = HumanDuration::from_secs(365 * 24 * 3600);

/// How far ahead of the clock an event may be.
#[derive(Debug, Clone)]
pub struct Future {
    column: String,
    most: HumanDuration,
}

impl Future {
    /// `None` where any time is accepted.
    pub fn new(watermark: &WatermarkSpec) -> Option<Self> {
        let most = watermark.max_ahead.unwrap_or(DEFAULT);
        (!most.0.is_zero()).then(|| Self { column: watermark.column.clone(), most })
    }

    /// Makes bad records of the rows that are too far ahead. `times` are the rows' event times, `now` is in milliseconds
    /// since 1970.
    pub fn refuse(&self, decoded: Decoded, times: &TimestampMillisecondArray, now: u64) -> Result<Decoded, ArrowError> {
        let latest = i64::try_from(now.saturating_add(self.most.millis())).unwrap_or(i64::MAX);
        if arrow::compute::max(times).is_none_or(|newest| newest <= latest) {
            return Ok(decoded);
        }
        let Decoded { batch, kept, mut bad } = decoded;
        let is_ahead = |row: usize| !times.is_null(row) && times.value(row) > latest;
        let record = |row: usize| kept.as_ref().and_then(|kept| kept.get(row)).map_or(row, |record| *record as usize);
        let (mut accepted, mut left) = (Vec::with_capacity(times.len()), Vec::with_capacity(times.len()));
        for row in 0..times.len() {
            accepted.push(!is_ahead(row));
            if is_ahead(row) {
                bad.push(BadRecord { index: record(row), error: self.error(times.value(row)) });
            } else {
                left.push(record(row) as u32);
            }
        }
        bad.sort_by_key(|bad| bad.index);
        let batch = filter_record_batch(&batch, &BooleanArray::from(accepted))?;
        Ok(Decoded { batch, kept: Some(left), bad })
    }

    fn error(&self, time: i64) -> String {
        let instant = DateTime::from_timestamp_millis(time)
            .map_or_else(|| format!("{time} ms since 1970"), |time| time.to_rfc3339());
        format!(
            "column `{}`: found {instant}, which is more than {} ahead of the clock; such a time would make every later \
             record late (`watermark.maxAhead`)",
            self.column, self.most
        )
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{AsArray, RecordBatch},
        datatypes::{DataType, Field, Int64Type, Schema, TimeUnit},
    };
    use prometheus_client::metrics::counter::Counter;
    use tidegate_crds::BadRecords;

    use crate::{
        format::intake::{Intake, Taken},
        source::{RawRecords, Run, SourceError},
    };

    use super::*;

    const NOW: u64 = 1_800_000_000_000;
    const HOUR: i64 = 3_600_000;

    struct Lines(Vec<String>, Vec<Run>);

    impl RawRecords for Lines {
        fn len(&self) -> usize {
            self.0.len()
        }

        fn payload(&self, index: usize) -> Option<&[u8]> {
            Some(self.0[index].as_bytes())
        }

        fn position(&self, index: usize) -> u64 {
            index as u64
        }

        fn runs(&self) -> &[Run] {
            &self.1
        }
    }

    /// Records of two splits, one after the other, of these times; `None` is no JSON.
    fn taken(
        max_ahead: Option<HumanDuration>,
        bad_records: BadRecords,
        times: &[Option<i64>],
    ) -> Result<Taken, SourceError> {
        let schema = Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), true),
        ]));
        let watermark =
            WatermarkSpec { column: "ts".into(), delay: HumanDuration::from_secs(0), idle_timeout: None, max_ahead };
        // Only the first column is wanted: the event time is looked at all the same.
        let mut intake =
            Intake::new("orders".into(), &schema, &[0], Some(&watermark), bad_records, Counter::default()).unwrap();
        let line = |(id, time): (usize, &Option<i64>)| match time {
            Some(time) => format!("{{\"id\": {id}, \"ts\": {time}}}"),
            None => "no".to_owned(),
        };
        let half = times.len() / 2;
        let runs = vec![Run { split: 0, records: 0..half }, Run { split: 1, records: half..times.len() }];
        let records = Lines(times.iter().enumerate().map(line).collect(), runs);
        intake.decode(&records, |split| ["orders-0", "orders-1"][split], NOW)
    }

    fn ids(batch: &RecordBatch) -> Vec<i64> {
        batch.column(0).as_primitive::<Int64Type>().values().to_vec()
    }

    #[test]
    fn a_time_too_far_ahead_is_a_bad_record_among_others() {
        let now = NOW as i64;
        // The first and the last that a column may have: what is beyond is no instant to begin with.
        let (first, last) = (-62_167_219_200_000, 253_402_300_799_999);
        let times = [Some(now), None, Some(now + 2 * HOUR), Some(5), Some(now + HOUR), Some(last), Some(first)];
        let hour = Some(HumanDuration::from_secs(3600));
        let taken = taken(hour, BadRecords::DeadLetter, &times).unwrap();
        assert_eq!(ids(&taken.rows), [0, 3, 4, 6]);
        assert_eq!(taken.runs, [Run { split: 0, records: 0..1 }, Run { split: 1, records: 1..4 }]);
        let letters = taken.dead_letters.unwrap();
        let texts = |column: usize| -> Vec<_> { letters.column(column).as_string::<i32>().iter().flatten().collect() };
        assert_eq!(texts(1), ["orders-0", "orders-0", "orders-1"]);
        assert_eq!(letters.column(2).as_primitive::<Int64Type>().values(), &[1, 2, 5]);
        let error = texts(3)[1];
        for part in ["column `ts`", "2027-01-15T10:00:00+00:00", "1h ahead", "watermark.maxAhead"] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }

    #[test]
    fn by_default_times_of_a_year_ahead_are_accepted_and_the_end_of_the_calendar_is_not() {
        let year = 365 * 24 * HOUR;
        let times = [Some(NOW as i64 + year), Some(253_402_300_799_000)];
        let Err(error) = taken(None, BadRecords::Fail, &times) else { panic!("not refused") };
        let message = error.to_string();
        assert!(message.contains("orders-1 at 1") && message.contains("9999-12-31"), "{message}");
        let any = taken(Some(HumanDuration::from_secs(0)), BadRecords::Fail, &times).unwrap();
        assert_eq!(ids(&any.rows), [0, 1]);
    }
}
