use std::{
    collections::BTreeMap,
    sync::{Mutex, atomic::AtomicU32, atomic::Ordering::Relaxed},
};

use futures::future::join_all;
use proptest::prelude::*;

use super::*;
use crate::{
    checkpoint::{
        destination::{self, Destinations},
        journal::JournalError,
        record::{LOG, Trigger},
        store::memory::{Action, Fault, MemoryStore},
    },
    ids::Epoch,
};

mod sinks;

/// Answers the same to everybody, and counts.
pub(super) struct Owners {
    answer: OwnerAnswer,
    asked: AtomicU32,
    /// What a request to stop comes to.
    on_stop: Box<dyn Fn() -> OwnerAnswer + Send + Sync>,
    asked_to_stop: AtomicU32,
}

#[async_trait]
impl Neighbours for Owners {
    async fn ask(&self, _: &Owner, _: &str) -> OwnerAnswer {
        self.asked.fetch_add(1, Relaxed);
        self.answer
    }

    async fn ask_to_stop(&self, _: &Owner) -> OwnerAnswer {
        self.asked_to_stop.fetch_add(1, Relaxed);
        (self.on_stop)()
    }

    fn waits(&self, reason: Failure) {
        assert_eq!(reason.reason, FailureReason::OwnedElsewhere);
    }

    fn announce(&self, _: &str) {}
}

pub(super) fn owners(answer: OwnerAnswer) -> Owners {
    let on_stop = Box::new(|| panic!("nobody is to be stopped"));
    Owners { answer, asked: AtomicU32::new(0), on_stop, asked_to_stop: AtomicU32::new(0) }
}

/// Goes on from any checkpoint, or from none; a manifest need not be there for it.
#[derive(Default)]
pub(super) struct Anything {
    beginning: Option<CheckpointRef>,
    refuses: Option<&'static str>,
    /// It refuses from this epoch on only.
    refuses_from: u64,
    /// Where it would publish, if that matters.
    sinks: Option<Destinations>,
    /// What its sinks have, if they have anything.
    published: Option<Epoch>,
    looked_at: AtomicU32,
}

#[async_trait]
impl Heir for Anything {
    async fn beginning(&self, _: &Arc<dyn Store>) -> Result<Option<CheckpointRef>, Failure> {
        Ok(self.beginning.clone())
    }

    async fn fits(&self, _: &Arc<dyn Store>, manifest: &Manifest) -> Result<(), Failure> {
        self.looked_at.fetch_add(1, Relaxed);
        match self.refuses.filter(|_| manifest.epoch.0 >= self.refuses_from) {
            None => Ok(()),
            Some(why) => Err(Failure { reason: FailureReason::StateUnfit, message: why.into() }),
        }
    }

    fn publishes(&self, manifest: &Manifest, committed: &Committed) -> Result<(), Failure> {
        let Some(sinks) = &self.sinks else { return Ok(()) };
        let checked = destination::check(manifest, committed, sinks);
        checked.map_err(|error| Failure { reason: FailureReason::StateUnfit, message: error.to_string() })
    }

    async fn compare(&self, owned: Epoch, _: &str) -> Result<(), Failure> {
        match self.published.filter(|published| *published > owned) {
            Some(_) => Err(Failure { reason: FailureReason::SinkUnfit, message: "ahead of the log".into() }),
            None => Ok(()),
        }
    }
}

pub(super) fn identity(pod: &str, revision: u64) -> Identity {
    Identity {
        claimant: Claimant { revision: Revision(revision), pod: pod.into() },
        address: format!("{pod}:8080"),
        spec_digest: "digest".into(),
        parallelism: 2,
        rescaled: None,
        lineage: format!("lineage-of-{pod}"),
        stand_by: false,
        patience: Duration::from_mins(1),
        has_had: None,
        seen: NewestSeen::default(),
        job_uid: None,
        deposed: 0,
    }
}

async fn take(store: &MemoryStore, pod: &str, revision: u64, answer: OwnerAnswer) -> Result<Claimed, ClaimError> {
    claim_with(store, &identity(pod, revision), &owners(answer)).await.map(ours)
}

async fn claim_with(store: &MemoryStore, me: &Identity, neighbours: &dyn Neighbours) -> Result<Claiming, ClaimError> {
    claim(Arc::new(store.clone()), me, neighbours, &Anything::default()).await
}

pub(super) fn ours(claiming: Claiming) -> Claimed {
    match claiming {
        Claiming::Ours(claimed) => claimed,
        Claiming::Finished { attempt, .. } => panic!("finished by attempt {attempt}"),
    }
}

