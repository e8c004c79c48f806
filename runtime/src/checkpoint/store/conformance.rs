//! What every store has to keep, as one suite: run for the stores in memory and in a folder by the unit tests, and for
//! real S3 services by the whole-system tests.

#![allow(clippy::unwrap_used)] // a test: it may

use bytes::Bytes;
use futures::future::join_all;

use super::{Create, Listed, ObjectPath, Store, prove};

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
    for (range, expected) in [(0..10, "0123456789"), (2..5, "234"), (8..100, "89"), (9..10, "9")] {
        assert_eq!(store.get_range(&object, range.clone()).await.unwrap().unwrap(), expected, "{range:?}");
    }
    assert_eq!(store.get_range(&path("data/1/1/none"), 0..4).await.unwrap(), None);
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
