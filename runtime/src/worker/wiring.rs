//! The channels of a worker's subtasks, until each end has found its own.
//!
//! Between two subtasks of one worker a channel is a queue; to a subtask of another it leaves by an outbox; from one it
//! is expected at the [`Post`].

use std::collections::{BTreeMap, BTreeSet};

use super::{
    edge::Edge,
    protocol::TaskId,
    report::{Report, Reports},
    topology::{TaskShape, Topology},
};
use crate::{
    exchange::{
        gate::Gate,
        local::{Sender, channels, outbox},
        remote::{
            ChannelError, ChannelId,
            post::{Inbox, Post},
            send::Leaving,
        },
    },
    failure::Reason,
    ids::{Attempt, Run, SubtaskIndex},
    job::JobPlan,
};

/// Which subtasks of a run are here, and where the others are.
#[derive(Debug)]
pub struct Places<'a> {
    pub here: &'a BTreeSet<TaskId>,
    /// `host:port` of their worker's exchange.
    pub elsewhere: &'a BTreeMap<SubtaskIndex, String>,
}

pub struct Wiring<'a> {
    attempt: Attempt,
    run: Run,
    parallelism: u32,
    places: Places<'a>,
    inputs: Vec<Vec<usize>>,
    gates: BTreeMap<TaskId, Gate>,
    /// By receiving subtask and channel.
    senders: BTreeMap<(TaskId, usize), Sender>,
    leaving: Vec<Leaving>,
}

impl<'a> Wiring<'a> {
    /// With `aligned`, receiving ends hold what is behind a barrier until it has come on all channels.
    pub fn new(
        topology: &Topology,
        (attempt, run): (Attempt, Run),
        parallelism: u32,
        aligned: bool,
        places: Places<'a>,
    ) -> Self {
        let mut wiring = Self {
            attempt,
            run,
            parallelism,
            places,
            inputs: topology.tasks.iter().map(|task| task.inputs.clone()).collect(),
            gates: BTreeMap::new(),
            senders: BTreeMap::new(),
            leaving: Vec::new(),
        };
        for id in wiring.places.here {
            let Some(shape) = topology.tasks.get(id.task).filter(|shape| !shape.inputs.is_empty()) else { continue };
            let (senders, gate) = channels(shape.inputs.len() * parallelism as usize, aligned);
            wiring.gates.insert(*id, gate);
            wiring.senders.extend((0..).zip(senders).map(|(channel, sender)| ((*id, channel), sender)));
        }
        wiring
    }

    /// The receiving end of a subtask that has one.
    pub fn gate(&mut self, id: TaskId) -> Option<Gate> {
        self.gates.remove(&id)
    }

    /// The sending ends of one subtask, edge by edge.
    pub fn edges(&mut self, plan: &JobPlan, shape: &TaskShape, id: TaskId) -> Vec<Edge> {
        let mut used: BTreeMap<usize, usize> = BTreeMap::new();
        let mut edges = Vec::new();
        for edge in &shape.edges {
            // The n-th edge to a task is the n-th of its inputs that is this one.
            let nth = used.entry(edge.to).or_default();
            let inputs = self.inputs.get(edge.to).map_or(&[][..], Vec::as_slice);
            let input = inputs.iter().enumerate().filter(|(_, from)| **from == id.task).nth(*nth);
            let channel = self.channel(input.map_or(0, |(index, _)| index), id.subtask);
            *nth += 1;
            let receivers =
                (0..self.parallelism).map(|subtask| TaskId { task: edge.to, subtask: SubtaskIndex(subtask) });
            let senders = receivers.filter_map(|receiver| self.sender(plan, receiver, channel)).collect();
            edges.push(Edge { keys: edge.keys.clone(), max_parallelism: plan.spec.max_parallelism, senders });
        }
        edges
    }

    /// Channels into a subtask are ordered by input, then by sending subtask.
    fn channel(&self, input: usize, from: SubtaskIndex) -> usize {
        input * self.parallelism as usize + from.0 as usize
    }

    fn sender(&mut self, plan: &JobPlan, to: TaskId, channel: usize) -> Option<Sender> {
        let Some(peer) = self.places.elsewhere.get(&to.subtask) else { return self.senders.remove(&(to, channel)) };
        let (sender, outbox) = outbox();
        let (id, peer, compression) = (self.id(to, channel), peer.clone(), plan.spec.exchange_compression);
        self.leaving.push(Leaving { id, peer, outbox, compression });
        Some(sender)
    }

    fn id(&self, to: TaskId, channel: usize) -> ChannelId {
        ChannelId { attempt: self.attempt, run: self.run, task: to.task, subtask: to.subtask, channel }
    }

    /// Once every subtask has its edges: has the channels from other workers expected, and gives those to them.
    pub fn connect(mut self, post: &Post, reports: &Reports) -> Vec<Leaving> {
        for ((to, channel), sender) in std::mem::take(&mut self.senders) {
            let id = self.id(to, channel);
            sender.comes_from_afar();
            let reports = reports.clone();
            let broken = Box::new(move |cause: ChannelError| reports.send(Report::Broken(cause.failure())));
            post.expect(id, Inbox { sender, broken });
        }
        self.leaving
    }
}
