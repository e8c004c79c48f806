//! For tests: all subtasks of a keyed operator, given rows by key, checkpointed and restored by the worker's own code.

use std::{collections::BTreeSet, sync::Arc};

use arrow::array::{ArrayRef, RecordBatch};
use tidegate_crds::StateBackend;
use tokio::{runtime, sync::mpsc::unbounded_channel};

use super::{Emitted, KeyRange, Operator, Output, RestoredState};
use crate::{
    checkpoint::{
        destination::Destinations,
        manifest::{Manifest, OperatorState, StateKind, SubtaskState},
        pack::Packer,
        record::Trigger,
        store::{
            Store,
            memory::{Action, Fault, MemoryStore},
        },
    },
    element::Barrier,
    ids::{Attempt, Epoch, EventTime, OperatorId, Revision, Run, SubtaskIndex},
    memory::MemoryLimit,
    state::{Backend, WriteAhead},
    worker::{
        chain::FrozenLink,
        protocol::TaskId,
        report::{Report, Reports},
        restore::{Restored, Takes},
        snapshot::{Cut, Snapshotter},
        supply::Supply,
    },
};

pub const MAX_PARALLELISM: u32 = 16;

/// What the subtasks put out, with the key range of each.
pub type Outputs = Vec<(KeyRange, Vec<Emitted>)>;

type Build<O> = Box<dyn Fn(KeyRange, Vec<RestoredState>, WriteAhead, &Backend) -> O>;

pub struct Fleet<O> {
    build: Build<O>,
    keys: Vec<usize>,
    part_rows: usize,
    pub subtasks: Vec<(KeyRange, O)>,
    attempt: Attempt,
    epoch: Epoch,
    store: MemoryStore,
    memory: MemoryLimit,
    backend: Backend,
    /// Where state on the local disk is.
    folder: tempfile::TempDir,
    runtime: runtime::Runtime,
}

fn id() -> OperatorId {
    OperatorId("operator".into())
}

