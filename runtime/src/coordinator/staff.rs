//! Who has which subtasks of an attempt, in which runs, and how far each worker has come.
//!
//! A lost worker takes only its regions with it, if nothing that it does from now on can be seen. What its subtasks do can't:
//! their run does not count any more. But a worker that is lost to its coordinator may still publish what it was granted,
//! and nobody else in the attempt has those rows. Only a later attempt publishes them anew and fences the worker. So if there
//! is an epoch that may be owned, and the worker has not said that all of it is published, everything restarts.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_crds::api::RestoredBytes;

use super::{
    place::{Places, place_beside},
    workers::WorkerId,
};
use crate::{
    ids::{Epoch, RegionId, Run, SubtaskIndex},
    worker::regions::Regions,
};

#[derive(Debug, Default)]
pub struct Staff {
    regions: Regions,
    /// The run of each region that counts; none while the region is ended.
    runs: BTreeMap<RegionId, Run>,
    newest: Run,
    /// Those that subtasks were given to; none before there are enough slots.
    workers: BTreeMap<WorkerId, Progress>,
    /// Subtasks of lost workers.
    homeless: Vec<SubtaskIndex>,
    /// Who has still to say that a run's subtasks are gone.
    ending: BTreeSet<(WorkerId, Run)>,
    /// The newest epoch that may be owned.
    owned: Option<Epoch>,
}

/// How far a worker has come.
#[derive(Debug, Default)]
struct Progress {
    subtasks: Vec<SubtaskIndex>,
    /// Once what it was last to build is built.
    ready: Option<RestoredBytes>,
    published: Option<Epoch>,
    /// What single sinks have beyond that.
    sinks: BTreeMap<String, Epoch>,
}

/// What a lost worker takes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// It had no subtasks.
    Nothing,
    Regions(BTreeSet<RegionId>),
    /// It may still publish.
    Everything,
}

impl Staff {
    pub fn new(regions: Regions) -> Self {
        Self { regions, ..Self::default() }
    }

    pub fn regions(&self) -> &Regions {
        &self.regions
    }

    /// Subtasks are given to workers: all regions begin their first run.
    pub fn placed(&mut self, places: Places) -> BTreeMap<RegionId, Run> {
        let begun = |(worker, subtasks)| (worker, Progress { subtasks, ..Progress::default() });
        self.workers = places.into_iter().map(begun).collect();
        let all: BTreeSet<RegionId> = self.regions.all().collect();
        self.begin(&all)
    }

    pub fn is_placed(&self) -> bool {
        !self.workers.is_empty()
    }

    pub fn workers(&self) -> impl Iterator<Item = WorkerId> {
        self.workers.keys().copied()
    }

    /// The subtasks of a worker.
    pub fn subtasks(&self, worker: WorkerId) -> &[SubtaskIndex] {
        self.workers.get(&worker).map_or(&[], |progress| &progress.subtasks)
    }

    pub fn places(&self) -> Places {
        self.workers.iter().map(|(worker, progress)| (*worker, progress.subtasks.clone())).collect()
    }

    /// The region that a run is of, if it counts.
    pub fn region(&self, run: Run) -> Option<RegionId> {
        self.runs.iter().find(|(_, of)| **of == run).map(|(region, _)| *region)
    }

    /// A worker has built what it was to.
    pub fn ready(&mut self, worker: WorkerId, restored: RestoredBytes) {
        if let Some(progress) = self.workers.get_mut(&worker) {
            progress.ready = Some(restored);
        }
    }

    pub fn all_ready(&self) -> bool {
        self.is_placed() && self.workers.values().all(|progress| progress.ready.is_some())
    }

    /// What the workers have restored since subtasks were last given to them.
    pub fn restored(&self) -> RestoredBytes {
        self.workers.values().filter_map(|progress| progress.ready).sum()
    }

    /// From now on the epoch may be owned: who lost what it had for it would publish it.
    pub fn may_be_owned(&mut self, epoch: Epoch) {
        self.owned = Some(epoch);
    }

    /// A worker has published everything up to `epoch`; gives the newest epoch that all have, if that is a new one.
    pub fn published_by(&mut self, worker: WorkerId, epoch: Epoch) -> Option<Epoch> {
        let before = self.published();
        self.workers.get_mut(&worker)?.published = Some(epoch);
        self.published().filter(|_| self.published() > before)
    }

    /// A worker has published everything up to `epoch` to a sink; gives the newest epoch of it that all have, if it is
    /// this one's word that was missing.
    pub fn published_to(&mut self, worker: WorkerId, sink: &str, epoch: Epoch) -> Option<Epoch> {
        let of = |progress: &Progress| progress.published.max(progress.sinks.get(sink).copied());
        let all = |workers: &BTreeMap<WorkerId, Progress>| workers.values().map(of).min().flatten();
        let before = all(&self.workers);
        self.workers.get_mut(&worker)?.sinks.insert(sink.to_owned(), epoch);
        all(&self.workers).filter(|now| Some(*now) > before)
    }

