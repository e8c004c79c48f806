//! Several checkpoints of one subtask under way, with a store that takes its time.

use std::collections::BTreeSet;

use arrow::{
    array::{AsArray, Int64Array},
    datatypes::Int64Type,
};
use proptest::{prelude::*, sample::Index};
use tokio::{
    runtime,
    sync::{
        Semaphore,
        mpsc::{UnboundedReceiver, unbounded_channel},
    },
};

use super::*;
use crate::{
    checkpoint::store::{
        gated::Gated,
        memory::{Action, Fault},
    },
    ids::{Run, SubtaskIndex},
    state::{StatePart, file::read},
};

/// One subtask with an operator that remembers parts and a sink that keeps chunks.
struct Subtask {
    store: Arc<Gated>,
    snapshotter: Snapshotter,
    reports: UnboundedReceiver<(Run, Report)>,
    parts: Vec<Arc<StatePart>>,
    chunks: Vec<Arc<ChunkRows>>,
    rows: i64,
}

impl Subtask {
    fn new() -> Self {
        let store = Arc::new(Gated::default());
        let (report, reports) = unbounded_channel();
        let snapshotter = Snapshotter {
            task: TaskId { task: 0, subtask: SubtaskIndex(0) },
            attempt: Attempt(1),
            lineage: "sales".into(),
            packer: Packer::eager(store.clone(), Handle::current()),
            store: store.clone(),
            io: Handle::current(),
            reports: Reports::new(Run(1), report),
            moving: Arc::default(),
        };
        Self { store, snapshotter, reports, parts: Vec::new(), chunks: Vec::new(), rows: 0 }
    }

    fn batch(&mut self) -> RecordBatch {
        self.rows += 1;
        let column = Arc::new(Int64Array::from(vec![self.rows]));
        RecordBatch::try_from_iter([("n", column as _)]).unwrap()
    }

    /// It learns something, and has something to put out.
    fn works(&mut self) {
        let (state, output) = (self.batch(), self.batch());
        let part =
            if self.rows % 8 == 0 { StatePart::new("rows", 0, state) } else { StatePart::write_only("keys", 0, state) };
        self.parts.push(part);
        self.chunks.push(ChunkRows::new(vec![output]));
    }

    /// A barrier comes. Gives how many parts and chunks there are.
    fn cut(&mut self, epoch: u64) -> (usize, usize) {
        let state = StateSnapshot { parts: self.parts.clone(), ..StateSnapshot::default() };
        let link = |sink: Option<&str>, frozen| FrozenLink {
            id: OperatorId("operator".into()),
            sink: sink.map(str::to_owned),
            ahead: None,
            frozen,
        };
        let links = vec![
            link(None, Frozen { state: Some(state), ..Frozen::default() }),
            link(Some("out"), Frozen { chunks: self.chunks.clone(), ..Frozen::default() }),
        ];
        let barrier = Barrier { epoch: Epoch(epoch), last: false, open: false };
        self.snapshotter.start(barrier, Cut::default(), links);
        (self.parts.len(), self.chunks.len())
    }

    fn lets_through(&self, writes: usize) {
        self.store.let_through.add_permits(writes);
    }

    async fn hears(&mut self) -> Result<Ack, Epoch> {
        match env::within(Duration::from_secs(5), self.reports.recv()).await.expect("a report") {
            Some((_, Report::Acked(ack, _))) => Ok(ack),
            Some((_, Report::Declined { epoch, .. })) => Err(epoch),
            other => panic!("{other:?}"),
        }
    }
}

fn numbers(ack: &Ack) -> Vec<(u64, u32)> {
    ack.chunks.iter().map(|chunk| (chunk.id.epoch.0, chunk.id.index)).collect()
}

fn numbers_in(batch: &RecordBatch) -> Vec<i64> {
    batch.column(0).as_primitive::<Int64Type>().values().to_vec()
}

fn places(ack: &Ack) -> Vec<&str> {
    ack.operators.iter().flat_map(|(_, state)| &state.parts).map(|part| part.file.path.0.as_str()).collect()
}

#[tokio::test]
async fn a_second_checkpoint_names_what_the_first_is_still_uploading() {
    let mut subtask = Subtask::new();
    subtask.works();
    subtask.cut(1);
    subtask.works();
    subtask.cut(2);
    subtask.lets_through(4);
    let mut acks = [subtask.hears().await.unwrap(), subtask.hears().await.unwrap()];
    acks.sort_by_key(|ack| ack.epoch);
    let [one, two] = acks;
    assert!(places(&two).contains(&places(&one)[0]), "{:?}, {:?}", places(&one), places(&two));
    assert_eq!((numbers(&one), numbers(&two)), (vec![(1, 0)], vec![(1, 0), (2, 0)]));
    assert_eq!(two.chunks[0], one.chunks[0], "the same file, under the same id");
    assert_eq!(subtask.store.inner.paths().len(), 4, "each written once");
}

