//! The stores against the conformance suite, and what is particular to each.

use std::{fs, path::Path};

use async_trait::async_trait;
use bytes::Bytes;
use tidegate_crds::{LocalStorage, StorageSpec};

use super::{
    Create, Listed, LocalStore, ObjectPath, Store, StoreError, conformance,
    memory::{Action, Fault, MemoryStore},
    open, prove,
};

fn path(text: &str) -> ObjectPath {
    ObjectPath(text.to_owned())
}

#[tokio::test]
async fn the_memory_store_keeps_every_promise() {
    conformance::every_promise(&MemoryStore::new()).await;
    conformance::half_an_object_is_never_seen(&MemoryStore::new()).await;
}

#[tokio::test]
async fn the_memory_stores_faults_break_no_promise() {
    let store = MemoryStore::new();
    conformance::faults_break_no_promise(&store, &store.clone(), 60, |round| {
        store.heal();
        store.land();
        let fault = [Fault::Before, Fault::After, Fault::Late][round % 3];
        let action = [Action::Create, Action::Put, Action::List][round / 3 % 3];
        store.fail(action, "faults/", fault, 1 + round as u32 % 4);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_local_store_keeps_every_promise() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path().join("a/job")).await.unwrap();
    conformance::every_promise(&store).await;
    conformance::half_an_object_is_never_seen(&store).await;
    let left: Vec<_> = fs::read_dir(folder.path().join("a/job/.temporary")).unwrap().collect();
    assert!(left.is_empty(), "temporary files stayed: {left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_on_one_folder_race_fairly() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (LocalStore::open(folder.path()).await.unwrap(), LocalStore::open(folder.path()).await.unwrap());
    for round in 0..50 {
        let object = path(&format!("log/{round}/0"));
        let (a, b) = tokio::join!(
            one.create(&object, Bytes::from_static(b"one")),
            two.create(&object, Bytes::from_static(b"two"))
        );
        let (a, b) = (a.unwrap(), b.unwrap());
        assert_ne!(a, b, "round {round}");
        let expected = if a == Create::Created { "one" } else { "two" };
        assert_eq!(one.get(&object).await.unwrap().unwrap(), expected);
    }
}

#[tokio::test]
async fn a_folder_that_was_taken_away_is_not_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("job");
    let store = LocalStore::open(&root).await.unwrap();
    store.put(&path("hint"), Bytes::from_static(b"x")).await.unwrap();
    std::fs::rename(&root, folder.path().join("elsewhere")).unwrap();
    assert!(store.create(&path("log/1/0"), Bytes::from_static(b"x")).await.is_err());
    assert!(store.put(&path("hint"), Bytes::from_static(b"x")).await.is_err());
    assert!(!root.exists());
    std::fs::rename(folder.path().join("elsewhere"), &root).unwrap();
    assert_eq!(store.create(&path("log/1/0"), Bytes::from_static(b"x")).await.unwrap(), Create::Created);
}

#[tokio::test]
async fn what_a_crashed_writer_left_is_never_listed_and_goes_when_it_is_old() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path()).await.unwrap();
    let torn = folder.path().join(".temporary/torn");
    fs::write(&torn, b"half an obj").unwrap();
    assert_eq!(store.list("", None).await.unwrap(), []);
    assert_eq!(store.list_folders("").await.unwrap(), Vec::<String>::new());
    LocalStore::open(folder.path()).await.unwrap();
    assert!(torn.exists(), "a file of a live writer was taken away");
    let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1);
    fs::File::options().write(true).open(&torn).unwrap().set_modified(long_ago).unwrap();
    LocalStore::open(folder.path()).await.unwrap();
    assert!(!torn.exists());
}

