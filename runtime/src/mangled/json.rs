//! Records of sources: one JSON object each.

use super::{assert_plain, sql::columns};
use crate::{
    format::{
        arrow_schema,
        json::{JsonDecoder, encode},
    },
    source::{RawRecords, Run},
};

const GOOD: &[u8] = br#"{"ts":1767225600000,"s":"a"}"#;

struct Records<'a>(Vec<&'a [u8]>);

impl RawRecords for Records<'_> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn payload(&self, index: usize) -> Option<&[u8]> {
        self.0.get(index).copied()
    }

    fn position(&self, index: usize) -> u64 {
        index as u64
    }

    fn runs(&self) -> &[Run] {
        &[]
    }
}

/// A record between two good ones is a row, which is written as it was read, or a bad record; they are rows in any case.
pub fn record(bytes: &[u8]) {
    let schema = arrow_schema(&columns());
    let decode = |records: Vec<&[u8]>| JsonDecoder::new(schema.clone()).and_then(|mut d| d.decode(&Records(records)));
    let decoded = match decode(vec![GOOD, bytes, GOOD]) {
        Ok(decoded) => decoded,
        Err(error) => return assert_plain("", &error.to_string()),
    };
    assert_eq!(decoded.batch.num_rows() + decoded.bad.len(), 3);
    match decoded.bad.as_slice() {
        [] => {
            let lines = encode(&decoded.batch).map(|lines| lines.rows().map(<[u8]>::to_vec).collect::<Vec<_>>());
            let Ok(lines) = lines else { unreachable!("{:?} can't be written", decoded.batch) };
            let again = decode(lines.iter().map(Vec::as_slice).collect()).map(|again| again.batch);
            assert!(again.as_ref().is_ok_and(|again| *again == decoded.batch), "{decoded:?} is written as {again:?}");
        }
        [bad] => {
            assert_eq!(bad.index, 1, "{}", bad.error);
            assert_plain(&String::from_utf8_lossy(bytes), &bad.error);
        }
        more => assert_eq!(more.len(), 1, "a bad record has harmed its neighbours: {more:?}"),
    }
}
