use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use hdfs_native::{Client, ClientBuilder, WriteOptions};
use tidegate::{
    checkpoint::{
        claim::{Claiming, Heir, Identity, Neighbours, NewestSeen, claim, read_newest},
        committed::Committed,
        log::{Claimant, OwnerAnswer},
        manifest::Manifest,
        record::{self, Body, CheckpointRef, Owner, Record, Trigger},
        store::{Create, HdfsPatience, HdfsStore, ObjectPath, Store, StoreError, conformance, prove},
    },
    failure::Reason,
    ids::{Attempt, Epoch, Revision, Seq},
};
use tidegate_crds::{
    HdfsStorage,
    api::{Failure, FailureReason},
};
use tidegate_tests::{
    counterparts::{Hdfs, Wire, hdfs, wire::Fault},
    local::Local,
    skip::is_named,
    world::PATIENCE as JOB_PATIENCE,
};
use tokio::sync::OnceCell;

/// Short, so that tests of answers that never come are.
const PATIENCE: HdfsPatience = HdfsPatience { answer: Duration::from_secs(1), piece: Duration::from_secs(20) };

/// One for all tests that let it live; it ends with the test program.
async fn shared() -> &'static Hdfs {
    static SHARED: OnceLock<OnceCell<Hdfs>> = OnceLock::new();
    SHARED.get_or_init(OnceCell::new).get_or_init(async || Hdfs::start().await.unwrap()).await
}

fn path(text: &str) -> ObjectPath {
    ObjectPath(text.to_owned())
}

fn spec(address: &str, user: &str) -> HdfsStorage {
    let folder = format!("tidegate/{}", std::process::id());
    HdfsStorage { url: format!("hdfs://{address}/{folder}"), user: Some(user.to_owned()), ..HdfsStorage::default() }
}

fn store(hdfs: &Hdfs, job: &str) -> HdfsStore {
    HdfsStore::open(&spec(hdfs.namenode(), hdfs.user()), job).unwrap()
}

/// A store with a wire to the `NameNode`, and the same without the wire between.
async fn wired(hdfs: &Hdfs, job: &str) -> (Wire, HdfsStore, HdfsStore) {
    let wire = Wire::to(hdfs.namenode()).await.unwrap();
    let faulty = HdfsStore::with_patience(&spec(&wire.address(), hdfs.user()), job, PATIENCE).unwrap();
    (wire, faulty, store(hdfs, job))
}

