use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use bytes::Bytes;

use super::*;
use crate::{
    checkpoint::{
        committed::Committed,
        manifest::ChunkRef,
        record::{self, Body, Record, Trigger},
        sample,
        store::{Create, Listed, LocalStore, memory::MemoryStore},
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
    let error = find(&format!("{job}/data/00000001/000000000005")).await.unwrap_err();
    assert!(matches!(error, OriginError::Unpublished { chunks: 1, epoch: Epoch(5), .. }), "{error}");
    assert_eq!(find(&job).await.unwrap().manifest.epoch, Epoch(4), "of a job, the newest that will do");
    // Unless that is collected.
    fs::remove_file(Path::new(&job).join("data/00000001/000000000004/manifest.json")).unwrap();
    let error = find(&job).await.unwrap_err();
    assert!(matches!(error, OriginError::Unpublished { chunks: 1, epoch: Epoch(5), .. }), "{error}");
    let committed = Record::new(Body::committed(&Committed::up_to(Some(Epoch(5)))));
    let place = record::path(Attempt(1), Seq(3));
    fs::write(Path::new(&job).join(place.0), committed.to_bytes().unwrap()).unwrap();
    assert_eq!(find(&job).await.unwrap().manifest.epoch, Epoch(5));
}

/// The same sum, of the same key and window, may come in two epochs: of two such parts both count.
#[tokio::test]
async fn parts_that_look_alike_are_copied_as_two() {
    let store = MemoryStore::new();
    let at = |epoch: u64| {
        let path = format!("data/00000001/{epoch:012}/same.arrow");
        store.plant(&path, "rows");
        FileRef::of(ObjectPath(path), b"rows")
    };
    let shared = |offset| {
        store.plant("data/00000001/000000000003/shared", "rowsrows");
        FileRef { offset: Some(offset), ..FileRef::of(ObjectPath("data/00000001/000000000003/shared".into()), b"rows") }
    };
    let manifest = sample::manifest(1, 4, vec![at(1), at(2), shared(0), shared(4)]);
    let origin: Arc<dyn Store> = Arc::new(store);
    savepoint::write(&origin, "saved", &manifest).await.unwrap();
    for savepoint in [false, true] {
        let own = MemoryStore::new();
        let manifest = if savepoint {
            let bytes = origin.get(&ObjectPath("savepoints/saved/savepoint.json".into())).await.unwrap().unwrap();
            let mut saved = Manifest::decode(&ObjectPath("savepoint.json".into()), &bytes).unwrap();
            saved.place_files(|file| Some(ObjectPath(format!("savepoints/saved/{}", file.path))));
            saved
        } else {
            manifest.clone()
        };
        let origin = Origin { store: origin.clone(), manifest, is_savepoint: savepoint, sha256: "5c1f".into() };
        let own: Arc<dyn Store> = Arc::new(own);
        let copied = origin.copy_to(&own, "job").await.unwrap();
        let copy = Manifest::read(own.as_ref(), &copied).await.unwrap();
        let places: BTreeSet<&ObjectPath> = copy.file_refs().map(|file| &file.path).collect();
        assert_eq!(places.len(), 4, "{places:?}");
        assert_eq!(origin.copy_to(&own, "job").await.unwrap(), copied, "again, to the same places");
    }
}

/// A job that runs, and keeps one checkpoint. With every file that somebody copies it owns the next.
#[derive(Debug)]
struct Running {
    folder: PathBuf,
    store: MemoryStore,
    epoch: AtomicU64,
    /// Goes on so often.
    most: u64,
    /// Where its files are copied to.
    own: MemoryStore,
    /// How often that was done to a file that was there.
    again: AtomicU64,
}

impl Running {
    /// Eight files that stay, and behind these one of its own.
    fn own_next(&self) {
        let epoch = self.epoch.fetch_add(1, Relaxed) + 1;
        let mut files: Vec<_> = (101..=108).map(|n| sample::file(&self.store, 0, n, "old")).collect();
        files.push(sample::file(&self.store, 1, epoch, "new"));
        let mut manifest = sample::manifest(1, epoch, files);
        let id = ChunkId { lineage: "job".into(), sink: "out".into(), slot: 0, epoch: Epoch(epoch), index: 0 };
        manifest.chunks = vec![ChunkRef { id, rows: 1, file: sample::file(&self.store, 1, epoch, "wal") }];
        let checkpoint = sample::write(&self.store, &manifest);
        let owned = Body::CheckpointCompleted { checkpoint, trigger: Trigger::Interval };
        // The one before is published, and the one before that is collected.
        sample::log(&self.store, 1, 2 * epoch - 1, Body::committed(&Committed::up_to(Some(Epoch(epoch - 1)))));
        sample::log(&self.store, 1, 2 * epoch, owned);
        self.store.remove(&format!("data/00000001/{:012}/new", epoch.saturating_sub(2)));
        self.store.remove(&format!("data/00000001/{:012}/manifest.json", epoch.saturating_sub(2)));
        let (from, to) = (&self.store, &self.folder);
        for path in from.paths() {
            let bytes = from.peek(&path).unwrap();
            fs::create_dir_all(to.join(&path).parent().unwrap()).unwrap();
            fs::write(to.join(&path), bytes).unwrap();
        }
        for file in ["new", "manifest.json"] {
            fs::remove_file(to.join(format!("data/00000001/{:012}/{file}", epoch.saturating_sub(2)))).ok();
        }
    }
}

#[async_trait]
impl Store for Running {
    async fn put(&self, path: &ObjectPath, bytes: Bytes) -> Result<(), StoreError> {
        self.again.fetch_add(u64::from(self.own.peek(&path.0).is_some()), Relaxed);
        if self.epoch.load(Relaxed) < self.most {
            self.own_next();
        }
        self.own.put(path, bytes).await
    }

    async fn create(&self, path: &ObjectPath, bytes: Bytes) -> Result<Create, StoreError> {
        self.own.create(path, bytes).await
    }

    async fn get(&self, path: &ObjectPath) -> Result<Option<Bytes>, StoreError> {
        self.own.get(path).await
    }

    async fn get_range(&self, path: &ObjectPath, range: Range<u64>) -> Result<Option<Bytes>, StoreError> {
        self.own.get_range(path, range).await
    }

    async fn list(&self, prefix: &str, after: Option<&ObjectPath>) -> Result<Vec<Listed>, StoreError> {
        self.own.list(prefix, after).await
    }

    async fn list_folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.own.list_folders(prefix).await
    }

    async fn delete(&self, path: &ObjectPath) -> Result<(), StoreError> {
        self.own.delete(path).await
    }

    fn location(&self) -> String {
        self.own.location()
    }
}

