use std::task::Poll;

use proptest::prelude::*;

use super::*;
use crate::checkpoint::{
    sample,
    store::{
        Listed,
        memory::{
            Action, Fault,
            Fault::{After, Before, Late},
            MemoryStore,
        },
    },
};

/// Of attempt 1, which has begun.
fn journal(store: &MemoryStore) -> Journal {
    journal_behind(store, None)
}

fn journal_behind(store: &MemoryStore, inherited: Option<Epoch>) -> Journal {
    let started = Record::new(sample::started(1, None));
    store.plant(&record::path(Attempt(1), Seq(0)).0, started.to_bytes().unwrap());
    Journal::new(Arc::new(store.clone()), Attempt(1), started.record_id, inherited)
}

fn checkpoint(epoch: u64) -> CheckpointRef {
    CheckpointRef { epoch: Epoch(epoch), manifest: ObjectPath(format!("data/{epoch}")), sha256: epoch.to_string() }
}

async fn own(journal: &mut Journal, epoch: u64) -> Result<CommitPermit, JournalError> {
    journal.own(checkpoint(epoch), Trigger::Interval).await
}

async fn body(store: &MemoryStore, seq: u64) -> Option<Body> {
    let bytes = store.get(&record::path(Attempt(1), Seq(seq))).await.unwrap()?;
    Some(Record::from_bytes(&bytes).unwrap().body)
}

fn owned(epoch: u64) -> Body {
    Body::CheckpointCompleted { checkpoint: checkpoint(epoch), trigger: Trigger::Interval }
}

#[tokio::test]
async fn an_outcome_that_is_not_known_is_read_back_and_nothing_is_written_twice() {
    let cases: &[&[(Action, Fault, u32)]] = &[
        &[(Action::Create, Before, 1)],
        &[(Action::Create, After, 1)],
        &[(Action::Create, Late, 1)],
        &[(Action::Create, Before, TRIES - 1)],
        &[(Action::Create, Late, 2), (Action::Create, After, 1)],
        // The answer is lost, and so are the first answers to the question what is there.
        &[(Action::Create, After, 1), (Action::Get, Before, 3)],
    ];
    for faults in cases {
        let store = MemoryStore::new();
        let mut journal = journal(&store);
        for (action, fault, times) in *faults {
            store.fail(*action, "log/", *fault, *times);
        }
        let permit = own(&mut journal, 1).await.unwrap();
        assert_eq!(permit.epoch(), Epoch(1), "{faults:?}");
        journal.committed(Epoch(1)).await.unwrap();
        store.land();
        assert_eq!(body(&store, 1).await, Some(owned(1)), "{faults:?}");
        assert_eq!(body(&store, 2).await, Some(Body::committed(&Committed::up_to(Some(Epoch(1))))), "{faults:?}");
        assert_eq!(store.paths().len(), 3, "{faults:?}");
    }
}

#[tokio::test]
async fn after_an_outcome_that_stays_unknown_nothing_more_is_written() {
    for (fault, found) in [(Before, None), (After, Some(owned(1))), (Late, None)] {
        let store = MemoryStore::new();
        let mut journal = journal(&store);
        store.fail(Action::Create, "log/", fault, TRIES);
        store.fail(Action::Get, "log/", Before, TRIES);
        let error = own(&mut journal, 1).await.unwrap_err();
        assert!(matches!(error, JournalError::Unknown { seq: Seq(1), .. }), "{fault:?}: {error}");
        store.heal();
        assert_eq!(body(&store, 1).await, found, "{fault:?}");
        let before = store.paths();
        assert!(matches!(own(&mut journal, 1).await, Err(JournalError::Poisoned { .. })), "{fault:?}");
        assert!(matches!(journal.committed(Epoch(1)).await, Err(JournalError::Poisoned { .. })), "{fault:?}");
        assert!(matches!(journal.release(false).await, Err(JournalError::Poisoned { .. })), "{fault:?}");
        assert!(journal.permit(Epoch(1)).is_err(), "{fault:?}: a permit for an epoch that may not be owned");
        assert_eq!(store.paths(), before, "{fault:?}");
    }
}

#[tokio::test]
async fn a_seal_at_its_place_ends_the_journal() {
    // Found at once, or by a create that was sent again after its first answer was lost.
    for fault in [None, Some(Before), Some(Late)] {
        let store = MemoryStore::new();
        let mut journal = journal(&store);
        own(&mut journal, 1).await.unwrap();
        let seal = Record::new(Body::Sealed { by: "successor".into() });
        store.create(&record::path(Attempt(1), Seq(2)), seal.to_bytes().unwrap()).await.unwrap();
        if let Some(fault) = fault {
            store.fail(Action::Create, "log/", fault, 1);
        }
        let error = own(&mut journal, 2).await.unwrap_err();
        assert!(matches!(error, JournalError::Sealed { seq: Seq(2), .. }), "{fault:?}: {error}");
        assert!(matches!(own(&mut journal, 2).await, Err(JournalError::Poisoned { .. })), "{fault:?}");
        store.land();
        assert_eq!(body(&store, 2).await, Some(seal.body), "{fault:?}");
        assert_eq!(store.paths().len(), 3, "{fault:?}");
        // What was owned before the seal may still be published.
        assert_eq!(journal.permit(Epoch(1)).unwrap().epoch(), Epoch(1));
        assert!(journal.permit(Epoch(2)).is_err());
    }
}