    fn published(&self) -> Option<Epoch> {
        self.workers.values().map(|progress| progress.published).min().flatten()
    }

    /// A worker is lost.
    pub fn lose(&mut self, worker: WorkerId) -> Loss {
        let Some(Progress { subtasks, published, .. }) = self.workers.remove(&worker) else { return Loss::Nothing };
        self.ending.retain(|(of, _)| *of != worker);
        if published < self.owned {
            return Loss::Everything;
        }
        let regions = self.regions.at(&subtasks);
        self.homeless.extend(subtasks);
        Loss::Regions(regions)
    }

    /// The runs of these regions count no more. Gives the orders to end them.
    pub fn end(&mut self, regions: &BTreeSet<RegionId>) -> BTreeMap<WorkerId, Vec<Run>> {
        let mut orders: BTreeMap<WorkerId, Vec<Run>> = BTreeMap::new();
        for region in regions {
            let Some(run) = self.runs.remove(region) else { continue };
            for (worker, progress) in &self.workers {
                if self.regions.at(&progress.subtasks).contains(region) {
                    orders.entry(*worker).or_default().push(run);
                    self.ending.insert((*worker, run));
                }
            }
        }
        orders
    }

    /// A worker's subtasks of a run are gone. Whether that was the last one missing.
    pub fn ended(&mut self, worker: WorkerId, run: Run) -> bool {
        self.ending.remove(&(worker, run)) && self.ending.is_empty()
    }

    /// Who has still to say that subtasks are gone.
    pub fn ending(&self) -> BTreeSet<WorkerId> {
        self.ending.iter().map(|(worker, _)| *worker).collect()
    }

    /// Gives the subtasks of lost workers to others; fails with the number of slots there are, if they are too few.
    pub fn rehome(&mut self, slots: &[(WorkerId, u32)]) -> Result<(), u32> {
        let places = place_beside(slots, &self.places(), &self.homeless)?;
        self.homeless.clear();
        for (worker, subtasks) in places {
            // One that is new has nothing to publish of what there was.
            let new = || Progress { published: self.owned, ..Progress::default() };
            self.workers.entry(worker).or_insert_with(new).subtasks = subtasks;
        }
        Ok(())
    }

    /// New runs of regions that were ended. Those who have subtasks of them have something to build.
    pub fn begin(&mut self, regions: &BTreeSet<RegionId>) -> BTreeMap<RegionId, Run> {
        for progress in self.workers.values_mut() {
            let is_concerned = !self.regions.at(&progress.subtasks).is_disjoint(regions);
            progress.ready = (!is_concerned).then(RestoredBytes::default);
        }
        let mut runs = BTreeMap::new();
        for region in regions {
            self.newest = self.newest.next();
            runs.insert(*region, self.newest);
        }
        self.runs.extend(&runs);
        runs
    }

