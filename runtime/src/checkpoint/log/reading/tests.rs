use proptest::prelude::*;

use super::*;
use crate::{
    checkpoint::record::{CheckpointRef, Owner, Trigger},
    checkpoint::store::ObjectPath,
    ids::{Epoch, Revision},
};

const SPANS: Spans = Spans { segment: 4, block: 3 };

fn started(attempt: u64) -> Record {
    Record::new(Body::AttemptStarted {
        attempt: Attempt(attempt),
        revision: Revision(1),
        spec_digest: String::new(),
        lineage: "job".into(),
        parallelism: 1,
        restored_from: None,
        owner: Owner { address: String::new(), pod: String::new(), job_uid: None },
    })
}

fn completed(epoch: u64) -> Record {
    let manifest = ObjectPath(epoch.to_string());
    let checkpoint = CheckpointRef { epoch: Epoch(epoch), manifest, sha256: String::new() };
    Record::new(Body::CheckpointCompleted { checkpoint, trigger: Trigger::Interval })
}

/// A log whose attempts have so many records, all but the first checkpoints; and all that may be deleted is.
fn compacted(attempts: &[u64]) -> BTreeMap<Place, Record> {
    let mut log = BTreeMap::new();
    let newest = Attempt(attempts.len() as u64);
    for (attempt, records) in (1..).zip(attempts) {
        let last = Seq(records - 1);
        let below = SPANS.deletable_below(last, (last.0 > 0).then_some(last));
        for seq in (0..*records).map(Seq) {
            let is_gone = seq < below && !SPANS.is_head(seq);
            let goes_whole = Attempt(attempt) < SPANS.deletable_attempts_below(newest)
                && !(seq == Seq(0) && SPANS.heads_block(Attempt(attempt)));
            if !is_gone && !goes_whole {
                let record = if seq == Seq(0) { started(attempt) } else { completed(attempt * 1000 + seq.0) };
                log.insert((Attempt(attempt), seq), record);
            }
        }
    }
    log
}

/// What is read, and with how many requests.
fn read_all(log: &BTreeMap<Place, Record>, hint: Option<Place>) -> (Result<Option<AttemptLog>, Unread>, u32) {
    let (mut facts, mut requests) = (Facts::default(), 0);
    loop {
        match read(&facts, SPANS, hint) {
            Err(Unread::Ask(ask)) => {
                requests += 1;
                facts.heard(ask, log.get(&ask.place()).map_or(Found::Nothing, |record| Found::Record(record.clone())));
            }
            outcome => return (outcome, requests),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Without a hint; with one, whatever it says, the newest is found or it is found out that the hint was bad.
    #[test]
    fn the_newest_is_found_however_much_is_deleted(
        attempts in prop::collection::vec(1_u64..40, 0..20),
        hint in prop::option::of((0_u64..25, 0_u64..45)),
    ) {
        let log = compacted(&attempts);
        let newest = attempts.last().map(|records| (Attempt(attempts.len() as u64), Seq(*records)));
        let place = |log: Option<AttemptLog>| log.map(|log| (log.attempt, log.next));
        prop_assert_eq!(read_all(&log, None).0.map(place), Ok(newest));
        let hint = hint.map(|(attempt, seq)| (Attempt(attempt), Seq(seq)));
        match read_all(&log, hint).0 {
            Ok(found) => prop_assert_eq!(place(found), newest),
            Err(unread) => prop_assert!(hint.is_some() && !matches!(unread, Unread::Damaged(_)), "{}", unread),
        }
    }
}

#[test]
fn steps_double_from_the_hint_and_are_halved() {
    let log = compacted(&[1000]);
    let (newest, requests) = read_all(&log, Some((Attempt(1), Seq(995))));
    assert_eq!(newest.unwrap().unwrap().checkpoint.unwrap().epoch, Epoch(1999));
    assert!(requests <= 12, "{requests}");
}

#[test]
fn a_seal_that_came_late_into_what_is_deleted_is_found_out() {
    let mut log = compacted(&[40]);
    // Where a slow reader of long ago had found the end.
    log.insert((Attempt(1), Seq(5)), Record::new(Body::Sealed { by: "somebody".into() }));
    assert_eq!(read_all(&log, Some((Attempt(1), Seq(5)))).0, Err(Unread::GoneOn((Attempt(1), Seq(12)))));
    assert_eq!(read_all(&log, None).0.unwrap().unwrap().ending, None);
}
