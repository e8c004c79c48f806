//! What is done to a job while it runs.

use std::collections::{BTreeMap, BTreeSet};

use tidegate::{
    coordinator::api::Request,
    graph::{Node, NodeKind, StreamGraph},
    ids::OperatorId,
};
use tidegate_crds::api::{StopPurpose, StopRequest};
use tokio::sync::oneshot;

use super::{
    act::{By, Deed},
    change::{Change, Fate},
    history::{HOSTS, History, Pending, SECOND, Step, lock},
};
use crate::{chance::Chance, sim::Micros};

impl History {
    pub fn do_deed(&mut self, index: usize, deed: Deed) -> Result<(), String> {
        match deed {
            Deed::Kill { polls, back_after } => self.kill(polls, back_after),
            Deed::Ambush { upon, after, polls } => self.ambushes.push((upon, after, polls)),
            Deed::Fail { draw } => {
                let struck = self.world.lock().strike_one(draw);
                if let Some(pid) = struck {
                    self.run_process(pid)?;
                }
            }
            Deed::Rescale { parallelism } => {
                self.ask(Request::Rescale { parallelism, answer: oneshot::channel().0 }, "another parallelism")?;
            }
            Deed::Checkpoint => self.ask(Request::Checkpoint, "a checkpoint")?,
            Deed::Change { .. } if self.pending.is_some() || lock(&self.begun).is_empty() => {
                let later = self.now() + SECOND / 2;
                self.step(later, Step::Deed(index));
            }
            Deed::Change { by: By::Copy(original), .. } if !self.has(original) => {
                let later = self.now() + SECOND / 5;
                self.step(later, Step::Deed(index));
            }
            Deed::Change { changes, by, draw } => self.change(&changes, by, draw)?,
        }
        Ok(())
    }

    pub fn ask(&mut self, request: Request, what: &str) -> Result<(), String> {
        let Some(host) = self.host() else { return Ok(()) };
        let Some(desk) = self.world.lock().desks.get(&host).cloned() else { return Ok(()) };
        self.tell(&format!("{host} is asked for {what}"));
        // One that has ended is asked in vain.
        let _ended = desk.send(request);
        match self.processes.get(&host).map(|(_, process)| process.inside.pid) {
            Some(pid) => self.run_process(pid),
            None => Ok(()),
        }
    }

    pub fn kill(&mut self, polls: u64, back_after: Micros) {
        let (now, current) = (self.now(), self.current);
        let copying = self.copying().filter(|_| polls.is_multiple_of(2));
        let Some(host) = copying.or_else(|| self.host()) else { return };
        if let Some((_, process)) = self.processes.get_mut(&host) {
            process.stagger(polls);
        }
        self.kills += 1;
        self.remove(host);
        self.tell(&format!("{host} is killed"));
        match self.pending {
            Some(Pending { by: By::HandOver, .. }) => {}
            Some(Pending { stage, .. }) if copying.is_some() => self.step(now + back_after, Step::Start(host, stage)),
            Some(_) if !self.awaits_savepoint() => self.begin_pending(host),
            _ => self.step(now + back_after, Step::Start(host, current)),
        }
    }

    pub fn spring(&mut self) {
        let (now, moments) = {
            let mut world = self.world.lock();
            (world.now, std::mem::take(&mut world.moments))
        };
        for moment in moments {
            let Some(place) = self.ambushes.iter().position(|(upon, ..)| *upon == moment) else { continue };
            let (_, after, polls) = self.ambushes.remove(place);
            self.step(now + after, Step::Kill { polls });
        }
    }

    fn change(&mut self, changes: &[Change], by: By, draw: u64) -> Result<(), String> {
        let mut chance = Chance::new(draw);
        let mut version = self.stages[self.current].version.clone();
        let mut fate = Fate::Kept;
        for change in changes {
            fate = fate.max(change.apply(&mut chance, &mut version, &self.case.sources));
        }
        self.tell(&format!("changed by {by:?}: {changes:?} ({fate:?})"));
        self.changes_left -= 1;
        let stage = self.stage(version, fate)?;
        // Rows that wait in a deduplication have what was needed of them, and nobody can tell the rest.
        if waits_for_more(&self.stages[self.current].plan.graph, &self.stages[stage].plan.graph) {
            self.stages[stage].fate = Fate::MayBeRefused;
        }
        self.pending = Some(Pending { stage, by });
        let now = self.now();
        if let By::Copy(original) = by {
            return self.copy(stage, original, draw);
        }
        let Some(host) = self.host() else {
            // Nobody runs the old one now.
            self.pending = Some(Pending { stage, by: By::Kill });
            self.step(now + 1000, Step::Start(HOSTS[0], stage));
            return Ok(());
        };
        match by {
            By::Stop => self.ask(Request::Stop(StopRequest::new(StopPurpose::Suspend, true)), "its end")?,
            By::Kill => self.kill(draw % 40, 0),
            By::HandOver => {
                let other = if host == HOSTS[0] { HOSTS[1] } else { HOSTS[0] };
                self.step(now + 1000, Step::Start(other, stage));
            }
            By::Copy(_) => {}
        }
        Ok(())
    }
}

/// Whether some deduplication keeps columns of its rows that it did not before.
fn waits_for_more(before: &StreamGraph, after: &StreamGraph) -> bool {
    let kept = |graph: &StreamGraph| -> BTreeMap<OperatorId, BTreeSet<String>> {
        let of = |node: &Node| {
            let columns = node.known_as.written_as.columns.iter().flatten();
            let is_so = matches!(node.kind, NodeKind::Deduplicate { .. });
            is_so.then(|| (node.id.clone(), columns.map(|column| column.text.clone()).collect()))
        };
        graph.nodes.iter().filter_map(of).collect()
    };
    let before = kept(before);
    kept(after).iter().any(|(id, columns)| before.get(id).is_some_and(|known| !columns.is_subset(known)))
}