/// The manifest of a checkpoint without any state.
fn manifest(attempt: Attempt, epoch: u64) -> Manifest {
    Manifest {
        format: Manifest::FORMAT,
        job: "job".into(),
        lineage: "lineage".into(),
        epoch: Epoch(epoch),
        attempt,
        revision: Revision(1),
        trigger: Trigger::Interval,
        max_parallelism: 128,
        created_at_ms: 0,
        operators: Vec::new(),
        chunks: Vec::new(),
        sinks: Destinations::new(),
        beginning: None,
    }
}

async fn own(claimed: &mut Claimed, epoch: u64) -> Result<(), JournalError> {
    let (_, checkpoint) = manifest(claimed.journal.attempt(), epoch).encode().unwrap();
    claimed.journal.own(checkpoint, Trigger::Interval).await.map(drop)
}

/// As [`own`], with the manifest in the store.
async fn own_written(store: &MemoryStore, claimed: &mut Claimed, epoch: u64) {
    let (bytes, checkpoint) = manifest(claimed.journal.attempt(), epoch).encode().unwrap();
    store.put(&checkpoint.manifest, bytes).await.unwrap();
    claimed.journal.own(checkpoint, Trigger::Interval).await.unwrap();
}

async fn read(store: &MemoryStore, attempt: Attempt, seq: Seq) -> Record {
    Record::from_bytes(&store.get(&record::path(attempt, seq)).await.unwrap().unwrap()).unwrap()
}

fn restored(claimed: &Claimed) -> Option<u64> {
    claimed.restored_from.as_ref().map(|checkpoint| checkpoint.epoch.0)
}

#[tokio::test]
async fn a_second_claim_goes_on_where_the_first_ended() {
    let store = MemoryStore::new();
    let mut first = take(&store, "a", 1, OwnerAnswer::NotAsked).await.unwrap();
    assert_eq!((first.journal.attempt(), restored(&first), first.committed.all), (Attempt(1), None, None));
    for epoch in 1..=3 {
        own(&mut first, epoch).await.unwrap();
    }
    first.journal.committed(Epoch(2)).await.unwrap();

    let mut second = take(&store, "b", 1, OwnerAnswer::Gone).await.unwrap();
    assert_eq!((second.journal.attempt(), restored(&second)), (Attempt(2), Some(3)));
    assert_eq!((second.committed.all, second.lineage.as_str()), (Some(Epoch(2)), "lineage-of-a"));
    assert!(second.journal.permit(Epoch(3)).is_ok() && second.journal.permit(Epoch(4)).is_err());
    assert!(matches!(own(&mut first, 4).await, Err(JournalError::Sealed { .. })), "the old owner owns on");

    // An attempt that owned nothing hands on what it began with.
    own(&mut second, 4).await.unwrap();
    let third = take(&store, "c", 1, OwnerAnswer::Gone).await.unwrap();
    let fourth = take(&store, "d", 1, OwnerAnswer::Gone).await.unwrap();
    assert_eq!((third.journal.attempt(), restored(&third)), (Attempt(3), Some(4)));
    assert_eq!((fourth.journal.attempt(), restored(&fourth)), (Attempt(4), Some(4)));
    assert_eq!(fourth.lineage, "lineage-of-a");
}

#[tokio::test]
async fn who_may_claim_and_who_may_not() {
    let store = MemoryStore::new();
    let mut first = take(&store, "a", 5, OwnerAnswer::NotAsked).await.unwrap();
    let before = store.paths();
    let refused = take(&store, "b", 4, OwnerAnswer::Gone).await.unwrap_err();
    assert!(matches!(refused, ClaimError::Superseded { by: Revision(5), mine: Revision(4) }), "{refused}");
    let owned = take(&store, "b", 5, OwnerAnswer::Alive).await.unwrap_err();
    assert!(matches!(&owned, ClaimError::Owned { pod, .. } if pod == "a"), "{owned}");
    assert_eq!(store.paths(), before, "who is refused writes nothing");
    own_written(&store, &mut first, 1).await;

    // The pod whose attempt it was does not ask, and who is gone is asked for nothing more.
    let next = owners(OwnerAnswer::Gone);
    let newer = ours(claim_with(&store, &identity("b", 6), &next).await.unwrap());
    let again = ours(claim_with(&store, &identity("b", 6), &next).await.unwrap());
    assert_eq!((restored(&newer), restored(&again), next.asked.load(Relaxed)), (Some(1), Some(1), 1));

    // A clean end lets anybody begin, but for a job that is finished, which only a new revision runs again.
    let mut last = again;
    last.journal.release(false).await.unwrap();
    let mut last = take(&store, "c", 6, OwnerAnswer::Alive).await.unwrap();
    last.journal.release(true).await.unwrap();
    let finished = claim_with(&store, &identity("d", 6), &owners(OwnerAnswer::Gone)).await.unwrap();
    assert!(matches!(finished, Claiming::Finished { attempt: Attempt(4), is_changed: false }), "{finished:?}");
    assert_eq!(take(&store, "d", 7, OwnerAnswer::Gone).await.unwrap().journal.attempt(), Attempt(5));
}

