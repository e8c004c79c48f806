//! The plan of a job.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use arrow::datatypes::SchemaRef;
use futures::future::try_join_all;
use thiserror::Error;
use tidegate_crds::{
    CheckpointMode, FormatSpec, JobSpec, Problem, Problems, StreamJob, WatermarkSpec, api::FailureReason,
};

use super::{connect, needs};
use crate::{
    checkpoint::{destination::Destinations, manifest::sha256},
    failure::Reason,
    format::intake::dead_letter_schema,
    graph::{KnownAs, Node, NodeId, NodeKind, StreamGraph, WindowAggregate},
    ids::OperatorId,
    metrics::Metrics,
    operator::window::{LateEncoder, late_encoder, late_schema},
    sink::{DirectSink, Preflight, Publisher, SinkError},
    source::{Source, SourceError},
    sql::{self, Catalog, CatalogSource, SqlError},
};

/// A job that has been checked, with everything it is run from.
#[derive(Debug)]
pub struct JobPlan {
    /// For people.
    pub name: String,
    /// The job's identity; see [`StreamJob::id`].
    pub id: String,
    pub spec: JobSpec,
    pub graph: StreamGraph,
    pub sources: Vec<SourceTable>,
    pub sinks: BTreeMap<String, SinkTarget>,
    pub metrics: Arc<Metrics>,
    /// SHA-256 of the spec, hexadecimal, without what only the operator acts on.
    pub digest: String,
}

/// A source, as the job names it.
#[derive(Debug)]
pub struct SourceTable {
    pub name: String,
    pub schema: SchemaRef,
    pub watermark: Option<WatermarkSpec>,
    pub format: FormatSpec,
    pub source: Arc<dyn Source>,
}

/// A sink, by how it is written to.
pub enum SinkTarget {
    /// By the write-ahead log.
    Published(Arc<dyn Publisher>),
    /// At once.
    Direct(Arc<dyn DirectSink>),
}

impl fmt::Debug for SinkTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Published(publisher) => publisher.fmt(f),
            Self::Direct(sink) => sink.fmt(f),
        }
    }
}