struct Anyone;

#[async_trait]
impl Beginner for Anyone {
    async fn begins_with(&self, _: &Origin) -> Result<(), Failure> {
        Ok(())
    }
}

#[tokio::test]
async fn of_a_job_that_runs_the_newest_is_copied_that_is_published_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let running = Arc::new(Running {
        folder: folder.path().join("shop.sales"),
        store: MemoryStore::new(),
        epoch: AtomicU64::new(3),
        most: 20,
        own: MemoryStore::new(),
        again: AtomicU64::new(0),
    });
    sample::log(&running.store, 1, 0, sample::started(1, None));
    for seq in 1..=6 {
        sample::log(&running.store, 1, seq, Body::committed(&Committed::up_to(Some(Epoch(1)))));
    }
    running.own_next();
    running.own_next();
    let path = running.folder.display().to_string();
    let own: Arc<dyn Store> = running.clone();
    let copy = Origin::find_and_copy(&path, &StorageSpec::default(), &own, "copy", &Anyone).await.unwrap();
    assert!(copy.epoch > Epoch(4), "epoch 4 went before it was copied");
    let manifest = Manifest::read(own.as_ref(), &copy).await.unwrap();
    for file in manifest.file_refs() {
        assert!(file.matches(&own.get(&file.path).await.unwrap().unwrap()), "{file}");
    }
    assert_eq!(running.again.load(Relaxed), 0, "what is there was copied again");
    // Of a given checkpoint there is no next one.
    let gone = format!("{path}/data/00000001/{:012}", running.epoch.load(Relaxed) - 1);
    fs::remove_file(running.folder.join(format!("data/00000001/{:012}/new", running.epoch.load(Relaxed) - 1))).unwrap();
    let empty: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let error = Origin::find_and_copy(&gone, &StorageSpec::default(), &empty, "copy", &Anyone).await.unwrap_err();
    assert_eq!(error.reason, FailureReason::StateUnfit, "{}", error.message);
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
    let beside = Path::new(&job).join("savepoints/saved/notes/why.txt");
    fs::create_dir_all(beside.parent().unwrap()).unwrap();
    fs::write(&beside, "before the upgrade").unwrap();
    let path = format!("{job}/savepoints/saved");
    let own: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let copy = find(&path).await.unwrap().copy_to(&own, "copy").await.unwrap().manifest;
    let other = ObjectPath(copy.0.replace("000000000004", "000000000003"));
    assert!(!Origin::delete_claimed(&path, &StorageSpec::default(), &other).await.unwrap(), "it began with another");
    find(&path).await.unwrap();
    assert!(Origin::delete_claimed(&path, &StorageSpec::default(), &copy).await.unwrap());
    assert!(!Origin::delete_claimed(&path, &StorageSpec::default(), &copy).await.unwrap(), "it is gone");
    assert!(matches!(find(&format!("{job}/savepoints/saved")).await, Err(OriginError::Nothing { .. })));
    let rest = LocalStore::open(job).await.unwrap();
    assert_eq!(rest.list("data/", None).await.unwrap().len(), 5);
    let left = rest.list("savepoints/", None).await.unwrap();
    let left: Vec<&str> = left.iter().map(|listed| listed.path.0.as_str()).collect();
    assert_eq!(left, ["savepoints/saved/notes/why.txt"], "what the user put there is not the savepoint's");
}

#[tokio::test]
async fn of_a_job_whose_checkpoints_are_all_gone_it_is_said_what_helps() {
    let (_folder, job) = job().await;
    fs::remove_dir_all(Path::new(&job).join("data")).unwrap();
    let own: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let error = Origin::find_and_copy(&job, &StorageSpec::default(), &own, "copy", &Anyone).await.unwrap_err();
    assert_eq!(error.reason, FailureReason::StateUnfit);
    assert!(error.message.contains("take a savepoint of that job"), "{}", error.message);
}

#[tokio::test]
async fn a_claimed_savepoint_that_was_deleted_half_way_is_deleted_by_the_next_start() {
    let (_folder, job) = job().await;
    let path = format!("{job}/savepoints/saved");
    let own: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let copy = find(&path).await.unwrap().copy_to(&own, "copy").await.unwrap().manifest;
    fs::write(format!("{path}/savepoint.json"), br#"{"givenUp":true}"#).unwrap();
    assert!(!Origin::delete_claimed(&path, &StorageSpec::default(), &copy).await.unwrap());
    let rest = LocalStore::open(job).await.unwrap().list("savepoints/", None).await.unwrap();
    let left: Vec<&str> = rest.iter().map(|listed| listed.path.0.as_str()).collect();
    assert_eq!(left, ["savepoints/saved/savepoint.json"], "the name may be somebody's who does not know yet");
}
