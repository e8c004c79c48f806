use super::*;
use crate::checkpoint::{
    record::{Body, Trigger},
    sample,
    store::memory::{Action, Fault, MemoryStore},
};

fn checkpoint(store: &MemoryStore, attempt: u64, epoch: u64, files: Vec<FileRef>) -> CheckpointRef {
    sample::write(store, &sample::manifest(attempt, epoch, files))
}

/// A job whose second attempt owns epoch 3, with epoch 2 kept, epoch 1 half collected, and a file that nobody names.
fn stored() -> (MemoryStore, Arc<dyn Store>) {
    let store = MemoryStore::new();
    let old = sample::file(&store, 1, 1, "old");
    checkpoint(&store, 1, 1, vec![old.clone(), sample::file(&store, 1, 1, "gone")]);
    store.remove("data/00000001/000000000001/gone");
    let kept = checkpoint(&store, 1, 2, vec![old.clone(), sample::file(&store, 1, 2, "more")]);
    sample::file(&store, 1, 2, "left-half-done");
    let newest = checkpoint(&store, 2, 3, vec![old, sample::file(&store, 2, 3, "newest")]);
    sample::file(&store, 2, 4, "under-way");
    sample::log(&store, 1, 0, sample::started(1, None));
    sample::log(&store, 1, 1, Body::Sealed { by: "successor".into() });
    sample::log(&store, 2, 0, sample::started(2, Some(kept)));
    sample::log(&store, 2, 1, Body::CheckpointCompleted { checkpoint: newest, trigger: Trigger::Interval });
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

/// A job with one file that two share, of which a checkpoint before named one piece.
fn stored_in_pieces() -> (MemoryStore, Arc<dyn Store>) {
    let store = MemoryStore::new();
    let [one, two] = sample::shared(&store, 1, 1, "shared");
    checkpoint(&store, 1, 1, vec![one]);
    let newest = checkpoint(&store, 1, 2, vec![two]);
    sample::log(&store, 1, 0, sample::started(1, None));
    sample::log(&store, 1, 1, Body::CheckpointCompleted { checkpoint: newest, trigger: Trigger::Interval });
    (store.clone(), Arc::new(store))
}

#[tokio::test]
async fn every_piece_of_a_shared_file_is_verified() {
    let (memory, store) = stored_in_pieces();
    let found = verify(&store).await.unwrap();
    assert_eq!((found.files, found.bytes, found.damage), (1, 40, Vec::new()), "one file, two pieces");
    let shared = "data/00000001/000000000001/shared";
    let (one, two) = ("from byte 0 on, named by epoch 1: ", "from byte 20 on, named by epoch 2: ");
    let cases = [
        ("0000000000000000000110000000000000000000, and more", vec![]),
        (
            "x000000000000000000110000000000000000000",
            vec![format!("{one}its bytes are not the ones that were written")],
        ),
        (
            "00000000000000000001x0000000000000000000",
            vec![format!("{two}its bytes are not the ones that were written")],
        ),
        ("00000000000000000001", vec![format!("{two}the file has 20 bytes, 40 or more were written")]),
    ];
    for (bytes, expected) in cases {
        memory.plant(shared, bytes);
        let damage: Vec<String> = verify(&store).await.unwrap().damage.iter().map(ToString::to_string).collect();
        let expected: Vec<String> = expected.iter().map(|words| format!("{shared}, {words}")).collect();
        assert_eq!(damage, expected, "{bytes}");
    }
    memory.remove(shared);
    let damage: Vec<String> = verify(&store).await.unwrap().damage.iter().map(ToString::to_string).collect();
    assert_eq!(damage, [format!("{shared}, named by epoch 2: it is missing")]);
}