#[tokio::test]
async fn of_two_claimants_one_wins() {
    // From the same request on, or one behind the other by so many requests.
    for behind in 0..6 {
        let store = MemoryStore::new();
        let late = async {
            for _ in 0..behind {
                tokio::task::yield_now().await;
            }
            take(&store, "b", 1, OwnerAnswer::Alive).await
        };
        let (first, second) = tokio::join!(take(&store, "a", 1, OwnerAnswer::Alive), late);
        let (winner, loser) = if first.is_ok() { (first, second) } else { (second, first) };
        assert_eq!(winner.unwrap().journal.attempt(), Attempt(1), "{behind}");
        assert!(matches!(loser, Err(ClaimError::Owned { attempt: Attempt(1), .. })), "{behind}: {loser:?}");
    }
}

#[tokio::test]
async fn who_stands_by_takes_over_when_the_owner_is_gone() {
    struct DiesWhenAskedAgain(AtomicU32);
    #[async_trait]
    impl Neighbours for DiesWhenAskedAgain {
        async fn ask(&self, owner: &Owner, _: &str) -> OwnerAnswer {
            assert_eq!(owner.address, "a:8080");
            if self.0.fetch_add(1, Relaxed) == 0 { OwnerAnswer::Alive } else { OwnerAnswer::Gone }
        }

        async fn ask_to_stop(&self, owner: &Owner) -> OwnerAnswer {
            panic!("{owner:?} is of the same revision")
        }

        fn waits(&self, reason: Failure) {
            assert!(reason.message.contains("run by a at a:8080"), "{}", reason.message);
        }

        fn announce(&self, _: &str) {}
    }
    let store = MemoryStore::new();
    take(&store, "a", 1, OwnerAnswer::NotAsked).await.unwrap();
    let patient = Identity { stand_by: true, ..identity("b", 1) };
    let owners = DiesWhenAskedAgain(AtomicU32::new(0));
    let claimed = ours(claim_with(&store, &patient, &owners).await.unwrap());
    assert_eq!((claimed.journal.attempt(), owners.0.load(Relaxed)), (Attempt(2), 2));
}

/// Owners that give one answer, and count how often somebody says that he waits, each time with these words.
struct Rivals {
    answer: Option<OwnerAnswer>,
    words: &'static str,
    waits: AtomicU32,
}

#[async_trait]
impl Neighbours for Rivals {
    async fn ask(&self, owner: &Owner, _: &str) -> OwnerAnswer {
        self.answer.unwrap_or_else(|| panic!("{owner:?} is asked"))
    }

    async fn ask_to_stop(&self, owner: &Owner) -> OwnerAnswer {
        self.answer.unwrap_or_else(|| panic!("{owner:?} is asked to stop"))
    }

    fn waits(&self, reason: Failure) {
        assert_eq!(reason.reason, FailureReason::OwnedElsewhere);
        assert!(reason.message.contains(self.words), "{}", reason.message);
        self.waits.fetch_add(1, Relaxed);
    }

    fn announce(&self, _: &str) {}
}

/// Of two, the one that was sealed by `other` while it was well waits as long as that writes, and no longer.
async fn waits_as_long_as_the_other_writes(other: &str, answer: Option<OwnerAnswer>, words: &'static str) {
    let store = MemoryStore::new();
    let mut first = take(&store, "a", 1, OwnerAnswer::NotAsked).await.unwrap();
    let mut second = take(&store, other, 1, OwnerAnswer::Gone).await.unwrap();
    assert!(matches!(own(&mut first, 1).await, Err(JournalError::Sealed { .. })));
    let deposed = Identity { stand_by: true, deposed: 1, ..identity("a", 1) };
    let rivals = Rivals { answer, words, waits: AtomicU32::new(0) };
    let writes = async {
        let mut epoch = 0;
        while rivals.waits.load(Relaxed) < 5 {
            epoch += 1;
            own(&mut second, epoch).await.expect("it was sealed");
            tokio::task::yield_now().await;
        }
        epoch
    };
    let (third, newest) = tokio::join!(claim_with(&store, &deposed, &rivals), writes);
    let third = ours(third.unwrap());
    assert_eq!((third.journal.attempt(), restored(&third)), (Attempt(3), Some(newest)));
}

