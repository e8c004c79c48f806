//! What goes together, what does not, and who is told.

use std::collections::BTreeMap;

use super::*;
use crate::checkpoint::store::{
    gated::Gated,
    memory::{Action, Fault, MemoryStore},
};
use futures::{FutureExt, future::join_all};

struct World {
    store: Arc<Gated>,
    packer: Packer,
}

fn world() -> World {
    world_with(LINGER)
}

fn world_with(linger: Duration) -> World {
    let store = Arc::new(Gated::default());
    let packer = Packer::with_linger(store.clone(), Handle::current(), FULL, linger);
    World { store, packer }
}

type Written = Result<FileRef, StoreError>;

impl World {
    fn lets_through(&self, writes: usize) {
        self.store.let_through.add_permits(writes);
    }

    /// Begins to write `length` bytes of one kind to `<folder>/<name>`.
    async fn put(&self, folder: &str, name: u8, length: usize) -> Written {
        let path = ObjectPath(format!("data/{folder}/{name}.arrow"));
        self.packer.put(Life::Lasting, path, Bytes::from(vec![name; length])).await
    }

    /// All has been done that can be without the clock.
    async fn settle(&self) {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    async fn assert_there(&self, file: &FileRef, name: u8) {
        let bytes = file.get(self.store.as_ref()).await.unwrap().unwrap();
        assert!(file.matches(&bytes) && bytes.iter().all(|byte| *byte == name), "{file}: {bytes:?}");
    }
}

fn paths(written: &[Written]) -> Vec<&str> {
    written.iter().map(|file| file.as_ref().unwrap().path.0.as_str()).collect()
}

#[tokio::test]
async fn what_comes_while_a_file_is_written_goes_together_with_the_next() {
    let world = world();
    let first = world.put("1", 0, 10);
    let rest = async {
        while world.store.under_way.load(Ordering::Relaxed) == 0 {
            env::sleep(Duration::from_millis(1)).await;
        }
        let rest = join_all((1..=4).map(|name| world.put("1", name, 10)));
        let rest = async { tokio::join!(rest, async { world.lets_through(2) }).0 };
        rest.await
    };
    let (first, rest) = tokio::join!(first, rest);
    assert_eq!(first.unwrap().path.0, "data/1/0.arrow", "nobody came while it waited");
    assert!(paths(&rest).iter().all(|path| *path == paths(&rest)[0]), "{rest:?}");
    for (name, file) in (1..).zip(&rest) {
        let file = file.as_ref().unwrap();
        assert_eq!((file.offset, file.bytes), (Some(10 * (u64::from(name) - 1)), 10));
        world.assert_there(file, name).await;
    }
    assert_eq!(world.store.inner.paths().len(), 2);
    assert_eq!(world.store.most.load(Ordering::Relaxed), 1, "one at a time");
}

#[tokio::test]
async fn what_comes_within_a_moment_goes_together_and_who_comes_alone_has_a_file_of_its_own() {
    let world = world();
    world.lets_through(100);
    let together = join_all((0..3).map(|name| world.put("1", name, 10))).await;
    assert!(paths(&together).iter().all(|path| path.starts_with("data/1/shared-")), "{together:?}");
    assert_eq!(world.store.inner.paths().len(), 1);
    let alone = world.put("1", 7, 10).await.unwrap();
    assert_eq!((alone.path.0.as_str(), alone.offset), ("data/1/7.arrow", None));
    let empty = join_all([world.put("1", 8, 0), world.put("1", 9, 5)]).await;
    for (name, file) in [(7, &alone), (8, empty[0].as_ref().unwrap()), (9, empty[1].as_ref().unwrap())] {
        world.assert_there(file, name).await;
    }
}

#[tokio::test]
async fn folders_and_lives_are_kept_apart() {
    let world = world();
    world.lets_through(100);
    let passing = |name: u8| {
        let path = ObjectPath(format!("data/1/{name}.arrow"));
        world.packer.put(Life::Passing, path, Bytes::from(vec![name; 10]))
    };
    let lasting = ["1", "2", "1", "2"].into_iter().zip(0..).map(|(folder, name)| world.put(folder, name, 10).boxed());
    let written = join_all(lasting.chain((4..6).map(|name| passing(name).boxed()))).await;
    let mut by_path: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (name, path) in paths(&written).into_iter().enumerate() {
        by_path.entry(path).or_default().push(name);
    }
    let folders: Vec<(&str, &Vec<usize>)> = by_path.iter().map(|(path, names)| (&path[..7], names)).collect();
    assert!(folders.len() == 3 && folders.contains(&("data/2/", &vec![1, 3])), "{by_path:?}");
    assert!(folders.contains(&("data/1/", &vec![0, 2])) && folders.contains(&("data/1/", &vec![4, 5])), "{by_path:?}");
}

#[tokio::test]
async fn a_full_file_goes_at_once_and_what_is_large_goes_alone() {
    let world = world_with(Duration::from_hours(1));
    world.lets_through(100);
    let small = LARGE as usize - 1;
    let written = join_all((0..16).map(|name| world.put("1", name, small)));
    let written = env::within(Duration::from_mins(1), written).await.expect("files that did not wait");
    let mut sizes: BTreeMap<&str, u64> = BTreeMap::new();
    for file in written.iter().map(|file| file.as_ref().unwrap()) {
        *sizes.entry(file.path.0.as_str()).or_default() += file.bytes;
    }
    assert!(sizes.len() == 2 && sizes.values().all(|bytes| *bytes <= FULL), "{sizes:?}");
    let large = world.put("1", 99, LARGE as usize).await.unwrap();
    assert_eq!((large.path.0.as_str(), large.offset), ("data/1/99.arrow", None));
}

#[tokio::test]
async fn a_file_that_could_not_be_written_fails_all_that_was_in_it_and_nothing_else() {
    let world = world();
    world.lets_through(100);
    world.store.inner.fail(Action::Put, "data/1/shared-", Fault::Before, 1);
    let (failed, written) = tokio::join!(
        join_all((0..3).map(|name| world.put("1", name, 10))),
        join_all((3..6).map(|name| world.put("2", name, 10))),
    );
    for error in failed.into_iter().map(Result::unwrap_err) {
        let text = crate::error_chain(&error);
        assert!(text.contains("failed to write `data/1/shared-") && text.contains("injected fault"), "{text}");
    }
    for (name, file) in (3..).zip(&written) {
        world.assert_there(file.as_ref().unwrap(), name).await;
    }
    let again = join_all((0..3).map(|name| world.put("1", name, 10))).await;
    for (name, file) in (0..).zip(&again) {
        world.assert_there(file.as_ref().unwrap(), name).await;
    }
}

#[tokio::test]
async fn who_does_not_wait_any_more_is_left_out_and_harms_nobody() {
    let world = world();
    let mut gone = Box::pin(world.put("1", 0, 10));
    assert!(futures::poll!(&mut gone).is_pending());
    drop(gone);
    let written = async {
        world.settle().await;
        world.lets_through(100);
    };
    let (one, two, ()) = tokio::join!(world.put("1", 1, 10), world.put("1", 2, 10), written);
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!((one.offset, two.offset), (Some(0), Some(10)), "its bytes are in no file");
    world.assert_there(&one, 1).await;

    let mut gone = Box::pin(world.put("1", 3, 10));
    assert!(futures::poll!(&mut gone).is_pending());
    drop(gone);
    let alone = world.put("1", 4, 10).await.unwrap();
    assert_eq!(alone.path.0, "data/1/4.arrow");
}

#[tokio::test]
async fn a_panic_and_the_end_of_the_runtime_are_answers() {
    let world = world();
    world.lets_through(100);
    let error = world.put("panic", 1, 10).await.unwrap_err();
    assert!(matches!(error, StoreError::Failed { .. }), "{error}");
    world.put("1", 2, 10).await.unwrap();

    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let packer = Packer::new(Arc::new(MemoryStore::new()), runtime.handle().clone(), FULL);
    runtime.shutdown_background();
    let put = packer.put(Life::Lasting, ObjectPath("data/1/0".into()), Bytes::from_static(b"x"));
    let error = env::within(Duration::from_secs(5), put).await.expect("an answer").unwrap_err();
    assert!(error.to_string().contains("data/1/0"), "{error}");
}

#[tokio::test]
async fn two_packers_never_write_one_path() {
    let store = Arc::new(MemoryStore::new());
    let packers = [0, 1].map(|_| Packer::new(store.clone(), Handle::current(), FULL));
    let put = |packer: &Packer, name: u8| {
        let (packer, path) = (packer.clone(), ObjectPath(format!("data/1/{name}")));
        async move { packer.put(Life::Lasting, path, Bytes::from(vec![name; 10])).await }
    };
    for round in 0..3 {
        let of_one = (0..2).map(|name| put(&packers[0], name));
        let written = join_all(of_one.chain((2..4).map(|name| put(&packers[1], name)))).await;
        for (name, file) in (0_u8..).zip(&written) {
            let bytes = file.as_ref().unwrap().get(store.as_ref()).await.unwrap().unwrap();
            assert_eq!(bytes, vec![name; 10], "round {round}");
        }
    }
    assert_eq!(store.paths().len(), 6);
}

#[tokio::test]
async fn who_has_much_to_write_waits_until_there_is_room_in_memory() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let packer = Packer::new(store, Handle::current(), 0);
    let (one, two) = (packer.room(FULL / 2 + 1).await, packer.room(FULL / 4).await);
    let mut all = Box::pin(packer.room(100 * FULL));
    assert!(futures::poll!(&mut all).is_pending());
    drop((one, two));
    assert!(all.await.is_some(), "more than there ever is has room alone");
}
