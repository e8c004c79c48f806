use proptest::{prelude::*, sample::Index};

use super::*;
use crate::checkpoint::{
    manifest::FileRef,
    record::{Body, Trigger},
    sample,
    store::memory::{Action, Fault, MemoryStore},
};

/// A completed checkpoint that names these files.
fn checkpoint(epoch: u64, files: &[&str]) -> Manifest {
    let named = |name: &&str| FileRef::of(ObjectPath((*name).to_owned()), b"state");
    sample::manifest(1, epoch, files.iter().map(named).collect())
}

/// What of the files of state goes; manifests aside.
fn state(gone: BTreeSet<ObjectPath>) -> Vec<String> {
    gone.into_iter().map(|path| path.0).filter(|path| !path.ends_with("manifest.json")).collect()
}

#[test]
fn one_at_a_time_what_nobody_names_goes_when_the_next_completes() {
    let mut kept = Kept::new(1);
    for (epoch, files, gone) in [(1, ["a", "b"], vec![]), (2, ["b", "c"], vec!["a"]), (3, ["c", "d"], vec!["b"])] {
        kept.began(Epoch(epoch));
        assert_eq!(state(kept.completed(&checkpoint(epoch, &files))), gone);
    }
}

#[test]
fn a_shared_file_stays_until_nobody_names_any_piece_of_it() {
    let piece = |offset| FileRef { offset: Some(offset), ..FileRef::of(ObjectPath("shared".to_owned()), b"state") };
    let mut kept = Kept::new(1);
    for (epoch, offsets, gone) in
        [(1, vec![0, 5], vec![]), (2, vec![5, 9], vec![]), (3, vec![9], vec![]), (4, vec![], vec!["shared"])]
    {
        kept.began(Epoch(epoch));
        let files = offsets.into_iter().map(piece).collect();
        assert_eq!(state(kept.completed(&sample::manifest(1, epoch, files))), gone, "epoch {epoch}");
    }
    let mut kept = Kept::new(1);
    kept.completed(&sample::manifest(1, 1, vec![piece(5)]));
    assert!(!kept.garbage(Attempt(2), [piece(0).path]).contains(&piece(0).path), "another start keeps it, too");
}

#[test]
fn what_one_under_way_may_name_stays_until_it_is_decided() {
    for completes in [true, false] {
        let mut kept = Kept::new(1);
        kept.completed(&checkpoint(1, &["a", "b"]));
        kept.began(Epoch(2));
        kept.began(Epoch(3));
        // 2 has both files in one; 3 looked before they were.
        assert_eq!(state(kept.completed(&checkpoint(2, &["both"]))), [""; 0]);
        if completes {
            assert_eq!(state(kept.completed(&checkpoint(3, &["a", "b"]))), [""; 0], "the next one names what 2 has");
        } else {
            assert_eq!(state(kept.given_up(Epoch(3))), ["a", "b"]);
        }
        kept.began(Epoch(4));
        let gone = state(kept.completed(&checkpoint(4, &["both"])));
        assert_eq!(gone, if completes { vec!["a", "b"] } else { vec![] });
    }
}

/// Parts of state, each of another subtask.
const PARTS: usize = 3;