#[derive(Debug, Error)]
pub enum JobError {
    #[error(transparent)]
    Problems(#[from] Problems),
    #[error(transparent)]
    Sql(#[from] SqlError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Sink(#[from] SinkError),
    #[error("failed to write the spec as JSON, for its digest")]
    Digest(#[from] serde_json::Error),
}

impl Reason for JobError {
    fn reason(&self) -> FailureReason {
        match self {
            Self::Problems(_) | Self::Sql(_) | Self::Digest(_) => FailureReason::DocumentInvalid,
            Self::Source(error) => error.reason(),
            Self::Sink(error) => error.reason(),
        }
    }
}

impl JobPlan {
    /// Plans the job.
    pub fn new(job: &StreamJob, metrics: Arc<Metrics>) -> Result<Self, JobError> {
        let (id, spec) = (job.id(), job.spec.of_runtime());
        needs::check(&spec)?;
        let sources = spec.sources.iter().enumerate().map(|(index, source)| connect::source(&id, index, source));
        let sources = sources.collect::<Result<Vec<_>, JobError>>()?;
        let graph = graph(&spec, &sources)?;
        let sinks = spec
            .sinks
            .iter()
            .enumerate()
            .map(|(index, sink)| Ok((sink.name.clone(), connect::sink(index, sink, &spec)?)));
        let sinks = sinks.collect::<Result<_, JobError>>()?;
        let digest = sha256(&serde_json::to_vec(&spec)?);
        Ok(Self { name: job.metadata.name.clone(), id, spec, graph, sources, sinks, metrics, digest })
    }

    /// Asks every source and sink whether the job can run with so many subtasks of each operator. Rows of the sinks in
    /// `awaited` are owned and may be there already. A `dry_run` makes nothing.
    pub async fn preflight(&self, parallelism: u32, awaited: &BTreeSet<String>, dry_run: bool) -> Result<(), JobError> {
        try_join_all(self.sources.iter().map(|table| table.source.preflight())).await?;
        let published = self.graph.nodes.iter().filter_map(|node| match &node.kind {
            NodeKind::Sink { sink, .. } => match self.sinks.get(sink) {
                Some(SinkTarget::Published(publisher)) => {
                    let preflight = Preflight { awaited: awaited.contains(sink), dry_run };
                    Some(publisher.preflight(&node.schema, parallelism, preflight))
                }
                _ => None,
            },
            _ => None,
        });
        try_join_all(published).await?;
        let direct = self.graph.nodes.iter().filter_map(|node| match &node.kind {
            NodeKind::Sink { sink, .. } => match self.sinks.get(sink)? {
                SinkTarget::Direct(direct) => Some(direct.preflight(&node.schema)),
                SinkTarget::Published(_) => None,
            },
            _ => None,
        });
        try_join_all(direct).await?;
        Ok(())
    }

    /// Where each sink that is published to sends its chunks.
    pub fn destinations(&self) -> Destinations {
        let published = self.sinks.iter().filter_map(|(name, target)| match target {
            SinkTarget::Published(publisher) => Some((name.clone(), publisher.destination())),
            SinkTarget::Direct(_) => None,
        });
        published.collect()
    }

    pub fn source(&self, name: &str) -> Option<&SourceTable> {
        self.sources.iter().find(|table| table.name == name)
    }

    /// Whether barriers are aligned.
    pub fn exactly_once(&self) -> bool {
        self.spec.checkpoint.mode == CheckpointMode::ExactlyOnce
    }

    /// How a window's late records become rows of their sink, where they have one.
    pub fn late_encoder(&self, window: &WindowAggregate) -> Option<LateEncoder> {
        self.source(&window.source)?.format.late_sink.as_ref()?;
        Some(late_encoder(window.source.clone()))
    }
}

/// The stream graph of the SQL, with the sinks that take late and bad records.
fn graph(spec: &JobSpec, sources: &[SourceTable]) -> Result<StreamGraph, JobError> {
    let catalog = Catalog {
        sources: sources
            .iter()
            .map(|table| CatalogSource {
                name: table.name.clone(),
                schema: table.schema.clone(),
                event_time: table.watermark.as_ref().map(|watermark| watermark.column.clone()),
            })
            .collect(),
        sinks: spec.sinks.iter().map(|sink| sink.name.clone()).collect(),
    };
    let mut graph = sql::plan(&spec.sql, &catalog)?;
    let mut problems = Vec::new();
    for (index, table) in sources.iter().enumerate() {
        let sides = [
            ("deadLetterSink", &table.format.dead_letter_sink, dead_letter_schema()),
            ("lateSink", &table.format.late_sink, late_schema()),
        ];
        for (field, sink, schema) in sides {
            let Some(sink) = sink else { continue };
            let path = format!("spec.sources[{index}].format.{field}");
            if graph.nodes.iter().any(|node| matches!(&node.kind, NodeKind::Sink { sink: used, .. } if used == sink)) {
                problems.push(Problem::new(path, format!("sink `{sink}` is written to already; give this its own")));
                continue;
            }
            let is_input = |node: &Node| match &node.kind {
                NodeKind::Source { source, .. } => field == "deadLetterSink" && *source == table.name,
                NodeKind::WindowAggregate(window) => field == "lateSink" && window.source == table.name,
                _ => false,
            };
            let inputs: Vec<usize> = (0..graph.nodes.len()).filter(|node| is_input(&graph.nodes[*node])).collect();
            match inputs.as_slice() {
                [input] => graph.nodes.push(Node {
                    id: OperatorId(format!("sink-{sink}")),
                    known_as: KnownAs::default(),
                    kind: NodeKind::Sink { sink: sink.clone(), side: true },
                    inputs: vec![NodeId(*input)],
                    schema,
                }),
                [] => problems.push(Problem::new(path, format!("nothing of source `{}` can be late", table.name))),
                _ => problems.push(Problem::new(
                    path,
                    format!(
                        "{} windows read source `{}`; one sink takes the late records of one",
                        inputs.len(),
                        table.name
                    ),
                )),
            }
        }
    }
    for (index, sink) in spec.sinks.iter().enumerate() {
        if !graph.nodes.iter().any(|node| matches!(&node.kind, NodeKind::Sink { sink: used, .. } if *used == sink.name))
        {
            problems.push(Problem::new(
                format!("spec.sinks[{index}]"),
                format!(
                    "nothing is written to `{}`; add an `INSERT INTO {}`, or leave the sink out",
                    sink.name, sink.name
                ),
            ));
        }
    }
    if problems.is_empty() { Ok(graph) } else { Err(Problems(problems).into()) }
}