impl<O: Operator> Fleet<O> {
    /// `keys` are columns of the operator's input; parts of `part_rows` are written ahead; all together may use `memory`;
    /// `build` makes one subtask and restores it.
    pub fn new(
        parallelism: u32,
        keys: Vec<usize>,
        part_rows: usize,
        memory: MemoryLimit,
        build: impl Fn(KeyRange, Vec<RestoredState>, WriteAhead, &Backend) -> O + 'static,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut fleet = Self {
            build: Box::new(build),
            keys,
            part_rows,
            subtasks: Vec::new(),
            attempt: Attempt(1),
            epoch: Epoch(0),
            store: MemoryStore::new(),
            memory,
            backend: Backend::new(StateBackend::Memory, folder.path().to_owned(), memory),
            folder,
            runtime: runtime::Builder::new_current_thread().enable_time().build().unwrap(),
        };
        fleet.start(parallelism, &Restored::default());
        fleet
    }

    fn start(&mut self, parallelism: u32, restored: &Restored) {
        let _inside = self.runtime.handle().enter();
        self.subtasks = (0..parallelism)
            .map(|subtask| KeyRange { subtask: SubtaskIndex(subtask), parallelism, max_parallelism: MAX_PARALLELISM })
            .map(|range| {
                let folder = crate::checkpoint::manifest::folder(self.attempt, Epoch(0));
                let prefix = format!("{folder}state-{}-", range.subtask);
                let io = self.runtime.handle().clone();
                let packer = Packer::eager(Arc::new(self.store.clone()), io.clone());
                let ahead = WriteAhead::with_part_rows(self.part_rows, packer, io, prefix);
                (range, (self.build)(range, restored.keyed(&id(), range).unwrap(), ahead, &self.backend))
            })
            .collect();
    }

    /// Hands each subtask the rows of its keys.
    pub fn rows(&mut self, batch: &RecordBatch) -> Outputs {
        let keys: Vec<ArrayRef> = self.keys.iter().map(|key| batch.column(*key).clone()).collect();
        self.each(|range, subtask, out| {
            let own = range.filter(batch, &keys).unwrap();
            if own.num_rows() > 0 {
                subtask.on_batch(own, out).unwrap();
            }
        })
    }

    pub fn watermark(&mut self, watermark: i64) -> Outputs {
        self.each(|_, subtask, out| {
            let mut is_unfinished = subtask.on_watermark(EventTime(watermark), out).unwrap();
            while is_unfinished {
                is_unfinished = subtask.go_on(out).unwrap();
            }
        })
    }

    fn each(&mut self, mut act: impl FnMut(&KeyRange, &mut O, &mut Output)) -> Outputs {
        let _inside = self.runtime.handle().enter();
        let outputs = self.subtasks.iter_mut().map(|(range, subtask)| {
            let mut out = Output::default();
            act(range, subtask, &mut out);
            (*range, out.elements)
        });
        outputs.collect()
    }

    /// Takes a checkpoint; one that does not complete fails in what it uploads, if that is anything. Gives what each subtask
    /// remembers.
    pub fn checkpoint(&mut self, completes: bool) -> Vec<SubtaskState> {
        self.take(completes, false)
    }

    /// As [`Fleet::checkpoint`]; `open` for a savepoint, which any backend reads.
    fn take(&mut self, completes: bool, open: bool) -> Vec<SubtaskState> {
        self.epoch = self.epoch.next();
        let (reports, mut inbox) = unbounded_channel();
        let mut states = Vec::new();
        if !completes {
            let folder = crate::checkpoint::manifest::folder(self.attempt, self.epoch);
            self.store.fail(Action::Put, &folder, Fault::Before, u32::MAX);
        }
        let handle = self.runtime.handle().clone();
        for (range, subtask) in &mut self.subtasks {
            let snapshotter = Snapshotter {
                task: TaskId { task: 0, subtask: range.subtask },
                attempt: self.attempt,
                lineage: "fleet".into(),
                store: Arc::new(self.store.clone()),
                packer: Packer::eager(Arc::new(self.store.clone()), self.runtime.handle().clone()),
                io: self.runtime.handle().clone(),
                reports: Reports::new(Run(1), reports.clone()),
                moving: Arc::default(),
            };
            let inside = handle.enter();
            let link = FrozenLink { id: id(), sink: None, ahead: None, frozen: subtask.freeze().unwrap() };
            drop(inside);
            let barrier = Barrier { epoch: self.epoch, last: false, open };
            snapshotter.start(barrier, Cut::default(), vec![link]);
            match self.runtime.block_on(inbox.recv()) {
                Some((_, Report::Acked(ack, _))) => states.extend(ack.operators.into_iter().map(|(_, state)| state)),
                Some((_, Report::Declined { .. })) if !completes => {}
                other => panic!("not uploaded: {other:?}"),
            }
        }
        let there: BTreeSet<String> = self.store.paths().into_iter().collect();
        for file in states.iter().flat_map(SubtaskState::files) {
            assert!(there.contains(&file.path.0), "{} is named, and was never written", file.path);
        }
        states
    }

    /// Takes a checkpoint and goes on from it with new subtasks.
    pub fn restart(&mut self, parallelism: u32) {
        self.restart_with(parallelism, self.backend.kind(), false);
    }

    /// Goes on from a checkpoint, or a savepoint, with another backend.
    pub fn restart_with(&mut self, parallelism: u32, kind: StateBackend, from_savepoint: bool) {
        let subtasks = self.take(true, from_savepoint);
        let has_table = |state: &SubtaskState| !state.table.is_empty();
        assert!(!from_savepoint || !subtasks.iter().any(has_table), "a savepoint is of no backend");
        let operators = vec![OperatorState { id: id(), kind: StateKind::Deduplicate, written_as: None, subtasks }];
        let manifest = Manifest {
            format: Manifest::format_of(&operators, &[]),
            job: "fleet".into(),
            lineage: "fleet".into(),
            epoch: self.epoch,
            attempt: self.attempt,
            revision: Revision(1),
            trigger: Trigger::Interval,
            max_parallelism: MAX_PARALLELISM,
            created_at_ms: 0,
            operators,
            chunks: Vec::new(),
            sinks: Destinations::new(),
            beginning: None,
        };
        let store: Arc<dyn Store> = Arc::new(self.store.clone());
        let all = KeyRange { subtask: SubtaskIndex(0), parallelism: 1, max_parallelism: MAX_PARALLELISM };
        let operators = [(id(), StateKind::Deduplicate)].into();
        let takes = Takes { operators, max_parallelism: MAX_PARALLELISM, drops_the_rest: false };
        // The former process and its folder are gone.
        self.subtasks.clear();
        self.attempt = self.attempt.next();
        self.backend = Backend::new(kind, self.folder.path().to_owned(), self.memory);
        let ranges = [all];
        let supply = Supply::remote(store);
        let loading = Restored::load(&supply, &manifest, &takes, &ranges, &self.backend);
        let restored = self.runtime.block_on(loading).unwrap();
        self.start(parallelism, &restored);
    }

    /// Bytes of state that the subtasks keep in memory.
    pub fn in_memory(&self) -> u64 {
        self.backend.budget().used()
    }

    /// Bytes that each would have if all who keep state had the same.
    pub fn even_share(&self) -> u64 {
        self.backend.budget().even()
    }

    /// Deletes what is on the local disk.
    pub fn lose_local_folder(&self) {
        self.backend.folder().unwrap().remove();
    }

    /// State files that the newest checkpoint uploaded.
    pub fn uploads(&self) -> usize {
        let folder = crate::checkpoint::manifest::folder(self.attempt, self.epoch);
        self.store.paths().iter().filter(|path| path.starts_with(&folder)).count()
    }
}
