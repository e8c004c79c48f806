//! Putting the subtasks of a run together: operators with their state, channels between them, one subtask a slot.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tidegate_crds::api::FailureReason;
use tokio::{
    runtime::Handle,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinSet,
};

use super::{
    chain::{Chain, Link},
    edge::Edge,
    in_flight,
    keyed_task::{Entry, KeyedTask},
    protocol::{Control, TaskId},
    report::{Report, Reports},
    restore::{RestoreError, Restored, SourceColumns},
    slot::{Slots, Subtask},
    snapshot::Snapshotter,
    source_task::SourceTask,
    topology::{TaskShape, Topology},
    wiring::{Places, Wiring},
};
use crate::{
    checkpoint::{
        manifest::ManifestError,
        pack::Packer,
        starts::Starts,
        store::{Store, StoreError},
    },
    env,
    exchange::{
        gate::Gate,
        remote::{post::Post, send::Leaving},
        urge::Urge,
    },
    failure::Reason,
    format::intake::Intake,
    graph::{NodeId, NodeKind},
    ids::{Attempt, OperatorId, SubtaskIndex},
    job::JobPlan,
    metrics::named,
    operator::{
        KeyRange, Named, OperatorError,
        build::{Built, Context, build},
    },
    source::{Positions, ReaderContext, SourceError, lag::LagWatch, watermark::Watermarks},
    state::Backend,
};

/// What all subtasks of a run in this process share.
#[derive(Clone)]
pub struct Deployment {
    pub plan: Arc<JobPlan>,
    pub attempt: Attempt,
    pub lineage: String,
    /// How many subtasks each operator has.
    pub parallelism: u32,
    pub store: Arc<dyn Store>,
    /// Where the sources begin that the state does not have.
    pub starts: Arc<Starts>,
    /// Writes their files.
    pub packer: Packer,
    /// Where state is kept.
    pub backend: Backend,
    /// Those of the run that are here.
    pub tasks: BTreeSet<TaskId>,
    /// Where the others are: `host:port` of their worker's exchange.
    pub peers: BTreeMap<SubtaskIndex, String>,
    /// Where rows from other workers come in.
    pub post: Post,
    /// The runtime for uploads.
    pub io: Handle,
    /// Of the run.
    pub reports: Reports,
}

/// What a source subtask is told by.
struct Hears {
    control: UnboundedReceiver<Control>,
    urge: Arc<Urge>,
}

/// Subtasks of a run that are ready to run.
pub struct Ready {
    pub reports: Reports,
    slots: Vec<Vec<Subtask>>,
    /// To each source subtask.
    pub controls: Vec<UnboundedSender<Control>>,
    /// Of every subtask.
    pub urges: Vec<Arc<Urge>>,
    /// Channels to other workers, to be carried once all are ready.
    pub leaving: Vec<Leaving>,
}

impl Ready {
    pub fn start(self) -> std::io::Result<Slots> {
        Slots::start(self.slots, &self.reports)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Operator(#[from] OperatorError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Restore(#[from] RestoreError),
    #[error(
        "attempt {attempt} of the job was not begun in what a worker has as checkpoint storage, {location}; accepted is one \
         storage for all processes: for `local` a folder that they share"
    )]
    Elsewhere { attempt: Attempt, location: String },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("building the tasks has failed: {0}")]
    Panicked(String),
}

impl Reason for DeployError {
    fn reason(&self) -> FailureReason {
        match self {
            Self::Source(error) => error.reason(),
            Self::Operator(error) => error.reason(),
            Self::Manifest(error) => error.reason(),
            Self::Restore(error) => error.reason(),
            Self::Elsewhere { .. } => FailureReason::StorageUnfit,
            Self::Store(error) => error.reason(),
            Self::Panicked(_) => FailureReason::TaskFailed,
        }
    }
}

