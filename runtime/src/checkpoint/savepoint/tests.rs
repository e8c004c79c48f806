use super::*;
use crate::{
    checkpoint::{
        manifest::FileRef,
        sample,
        store::memory::{Action, Fault, MemoryStore},
    },
    ids::Epoch,
};

/// A store with a checkpoint of two files, one of which two parts name.
fn checkpointed() -> (MemoryStore, Arc<dyn Store>, Manifest) {
    let store = MemoryStore::new();
    let (first, second) = (sample::file(&store, 1, 3, "first"), sample::file(&store, 1, 4, "second"));
    let manifest = sample::manifest(1, 4, vec![first.clone(), second, first]);
    sample::write(&store, &manifest);
    (store.clone(), Arc::new(store), manifest)
}

fn below(store: &MemoryStore, name: &str) -> Vec<String> {
    store.paths().into_iter().filter(|path| path.starts_with(&folder(name))).collect()
}

#[tokio::test]
async fn a_savepoint_needs_nothing_of_the_checkpoint_it_was_made_of() {
    let (memory, store, manifest) = checkpointed();
    assert_eq!(write(&store, "first", &manifest).await.unwrap(), Copied { files: 2, bytes: 40 });
    memory.paths().iter().filter(|path| path.starts_with("data/")).for_each(|path| memory.remove(path));
    let bytes = store.get(&file("first")).await.unwrap().unwrap();
    let saved = Manifest::decode(&file("first"), &bytes).unwrap();
    assert_eq!(saved.file_refs().count(), 3);
    for reference in saved.file_refs() {
        let path = ObjectPath(format!("{}{}", folder("first"), reference.path));
        let copy = FileRef { path: path.clone(), ..reference.clone() };
        assert!(copy.matches(&store.get(&path).await.unwrap().unwrap()));
    }
}

#[tokio::test]
async fn pieces_of_a_shared_file_are_whole_files_of_a_savepoint() {
    let memory = MemoryStore::new();
    let [one, two] = sample::shared(&memory, 1, 4, "shared");
    let manifest = sample::manifest(1, 4, vec![one.clone(), two.clone(), sample::file(&memory, 1, 4, "whole"), one]);
    assert_eq!(manifest.format, 4);
    let store: Arc<dyn Store> = Arc::new(memory.clone());
    assert_eq!(write(&store, "first", &manifest).await.unwrap(), Copied { files: 3, bytes: 60 });
    let bytes = store.get(&file("first")).await.unwrap().unwrap();
    let saved = Manifest::decode(&file("first"), &bytes).unwrap();
    assert_eq!(saved.format, 1, "a program that does not know of pieces may read it");
    let copies: Vec<&FileRef> = saved.file_refs().collect();
    for (copy, original) in copies.iter().zip(manifest.file_refs()) {
        let path = ObjectPath(format!("{}{}", folder("first"), copy.path));
        assert!(original.matches(&store.get(&path).await.unwrap().unwrap()), "{copy}, of {original}");
        assert_eq!((copy.offset, copy.path.0.rsplit_once('.').unwrap().1), (None, "arrow"), "{copy}");
    }
    assert!(copies[0] == copies[3] && copies[0].path != copies[1].path);

    memory.plant(&two.path.0, "0".repeat(39));
    assert!(matches!(write(&store, "second", &manifest).await, Err(SavepointError::Copy(CopyError::Damaged { .. }))));
}

#[tokio::test]
async fn a_name_is_used_once_and_must_be_one() {
    let (_, store, manifest) = checkpointed();
    write(&store, "first", &manifest).await.unwrap();
    assert!(matches!(check_free(store.as_ref(), "first").await, Err(SavepointError::Taken { .. })));
    assert!(matches!(write(&store, "first", &sample::manifest(1, 9, vec![])).await, Err(SavepointError::Taken { .. })));
    for name in ["", "-a", "a-", "A", "a/b", "..", &"a".repeat(64)] {
        assert!(matches!(check_free(store.as_ref(), name).await, Err(SavepointError::Name { .. })), "{name}");
    }
    check_free(store.as_ref(), "before-2").await.unwrap();
}

