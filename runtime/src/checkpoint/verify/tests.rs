use bytes::Bytes;

use super::*;
use crate::{
    checkpoint::{
        manifest::{OperatorState, PartRef, SubtaskState, folder},
        record::{self, Body, Owner, Record, Trigger},
        store::memory::{Action, Fault, MemoryStore},
    },
    ids::{Attempt, OperatorId, Revision, Seq},
};

/// Writes a file of 20 bytes that begins with its epoch.
fn write(store: &MemoryStore, attempt: u64, epoch: u64, name: &str) -> FileRef {
    let path = format!("{}{name}", folder(Attempt(attempt), Epoch(epoch)));
    let bytes = Bytes::from(format!("{epoch:020}"));
    store.plant(&path, bytes.clone());
    FileRef::of(ObjectPath(path), &bytes)
}

fn checkpoint(store: &MemoryStore, attempt: u64, epoch: u64, files: Vec<FileRef>) -> CheckpointRef {
    let part = |file| PartRef { kind: "rows".into(), tag: 0, rows: 1, file, batch: 0 };
    let subtask = SubtaskState { parts: files.into_iter().map(part).collect(), ..SubtaskState::default() };
    let manifest = Manifest {
        format: Manifest::FORMAT,
        job: "job".into(),
        lineage: "job".into(),
        epoch: Epoch(epoch),
        attempt: Attempt(attempt),
        revision: Revision(1),
        trigger: Trigger::Interval,
        max_parallelism: 128,
        created_at_ms: 0,
        operators: vec![OperatorState { id: OperatorId("operator".into()), subtasks: vec![subtask] }],
        chunks: Vec::new(),
    };
    let (bytes, reference) = manifest.encode().unwrap();
    store.plant(&reference.manifest.0, bytes);
    reference
}

fn log(store: &MemoryStore, attempt: u64, seq: u64, body: Body) {
    store.plant(&record::path(Attempt(attempt), Seq(seq)).0, Record::new(body).to_bytes().unwrap());
}

/// A job whose second attempt owns epoch 3, with epoch 2 kept, epoch 1 half collected, and a file that nobody names.
fn stored() -> (MemoryStore, Arc<dyn Store>) {
    let store = MemoryStore::new();
    let old = write(&store, 1, 1, "old");
    checkpoint(&store, 1, 1, vec![old.clone(), write(&store, 1, 1, "gone")]);
    store.remove("data/00000001/000000000001/gone");
    let kept = checkpoint(&store, 1, 2, vec![old.clone(), write(&store, 1, 2, "more")]);
    write(&store, 1, 2, "left-half-done");
    let newest = checkpoint(&store, 2, 3, vec![old, write(&store, 2, 3, "newest")]);
    write(&store, 2, 4, "under-way");
    let owner = Owner { address: "here".into(), pod: "pod".into() };
    let started = Body::AttemptStarted {
        attempt: Attempt(2),
        revision: Revision(1),
        spec_digest: String::new(),
        lineage: "job".into(),
        restored_from: Some(kept),
        owner,
    };
    log(&store, 2, 0, started);
    log(&store, 2, 1, Body::CheckpointCompleted { checkpoint: newest, trigger: Trigger::Interval });
    (store.clone(), Arc::new(store))
}

#[tokio::test]
async fn what_is_whole_half_collected_and_left_over_is_told_apart() {
    let (_, store) = stored();
    let found = verify(&store).await.unwrap();
    let garbage: Vec<&str> = found.garbage.iter().map(|object| object.path.0.as_str()).collect();
    assert_eq!(garbage, ["data/00000001/000000000002/left-half-done"]);
    assert_eq!((found.whole, found.partial), (vec![Epoch(3), Epoch(2)], vec![(Epoch(1), 1)]));
    assert_eq!((found.files, found.bytes, found.damage), (3, 60, Vec::new()));
}

#[tokio::test]
async fn a_file_that_is_missing_cut_or_changed_is_named() {
    let (memory, store) = stored();
    memory.remove("data/00000002/000000000003/newest");
    memory.plant("data/00000001/000000000001/old", "cut");
    memory.plant("data/00000001/000000000002/more", "x".repeat(20));
    let damage: Vec<String> = verify(&store).await.unwrap().damage.iter().map(ToString::to_string).collect();
    assert_eq!(
        damage,
        [
            "data/00000001/000000000001/old, named by epoch 3: it has 3 bytes, 20 were written",
            "data/00000001/000000000002/more, named by epoch 2: its bytes are not the ones that were written",
            "data/00000002/000000000003/newest, named by epoch 3: it is missing",
        ]
    );
}

#[tokio::test]
async fn a_damaged_manifest_and_a_store_that_fails_are_errors_and_an_empty_store_is_none() {
    let (memory, store) = stored();
    memory.fail(Action::Get, "newest", Fault::Before, 1);
    assert!(matches!(verify(&store).await.unwrap_err(), VerifyError::Store(_)));
    memory.plant("data/00000002/000000000003/manifest.json", "{}");
    assert!(matches!(verify(&store).await.unwrap_err(), VerifyError::Manifest(ManifestError::Damaged { .. })));

    let empty: Arc<dyn Store> = Arc::new(MemoryStore::new());
    assert_eq!(verify(&empty).await.unwrap(), Verification::default());
}