#[tokio::test]
async fn who_was_sealed_while_it_was_well_seals_nobody_who_writes() {
    let words = "need a `jobId` or a storage of their own";
    waits_as_long_as_the_other_writes("b", Some(OwnerAnswer::Gone), words).await;
}

#[tokio::test]
async fn who_was_sealed_by_a_namesake_asks_nobody_and_seals_it_when_it_writes_no_more() {
    waits_as_long_as_the_other_writes("a", None, "need a `--pod-name` of their own each").await;
}

#[tokio::test]
async fn a_lost_answer_neither_loses_the_job_nor_takes_it_twice() {
    for fault in [Fault::Before, Fault::After, Fault::Late] {
        let store = MemoryStore::new();
        let mut first = take(&store, "a", 1, OwnerAnswer::NotAsked).await.unwrap();
        own(&mut first, 1).await.unwrap();
        // The seal's answer, then the answer of the new attempt's first record.
        store.fail(Action::Create, "log/00000001/000000000002", fault, 1);
        store.fail(Action::Create, "log/00000002/000000000000", fault, 1);
        let mut second = take(&store, "b", 1, OwnerAnswer::Gone).await.unwrap();
        store.land();
        assert_eq!((second.journal.attempt(), restored(&second)), (Attempt(2), Some(1)), "{fault:?}");
        own(&mut second, 2).await.unwrap();
        assert_eq!(store.list(LOG, None).await.unwrap().len(), 5, "{fault:?}: {:?}", store.paths());
    }
    let store = MemoryStore::new();
    store.fail(Action::List, "", Fault::Before, 1);
    assert!(matches!(take(&store, "a", 1, OwnerAnswer::Gone).await, Err(ClaimError::Store(_))));
}