#[tokio::test]
async fn a_damaged_file_makes_no_savepoint() {
    let (memory, store, manifest) = checkpointed();
    memory.plant("data/00000001/000000000003/first", Bytes::from_static(b"something else, 20 b"));
    assert!(matches!(write(&store, "first", &manifest).await, Err(SavepointError::Copy(CopyError::Damaged { .. }))));
    assert_eq!(store.get(&file("first")).await.unwrap(), None);
}

#[tokio::test]
async fn a_lost_answer_to_the_last_step_leaves_a_complete_savepoint() {
    let (memory, store, manifest) = checkpointed();
    memory.fail(Action::Create, FILE, Fault::After, 2);
    write(&store, "first", &manifest).await.unwrap();
    assert_eq!(sweep(store.as_ref()).await.unwrap(), 0);
    assert_eq!(below(&memory, "first").len(), 3);
}

#[tokio::test]
async fn what_was_begun_is_given_up_and_a_late_hand_can_not_complete_it() {
    let (memory, store, manifest) = checkpointed();
    memory.fail(Action::Create, FILE, Fault::Late, 8);
    assert!(write(&store, "half", &manifest).await.is_err());
    write(&store, "whole", &manifest).await.unwrap();
    assert_eq!(sweep(store.as_ref()).await.unwrap(), 2, "the files of the one that was never completed");
    memory.land();
    assert_eq!(below(&memory, "half"), [file("half").0]);
    assert!(is_given_up(&store.get(&file("half")).await.unwrap().unwrap()));
    assert!(matches!(check_free(store.as_ref(), "half").await, Err(SavepointError::GivenUp { .. })));
    assert_eq!(below(&memory, "whole").len(), 3);
    assert!(!delete(store.as_ref(), "half").await.unwrap(), "it is none");
}

#[tokio::test]
async fn a_folder_that_can_be_no_savepoint_is_left_alone() {
    let (memory, store, _) = checkpointed();
    memory.plant("savepoints/Notes of mine/state/0", "kept");
    assert_eq!(sweep(store.as_ref()).await.unwrap(), 0);
    assert_eq!(memory.paths().iter().filter(|path| path.starts_with("savepoints/")).count(), 1);
}

#[tokio::test]
async fn a_deletion_that_stops_half_way_is_finished_by_the_next_start() {
    let (memory, store, manifest) = checkpointed();
    write(&store, "first", &manifest).await.unwrap();
    memory.fail(Action::Delete, "-1.arrow", Fault::Before, 1);
    delete(store.as_ref(), "first").await.unwrap_err();
    // Who had the name now would have files of the old one, and lose its own to the deletion.
    assert!(matches!(check_free(store.as_ref(), "first").await, Err(SavepointError::GivenUp { .. })));
    assert_eq!(sweep(store.as_ref()).await.unwrap(), 1);
    assert_eq!(below(&memory, "first"), [file("first").0]);
    write(&store, "second", &manifest).await.unwrap();
    assert!(delete(store.as_ref(), "second").await.unwrap());
    assert_eq!(below(&memory, "second"), [] as [&str; 0]);
}

/// A second deletion, of somebody who claims the savepoint or finishes what was begun, comes late.
#[tokio::test]
async fn who_deletes_late_deletes_nothing_of_the_savepoint_that_has_the_name_by_then() {
    let (memory, store, manifest) = checkpointed();
    write(&store, "again", &manifest).await.unwrap();
    let former = below(&memory, "again");
    assert!(delete(store.as_ref(), "again").await.unwrap());
    let next = Manifest { epoch: Epoch(manifest.epoch.0 + 1), ..manifest };
    write(&store, "again", &next).await.unwrap();
    let files = below(&memory, "again");
    assert!(files.iter().filter(|file| former.contains(file)).eq([&file("again").0]), "{files:?} and {former:?}");
    assert_eq!(delete_state(store.as_ref(), &folder("again")).await.unwrap(), 0);
    assert_eq!(below(&memory, "again"), files);
}
