//! Records of the log, and its hint: JSON that nothing vouches for but its grammar.

use super::assert_plain;
use crate::checkpoint::{
    log::{
        Claimant, OwnerAnswer, claim,
        reading::{Facts, likely, read},
        segments::Spans,
        summarize,
    },
    record::{Body, Hint, Record},
};
use crate::ids::{Attempt, Revision, Seq};

/// A record that is read is written as it was read, and whoever claims the job decides something.
pub fn record(bytes: &[u8]) {
    let record = match Record::from_bytes(bytes) {
        Ok(record) => record,
        Err(error) => return assert_plain(&String::from_utf8_lossy(bytes), &error.to_string()),
    };
    let again = record.to_bytes().map(|written| Record::from_bytes(&written));
    assert!(matches!(&again, Ok(Ok(again)) if *again == record), "{record:?} is written as {again:?}");
    let attempt = match &record.body {
        Body::AttemptStarted { attempt, .. } => *attempt,
        _ => Attempt(1),
    };
    let records = [record.clone(), record];
    for count in 1..=records.len() {
        let Ok(log) = summarize(attempt, Seq(count as u64), &records[..count]) else { continue };
        let claimant = Claimant { revision: Revision(1), pod: "pod".to_owned() };
        for answer in [OwnerAnswer::NotAsked, OwnerAnswer::Alive, OwnerAnswer::Gone] {
            claim(Some(&log), &claimant, answer);
        }
    }
}

/// A hint is a place where to look, wherever it says.
pub fn hint(bytes: &[u8]) {
    let Ok(Hint { attempt, seq }) = serde_json::from_slice(bytes) else { return };
    assert!(!likely((attempt, seq)).is_empty());
    let asked = read(&Facts::default(), Spans::FORMAT, Some((attempt, seq)));
    assert!(asked.is_err(), "nothing is known, and {asked:?} was read");
}