#[tokio::test]
async fn a_hint_is_never_believed() {
    let hints = [None, Some(""), Some("{}"), Some(r#"{"attempt":1,"seq":1}"#), Some(r#"{"attempt":9,"seq":9}"#)];
    for hint in hints {
        let store = MemoryStore::new();
        let mut first = take(&store, "a", 1, OwnerAnswer::NotAsked).await.unwrap();
        for epoch in 1..=70 {
            own(&mut first, epoch).await.unwrap();
        }
        assert_eq!(store.get(&record::hint_path()).await.unwrap().unwrap(), r#"{"attempt":1,"seq":64}"#);
        match hint {
            Some(hint) => store.plant("hint", hint.to_owned()),
            None => store.delete(&record::hint_path()).await.unwrap(),
        }
        let second = take(&store, "b", 1, OwnerAnswer::Gone).await.unwrap();
        assert_eq!((second.journal.attempt(), restored(&second)), (Attempt(2), Some(70)), "{hint:?}");
    }
}

#[tokio::test]
async fn a_damaged_log_is_named_and_not_claimed() {
    for (path, bytes) in [
        ("log/00000001/000000000001", "{}"),
        ("log/00000001/000000000000", r#"{"recordId":"r","atMs":0,"type":"EpochCommitted","epoch":1}"#),
        ("log/00000001/000000000005", r#"{"recordId":"r","atMs":0,"type":"EpochCommitted","epoch":1}"#),
    ] {
        let store = MemoryStore::new();
        let mut first = take(&store, "a", 1, OwnerAnswer::NotAsked).await.unwrap();
        own(&mut first, 1).await.unwrap();
        store.plant(path, bytes);
        let before = store.paths();
        let error = take(&store, "b", 1, OwnerAnswer::Gone).await.unwrap_err();
        assert!(matches!(error, ClaimError::Damaged(_)), "{path}: {error}");
        assert_eq!(store.paths(), before, "{path}");
    }
}

#[tokio::test]
async fn a_record_that_the_store_has_lost_is_named_and_nothing_is_begun_anew() {
    for (lost, has_hint) in [
        ("log/00000001/000000000000", false),
        ("log/00000001/000000000001", false),
        ("log/00000002/000000000000", true),
        ("log/00000002/000000000000", false),
        ("log/00000002/000000000001", false),
        // Where the steps tread.
        ("log/00000002/000000000003", false),
    ] {
        let store = MemoryStore::new();
        take(&store, "a", 1, OwnerAnswer::NotAsked).await.unwrap();
        let mut second = take(&store, "b", 1, OwnerAnswer::Gone).await.unwrap();
        for epoch in 1..=5 {
            own(&mut second, epoch).await.unwrap();
        }
        if !has_hint {
            store.remove("hint");
        }
        store.remove(lost);
        if lost.ends_with("1/000000000001") {
            // The seal of an attempt that was followed: nobody needs it to read.
            assert_eq!(read_newest(&store).await.unwrap().unwrap().next, Seq(6));
            continue;
        }
        let error = read_newest(&store).await.unwrap_err();
        assert!(matches!(&error, ClaimError::Damaged(why) if why.contains(lost)), "{lost}: {error}");
    }
}

#[tokio::test]
async fn a_process_that_had_the_job_does_not_begin_it_anew_in_an_empty_store() {
    let store = MemoryStore::new();
    let mut first = take(&store, "a", 1, OwnerAnswer::NotAsked).await.unwrap();
    own(&mut first, 1).await.unwrap();
    store.paths().iter().for_each(|path| store.remove(path));
    let error = own(&mut first, 2).await.unwrap_err();
    assert_eq!(error.reason(), FailureReason::StorageUnfit, "{error}");
    assert!(error.to_string().contains("it was emptied"), "{error}");
    assert_eq!(store.paths(), Vec::<String>::new(), "what does not count is deleted again");
    let me = identity("a", 1);
    me.seen.note(first.journal.attempt());
    let error = claim_with(&store, &me, &owners(OwnerAnswer::Gone)).await.unwrap_err();
    assert_eq!(error.reason(), FailureReason::StorageUnfit, "{error}");
    assert_eq!(store.paths(), Vec::<String>::new());
}

/// An owner that is well, whose log is taken away when it is asked the second time.
struct Emptied<'a> {
    store: &'a MemoryStore,
    asked: AtomicU32,
}

impl Emptied<'_> {
    fn answer(&self) -> OwnerAnswer {
        if self.asked.fetch_add(1, Relaxed) == 1 {
            self.store.paths().iter().for_each(|path| self.store.remove(path));
        }
        OwnerAnswer::Alive
    }
}

#[async_trait]
impl Neighbours for Emptied<'_> {
    async fn ask(&self, _: &Owner, _: &str) -> OwnerAnswer {
        self.answer()
    }

    async fn ask_to_stop(&self, _: &Owner) -> OwnerAnswer {
        self.answer()
    }

    fn waits(&self, _: Failure) {}

    fn announce(&self, _: &str) {}
}

#[tokio::test]
async fn a_process_that_stands_by_does_not_begin_the_job_anew_in_a_store_that_was_emptied() {
    for revision in [1, 2] {
        let store = MemoryStore::new();
        take(&store, "a", 1, OwnerAnswer::NotAsked).await.unwrap();
        // It waits for the owner, or for its first checkpoint to take over.
        let waits = Identity { stand_by: true, ..identity("b", revision) };
        let neighbours = Emptied { store: &store, asked: AtomicU32::new(0) };
        let error = claim_with(&store, &waits, &neighbours).await.unwrap_err();
        assert_eq!(error.reason(), FailureReason::StorageUnfit, "{error}");
        // Nor does it by its next claim.
        let error = claim_with(&store, &waits, &owners(OwnerAnswer::Gone)).await.unwrap_err();
        assert_eq!(error.reason(), FailureReason::StorageUnfit, "{error}");
        assert_eq!(store.paths(), Vec::<String>::new());
    }
}

/// Every epoch that some process was told it owns, with its attempt.
type Told = Mutex<Vec<(Attempt, Epoch)>>;

/// Claims, owns some epochs, and again: as one of several that believe each other dead.
async fn contend(store: &MemoryStore, pod: &str, steps: &[(u8, u64)], told: &Told) {
    for (delay, epochs) in steps {
        for _ in 0..*delay {
            tokio::task::yield_now().await;
        }
        store.land();
        let newest = told.lock().unwrap().iter().map(|(_, epoch)| epoch.0).max();
        let Ok(mut claimed) = take(store, pod, 1, OwnerAnswer::Gone).await else { continue };
        assert!(restored(&claimed) >= newest, "{newest:?} is owned, and {pod} begins at {:?}", restored(&claimed));
        let first = restored(&claimed).map_or(1, |epoch| epoch + 1);
        for epoch in first..first + epochs {
            if own(&mut claimed, epoch).await.is_err() {
                break;
            }
            told.lock().unwrap().push((claimed.journal.attempt(), Epoch(epoch)));
        }
    }
}

/// The epochs that the log holds, attempt by attempt, each of which begins where the one before ended.
async fn chain(store: &MemoryStore) -> Vec<(Attempt, Epoch)> {
    let mut attempts: BTreeMap<Attempt, Vec<Record>> = BTreeMap::new();
    for object in store.list(LOG, None).await.unwrap() {
        let (attempt, seq) = record::parse_path(&object.path).unwrap();
        attempts.entry(attempt).or_default().push(read(store, attempt, seq).await);
    }
    let (mut chain, mut newest) = (Vec::new(), None);
    for (attempt, records) in attempts {
        let Body::AttemptStarted { restored_from, .. } = &records[0].body else { panic!("{records:?}") };
        assert_eq!(*restored_from, newest, "attempt {attempt}");
        newest = log::summarize(attempt, Seq(0), &records).unwrap().checkpoint;
        chain.extend(records.iter().filter_map(|record| match &record.body {
            Body::CheckpointCompleted { checkpoint, .. } => Some((attempt, checkpoint.epoch)),
            _ => None,
        }));
    }
    chain
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn among_claimants_that_believe_each_other_dead_no_epoch_is_lost_or_owned_twice(
        scripts in prop::array::uniform3(prop::collection::vec((0_u8..40, 0_u64..6), 1..4)),
        faults in prop::collection::vec(
            (1_u64..5, 0_u64..6, prop::sample::select(&[Fault::Before, Fault::After, Fault::Late]), 1_u32..4),
            0..6,
        ),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (store, told) = (MemoryStore::new(), Told::default());
            for (attempt, seq, fault, times) in faults {
                store.fail(Action::Create, &record::path(Attempt(attempt), Seq(seq)).0, fault, times);
            }
            let pods = ["a", "b", "c"];
            join_all(pods.iter().zip(&scripts).map(|(pod, steps)| contend(&store, pod, steps, &told))).await;
            store.heal();
            store.land();
            let chain = chain(&store).await;
            assert!(chain.is_sorted_by_key(|(_, epoch)| epoch), "{chain:?}");
            assert!(chain.windows(2).all(|two| two[0].1 < two[1].1), "{chain:?}");
            let told = told.into_inner().unwrap();
            assert!(told.iter().all(|epoch| chain.contains(epoch)), "told of {told:?}, the log has {chain:?}");
        });
    }
}

