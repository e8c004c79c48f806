use super::*;
use crate::{
    checkpoint::{
        claim::read_newest,
        journal::Journal,
        log::Ending,
        record::{Body, CheckpointRef, Record, Trigger, parse_path},
        sample,
        store::{
            ObjectPath,
            memory::{Action, Fault, MemoryStore},
        },
    },
    ids::{Epoch, Revision},
};

fn checkpoint(epoch: u64) -> CheckpointRef {
    CheckpointRef { epoch: Epoch(epoch), manifest: ObjectPath(format!("data/{epoch}")), sha256: String::new() }
}

/// Writes an attempt of so many records: checkpoints, and a seal if it has ended.
fn plant(store: &MemoryStore, attempt: u64, records: u64, is_sealed: bool) {
    for seq in 0..records {
        let body = match seq {
            0 => sample::started(attempt, None),
            _ if seq + 1 == records && is_sealed => Body::Sealed { by: "successor".into() },
            _ => Body::CheckpointCompleted {
                checkpoint: checkpoint(attempt * 100_000 + seq),
                trigger: Trigger::Interval,
            },
        };
        sample::log(store, attempt, seq, body);
    }
}

/// Where records are of an attempt.
fn places(store: &MemoryStore, attempt: u64) -> Vec<u64> {
    let places = store.paths().into_iter().filter_map(|path| parse_path(&ObjectPath(path)));
    places.filter(|(of, _)| of.0 == attempt).map(|(_, seq)| seq.0).collect()
}

/// Heads, and the last two segments.
fn left_of(records: u64) -> Vec<u64> {
    let from = ((records - 1) / 1024).saturating_sub(1) * 1024;
    (0..records).filter(|seq| seq % 1024 == 0 || *seq >= from).collect()
}

fn journal(store: &MemoryStore, attempt: u64) -> Journal {
    let started = Record::new(sample::started(attempt, None));
    store.plant(&record::path(Attempt(attempt), Seq(0)).0, started.to_bytes().unwrap());
    Journal::new(Arc::new(store.clone()), Attempt(attempt), started.record_id, None)
}

#[tokio::test]
async fn an_owner_deletes_what_is_behind_two_heads_as_it_goes() {
    let store = MemoryStore::new();
    let mut journal = journal(&store, 1);
    for epoch in 1..=4500 {
        journal.own(checkpoint(epoch), Trigger::Interval).await.unwrap();
        let newest = read_newest(&store);
        if epoch % 500 == 0 {
            assert_eq!(newest.await.unwrap().unwrap().checkpoint, Some(checkpoint(epoch)));
        }
        let most = 3 * 1024 + 2 * BATCH as usize + 5;
        assert!(places(&store, 1).len() < most, "{} records at epoch {epoch}", places(&store, 1).len());
    }
}

#[tokio::test]
async fn what_predecessors_left_is_deleted_whatever_failed() {
    for gone in [0, 1, 700, 1024, 1500, 3000] {
        let store = MemoryStore::new();
        plant(&store, 1, 5000, true);
        // A predecessor came so far.
        delete(&store, Attempt(1), 1..gone).await.unwrap();
        for attempt in 2..5 {
            plant(&store, attempt, 3, true);
        }
        plant(&store, 5, 1, false);
        store.fail(Action::Delete, "000000003030", Fault::Before, 1);
        store.fail(Action::Delete, "000000003050", Fault::Late, 1);
        let before = read_newest(&store).await.unwrap();
        assert!(finish_earlier(&store, Attempt(5)).await.is_err());
        assert_eq!(read_newest(&store).await.unwrap(), before, "{gone}");
        finish_earlier(&store, Attempt(5)).await.ok();
        finish_earlier(&store, Attempt(5)).await.unwrap();
        assert_eq!(places(&store, 1), left_of(5000), "{gone}");
        store.land();
        assert_eq!(places(&store, 1), left_of(5000), "{gone}");
        assert_eq!(read_newest(&store).await.unwrap(), before, "{gone}");
    }
}

#[tokio::test]
async fn what_was_cut_is_not_deleted_again() {
    let store = MemoryStore::new();
    plant(&store, 1, 5000, true);
    plant(&store, 2, 1, false);
    finish_earlier(&store, Attempt(2)).await.unwrap();
    store.fail(Action::Delete, "log/", Fault::Before, 1);
    finish_earlier(&store, Attempt(2)).await.unwrap();
}

#[tokio::test]
async fn attempts_go_when_the_second_block_behind_them_has_begun() {
    let store = MemoryStore::new();
    plant(&store, 1, 2500, true);
    for attempt in 2..3100 {
        plant(&store, attempt, 2, true);
    }
    plant(&store, 3100, 2, false);
    finish_earlier(&store, Attempt(3100)).await.unwrap();
    let left: Vec<String> = store.paths().into_iter().filter(|path| path.as_str() < "log/00002048").collect();
    assert_eq!(left, ["log/00001024/000000000000"]);
    assert!(!places(&store, 2048).is_empty());
    let newest = read_newest(&store).await.unwrap().unwrap();
    assert_eq!((newest.attempt, newest.next, newest.ending), (Attempt(3100), Seq(2), None));
    // One who read the log long ago.
    for (attempt, seq) in [(1, 2500), (500, 2), (1023, 2)] {
        let body = Body::Sealed { by: "late".into() };
        sample::log(&store, attempt, seq, body);
        store.plant("hint", format!(r#"{{"attempt":{attempt},"seq":{seq}}}"#));
        assert_eq!(read_newest(&store).await.unwrap().unwrap(), newest, "{attempt}/{seq}");
    }
    assert_eq!(newest.revision, Revision(1));
    assert!(newest.ending != Some(Ending::Sealed));
}

#[tokio::test]
async fn an_owner_that_slept_through_two_blocks_owns_nothing_more() {
    let store = MemoryStore::new();
    let mut zombie = journal(&store, 1);
    zombie.own(checkpoint(1), Trigger::Interval).await.unwrap();
    sample::log(&store, 1, 2, Body::Sealed { by: "successor".into() });
    for attempt in 2..=2048 {
        plant(&store, attempt, 1, false);
    }
    finish_earlier(&store, Attempt(2048)).await.unwrap();
    assert_eq!(places(&store, 1), Vec::<u64>::new());
    let error = zombie.own(checkpoint(2), Trigger::Interval).await.unwrap_err();
    assert!(error.to_string().contains("gone on in later attempts"), "{error}");
    assert_eq!(places(&store, 1), Vec::<u64>::new(), "what does not count is deleted again");
}
