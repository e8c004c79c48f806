//! What every store has to keep, as one suite: run for the stores in memory and in a folder by the unit tests, and for
//! real S3 and HDFS services by the whole-system tests.
//!
//! [`every_promise`] is about a store that is well; [`half_an_object_is_never_seen`] about writers that die;
//! [`faults_break_no_promise`] about requests that go wrong.

#![allow(clippy::unwrap_used)] // a test: it may

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;

use super::{Create, Listed, ObjectPath, Store, StoreError, prove};
use crate::env;

fn path(text: &str) -> ObjectPath {
    ObjectPath(text.to_owned())
}

/// Panics at the first promise that `store`, which must be empty, does not keep; leaves it empty.
pub async fn every_promise(store: &dyn Store) {
    a_second_create_fails_and_changes_nothing(store).await;
    of_eight_creates_one_wins(store, 25).await;
    ranges_are_cut_at_the_end(store).await;
    listings_are_in_order_and_go_on_after_a_path(store).await;
    folders_are_named_once(store).await;
    a_deleted_object_is_gone_and_can_be_created_again(store).await;
    an_empty_object_is_an_object(store).await;
    a_large_object_is_created_once_and_comes_back_whole(store).await;
    odd_paths_are_refused(store).await;
    prove(store).await.unwrap();
    for listed in store.list("", None).await.unwrap() {
        store.delete(&listed.path).await.unwrap();
    }
    assert_eq!(store.list("", None).await.unwrap(), []);
    assert_eq!(store.list_folders("").await.unwrap(), Vec::<String>::new());
}

async fn a_second_create_fails_and_changes_nothing(store: &dyn Store) {
    let object = path("log/1/0");
    assert_eq!(store.get(&object).await.unwrap(), None);
    assert_eq!(store.create(&object, Bytes::from_static(b"one")).await.unwrap(), Create::Created);
    for _ in 0..3 {
        assert_eq!(store.create(&object, Bytes::from_static(b"two")).await.unwrap(), Create::Exists);
    }
    assert_eq!(store.get(&object).await.unwrap().unwrap(), "one");
    store.put(&path("hint"), Bytes::from_static(b"a")).await.unwrap();
    store.put(&path("hint"), Bytes::from_static(b"bc")).await.unwrap();
    assert_eq!(store.get(&path("hint")).await.unwrap().unwrap(), "bc");
    assert_eq!(store.create(&path("hint"), Bytes::new()).await.unwrap(), Create::Exists);
}

/// Eight creates of one path at once, `rounds` times: one winner each, and its bytes are what stays.
pub async fn of_eight_creates_one_wins(store: &dyn Store, rounds: usize) {
    for round in 0..rounds {
        let object = path(&format!("race/{round}"));
        let bodies: Vec<Bytes> = (0..8).map(|racer| Bytes::from(format!("{round} by {racer}"))).collect();
        let answers = join_all(bodies.iter().map(|body| store.create(&object, body.clone()))).await;
        let winners: Vec<&Bytes> = answers
            .iter()
            .zip(&bodies)
            .filter(|(answer, _)| *answer.as_ref().unwrap() == Create::Created)
            .map(|(_, body)| body)
            .collect();
        assert_eq!(winners.len(), 1, "round {round}");
        assert_eq!(store.get(&object).await.unwrap().as_ref(), Some(winners[0]), "round {round}");
    }
}

async fn ranges_are_cut_at_the_end(store: &dyn Store) {
    let object = path("data/1/1/state");
    store.put(&object, Bytes::from_static(b"0123456789")).await.unwrap();
    for (range, expected) in
        [(0..10, "0123456789"), (2..5, "234"), (8..100, "89"), (9..10, "9"), (10..20, ""), (3..3, "")]
    {
        assert_eq!(store.get_range(&object, range.clone()).await.unwrap().unwrap(), expected, "{range:?}");
    }
    // As who reads the pieces of a file that several share.
    let pieces = join_all([0..3, 3..3, 3..7, 7..10].map(|range| store.get_range(&object, range))).await;
    let pieces: Vec<Bytes> = pieces.into_iter().map(|piece| piece.unwrap().unwrap()).collect();
    assert_eq!(pieces.concat(), b"0123456789");
    for range in [0..4, 3..3] {
        assert_eq!(store.get_range(&path("data/1/1/none"), range).await.unwrap(), None);
    }
}