fn client(hdfs: &Hdfs) -> Client {
    let url = format!("hdfs://{}", hdfs.namenode());
    ClientBuilder::new().with_url(url).with_user(hdfs.user()).build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_keeps_every_promise_and_jobs_do_not_see_each_other() {
    let hdfs = shared().await;
    let (one, two) = (store(hdfs, "one"), store(hdfs, "two"));
    two.put(&path("hint"), Bytes::from_static(b"theirs")).await.unwrap();
    conformance::every_promise(&one).await;
    conformance::half_an_object_is_never_seen(&one).await;
    assert_eq!(two.get(&path("hint")).await.unwrap().unwrap(), "theirs");
    assert!(one.location().starts_with("hdfs://") && one.location().ends_with("/one"), "{}", one.location());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_has_its_name_when_all_of_it_can_be_read() {
    let hdfs = Hdfs::with_late_reports(Duration::from_millis(700)).await.unwrap();
    let store = store(&hdfs, "late");
    for (name, bytes) in [("created", "whole"), ("empty", "")] {
        assert_eq!(store.create(&path(name), Bytes::from(bytes)).await.unwrap(), Create::Created);
        assert_eq!(store.get(&path(name)).await.unwrap().unwrap(), bytes, "{name}");
    }
    for bytes in ["put", "put again"] {
        store.put(&path("replaced"), Bytes::from(bytes)).await.unwrap();
        assert_eq!(store.get(&path("replaced")).await.unwrap().unwrap(), bytes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_on_the_wire_break_no_promise() {
    let hdfs = shared().await;
    let (wire, faulty, honest) = wired(hdfs, "faults").await;
    let faults = [Fault::LoseAnswer, Fault::Delay(Duration::from_millis(20)), Fault::CutAnswer(3)];
    let requests = ["rename2", "create", "complete", "getBlockLocations", "mkdirs", "addBlock"];
    let mut met = 0;
    conformance::faults_break_no_promise(&faulty, &honest, 18, |round| {
        met += wire.heal();
        wire.fail(requests[round % 6], faults[round / 6].clone(), 1 + round % 3);
    })
    .await;
    assert!(met >= 12, "only {met} requests suffered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rename_whose_answer_is_lost_takes_place_once() {
    let hdfs = shared().await;
    let (wire, store, honest) = wired(hdfs, "lost").await;
    store.put(&path("log/1/0"), Bytes::from_static(b"x")).await.unwrap();
    for (seq, fault) in [Fault::LoseAnswer, Fault::Hold].into_iter().enumerate() {
        let object = path(&format!("log/1/{}", seq + 1));
        wire.fail("rename2", fault, 1);
        // The second rename finds nothing to rename: "exists", as it does for a create of the same bytes.
        assert_eq!(store.create(&object, Bytes::from_static(b"ours")).await.unwrap(), Create::Exists);
        assert_eq!(wire.heal(), 1);
        assert_eq!(honest.get(&object).await.unwrap().unwrap(), "ours");
    }
    let left = client(hdfs).list_status(&temporary(hdfs, "lost"), true).await.unwrap();
    assert!(left.is_empty(), "{left:?}");
}

/// Where a job's files are that have no name yet.
fn temporary(hdfs: &Hdfs, job: &str) -> String {
    let address = spec(hdfs.namenode(), hdfs.user()).address().unwrap();
    format!("{}/{job}/.temporary", address.folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_writer_left_is_never_listed_and_goes_when_it_is_old() {
    let hdfs = shared().await;
    let client = client(hdfs);
    let folder = temporary(hdfs, "left");
    let (old, new) = (format!("{folder}/old"), format!("{folder}/new"));
    for file in [&old, &new] {
        let mut half = client.create(file, WriteOptions::default()).await.unwrap();
        Box::pin(half.write_bytes(Bytes::from_static(b"half an obj"))).await.unwrap();
        half.hsync().await.unwrap();
    }
    let long_ago = 1000; // milliseconds since 1970
    client.set_times(&old, long_ago, long_ago).await.unwrap();

    let store = store(hdfs, "left");
    assert_eq!(store.list("", None).await.unwrap(), []);
    assert_eq!(store.list_folders("").await.unwrap(), Vec::<String>::new());
    assert!(client.get_file_info(&old).await.is_ok(), "a reader took a file away");
    store.create(&path("log/1/0"), Bytes::from_static(b"x")).await.unwrap();
    assert!(client.get_file_info(&old).await.is_err(), "the old file is still there");
    assert!(client.get_file_info(&new).await.is_ok(), "a file of a live writer was taken away");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_service_is_found_by_its_properties() {
    let hdfs = shared().await;
    let mut spec = spec("cluster", hdfs.user());
    let refused = HdfsStore::open(&spec, "ha").unwrap_err();
    assert!(matches!(refused, StoreError::Refused { .. }), "{refused}");
    assert!(refused.to_string().contains("dfs.ha.namenodes"), "{refused}");
    // The first of the two is gone.
    spec.properties = [
        ("dfs.ha.namenodes.cluster", "one,two"),
        ("dfs.namenode.rpc-address.cluster.one", "127.0.0.1:1"),
        ("dfs.namenode.rpc-address.cluster.two", hdfs.namenode()),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let store = HdfsStore::open(&spec, "ha").unwrap();
    prove(&store).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_refused_in_clear_words_and_a_dead_address_is_not_for_good() {
    let hdfs = shared().await;
    let stranger = HdfsStore::open(&spec(hdfs.namenode(), "stranger"), "job").unwrap();
    let refused = stranger.create(&path("log/1/0"), Bytes::from_static(b"x")).await.unwrap_err();
    assert_eq!(refused.reason(), FailureReason::StorageUnfit);
    let said = refused.to_string();
    assert!(said.contains("does not let the user stranger create `log/1/0`"), "{said}");
    assert!(said.contains("Permission denied") && !said.contains('\n'), "{said}");

    let nobody = HdfsStore::with_patience(&spec("127.0.0.1:1", hdfs.user()), "job", PATIENCE).unwrap();
    assert_eq!(nobody.get(&path("log/1/0")).await.unwrap_err().reason(), FailureReason::StorageUnreachable);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_outlives_a_hung_namenode_a_crashed_one_and_a_lost_datanode() {
    if is_named(hdfs::VARIABLE) {
        return;
    }
    let mut hdfs = Hdfs::start().await.unwrap();
    let store = HdfsStore::with_patience(&spec(hdfs.namenode(), hdfs.user()), "away", PATIENCE).unwrap();
    let bytes = Bytes::from(vec![7; 3 << 20]);
    store.create(&path("log/1/0"), bytes.clone()).await.unwrap();
    hdfs.pause().unwrap();
    let error = store.get(&path("log/1/0")).await.unwrap_err();
    assert_eq!(error.reason(), FailureReason::StorageUnreachable, "{error}");
    hdfs.resume().unwrap();
    assert_eq!(store.get(&path("log/1/0")).await.unwrap().unwrap(), bytes);

    hdfs.kill_9().unwrap();
    store.create(&path("log/1/1"), bytes.clone()).await.unwrap_err();
    hdfs.restart().await.unwrap();
    assert_eq!(store.create(&path("log/1/0"), Bytes::from_static(b"x")).await.unwrap(), Create::Exists);
    assert_eq!(store.create(&path("log/1/1"), bytes.clone()).await.unwrap(), Create::Created);

    hdfs.kill_a_datanode().unwrap();
    assert_eq!(store.get(&path("log/1/0")).await.unwrap().unwrap(), bytes);
    assert_eq!(store.get(&path("log/1/1")).await.unwrap().unwrap(), bytes);
}

/// Whose owner is gone, and who goes on from anything.
struct Alone;

#[async_trait]
impl Neighbours for Alone {
    async fn ask(&self, _: &Owner, _: &str) -> OwnerAnswer {
        OwnerAnswer::Gone
    }

    async fn ask_to_stop(&self, _: &Owner) -> OwnerAnswer {
        OwnerAnswer::Gone
    }

    fn waits(&self, _: Failure) {}

    fn announce(&self, _: &str) {}
}

#[async_trait]
impl Heir for Alone {
    async fn beginning(&self, _: &Arc<dyn Store>) -> Result<Option<CheckpointRef>, Failure> {
        Ok(None)
    }

    async fn fits(&self, _: &Arc<dyn Store>, _: &Manifest) -> Result<(), Failure> {
        Ok(())
    }

    fn publishes(&self, _: &Manifest, _: &Committed) -> Result<(), Failure> {
        Ok(())
    }

    async fn compare(&self, _: Epoch, _: &str) -> Result<(), Failure> {
        Ok(())
    }
}

fn checkpoint(epoch: u64) -> CheckpointRef {
    let manifest = ObjectPath(format!("data/00000001/{epoch:012}/manifest.json"));
    CheckpointRef { epoch: Epoch(epoch), manifest, sha256: String::new() }
}

/// What `log/<attempt>/<seq>` of a log has that a build without segments wrote.
fn old_record(seq: u64) -> Bytes {
    let body = match seq {
        0 => Body::AttemptStarted {
            attempt: Attempt(1),
            revision: Revision(1),
            spec_digest: "digest".into(),
            lineage: "job".into(),
            parallelism: 1,
            restored_from: None,
            owner: Owner { address: "gone".into(), pod: "gone".into(), job_uid: None },
        },
        _ => Body::CheckpointCompleted { checkpoint: checkpoint(seq), trigger: Trigger::Interval },
    };
    Record::new(body).to_bytes().unwrap()
}

/// The log of a year, in small: the `NameNode` takes no more records into the attempt's folder, so that nobody could end
/// it.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_whose_folder_is_full_is_claimed_and_cut() {
    const MOST: u64 = 4000;
    if is_named(hdfs::VARIABLE) {
        return;
    }
    let hdfs = Hdfs::with_small_folders(MOST as u32).await.unwrap();
    let store = Arc::new(store(&hdfs, "full"));
    let place = |seq: u64| record::path(Attempt(1), Seq(seq));
    stream::iter(0..MOST)
        .map(|seq| {
            let store = store.clone();
            async move { store.create(&place(seq), old_record(seq)).await.map(drop) }
        })
        .buffer_unordered(24)
        .try_collect::<()>()
        .await
        .unwrap();
    let refused = store.create(&place(MOST), old_record(MOST)).await.unwrap_err();
    let refused = format!("{refused}: {}", std::error::Error::source(&refused).unwrap());
    assert!(refused.contains("MaxDirectoryItemsExceeded"), "{refused}");

    let me = Identity {
        claimant: Claimant { revision: Revision(1), pod: "me".into() },
        address: "here".into(),
        spec_digest: "digest".into(),
        parallelism: 1,
        rescaled: None,
        lineage: "another".into(),
        stand_by: false,
        patience: Duration::ZERO,
        has_had: None,
        seen: NewestSeen::default(),
        job_uid: None,
        deposed: 0,
    };
    let dynamic: Arc<dyn Store> = store.clone();
    let Claiming::Ours(mut claimed) = claim(dynamic, &me, &Alone, &Alone).await.unwrap() else { panic!("finished") };
    assert_eq!((claimed.journal.attempt(), claimed.lineage.as_str()), (Attempt(2), "job"));
    assert_eq!(claimed.restored_from, Some(checkpoint(MOST - 1)));

    // What is left of the folder: heads, and the last two segments.
    let left = |last: u64| (0..=last).filter(|seq| seq % 1024 == 0 || *seq >= (last / 1024 - 1) * 1024).count();
    let deadline = tokio::time::Instant::now() + Duration::from_mins(2);
    let mut epoch = MOST;
    while store.list("log/00000001/", None).await.unwrap().len() > left(MOST) {
        assert!(tokio::time::Instant::now() < deadline, "the log is not cut");
        claimed.journal.own(checkpoint(epoch), Trigger::Interval).await.unwrap();
        epoch += 1;
    }
    let newest = read_newest(store.as_ref()).await.unwrap().unwrap();
    assert_eq!((newest.attempt, newest.checkpoint), (Attempt(2), Some(checkpoint(epoch - 1))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_was_killed_goes_on_from_its_checkpoint() {
    let hdfs = shared().await;
    let local = Local::new(200_000);
    let url = spec(hdfs.namenode(), hdfs.user()).url;
    let mut job = local.job_in_hdfs(&url, hdfs.user()).set("spec.checkpoint.interval", "100ms");
    job.kill_at_each(&[("after-own", 1), ("before-epoch-committed", 1)], JOB_PATIENCE);
    job.finish(JOB_PATIENCE);
    local.assert_exact();
}