impl Deployment {
    /// Builds every subtask that is here, with its state: on threads of their own, all at once.
    pub async fn build(&self, restored: Arc<Restored>) -> Result<Ready, DeployError> {
        let topology = Topology::of(&self.plan.graph);
        let places = Places { here: &self.tasks, elsewhere: &self.peers };
        let run = (self.attempt, self.reports.run());
        let mut wiring = Wiring::new(&topology, run, self.parallelism, self.plan.exactly_once(), places);
        let mut slots: BTreeMap<SubtaskIndex, Vec<Subtask>> = BTreeMap::new();
        let (mut controls, mut urges) = (Vec::new(), Vec::new());
        let mut keyed = JoinSet::new();
        for id in self.tasks.iter().copied() {
            let Some(shape) = topology.tasks.get(id.task) else { continue };
            let edges = wiring.edges(&self.plan, shape, id);
            if let Some(gate) = wiring.gate(id) {
                urges.push(gate.urge());
                let (this, shape, restored) = (self.clone(), shape.clone(), restored.clone());
                env::spawn_busy(&mut keyed, move || this.keyed(id, &shape, gate, edges, &restored));
                continue;
            }
            let (control, told) = unbounded_channel();
            controls.push(control);
            let urge = Arc::<Urge>::default();
            urges.push(urge.clone());
            let hears = Hears { control: told, urge };
            let ready = self.source(id, shape, edges, hears, &restored).await?;
            slots.entry(id.subtask).or_default().push(ready);
        }
        while let Some(ready) = keyed.join_next().await {
            let ready = ready.map_err(|panic| DeployError::Panicked(panic.to_string()))??;
            slots.entry(ready.id.subtask).or_default().push(ready);
        }
        let leaving = wiring.connect(&self.post, &self.reports);
        Ok(Ready { reports: self.reports.clone(), slots: slots.into_values().collect(), controls, urges, leaving })
    }

    fn keyed(
        &self,
        id: TaskId,
        shape: &TaskShape,
        mut gate: Gate,
        edges: Vec<Edge>,
        restored: &Restored,
    ) -> Result<Subtask, DeployError> {
        let chain = Chain::new(self.links(id, shape, restored)?);
        let root = shape.nodes.first().and_then(|node| self.plan.graph.nodes.get(node.0));
        let Some((node, exchange)) = root.and_then(|node| Some((node, node.exchange_id()?))) else {
            return Err(internal(&self.name(id, shape), "a task with inputs does not begin with an exchange"));
        };
        gate.restore(in_flight::restored(&self.plan, node, restored, self.range(id.subtask))?);
        let task = KeyedTask { gate, exchange, chain, edges, snapshotter: self.snapshotter(id) };
        Ok(Subtask::new(id, self.name(id, shape), task))
    }

    async fn source(
        &self,
        id: TaskId,
        shape: &TaskShape,
        edges: Vec<Edge>,
        hears: Hears,
        restored: &Restored,
    ) -> Result<Subtask, DeployError> {
        let chain = Chain::new(self.links(id, shape, restored)?);
        let root = shape.nodes.first().and_then(|node| self.plan.graph.nodes.get(node.0));
        let Some((node, NodeKind::Source { source, projection })) = root.map(|node| (node, &node.kind)) else {
            return Err(internal(&self.name(id, shape), "a task without inputs does not begin with a source"));
        };
        let table = self.plan.source(source).ok_or_else(|| internal(source, "the plan does not have the source"))?;
        restored.reads_times_as_before(&self.plan, node, table)?;
        let restored = restored.splits(&node.id)?;
        let from = match (&restored, self.starts.get(&node.id)) {
            (Some(splits), _) => Positions::Restored(splits.clone()),
            (None, Some(splits)) => Positions::Found(splits.clone()),
            (None, None) => {
                return Err(internal(source, "neither a checkpoint nor the coordinator says where it begins"));
            }
        };
        let context = ReaderContext { subtask: id.subtask, parallelism: self.parallelism };
        let reader = table.source.reader(context, from).await?;
        let (reports, read) = (self.reports.clone(), source.clone());
        let tell = move |lag| reports.send(Report::Lag { source: read.clone(), subtask: id.subtask, lag });
        let watch = |probe| LagWatch::start(probe, &self.io, tell);
        let lag = reader.lag_probe().map(watch);
        let watermark = table.watermark.as_ref();
        let metrics = &self.plan.metrics;
        let task = SourceTask {
            id: node.id.clone(),
            columns: SourceColumns::of(table),
            reader,
            intake: Intake::new(
                source.clone(),
                &table.schema,
                projection,
                watermark,
                table.format.bad_records,
                metrics.source_bad_records.get_or_create(&named(source)).clone(),
            )?,
            watermarks: Watermarks::new(
                watermark.map(|watermark| watermark.delay.0).unwrap_or_default(),
                watermark.and_then(|watermark| watermark.idle_timeout).map(|timeout| timeout.0),
                env::monotonic(),
            ),
            restored: restored.unwrap_or_default(),
            chain,
            edges,
            urge: hears.urge,
            snapshotter: self.snapshotter(id),
            control: hears.control,
            reports: self.reports.clone(),
            records: metrics.source_records.get_or_create(&named(source)).clone(),
            positions: BTreeMap::new(),
            lag,
        };
        Ok(Subtask::new(id, self.name(id, shape), task))
    }