#[tokio::test]
async fn a_claimant_says_which_record_it_writes_before_anybody_can_find_it() {
    struct Listener(MemoryStore, std::sync::Mutex<Vec<String>>);
    #[async_trait]
    impl Neighbours for Listener {
        async fn ask(&self, _: &Owner, _: &str) -> OwnerAnswer {
            OwnerAnswer::Gone
        }

        async fn ask_to_stop(&self, _: &Owner) -> OwnerAnswer {
            OwnerAnswer::Gone
        }

        fn waits(&self, _: Failure) {}

        fn announce(&self, record_id: &str) {
            assert_eq!(self.0.paths(), Vec::<String>::new(), "nothing is there to be found yet");
            self.1.lock().unwrap().push(record_id.to_owned());
        }
    }
    let store = MemoryStore::new();
    let listener = Listener(store.clone(), std::sync::Mutex::default());
    claim_with(&store, &identity("a", 1), &listener).await.unwrap();
    let started = store.get(&record::path(Attempt(1), Seq(0))).await.unwrap().unwrap();
    assert_eq!(*listener.1.lock().unwrap(), [Record::from_bytes(&started).unwrap().record_id]);
}

/// An owner that answers, and hands over (or not) when it is asked to stop.
fn predecessor(on_stop: impl Fn() -> OwnerAnswer + Send + Sync + 'static) -> Owners {
    Owners { on_stop: Box::new(on_stop), ..owners(OwnerAnswer::Alive) }
}

/// Whether the log of an attempt has a seal.
async fn is_sealed(store: &MemoryStore, attempt: Attempt) -> bool {
    for object in store.list(LOG, None).await.unwrap() {
        let (of, seq) = record::parse_path(&object.path).unwrap();
        if of == attempt && matches!(read(store, of, seq).await.body, Body::Sealed { .. }) {
            return true;
        }
    }
    false
}