#[tokio::test]
async fn an_append_that_was_dropped_half_way_ends_the_journal() {
    let store = MemoryStore::new();
    let mut journal = journal(&store);
    store.fail(Action::Create, "log/", Late, 1);
    {
        let mut owning = Box::pin(own(&mut journal, 1));
        while !store.is_late() {
            assert!(matches!(futures::poll!(owning.as_mut()), Poll::Pending));
        }
    }
    assert!(matches!(own(&mut journal, 1).await, Err(JournalError::Poisoned { .. })));
    assert_eq!(store.paths(), [record::path(Attempt(1), Seq(0)).0]);
}

#[tokio::test]
async fn a_permit_is_given_for_what_is_owned_or_inherited_only() {
    let store = MemoryStore::new();
    let mut journal = journal_behind(&store, Some(Epoch(4)));
    assert_eq!(journal.permit(Epoch(3)).unwrap().epoch(), Epoch(3));
    assert_eq!(journal.permit(Epoch(4)).unwrap().epoch(), Epoch(4));
    let error = journal.permit(Epoch(5)).unwrap_err().to_string();
    assert!(error.contains("epoch 5 is not owned"), "{error}");
    own(&mut journal, 5).await.unwrap();
    assert_eq!(journal.permit(Epoch(5)).unwrap().epoch(), Epoch(5));
    journal.release(true).await.unwrap();
    assert_eq!(body(&store, 2).await, Some(Body::Released { finished: true }));
    assert!(matches!(own(&mut journal, 6).await, Err(JournalError::Poisoned { .. })), "it wrote after its release");
}

#[tokio::test]
async fn so_many_notes_follow_a_checkpoint_that_a_reader_can_go_back() {
    let store = MemoryStore::new();
    let mut journal = journal(&store);
    for epoch in 1..=2 {
        own(&mut journal, epoch).await.unwrap();
        for _ in 0..Spans::MOST_NOTES + 100 {
            journal.committed(Epoch(epoch)).await.unwrap();
        }
    }
    let records = store.paths().iter().filter(|path| path.starts_with("log/")).count() as u64;
    assert!(records < 2 * (Spans::MOST_NOTES + 2) + 1, "{records}");
    const { assert!(Spans::MOST_NOTES < Spans::FORMAT.segment) };
    assert_eq!(crate::checkpoint::claim::read_newest(&store).await.unwrap().unwrap().checkpoint, Some(checkpoint(2)));
}

fn fault() -> impl Strategy<Value = Fault> {
    prop::sample::select(&[Before, After, Late])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the network does: the log holds what the owner was told it owns, in order, and at most one record more,
    /// the one whose outcome stayed unknown.
    #[test]
    fn the_log_is_what_the_owner_was_told(
        faults in prop::collection::vec((1_u64..8, fault(), prop::sample::select(&[1, 2, TRIES])), 0..5),
        reads in 0..TRIES,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let store = MemoryStore::new();
            let mut journal = journal(&store);
            for (seq, fault, times) in faults {
                store.fail(Action::Create, &record::path(Attempt(1), Seq(seq)).0, fault, times);
            }
            store.fail(Action::Get, "log/", Before, reads);
            let mut told = 0;
            while told < 7 && own(&mut journal, told + 1).await.is_ok() {
                told += 1;
            }
            store.heal();
            store.land();
            let count = store.paths().len() as u64 - 1;
            assert!(count == told || count == told + 1 && told < 7, "told of {told}, and {count} are there");
            for epoch in 1..=count {
                assert_eq!(body(&store, epoch).await, Some(owned(epoch)));
            }
        });
    }
}

/// Says of everything that it is there already, and has nothing.
#[derive(Debug)]
struct Contradicting;

#[async_trait::async_trait]
impl Store for Contradicting {
    async fn create(&self, _: &ObjectPath, _: Bytes) -> Result<Create, StoreError> {
        Ok(Create::Exists)
    }
    async fn put(&self, _: &ObjectPath, _: Bytes) -> Result<(), StoreError> {
        Ok(())
    }
    async fn get(&self, _: &ObjectPath) -> Result<Option<Bytes>, StoreError> {
        Ok(None)
    }
    async fn get_range(&self, _: &ObjectPath, _: std::ops::Range<u64>) -> Result<Option<Bytes>, StoreError> {
        Ok(None)
    }
    async fn list(&self, _: &str, _: Option<&ObjectPath>) -> Result<Vec<Listed>, StoreError> {
        Ok(Vec::new())
    }
    async fn list_folders(&self, _: &str) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }
    async fn delete(&self, _: &ObjectPath) -> Result<(), StoreError> {
        Ok(())
    }
    fn location(&self) -> String {
        "s3://bucket/job".into()
    }
}

