//! Restarting some regions while the others go on, as the [`super::machine`] asks for it.

use std::{collections::BTreeSet, time::Duration};

use tidegate_crds::api::Failure;

use super::{driver::Loop, effects::order_to_build, event::Event, place::Former, workers::LONGEST_END};
use crate::{
    env,
    graph::NodeKind,
    ids::{RegionId, SubtaskIndex},
    worker::{
        protocol::{Action, TaskId},
        topology::{TaskShape, Topology},
    },
};

/// How far it is.
#[derive(Debug)]
pub enum Restarting {
    /// Their subtasks are being ended, since then.
    Ending { since: Duration },
    /// They wait for slots.
    Waiting { regions: BTreeSet<RegionId> },
    /// They are being built.
    Building,
}

impl Loop {
    /// Ends the subtasks of some regions, everywhere.
    pub(super) fn end_regions(&mut self, regions: &BTreeSet<RegionId>, failure: &Failure) -> Option<Event> {
        let tasks = self.describe(regions);
        tracing::warn!(tasks, reason = ?failure.reason, cause = failure.message, "some tasks restart, the others go on");
        self.forget_lags(regions);
        let current = self.current.as_mut()?;
        current.unexplained.explained(regions);
        current.restarting = Some(Restarting::Ending { since: env::monotonic() });
        for (worker, runs) in current.staff.end(regions) {
            self.job.workers.order(worker, current.attempt, Action::End(runs));
        }
        let nobody_left = current.staff.ending().is_empty();
        self.show_workers();
        nobody_left.then_some(Event::RegionsEnded)
    }

    /// Workers whose subtasks do not end are lost.
    pub(super) fn give_up_stuck(&mut self) {
        let Some(current) = &self.current else { return };
        let Some(Restarting::Ending { since }) = current.restarting else { return };
        if env::monotonic() >= since + LONGEST_END {
            for worker in current.staff.ending() {
                self.job.workers.give_up(worker, "its subtasks do not end");
            }
        }
    }

    /// Deploys regions that were ended again, from the newest checkpoint.
    pub(super) fn start_regions(&mut self, regions: BTreeSet<RegionId>) {
        if let Some(current) = &mut self.current {
            current.restarting = Some(Restarting::Waiting { regions });
        }
        self.deploy_regions();
    }

    /// Gives the subtasks of regions that wait for slots to workers, if there are enough.
    pub(super) fn deploy_regions(&mut self) {
        let Some(current) = &mut self.current else { return };
        let Some(Restarting::Waiting { regions }) = &current.restarting else { return };
        if let Err(found) = current.staff.rehome(&self.job.workers.slots()) {
            return self.wait_for_slots(found);
        }
        self.job.shared.waits_for(None);
        let runs = current.staff.begin(regions);
        for worker in current.staff.workers() {
            let subtasks = current.staff.subtasks_of(worker, &runs);
            if !subtasks.is_empty() {
                order_to_build(&self.job.workers, current, worker, subtasks, &runs);
            }
        }
        self.former = Former { parallelism: current.parallelism, places: current.staff.places() };
        current.restarting = Some(Restarting::Building);
        self.show_workers();
    }

    /// Runs regions that were deployed again, once every worker has built what it was to.
    pub(super) fn run_regions_when_ready(&mut self) -> Option<Event> {
        let current = self.current.as_mut()?;
        current.restarting.take_if(|step| matches!(step, Restarting::Building) && current.staff.all_ready())?;
        let restored = current.restored();
        self.direct(Action::Start);
        tracing::info!(epoch = restored.map(|restored| restored.epoch), "all tasks run again");
        self.job.shared.restored(restored);
        Some(Event::RegionsStarted)
    }

    /// Nobody reads where these were.
    fn forget_lags(&self, regions: &BTreeSet<RegionId>) {
        let graph = &self.job.plan.graph;
        let Some(current) = &self.current else { return };
        let topology = Topology::of(graph);
        for TaskId { task, subtask } in regions.iter().flat_map(|region| current.staff.regions().tasks(*region)) {
            let root = topology.tasks.get(task).and_then(|shape| graph.nodes.get(shape.nodes.first()?.0));
            if let Some(NodeKind::Source { source, .. }) = root.map(|node| &node.kind) {
                self.job.shared.lag(source, subtask, None);
            }
        }
    }

    /// The tasks of regions, for people: `orders[2]`, or `orders` for all of its subtasks.
    fn describe(&self, regions: &BTreeSet<RegionId>) -> String {
        let Some(current) = &self.current else { return String::new() };
        let graph = &self.job.plan.graph;
        let name = |(task, shape): (usize, &TaskShape)| {
            let id = &graph.nodes.get(shape.nodes.first()?.0)?.id;
            let is_of = |subtask: &u32| {
                let subtask = SubtaskIndex(*subtask);
                let region = current.staff.regions().region(TaskId { task, subtask });
                region.is_some_and(|region| regions.contains(&region))
            };
            let own: Vec<String> = (0..current.parallelism).filter(is_of).map(|subtask| subtask.to_string()).collect();
            match own.len() {
                0 => None,
                all if all == current.parallelism as usize => Some(id.to_string()),
                _ => Some(format!("{id}[{}]", own.join(", "))),
            }
        };
        let names: Vec<String> = Topology::of(graph).tasks.iter().enumerate().filter_map(name).collect();
        names.join(", ")
    }
}
