use std::{fs, path::Path};

use super::*;
use crate::{
    checkpoint::{
        manifest::ChunkRef,
        record::{self, Body, Record, Trigger},
        sample,
        store::{LocalStore, memory::MemoryStore},
    },
    ids::Seq,
    sink::ChunkId,
};

/// Writes what a store in memory has to a folder.
async fn put_down(store: &MemoryStore, folder: &Path) {
    let local = LocalStore::open(folder).await.unwrap();
    for path in store.paths().into_iter().map(ObjectPath) {
        let bytes = store.get(&path).await.unwrap().unwrap();
        local.put(&path, bytes).await.unwrap();
    }
}

/// A job's folder, with a checkpoint that has a chunk, and a savepoint of the one before.
async fn job() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let store = MemoryStore::new();
    let before = sample::manifest(1, 4, vec![sample::file(&store, 1, 4, "first")]);
    let before_ref = sample::write(&store, &before);
    let mut newest = sample::manifest(1, 5, vec![sample::file(&store, 1, 5, "second")]);
    let id = ChunkId { lineage: "job".into(), sink: "out".into(), slot: 0, epoch: Epoch(5), index: 0 };
    newest.chunks = vec![ChunkRef { id, rows: 1, file: sample::file(&store, 1, 5, "wal") }];
    let newest_ref = sample::write(&store, &newest);
    sample::log(&store, 1, 0, sample::started(1, None));
    for (seq, checkpoint) in [(1, before_ref), (2, newest_ref)] {
        sample::log(&store, 1, seq, Body::CheckpointCompleted { checkpoint, trigger: Trigger::Interval });
    }
    let shared: Arc<dyn Store> = Arc::new(store.clone());
    savepoint::write(&shared, "saved", &before).await.unwrap();
    let path = folder.path().join("shop.sales");
    put_down(&store, &path).await;
    (folder, path.display().to_string())
}

async fn find(path: &str) -> Result<Origin, OriginError> {
    Origin::find(path, &StorageSpec::default()).await
}

#[tokio::test]
async fn a_savepoint_is_found_by_its_folder_and_by_its_file_and_a_checkpoint_by_its_manifest() {
    let (_folder, job) = job().await;
    for path in ["savepoints/saved", "savepoints/saved/", "savepoints/saved/savepoint.json"] {
        let origin = find(&format!("{job}/{path}")).await.unwrap();
        assert!(origin.is_savepoint && origin.manifest.epoch == Epoch(4), "{path}");
    }
    for path in ["data/00000001/000000000004", "data/00000001/000000000004/manifest.json"] {
        let origin = find(&format!("{job}/{path}")).await.unwrap();
        assert!(!origin.is_savepoint && origin.manifest.epoch == Epoch(4), "{path}");
    }
}

#[tokio::test]
async fn what_nobody_would_publish_for_a_copy_is_refused_until_it_is_published() {
    let (_folder, job) = job().await;
    for path in [job.clone(), format!("{job}/data/00000001/000000000005")] {
        let error = find(&path).await.unwrap_err();
        assert!(matches!(error, OriginError::Unpublished { chunks: 1, epoch: Epoch(5), .. }), "{error}");
    }
    let committed = Record::new(Body::EpochCommitted { epoch: Epoch(5) });
    let place = record::path(Attempt(1), Seq(3));
    fs::write(Path::new(&job).join(place.0), committed.to_bytes().unwrap()).unwrap();
    assert_eq!(find(&job).await.unwrap().manifest.epoch, Epoch(5));
}

#[tokio::test]
async fn a_path_that_leads_nowhere_says_what_is_accepted() {
    let (folder, job) = job().await;
    let told = async |path: &str| find(path).await.unwrap_err().to_string();
    assert!(told(&format!("{job}/savepoints/other")).await.contains("there is no folder"));
    assert!(told(&folder.path().display().to_string()).await.contains("accepted is the folder of a savepoint"));
    assert!(told("gs://bucket/savepoint").await.contains("accepted is s3://bucket/folder"));
    let given_up = Path::new(&job).join("savepoints/begun");
    fs::create_dir_all(&given_up).unwrap();
    fs::write(given_up.join("savepoint.json"), br#"{"givenUp":true}"#).unwrap();
    assert!(told(&given_up.display().to_string()).await.contains("never completed"));
}

#[tokio::test]
async fn a_copy_is_whole_is_the_same_each_time_and_is_known_again() {
    let (_folder, job) = job().await;
    let origin = find(&format!("{job}/savepoints/saved")).await.unwrap();
    let own: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let copy = origin.copy_to(&own, "shop.copy").await.unwrap();
    assert_eq!(origin.copy_to(&own, "shop.copy").await.unwrap(), copy);
    assert!(origin.was_copied_to(&copy.manifest));
    let manifest = Manifest::read(own.as_ref(), &copy).await.unwrap();
    assert_eq!((manifest.job.as_str(), manifest.epoch, manifest.attempt), ("shop.copy", Epoch(4), Attempt(0)));
    for file in manifest.file_refs() {
        assert!(file.matches(&own.get(&file.path).await.unwrap().unwrap()));
    }
    let checkpoint = find(&format!("{job}/data/00000001/000000000004")).await.unwrap();
    assert!(!checkpoint.was_copied_to(&copy.manifest), "another original of the same epoch");
}

#[tokio::test]
async fn a_claimed_savepoint_is_deleted_whole_and_nothing_else_is() {
    let (_folder, job) = job().await;
    let origin = find(&format!("{job}/savepoints/saved")).await.unwrap();
    origin.delete().await.unwrap();
    assert!(matches!(
        find(&format!("{job}/savepoints/saved")).await,
        Err(OriginError::Address(_) | OriginError::Nothing { .. })
    ));
    let rest = LocalStore::open(job).await.unwrap();
    assert_eq!(rest.list("data/", None).await.unwrap().len(), 5);
}