#[tokio::test]
async fn a_newer_revision_takes_over_what_the_older_one_leaves_without_a_seal() {
    let store = MemoryStore::new();
    let mut old = take(&store, "a", 1, OwnerAnswer::NotAsked).await.unwrap();
    own_written(&store, &mut old, 1).await;
    let (asked, stop) = tokio::sync::oneshot::channel();
    let asked = Mutex::new(Some(asked));
    let neighbours = predecessor(move || {
        asked.lock().unwrap().take().expect("asked once").send(()).unwrap();
        OwnerAnswer::Alive
    });
    let stops = async {
        stop.await.unwrap();
        own_written(&store, &mut old, 2).await;
        old.journal.release(false).await.unwrap();
    };
    let (me, heir) = (identity("b", 2), Anything::default());
    let (new, ()) = tokio::join!(claim(Arc::new(store.clone()), &me, &neighbours, &heir), stops);
    let new = ours(new.unwrap());
    assert_eq!((new.journal.attempt(), restored(&new)), (Attempt(2), Some(2)));
    assert!(!is_sealed(&store, Attempt(1)).await);
    assert_eq!(
        heir.looked_at.load(Relaxed),
        2,
        "the first and the last: what one attempt has written is of one version"
    );
}

#[tokio::test]
async fn a_version_that_can_not_go_on_from_the_last_checkpoint_leaves_the_job_to_the_one_before() {
    let store = MemoryStore::new();
    let mut old = take(&store, "a", 1, OwnerAnswer::NotAsked).await.unwrap();
    own_written(&store, &mut old, 1).await;
    let (asked, stop) = tokio::sync::oneshot::channel();
    let asked = Mutex::new(Some(asked));
    let neighbours = predecessor(move || {
        asked.lock().unwrap().take().expect("asked once").send(()).unwrap();
        OwnerAnswer::Alive
    });
    let stops = async {
        stop.await.unwrap();
        own_written(&store, &mut old, 2).await;
        old.journal.release(false).await.unwrap();
    };
    let heir = Anything { refuses: Some("a row waits by now"), refuses_from: 2, ..Anything::default() };
    let me = identity("b", 2);
    let (refused, ()) = tokio::join!(claim(Arc::new(store.clone()), &me, &neighbours, &heir), stops);
    assert_eq!(refused.unwrap_err().to_string(), "a row waits by now");
    let again = take(&store, "a", 1, OwnerAnswer::NotAsked).await.unwrap();
    assert_eq!((again.journal.attempt(), restored(&again)), (Attempt(2), Some(2)));
}

#[tokio::test]
async fn an_older_revision_that_does_not_hand_over_is_sealed() {
    // It does not take the request in; it does and goes on all the same.
    for answer in [OwnerAnswer::Gone, OwnerAnswer::Alive] {
        let store = MemoryStore::new();
        let mut old = take(&store, "a", 1, OwnerAnswer::NotAsked).await.unwrap();
        own_written(&store, &mut old, 1).await;
        let me = Identity { patience: Duration::from_millis(20), ..identity("b", 2) };
        let new = ours(claim_with(&store, &me, &predecessor(move || answer)).await.unwrap());
        assert_eq!((new.journal.attempt(), restored(&new)), (Attempt(2), Some(1)), "{answer:?}");
        assert!(is_sealed(&store, Attempt(1)).await, "{answer:?}");
        assert!(matches!(own(&mut old, 2).await, Err(JournalError::Sealed { .. })), "{answer:?}");
    }
}

#[tokio::test]
async fn an_older_revision_is_not_asked_to_stop_before_it_has_a_checkpoint() {
    let store = MemoryStore::new();
    take(&store, "a", 1, OwnerAnswer::NotAsked).await.unwrap();
    let me = Identity { patience: Duration::from_millis(20), ..identity("b", 2) };
    let neighbours = owners(OwnerAnswer::Alive);
    let new = ours(claim_with(&store, &me, &neighbours).await.unwrap());
    assert_eq!((restored(&new), neighbours.asked_to_stop.load(Relaxed)), (None, 0));
}

#[tokio::test]
async fn a_version_that_can_not_go_on_leaves_the_job_as_it_is() {
    for (what, answer) in [("a healthy owner", OwnerAnswer::Alive), ("a dead one", OwnerAnswer::Gone)] {
        let store = MemoryStore::new();
        let mut old = take(&store, "a", 1, OwnerAnswer::NotAsked).await.unwrap();
        own_written(&store, &mut old, 1).await;
        let before = store.paths();
        let heir = Anything { refuses: Some("no home for its state"), ..Anything::default() };
        let refused = claim(Arc::new(store.clone()), &identity("b", 2), &owners(answer), &heir).await.unwrap_err();
        assert_eq!(
            (refused.reason(), refused.to_string().as_str()),
            (FailureReason::StateUnfit, "no home for its state")
        );
        assert_eq!(store.paths(), before, "{what}");
        own(&mut old, 2).await.unwrap();
    }
}