#[tokio::test]
async fn a_lost_answer_leaves_the_object_and_a_late_request_lands_later() {
    let store = MemoryStore::new();
    let object = path("log/1/0");
    store.fail(Action::Create, "log/", Fault::Before, 1);
    store.create(&object, Bytes::from_static(b"a")).await.unwrap_err();
    assert_eq!(store.get(&object).await.unwrap(), None);
    store.fail(Action::Create, "log/", Fault::After, 1);
    store.create(&object, Bytes::from_static(b"a")).await.unwrap_err();
    assert_eq!(store.create(&object, Bytes::from_static(b"b")).await.unwrap(), Create::Exists);
    assert_eq!(store.get(&object).await.unwrap().unwrap(), "a");
    store.fail(Action::Create, "2/0", Fault::Late, 1);
    store.create(&path("log/2/0"), Bytes::from_static(b"late")).await.unwrap_err();
    assert_eq!(store.create(&path("log/2/0"), Bytes::from_static(b"early")).await.unwrap(), Create::Created);
    store.land();
    assert_eq!(store.get(&path("log/2/0")).await.unwrap().unwrap(), "early");
    store.fail(Action::Get, "", Fault::Before, 2);
    store.get(&object).await.unwrap_err();
    store.heal();
    store.get(&object).await.unwrap();
}

/// Breaks one promise of an honest store.
#[derive(Debug)]
struct Broken {
    honest: MemoryStore,
    how: How,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum How {
    IgnoresConditions,
    AnswersAndReplaces,
    ListsNothing,
    KeepsDeleted,
}

#[async_trait]
impl Store for Broken {
    async fn create(&self, path: &ObjectPath, bytes: Bytes) -> Result<Create, StoreError> {
        match self.how {
            How::IgnoresConditions => self.honest.put(path, bytes).await.map(|()| Create::Created),
            How::AnswersAndReplaces => {
                let answer = self.honest.create(path, bytes.clone()).await?;
                self.honest.put(path, bytes).await?;
                Ok(answer)
            }
            _ => self.honest.create(path, bytes).await,
        }
    }
    async fn put(&self, path: &ObjectPath, bytes: Bytes) -> Result<(), StoreError> {
        self.honest.put(path, bytes).await
    }
    async fn get(&self, path: &ObjectPath) -> Result<Option<Bytes>, StoreError> {
        self.honest.get(path).await
    }
    async fn get_range(&self, path: &ObjectPath, range: std::ops::Range<u64>) -> Result<Option<Bytes>, StoreError> {
        self.honest.get_range(path, range).await
    }
    async fn list(&self, prefix: &str, after: Option<&ObjectPath>) -> Result<Vec<Listed>, StoreError> {
        if self.how == How::ListsNothing { Ok(Vec::new()) } else { self.honest.list(prefix, after).await }
    }
    async fn list_folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.honest.list_folders(prefix).await
    }
    async fn delete(&self, path: &ObjectPath) -> Result<(), StoreError> {
        if self.how == How::KeepsDeleted { Ok(()) } else { self.honest.delete(path).await }
    }
    fn location(&self) -> String {
        "s3://bucket/job".into()
    }
}

#[tokio::test]
async fn a_store_that_breaks_a_promise_is_refused_in_clear_words() {
    for (how, words) in [
        (How::IgnoresConditions, "If-None-Match"),
        (How::AnswersAndReplaces, "replaced the object"),
        (How::ListsNothing, "not all listed"),
        (How::KeepsDeleted, "still there"),
    ] {
        let error = prove(&Broken { honest: MemoryStore::new(), how }).await.unwrap_err();
        assert!(matches!(error, StoreError::Refused { .. }), "{how:?}: {error}");
        let text = error.to_string();
        assert!(text.contains(words) && text.contains("s3://bucket/job"), "{how:?}: {text}");
    }
}

#[tokio::test]
async fn a_proof_leaves_nothing_behind_and_an_unreachable_store_is_not_refused_for_good() {
    let store = MemoryStore::new();
    prove(&store).await.unwrap();
    assert_eq!(store.paths(), Vec::<String>::new());
    store.fail(Action::Create, "", Fault::After, 1);
    assert!(matches!(prove(&store).await.unwrap_err(), StoreError::Failed { .. }));
}

#[tokio::test]
async fn a_job_has_a_folder_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let spec = StorageSpec {
        local: Some(LocalStorage { path: folder.path().to_str().unwrap().to_owned() }),
        ..StorageSpec::default()
    };
    let store = open(&spec, "store-sales").await.unwrap();
    store.put(&path("hint"), Bytes::from_static(b"1")).await.unwrap();
    assert!(Path::new(&store.location()).join("hint").exists());
    assert!(store.location().ends_with("/store-sales"));
    let error = open(&StorageSpec::default(), "store-sales").await.unwrap_err().to_string();
    assert!(error.contains("exactly one of `s3`, `hdfs` and `local`"), "{error}");
}
