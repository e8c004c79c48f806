//! The partials of the windows that are open: where they are, and how many there are of each.

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::RecordBatch;

use super::{
    accumulate::Shape,
    error::WindowError,
    merging::{Merging, merge},
    run::Run,
};
use crate::{
    memory::Share,
    state::{Backend, Departed, Rows, StatePart, bytes_of, spilled::SpillFolder},
};

/// A window has at least so many runs before any are merged.
const MERGE_FROM: usize = 4;
/// Rows that are merged by the task itself; more of them, beside it.
const MERGED_AT_ONCE: usize = 1 << 16;

pub struct Partials {
    shape: Arc<Shape>,
    /// By window start, the oldest first. Runs that are restored stand together as one, whatever they were before.
    windows: BTreeMap<i64, Vec<Run>>,
    merging: Option<Merging>,
    in_memory: u64,
    departed: Departed,
    share: Share,
    backend: Backend,
    /// What the local folder is named by.
    name: String,
    folder: Option<SpillFolder>,
}

impl Partials {
    pub fn new(shape: Arc<Shape>, backend: &Backend, name: String) -> Self {
        Self {
            shape,
            windows: BTreeMap::new(),
            merging: None,
            in_memory: 0,
            departed: Departed::default(),
            share: backend.budget().share(),
            backend: backend.clone(),
            name,
            folder: None,
        }
    }

    /// Adds partial states of a window.
    pub fn add(&mut self, start: i64, batch: &RecordBatch) -> Result<(), WindowError> {
        self.windows.entry(start).or_default().push(Run::new(start, batch));
        self.merge(start)?;
        self.recount();
        Ok(())
    }

    /// Adds partial states of a window as a checkpoint had them.
    pub fn restore(&mut self, start: i64, part: Arc<StatePart>) {
        let bytes = part.batch().map_or(0, |batch| bytes_of(&batch));
        let runs = self.windows.entry(start).or_default();
        match runs.first_mut() {
            Some(run) => run.add(part, bytes),
            None => {
                let mut run = Run::default();
                run.add(part, bytes);
                runs.push(run);
            }
        }
        self.in_memory += bytes;
    }

    /// What a checkpoint has to name.
    pub fn parts(&self) -> Vec<Arc<StatePart>> {
        self.windows.values().flatten().flat_map(Run::parts).cloned().collect()
    }

    /// Removes the first window if it has ended.
    pub fn take_ended(&mut self, has_ended: impl Fn(i64) -> bool) -> Option<Vec<Run>> {
        let first = self.windows.first_entry().filter(|first| has_ended(*first.key()))?;
        let (start, runs) = first.remove_entry();
        self.merging.take_if(|merging| merging.start == start);
        self.recount();
        Some(runs)
    }

    /// Where runs of windows that were taken go when they are done with.
    pub fn departed(&mut self) -> &mut Departed {
        &mut self.departed
    }

    /// How many bytes may be put together at a time.
    pub fn at_once(&self) -> u64 {
        self.share.even() / 4
    }

    /// Takes in what was merged beside the task, and sees to it that there is not too much in memory, of which the
    /// operator has `others` bytes more.
    pub fn keep_bounded(&mut self, others: u64) -> Result<(), WindowError> {
        self.take_merged()?;
        self.count(others);
        if self.share.is_over() {
            self.departed.release();
            self.count(others);
        }
        if self.share.is_over() {
            let wanted = self.share.even() / 2;
            while self.in_memory > wanted && self.spill_largest()? {}
            self.count(others);
        }
        Ok(())
    }

    fn count(&mut self, others: u64) {
        self.share.set(self.in_memory + self.departed.bytes() + others);
    }

    /// Merges a window's newest runs as long as the older one is not much larger: their number stays logarithmic, and a
    /// row is merged, and uploaded again, a logarithmic number of times.
    fn merge(&mut self, start: i64) -> Result<(), WindowError> {
        let Some(runs) = self.windows.get_mut(&start).filter(|runs| runs.len() >= MERGE_FROM) else { return Ok(()) };
        let being_merged = self.merging.as_ref().filter(|merging| merging.start == start);
        let least = being_merged.map_or(0, |merging| merging.from + merging.count);
        let (mut from, mut rows) = (runs.len(), 0);
        for (index, run) in runs.iter().enumerate().skip(least).rev() {
            if rows > 0 && run.rows() > 2 * rows {
                break;
            }
            (from, rows) = (index, rows + run.rows());
        }
        if from + 1 >= runs.len() {
            return Ok(());
        }
        let newest = runs.get(from..).unwrap_or_default();
        if rows <= MERGED_AT_ONCE && !newest.iter().any(Run::is_spilled) {
            let at_hand: Vec<Rows> = newest.iter().flat_map(Run::at_hand).collect();
            let merged = merge(&self.shape, start, &at_hand)?;
            runs.drain(from..).for_each(|run| run.depart(&mut self.departed));
            runs.push(merged);
        } else if self.merging.is_none() {
            let newest = newest.to_vec();
            let folder = self.folder()?;
            self.merging = Some(Merging::start(&self.shape, start, from, &newest, folder));
        }
        Ok(())
    }

    fn take_merged(&mut self) -> Result<(), WindowError> {
        let Some(merged) = self.merging.as_mut().and_then(Merging::done) else { return Ok(()) };
        let Some(merging) = self.merging.take() else { return Ok(()) };
        let (start, merged) = (merging.start, merged?);
        if let Some(runs) = self.windows.get_mut(&start) {
            let replaced = runs.splice(merging.from..merging.from + merging.count, [merged]);
            replaced.for_each(|run| run.depart(&mut self.departed));
            self.merge(start)?;
        }
        self.recount();
        Ok(())
    }

    /// Whether there was anything in memory.
    fn spill_largest(&mut self) -> Result<bool, WindowError> {
        let folder = self.folder()?;
        let largest = self.windows.values_mut().flatten().max_by_key(|run| run.in_memory());
        let Some(run) = largest.filter(|run| run.in_memory() > 0) else { return Ok(false) };
        run.spill(&self.shape, &folder)?;
        self.recount();
        Ok(true)
    }

    fn folder(&mut self) -> Result<SpillFolder, WindowError> {
        if let Some(folder) = &self.folder {
            return Ok(folder.clone());
        }
        Ok(self.folder.insert(SpillFolder::create(&self.backend, &self.name)?).clone())
    }

    fn recount(&mut self) {
        self.in_memory = self.windows.values().flatten().map(Run::in_memory).sum();
    }
}