    fn links(&self, id: TaskId, shape: &TaskShape, restored: &Restored) -> Result<Vec<Link>, DeployError> {
        let snapshotter = self.snapshotter(id);
        let context = Context {
            plan: &self.plan,
            range: self.range(id.subtask),
            restored,
            backend: &self.backend,
            ahead: &|name| snapshotter.write_ahead(name),
        };
        let position = |wanted: &NodeId| shape.nodes.iter().position(|node| node == wanted);
        let mut links = Vec::new();
        for node_id in &shape.nodes {
            let Some(node) = self.plan.graph.nodes.get(node_id.0) else { continue };
            let Built { operator, sink, ahead } = match &node.kind {
                NodeKind::Source { .. } => Built { operator: Box::new(Entry), sink: None, ahead: None },
                _ => build(node, &context)?,
            };
            let readers = |side: bool| {
                let reads = move |id: &&NodeId| {
                    let reader = self.plan.graph.nodes.get(id.0);
                    reader.is_some_and(|reader| reader.inputs.contains(node_id) && reader.reads_side() == side)
                };
                shape.nodes.iter().skip(1).filter(reads).filter_map(position).collect()
            };
            let edges = (0..).zip(&shape.edges).filter(|(_, edge)| edge.from == *node_id).map(|(index, _)| index);
            links.push(Link {
                id: node.id.clone(),
                sink,
                ahead,
                operator,
                next: readers(false),
                side: readers(true),
                edges: edges.collect(),
            });
        }
        Ok(links)
    }

    fn range(&self, subtask: SubtaskIndex) -> KeyRange {
        KeyRange { subtask, parallelism: self.parallelism, max_parallelism: self.plan.spec.max_parallelism }
    }

    fn snapshotter(&self, task: TaskId) -> Snapshotter {
        Snapshotter {
            task,
            attempt: self.attempt,
            lineage: self.lineage.clone(),
            store: self.store.clone(),
            packer: self.packer.clone(),
            io: self.io.clone(),
            reports: self.reports.clone(),
            moving: Arc::default(),
        }
    }

    fn name(&self, id: TaskId, shape: &TaskShape) -> String {
        let root = shape.nodes.first().and_then(|node| self.plan.graph.nodes.get(node.0));
        format!("{}[{}]", root.map_or("task", |node| node.id.0.as_str()), id.subtask)
    }
}

/// What can't be, whatever the job, its systems and its state.
fn internal(of: &str, message: &str) -> DeployError {
    Named(OperatorId(of.to_owned())).fault(message).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_of_the_program_is_not_told_as_one_of_a_source_or_of_the_state() {
        let error = internal("orders", "the plan does not have the source");
        assert_eq!(error.reason(), FailureReason::TaskFailed);
        let told = error.failure().message;
        assert!(told.contains("`orders`: the plan does not have the source") && told.contains("report it"), "{told}");
    }
}