    /// The subtasks of a worker that one of these regions has.
    pub fn subtasks_of(&self, worker: WorkerId, regions: &BTreeMap<RegionId, Run>) -> Vec<SubtaskIndex> {
        let is_of = |subtask: &&SubtaskIndex| self.regions.at(&[**subtask]).iter().any(|of| regions.contains_key(of));
        self.subtasks(worker).iter().filter(is_of).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::topology::{TaskShape, Topology};

    const WORKERS: [WorkerId; 3] = [WorkerId(0), WorkerId(1), WorkerId(2)];

    /// A keyed pipeline, region 0, and one without an exchange, regions 1 to 3; each worker has one subtask.
    fn staff() -> Staff {
        let task = |inputs: &[usize]| TaskShape { nodes: Vec::new(), edges: Vec::new(), inputs: inputs.to_vec() };
        let regions = Regions::of(&Topology { tasks: vec![task(&[]), task(&[0]), task(&[])] }, 3);
        let mut staff = Staff::new(regions);
        let places = (0..).map(SubtaskIndex).zip(WORKERS).map(|(subtask, worker)| (worker, vec![subtask]));
        assert_eq!(staff.placed(places.collect()).values().map(|run| run.0).collect::<Vec<_>>(), [1, 2, 3, 4]);
        WORKERS.iter().for_each(|worker| staff.ready(*worker, RestoredBytes::default()));
        staff
    }

    fn set(regions: &[u32]) -> BTreeSet<RegionId> {
        regions.iter().copied().map(RegionId).collect()
    }

    #[test]
    fn a_run_counts_until_its_region_is_ended_and_then_the_next_one_does() {
        let mut staff = staff();
        let orders = staff.end(&set(&[0, 2]));
        let ended: Vec<(u32, Vec<u64>)> =
            orders.iter().map(|(worker, runs)| (worker.0, runs.iter().map(|run| run.0).collect())).collect();
        assert_eq!(ended, [(0, vec![1]), (1, vec![1, 3]), (2, vec![1])]);
        assert_eq!((staff.region(Run(1)), staff.region(Run(4))), (None, Some(RegionId(3))));
        assert!(staff.end(&set(&[0])).is_empty(), "once");
        for (worker, run, is_last) in [(0, 1, false), (1, 1, false), (1, 3, false), (1, 3, false), (2, 1, true)] {
            assert_eq!(staff.ended(WorkerId(worker), Run(run)), is_last, "worker {worker}, run {run}");
        }
        let runs = staff.begin(&set(&[0, 2]));
        assert_eq!(runs, [(RegionId(0), Run(5)), (RegionId(2), Run(6))].into());
        assert_eq!(staff.region(Run(5)), Some(RegionId(0)));
    }

    #[test]
    fn who_has_nothing_of_a_region_has_nothing_to_build() {
        let mut staff = staff();
        staff.end(&set(&[2]));
        let runs = staff.begin(&set(&[2]));
        assert!(!staff.all_ready());
        assert_eq!(staff.subtasks_of(WorkerId(1), &runs), [SubtaskIndex(1)]);
        assert_eq!(staff.subtasks_of(WorkerId(0), &runs), [] as [SubtaskIndex; 0]);
        staff.ready(WorkerId(1), RestoredBytes { remote_bytes: 7, ..RestoredBytes::default() });
        assert!(staff.all_ready());
        assert_eq!(staff.restored().remote_bytes, 7);
    }

    #[test]
    fn a_lost_worker_takes_its_regions_with_it_if_it_has_published_all_that_may_be_owned() {
        let mut staff = staff();
        assert_eq!(staff.lose(WorkerId(9)), Loss::Nothing);
        assert_eq!(staff.lose(WorkerId(2)), Loss::Regions(set(&[0, 3])), "nothing is owned yet");
        staff.may_be_owned(Epoch(1));
        assert_eq!(staff.published_by(WorkerId(1), Epoch(1)), None);
        assert_eq!(staff.lose(WorkerId(0)), Loss::Everything, "it has not said that epoch 1 is published");
        assert_eq!(staff.lose(WorkerId(1)), Loss::Regions(set(&[0, 2])));
    }

    #[test]
    fn a_sink_has_what_every_worker_has_published_to_it() {
        let mut staff = staff();
        let to = |staff: &mut Staff, worker, epoch| staff.published_to(WorkerId(worker), "up", Epoch(epoch));
        assert_eq!([to(&mut staff, 0, 8), to(&mut staff, 1, 9)], [None, None]);
        assert_eq!(staff.published_by(WorkerId(2), Epoch(5)), None, "not all sinks have it from all workers");
        assert_eq!(
            [to(&mut staff, 2, 8), to(&mut staff, 2, 9), to(&mut staff, 0, 9)],
            [Some(Epoch(8)), None, Some(Epoch(9))]
        );
        assert_eq!(staff.lose(WorkerId(9)), Loss::Nothing);
    }

    #[test]
    fn an_epoch_that_is_being_owned_may_be_published_by_who_is_lost() {
        let mut staff = staff();
        staff.may_be_owned(Epoch(1));
        assert_eq!(staff.published_by(WorkerId(0), Epoch(1)), None);
        staff.may_be_owned(Epoch(2));
        assert_eq!(staff.lose(WorkerId(0)), Loss::Everything);
    }

    #[test]
    fn a_worker_that_comes_for_a_lost_one_holds_no_epoch_back() {
        let mut staff = staff();
        staff.may_be_owned(Epoch(4));
        assert_eq!(WORKERS.map(|worker| staff.published_by(worker, Epoch(4))), [None, None, Some(Epoch(4))]);
        assert_eq!(staff.lose(WorkerId(1)), Loss::Regions(set(&[0, 2])));
        staff.end(&set(&[0, 2]));
        assert_eq!(staff.rehome(&[(WorkerId(0), 1), (WorkerId(2), 1)]), Err(2), "one each");
        assert_eq!(staff.rehome(&[(WorkerId(0), 1), (WorkerId(2), 1), (WorkerId(5), 1)]), Ok(()));
        assert_eq!(staff.subtasks(WorkerId(5)), [SubtaskIndex(1)]);
        let runs = staff.begin(&set(&[0, 2]));
        assert_eq!(runs.len(), 2);
        staff.may_be_owned(Epoch(5));
        let published = [0, 2].map(|worker| staff.published_by(WorkerId(worker), Epoch(5)));
        assert_eq!(published, [None, None]);
        assert_eq!(staff.published_by(WorkerId(5), Epoch(5)), Some(Epoch(5)));
    }

    #[test]
    fn nobody_waits_for_the_word_of_a_lost_worker() {
        let mut staff = staff();
        staff.end(&set(&[0]));
        assert_eq!(staff.ending().len(), 3);
        staff.lose(WorkerId(2));
        assert!(!staff.ended(WorkerId(0), Run(1)));
        assert!(staff.ended(WorkerId(1), Run(1)));
    }
}