async fn listings_are_in_order_and_go_on_after_a_path(store: &dyn Store) {
    for name in ["list/b/2", "list/a", "list/b/10", "list/c.d/x_y-z", "lister/1"] {
        store.put(&path(name), Bytes::from(name)).await.unwrap();
    }
    let paths = |listed: Vec<Listed>| listed.into_iter().map(|listed| listed.path.0).collect::<Vec<_>>();
    let all = store.list("list/", None).await.unwrap();
    assert_eq!(all[1], Listed { path: path("list/b/10"), bytes: 9 });
    assert_eq!(paths(all), ["list/a", "list/b/10", "list/b/2", "list/c.d/x_y-z"]);
    let after = store.list("list/", Some(&path("list/b/10"))).await.unwrap();
    assert_eq!(paths(after), ["list/b/2", "list/c.d/x_y-z"]);
    let between = store.list("list/", Some(&path("list/b/1"))).await.unwrap();
    assert_eq!(paths(between), ["list/b/10", "list/b/2", "list/c.d/x_y-z"]);
    assert_eq!(store.list("list/b/", Some(&path("list/b/2"))).await.unwrap(), []);
    assert_eq!(store.list("nothing/", None).await.unwrap(), []);
}

async fn folders_are_named_once(store: &dyn Store) {
    for name in ["folders/2/0", "folders/10/0", "folders/10/1", "folders/1/a/b", "folders/file"] {
        store.put(&path(name), Bytes::from_static(b"x")).await.unwrap();
    }
    assert_eq!(store.list_folders("folders/").await.unwrap(), ["1", "10", "2"]);
    assert_eq!(store.list_folders("folders/1/").await.unwrap(), ["a"]);
    assert_eq!(store.list_folders("folders/2/").await.unwrap(), Vec::<String>::new());
    assert!(store.list_folders("").await.unwrap().contains(&"folders".to_owned()));
}

async fn a_deleted_object_is_gone_and_can_be_created_again(store: &dyn Store) {
    let object = path("gone/1/0");
    store.delete(&object).await.unwrap();
    store.put(&object, Bytes::from_static(b"x")).await.unwrap();
    store.delete(&object).await.unwrap();
    store.delete(&object).await.unwrap();
    assert_eq!(store.get(&object).await.unwrap(), None);
    assert_eq!(store.list_folders("gone/").await.unwrap(), Vec::<String>::new());
    assert_eq!(store.create(&object, Bytes::from_static(b"y")).await.unwrap(), Create::Created);
}

async fn an_empty_object_is_an_object(store: &dyn Store) {
    let object = path("empty/0");
    assert_eq!(store.create(&object, Bytes::new()).await.unwrap(), Create::Created);
    assert_eq!(store.get(&object).await.unwrap().unwrap(), "");
    assert_eq!(store.create(&object, Bytes::from_static(b"x")).await.unwrap(), Create::Exists);
}

async fn odd_paths_are_refused(store: &dyn Store) {
    for name in ["", "/", "a//b", "../a", "a/../../b", "a/", "/etc/x", "a b", "ä", "a/./b"] {
        assert!(store.put(&path(name), Bytes::from_static(b"x")).await.is_err(), "`{name}`");
        assert!(store.create(&path(name), Bytes::from_static(b"x")).await.is_err(), "`{name}`");
    }
}

/// More than the stores send or fetch at once.
async fn a_large_object_is_created_once_and_comes_back_whole(store: &dyn Store) {
    let object = path("large/state");
    let bytes: Bytes = (0..(40_u32 << 20) + 7).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    assert_eq!(store.create(&object, bytes.clone()).await.unwrap(), Create::Created);
    let other = Bytes::from(vec![0; bytes.len()]);
    assert_eq!(store.create(&object, other).await.unwrap(), Create::Exists);
    // Not by assert_eq: nobody wants to read what differs.
    assert!(store.get(&object).await.unwrap().unwrap() == bytes, "create");
    let bytes = bytes.slice(1..);
    store.put(&object, bytes.clone()).await.unwrap();
    assert!(store.get(&object).await.unwrap().unwrap() == bytes, "put");
    let (from, to) = ((16 << 20) - 10, (33 << 20) + 10);
    let some = store.get_range(&object, from..to).await.unwrap().unwrap();
    assert!(some == bytes.slice(from as usize..to as usize), "range");
    assert_eq!(store.list("large/", None).await.unwrap()[0].bytes, (40 << 20) + 6);
}