#[tokio::test]
async fn a_store_that_contradicts_itself_is_not_asked_for_ever() {
    let mut journal = Journal::new(Arc::new(Contradicting), Attempt(1), "started".to_owned(), None);
    let owned = env::within(Duration::from_mins(1), own(&mut journal, 1)).await.expect("an end");
    let error = owned.unwrap_err();
    assert_eq!(error.reason(), FailureReason::StorageUnreachable);
    let told = crate::error_chain(&error);
    assert!(told.contains("it is not to who reads it") && told.contains("s3://bucket/job"), "{told}");
}

#[tokio::test]
async fn a_store_that_is_brought_back_as_it_was_before_takes_no_record_more() {
    let store = MemoryStore::new();
    let mut journal = journal(&store);
    for epoch in 1..=3 {
        own(&mut journal, epoch).await.unwrap();
    }
    for seq in 2..=3 {
        store.remove(&record::path(Attempt(1), Seq(seq)).0);
    }
    let error = own(&mut journal, 4).await.unwrap_err();
    assert_eq!(error.reason(), FailureReason::StorageUnfit, "{error}");
    assert!(error.to_string().contains("no longer has `log/00000001/000000000003`"), "{error}");
    assert!(journal.permit(Epoch(4)).is_err());
    // Behind a hole it would be read by nobody, and nobody could go on.
    let newest = crate::checkpoint::claim::read_newest(&store).await.unwrap().unwrap();
    assert_eq!((newest.next, newest.checkpoint), (Seq(2), Some(checkpoint(1))));
}

/// Answers reads of one path with a bit flipped, as often as it is told.
#[derive(Debug)]
struct Flipping {
    store: MemoryStore,
    path: ObjectPath,
    times: std::sync::atomic::AtomicU32,
}

#[async_trait::async_trait]
impl Store for Flipping {
    async fn create(&self, path: &ObjectPath, bytes: Bytes) -> Result<Create, StoreError> {
        self.store.create(path, bytes).await
    }
    async fn put(&self, path: &ObjectPath, bytes: Bytes) -> Result<(), StoreError> {
        self.store.put(path, bytes).await
    }
    async fn get(&self, path: &ObjectPath) -> Result<Option<Bytes>, StoreError> {
        use std::sync::atomic::Ordering::Relaxed;
        let found = self.store.get(path).await?;
        let flips =
            *path == self.path && self.times.fetch_update(Relaxed, Relaxed, |times| times.checked_sub(1)).is_ok();
        Ok(found.map(|bytes| {
            let mut bytes = bytes.to_vec();
            bytes[20] ^= u8::from(flips);
            bytes.into()
        }))
    }
    async fn get_range(&self, path: &ObjectPath, range: std::ops::Range<u64>) -> Result<Option<Bytes>, StoreError> {
        self.store.get_range(path, range).await
    }
    async fn list(&self, prefix: &str, after: Option<&ObjectPath>) -> Result<Vec<Listed>, StoreError> {
        self.store.list(prefix, after).await
    }
    async fn list_folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.store.list_folders(prefix).await
    }
    async fn delete(&self, path: &ObjectPath) -> Result<(), StoreError> {
        self.store.delete(path).await
    }
    fn location(&self) -> String {
        self.store.location()
    }
}

#[tokio::test]
async fn a_record_that_is_read_back_wrong_is_nobody_elses() {
    for times in [1, 3, TRIES] {
        let store = MemoryStore::new();
        let before = journal(&store);
        let path = record::path(Attempt(1), Seq(1));
        let flipping = Flipping { store: store.clone(), path, times: times.into() };
        let mut journal = Journal::new(Arc::new(flipping), Attempt(1), before.started, None);
        store.fail(Action::Create, "log/", After, 1);
        let owning = own(&mut journal, 1).await;
        assert_eq!(body(&store, 1).await, Some(owned(1)));
        match owning {
            Ok(_) => assert!(times < TRIES),
            Err(JournalError::Unknown { .. }) => assert_eq!(times, TRIES),
            Err(error) => panic!("{times} times: {error}"),
        }
    }
}

#[tokio::test]
async fn an_epoch_stays_owned_when_the_beginning_of_its_attempt_can_not_be_read() {
    let store = MemoryStore::new();
    let mut journal = journal(&store);
    let first = record::path(Attempt(1), Seq(0)).0;
    let started = store.peek(&first).unwrap();
    store.plant(&first, started.slice(..started.len() / 2));
    let error = own(&mut journal, 1).await.unwrap_err();
    assert!(matches!(error, JournalError::Unknown { .. }), "{error}");
    assert_eq!(body(&store, 1).await, Some(owned(1)), "whoever comes next goes on from it");
}