#[tokio::test]
async fn what_the_first_checkpoint_could_not_upload_the_second_one_does() {
    let mut subtask = Subtask::new();
    subtask.store.inner.fail(Action::Put, "000000000001/", Fault::Before, 1);
    subtask.works();
    subtask.cut(1);
    subtask.works();
    subtask.cut(2);
    subtask.lets_through(10);
    assert_eq!(subtask.hears().await.unwrap_err(), Epoch(1));
    let two = subtask.hears().await.unwrap();
    assert_eq!(numbers(&two), [(1, 0), (2, 0)]);
    let there = subtask.store.inner.paths();
    assert!(places(&two).iter().all(|place| there.iter().any(|path| path == place)), "{:?}, {there:?}", places(&two));
    assert_eq!(two.operators[0].1.parts.iter().map(|part| part.rows).sum::<u64>(), 2);
}

#[tokio::test]
async fn there_is_no_checkpoint_of_state_that_the_storage_has_lost() {
    let mut subtask = Subtask::new();
    subtask.lets_through(Semaphore::MAX_PERMITS / 2);
    let mut last = None;
    // Every fourth part is of the other kind, and eight of one are merged.
    for epoch in 1..=10 {
        subtask.works();
        subtask.cut(epoch);
        last = subtask.hears().await.ok();
    }
    subtask.store.inner.remove(places(&last.unwrap())[2]);
    for epoch in [11, 12] {
        subtask.cut(epoch);
        assert_eq!(subtask.hears().await.unwrap_err(), Epoch(epoch), "what names the file can't be gone on from");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever fails and however uploads overlap: a share that is acknowledged names all there was at its cut, once, in
    /// files that are there and have it.
    #[test]
    fn a_share_names_all_that_there_was_at_its_cut(
        steps in prop::collection::vec((0_u8..4, any::<Index>()), 1..120),
        failures in prop::collection::vec((1_u64..20, 1_u32..3), 0..6),
    ) {
        let runtime = runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut subtask = Subtask::new();
            for (epoch, times) in failures {
                subtask.store.inner.fail(Action::Put, &format!("{epoch:012}/"), Fault::Before, times);
            }
            let (mut epoch, mut cuts, mut heard) = (0, Vec::new(), BTreeSet::new());
            let mut acks = Vec::new();
            for (step, index) in steps {
                match step {
                    0 => subtask.works(),
                    1 => {
                        epoch += 1;
                        cuts.push(subtask.cut(epoch));
                    }
                    2 => subtask.lets_through(index.index(4)),
                    _ => {
                        for _ in 0..index.index(30) {
                            tokio::task::yield_now().await;
                        }
                    }
                }
            }
            subtask.lets_through(Semaphore::MAX_PERMITS / 2);
            while heard.len() < cuts.len() {
                match subtask.hears().await {
                    Ok(ack) => {
                        heard.insert(ack.epoch);
                        acks.push(ack);
                    }
                    Err(epoch) => _ = heard.insert(epoch),
                }
            }
            let store: Arc<dyn Store> = subtask.store.clone();
            for ack in acks {
                let (parts, chunks) = cuts[ack.epoch.0 as usize - 1];
                let mut found = Vec::new();
                for part in &ack.operators[0].1.parts {
                    let (_, batches) = read(&store, &part.file).await.unwrap();
                    found.extend(numbers_in(&batches[part.batch as usize]));
                }
                found.sort_unstable();
                assert_eq!(found, (0..parts as i64).map(|part| 2 * part + 1).collect::<Vec<_>>(), "{ack:?}");
                let mut found = Vec::new();
                for chunk in &ack.chunks {
                    assert!(chunk.id.epoch <= ack.epoch);
                    let (_, batches) = read(&store, &chunk.file).await.unwrap();
                    found.extend(numbers_in(&batches[0]));
                }
                assert_eq!(found, (1..=chunks as i64).map(|chunk| 2 * chunk).collect::<Vec<_>>(), "{ack:?}");
                let mut ids: Vec<_> = ack.chunks.iter().map(|chunk| &chunk.id).collect();
                let ordered = ids.is_sorted();
                ids.dedup();
                assert!(ordered && ids.len() == chunks, "{ids:?}");
            }
        });
    }
}