/// How long each run of one byte is: all that is worth knowing of a body that was written with few.
fn outline(body: &Bytes) -> String {
    let runs = body.chunk_by(|one, next| one == next).take(20).map(|run| format!("{} of {}", run.len(), run[0]));
    format!("{} bytes: {}", body.len(), runs.collect::<Vec<_>>().join(", "))
}

/// Writers are cut off at another moment each time, as if they died: whoever reads meanwhile or afterwards finds an
/// object whole or finds none, and the next writer gets on.
pub async fn half_an_object_is_never_seen(store: &dyn Store) {
    for round in 0..24_u8 {
        let (created, replaced) = (path(&format!("cut/{round}/created")), path(&format!("cut/{round}/replaced")));
        let [one, two] = [b'1', b'2'].map(|byte| Bytes::from(vec![byte; 2 << 20]));
        store.put(&replaced, one.clone()).await.unwrap();
        let life = Duration::from_millis(1 << (round % 8));
        let readers = async {
            for _ in 0..5 {
                let found = store.get(&created).await.unwrap();
                assert!(found.is_none_or(|found| found == one), "round {round}: half of a create");
                let found = store.get(&replaced).await.unwrap().unwrap();
                assert!(found == one || found == two, "round {round}: half of a put, {}", outline(&found));
            }
        };
        let cut_create = env::within(life, store.create(&created, one.clone()));
        let cut_put = env::within(life, store.put(&replaced, two.clone()));
        tokio::join!(cut_create, cut_put, readers);
        let outcome = store.create(&created, two.clone()).await.unwrap();
        let found = store.get(&created).await.unwrap().unwrap();
        // Who is told that it is there may have made it itself, by a try whose answer was lost.
        let is_right = found == two || (found == one && outcome == Create::Exists);
        assert!(is_right, "round {round}: {outcome:?}, and then {}", outline(&found));
        for listed in store.list(&format!("cut/{round}/"), None).await.unwrap() {
            assert_eq!(listed.bytes, 2 << 20, "{listed:?}");
        }
    }
}

/// `faulty` leads to the same objects as `honest`, and requests on it go wrong: `arm` is called before each of the
/// `rounds`, with its number. An error is an answer that is always accepted, a wrong answer never.
pub async fn faults_break_no_promise(
    faulty: &dyn Store,
    honest: &dyn Store,
    rounds: usize,
    mut arm: impl FnMut(usize),
) {
    for round in 0..rounds {
        arm(round);
        let (record, data) = (path(&format!("faults/{round}/record")), path(&format!("faults/{round}/data")));
        let bodies: Vec<Bytes> = (0..4).map(|racer| Bytes::from(format!("{round} by {racer}"))).collect();
        let answers = join_all(bodies.iter().map(|body| faulty.create(&record, body.clone()))).await;
        let left = honest.get(&record).await.unwrap();
        assert!(left.as_ref().is_none_or(|left| bodies.contains(left)), "round {round}: {left:?} was never written");
        for (answer, body) in answers.iter().zip(&bodies) {
            match answer {
                Ok(Create::Created) => assert_eq!(left.as_ref(), Some(body), "round {round}"),
                Ok(Create::Exists) => assert!(left.is_some(), "round {round}: nothing exists"),
                Err(error) => assert!(matches!(error, StoreError::Failed { .. }), "round {round}: {error}"),
            }
        }
        if let Ok(found) = faulty.get(&record).await {
            assert_eq!(found, left, "round {round}");
        }
        if let Ok(listed) = faulty.list(&format!("faults/{round}/"), None).await {
            assert_eq!(listed.first().map(|listed| &listed.path), left.map(|_| &record), "round {round}");
        }

        let body = Bytes::from(vec![round as u8; 100_000]);
        let written = faulty.put(&data, body.clone()).await;
        let found = honest.get(&data).await.unwrap();
        let is_there = found.is_some();
        let is_whole = found.as_ref().is_none_or(|found| *found == body);
        assert!(is_whole, "round {round}: half of a put, {}; it was answered {written:?}", outline(&found.unwrap()));
        assert!(written.is_err() || is_there, "round {round}: a put that was lost");
        if let Ok(Some(some)) = faulty.get_range(&data, 10..90_000).await {
            assert_eq!(some, body.slice(10..90_000), "round {round}");
        }
    }
}