/// Something that happens to parts of state, or to the checkpoints that name them.
#[derive(Debug, Clone)]
enum Happening {
    /// A checkpoint begins.
    Begin,
    /// One under way looks where a part is, if it has not yet.
    Look(Index, usize),
    /// Some parts are written, new or anew, as pieces of one file.
    Write([bool; PARTS]),
    /// The oldest under way is decided.
    Decide { completes: bool },
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whenever shares are made, in whichever order, and however parts share files: no file goes that a kept checkpoint
    /// names, and in the end none stays that none names.
    #[test]
    fn nothing_goes_that_a_checkpoint_names(
        retained in 1_u32..3,
        happenings in prop::collection::vec(prop_oneof![
            3 => Just(Happening::Begin),
            6 => (any::<Index>(), 0..PARTS).prop_map(|(checkpoint, part)| Happening::Look(checkpoint, part)),
            3 => any::<[bool; PARTS]>().prop_map(Happening::Write),
            3 => prop::bool::weighted(0.7).prop_map(|completes| Happening::Decide { completes }),
        ], 0..120),
    ) {
        let mut kept = Kept::new(retained);
        // A part that was never written is part of no checkpoint.
        let (mut places, mut files, mut next, mut gone) = ([None::<u64>; PARTS], 0, 1, BTreeSet::new());
        let mut under_way: Vec<(u64, [Option<Option<u64>>; PARTS])> = Vec::new();
        let mut completed: Vec<Manifest> = Vec::new();
        let settle = [Happening::Decide { completes: true }, Happening::Decide { completes: true }, Happening::Begin];
        for happening in happenings.into_iter().chain(settle.into_iter().cycle().take(400)) {
            match happening {
                Happening::Begin => {
                    kept.began(Epoch(next));
                    under_way.push((next, [None; PARTS]));
                    next += 1;
                }
                Happening::Look(index, part) if !under_way.is_empty() => {
                    let chosen = index.index(under_way.len());
                    under_way[chosen].1[part].get_or_insert(places[part]);
                }
                Happening::Write(parts) => {
                    files += 1;
                    parts.iter().zip(&mut places).filter(|(written, _)| **written).for_each(|(_, at)| *at = Some(files));
                }
                Happening::Decide { completes } if !under_way.is_empty() => {
                    let (epoch, named) = under_way.remove(0);
                    let garbage = if completes {
                        let named = (0..PARTS).filter_map(|part| {
                            let path = ObjectPath(named[part].unwrap_or(places[part])?.to_string());
                            Some(FileRef { offset: Some(part as u64), ..FileRef::of(path, b"p") })
                        });
                        completed.push(sample::manifest(1, epoch, named.collect()));
                        kept.completed(&completed[completed.len() - 1])
                    } else {
                        kept.given_up(Epoch(epoch))
                    };
                    gone.extend(garbage);
                    for manifest in completed.iter().rev().take(retained as usize) {
                        let lost: Vec<_> = manifest.files().filter(|file| gone.contains(file)).collect();
                        prop_assert!(lost.is_empty(), "{lost:?} of epoch {}", manifest.epoch);
                    }
                }
                Happening::Look(..) | Happening::Decide { .. } => {}
            }
        }
        // All that was ever named is gone, but for what the kept ones name: everything has long come to rest.
        let stay: BTreeSet<ObjectPath> =
            completed.iter().rev().take(retained as usize).flat_map(Manifest::files).collect();
        let named: BTreeSet<ObjectPath> = completed.iter().flat_map(Manifest::files).collect();
        let forgotten: Vec<_> = named.difference(&stay).filter(|file| !gone.contains(*file)).collect();
        prop_assert!(under_way.len() > 1 || forgotten.is_empty(), "{forgotten:?}");
    }
}

/// A job with a checkpoint, one savepoint that is complete, one that was begun, and something of somebody else.
async fn job() -> MemoryStore {
    let store = MemoryStore::new();
    let manifest =
        sample::manifest(1, 4, vec![sample::file(&store, 1, 4, "first"), sample::file(&store, 1, 4, "second")]);
    let checkpoint = sample::write(&store, &manifest);
    sample::log(&store, 1, 0, sample::started(1, None));
    sample::log(&store, 1, 1, Body::CheckpointCompleted { checkpoint, trigger: Trigger::Stop });
    let shared: Arc<dyn Store> = Arc::new(store.clone());
    savepoint::write(&shared, "saved", &manifest).await.unwrap();
    let begun = "data/starts/000000000000-sales-ab12.json";
    // Of whoever has begun it anew meanwhile.
    let of_another = "data/starts/000000000000-sales-2-ab12.json";
    for path in ["hint", "proof/1/once", "savepoints/begun/state/0.arrow", "of-somebody-else", begun, of_another] {
        store.plant(path, "planted");
    }
    store
}

#[tokio::test]
async fn a_job_that_is_deleted_leaves_its_savepoints_and_what_is_not_its_own() {
    let store = job().await;
    delete_job(&store, Attempt(1), "sales").await;
    let saved = ["savepoint.json", "state/00000001-000000000004-0.arrow", "state/00000001-000000000004-1.arrow"]
        .map(|name| format!("savepoints/saved/{name}"));
    let grave = "savepoints/begun/savepoint.json".to_owned();
    let others = [
        "data/starts/000000000000-sales-2-ab12.json",
        "hint",
        "log/00000001/000000000000",
        "log/00000001/000000000001",
        "of-somebody-else",
    ]
    .map(str::to_owned);
    assert_eq!(store.paths(), [others.to_vec(), vec![grave], saved.to_vec()].concat());
    let file = ObjectPath("savepoints/saved/savepoint.json".into());
    let manifest = Manifest::decode(&file, &store.get(&file).await.unwrap().unwrap()).unwrap();
    for reference in manifest.file_refs() {
        let path = ObjectPath(format!("savepoints/saved/{}", reference.path));
        let bytes = store.get(&path).await.unwrap().unwrap();
        assert!(FileRef { path, ..reference.clone() }.matches(&bytes), "{reference}");
    }
}

#[tokio::test]
async fn what_of_a_job_can_not_be_deleted_stays_and_the_rest_goes() {
    let store = job().await;
    store.fail(Action::Delete, "first", Fault::Before, 1);
    delete_job(&store, Attempt(1), "sales").await;
    let is_data = |path: &String| path.starts_with("data/0") || path.starts_with("proof/");
    let left: Vec<String> = store.paths().into_iter().filter(is_data).collect();
    assert_eq!(left, ["data/00000001/000000000004/first"]);
}
