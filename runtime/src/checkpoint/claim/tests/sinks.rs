//! A claim by a version whose sinks are others, and what is known of single sinks.

use super::*;
use crate::checkpoint::sample;

fn topic(name: &str) -> Destinations {
    let fields = BTreeMap::from([("kafka.topic".to_owned(), name.to_owned())]);
    Destinations::from([("sales".to_owned(), fields)])
}

/// Owns an epoch whose rows wait for topic `a`.
async fn own_waiting(store: &MemoryStore, claimed: &mut Claimed, epoch: u64) {
    let attempt = claimed.journal.attempt();
    let manifest = Manifest { attempt, sinks: topic("a"), ..sample::waiting("sales", epoch..=epoch) };
    claimed.journal.own(sample::write(store, &manifest), Trigger::Interval).await.unwrap();
}

#[tokio::test]
async fn a_version_that_would_publish_elsewhere_what_waits_takes_nothing() {
    for (what, answer) in [("a healthy owner", OwnerAnswer::Alive), ("a dead one", OwnerAnswer::Gone)] {
        let store = MemoryStore::new();
        let mut old = take(&store, "a", 1, OwnerAnswer::NotAsked).await.unwrap();
        own_waiting(&store, &mut old, 1).await;
        let me = Identity { patience: Duration::from_millis(20), ..identity("b", 2) };
        for (sinks, words) in [(topic("b"), "kafka.topic is `b`"), (Destinations::new(), "has no sink `sales`")] {
            let heir = Anything { sinks: Some(sinks), ..Anything::default() };
            let before = store.paths();
            let refused = claim(Arc::new(store.clone()), &me, &owners(answer), &heir).await.unwrap_err();
            assert_eq!(refused.reason(), FailureReason::StateUnfit, "{what}");
            assert!(refused.to_string().contains(words), "{what}: {refused}");
            assert_eq!(store.paths(), before, "{what}");
        }
        // What is published may go elsewhere from then on.
        old.journal.committed(Epoch(1)).await.unwrap();
        old.journal.release(false).await.unwrap();
        let heir = Anything { sinks: Some(topic("b")), ..Anything::default() };
        let new = claim(Arc::new(store.clone()), &me, &owners(answer), &heir).await.unwrap();
        assert_eq!(restored(&ours(new)), Some(1));
    }
}

#[tokio::test]
async fn an_owner_that_publishes_what_waits_hands_over_to_a_version_with_other_sinks() {
    let store = MemoryStore::new();
    let mut old = take(&store, "a", 1, OwnerAnswer::NotAsked).await.unwrap();
    own_waiting(&store, &mut old, 1).await;
    let (asked, stop) = tokio::sync::oneshot::channel();
    let asked = Mutex::new(Some(asked));
    let neighbours = predecessor(move || {
        asked.lock().unwrap().take().expect("asked once").send(()).unwrap();
        OwnerAnswer::Alive
    });
    let runs = async {
        // It is not asked before.
        env::sleep(Duration::from_millis(5)).await;
        assert_eq!(neighbours.asked_to_stop.load(Relaxed), 0);
        old.journal.committed(Epoch(1)).await.unwrap();
        stop.await.unwrap();
        own_waiting(&store, &mut old, 2).await;
        old.journal.committed(Epoch(2)).await.unwrap();
        old.journal.release(false).await.unwrap();
    };
    let (me, heir) = (identity("b", 2), Anything { sinks: Some(topic("b")), ..Anything::default() });
    let (new, ()) = tokio::join!(claim(Arc::new(store.clone()), &me, &neighbours, &heir), runs);
    assert_eq!((restored(&ours(new.unwrap())), is_sealed(&store, Attempt(1)).await), (Some(2), false));
}

#[tokio::test]
async fn what_a_single_sink_has_is_known_to_every_attempt_until_all_have_it() {
    let store = MemoryStore::new();
    let mut first = take(&store, "a", 1, OwnerAnswer::NotAsked).await.unwrap();
    own(&mut first, 1).await.unwrap();
    first.journal.committed_to("up", Epoch(1)).await.unwrap();
    for pod in ["b", "c"] {
        let mut next = take(&store, pod, 1, OwnerAnswer::Gone).await.unwrap();
        assert_eq!((next.committed.of("up"), next.committed.of("down")), (Some(Epoch(1)), Some(Epoch(0))), "{pod}");
        next.journal.inherit(next.committed.clone()).await.unwrap();
    }
    let mut last = take(&store, "d", 1, OwnerAnswer::Gone).await.unwrap();
    last.journal.inherit(last.committed.clone()).await.unwrap();
    last.journal.committed(Epoch(1)).await.unwrap();
    let heir = take(&store, "e", 1, OwnerAnswer::Gone).await.unwrap();
    assert_eq!(heir.committed, Committed::up_to(Some(Epoch(1))));
}

#[tokio::test]
async fn a_log_that_is_older_than_what_was_published_stays_as_it_is() {
    let store = MemoryStore::new();
    let mut old = take(&store, "a", 1, OwnerAnswer::NotAsked).await.unwrap();
    let heir = Anything { published: Some(Epoch(2)), ..Anything::default() };
    let (me, gone) = (identity("b", 1), owners(OwnerAnswer::Gone));
    // Without any checkpoint, with an older one, and after a clean end.
    for step in 0..3 {
        match step {
            0 => {}
            1 => own(&mut old, 1).await.unwrap(),
            _ => old.journal.release(false).await.unwrap(),
        }
        let before = store.paths();
        let refused = claim(Arc::new(store.clone()), &me, &gone, &heir).await.unwrap_err();
        assert!(refused.to_string().contains("ahead of the log"), "{refused}");
        assert_eq!(store.paths(), before, "step {step}: nothing is sealed or begun");
    }
}

/// Its owner owns and publishes another epoch when the sinks are looked at for the first time.
struct Late<'a>(&'a tokio::sync::Mutex<Claimed>, AtomicU32);
#[async_trait]
impl Heir for Late<'_> {
    async fn beginning(&self, _: &Arc<dyn Store>) -> Result<Option<CheckpointRef>, Failure> {
        Ok(None)
    }

    async fn fits(&self, _: &Arc<dyn Store>, _: &Manifest) -> Result<(), Failure> {
        Ok(())
    }

    fn publishes(&self, _: &Manifest, _: &Committed) -> Result<(), Failure> {
        Ok(())
    }

    async fn compare(&self, owned: Epoch, lineage: &str) -> Result<(), Failure> {
        if self.1.fetch_add(1, Relaxed) == 0 {
            own(&mut *self.0.lock().await, 1).await.unwrap();
        }
        Anything { published: Some(Epoch(1)), ..Anything::default() }.compare(owned, lineage).await
    }
}

#[tokio::test]
async fn an_owner_that_publishes_while_it_is_taken_for_dead_is_not_ahead_of_its_log() {
    let store = MemoryStore::new();
    let old = tokio::sync::Mutex::new(take(&store, "a", 1, OwnerAnswer::NotAsked).await.unwrap());
    let (me, gone) = (identity("b", 1), owners(OwnerAnswer::Gone));
    let late = Late(&old, AtomicU32::new(0));
    let new = claim(Arc::new(store.clone()), &me, &gone, &late).await.unwrap();
    assert_eq!(
        (restored(&ours(new)), late.1.load(Relaxed)),
        (Some(1), 3),
        "before the seal, again, and before the start"
    );
}