#[tokio::test]
async fn a_manifest_that_its_owner_has_collected_meanwhile_is_looked_for_again() {
    let store = MemoryStore::new();
    let mut old = take(&store, "a", 1, OwnerAnswer::NotAsked).await.unwrap();
    own(&mut old, 1).await.unwrap();
    let again = async {
        tokio::task::yield_now().await;
        own_written(&store, &mut old, 2).await;
        old.journal.release(false).await.unwrap();
    };
    let (me, neighbours) = (identity("b", 2), predecessor(|| OwnerAnswer::Alive));
    let (new, ()) = tokio::join!(claim_with(&store, &me, &neighbours), again);
    assert_eq!(restored(&ours(new.unwrap())), Some(2));
}

/// A job that has owned a checkpoint, and was cancelled and deleted.
async fn deleted(store: &MemoryStore, job_uid: Option<&str>) -> Claimed {
    let me = Identity { job_uid: job_uid.map(str::to_owned), ..identity("a", 7) };
    let mut old = ours(claim_with(store, &me, &owners(OwnerAnswer::NotAsked)).await.unwrap());
    own_written(store, &mut old, 1).await;
    old.journal.delete().await.unwrap();
    old
}

#[tokio::test]
async fn a_job_begins_anew_where_one_was_deleted_whatever_its_revision_and_its_sinks() {
    for own_uid in [None, Some("of-another")] {
        let store = MemoryStore::new();
        let old = deleted(&store, Some("of-the-old")).await;
        let me = Identity { job_uid: own_uid.map(str::to_owned), ..identity("b", 1) };
        // What its sinks have is of another lineage.
        let heir =
            Anything { published: Some(Epoch(9)), refuses: Some("nothing is to be looked at"), ..Anything::default() };
        let new = ours(claim(Arc::new(store.clone()), &me, &owners(OwnerAnswer::Gone), &heir).await.unwrap());
        assert_eq!((new.journal.attempt(), restored(&new), new.committed), (Attempt(2), None, Committed::default()));
        assert_ne!(new.lineage, old.lineage);
        assert_eq!(heir.looked_at.load(Relaxed), 0);
    }
}

#[tokio::test]
async fn a_process_of_the_job_that_was_deleted_never_begins_it_anew() {
    let store = MemoryStore::new();
    deleted(&store, Some("uid")).await;
    let paths = store.paths();
    // A pod that came late; one that had the job before; and one that waited while the owner deleted.
    let of_the_job = Identity { job_uid: Some("uid".into()), ..identity("b", 8) };
    let had_it = Identity { has_had: Some(Attempt(1)), ..identity("b", 7) };
    let waits = Identity { stand_by: true, ..identity("b", 7) };
    for (me, answer) in [(of_the_job, OwnerAnswer::Gone), (had_it, OwnerAnswer::Gone), (waits, OwnerAnswer::Alive)] {
        let refused = claim_with(&store, &me, &owners(answer)).await.unwrap_err();
        assert!(matches!(refused, ClaimError::Deleted { attempt: Attempt(1) }), "{refused}");
        assert_eq!(store.paths(), paths);
    }
    // Who does not wait is told who deletes.
    let busy = claim_with(&store, &identity("b", 7), &owners(OwnerAnswer::Alive)).await.unwrap_err();
    assert!(matches!(busy, ClaimError::Owned { .. }), "{busy}");
}

#[tokio::test]
async fn what_a_job_began_with_is_found_behind_another_that_was_deleted() {
    let store = MemoryStore::new();
    let copy = |epoch| CheckpointRef {
        epoch: Epoch(epoch),
        manifest: manifest(Attempt(0), epoch).path(),
        sha256: String::new(),
    };
    let begin = async |pod: &str, epoch| {
        let heir = Anything { beginning: Some(copy(epoch)), ..Anything::default() };
        ours(claim(Arc::new(store.clone()), &identity(pod, 1), &owners(OwnerAnswer::Gone), &heir).await.unwrap())
    };
    let mut old = begin("a", 5).await;
    for pod in ["b", "c"] {
        assert_eq!(began_with(&store).await.unwrap(), Some(copy(5)));
        old = take(&store, pod, 1, OwnerAnswer::Gone).await.unwrap();
    }
    old.journal.delete().await.unwrap();
    begin("d", 9).await;
    for pod in ["e", "f", "g"] {
        assert_eq!(began_with(&store).await.unwrap(), Some(copy(9)));
        take(&store, pod, 1, OwnerAnswer::Gone).await.unwrap();
    }
}
