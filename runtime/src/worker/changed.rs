//! Jobs that go on from the state of another version of themselves: the whole way from the document to the rows, by the
//! planner, the operators, files and a manifest; only tasks and sources are left out.

mod aggregates;
mod below;
mod earlier;
mod guide;
mod operators;
mod rows;
mod types;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use arrow::array::RecordBatch;
use tidegate_crds::{StateBackend, StreamJob};
use tokio::runtime::Handle;

use super::{
    adopt::adopt,
    in_flight,
    restore::{Restored, SourceColumns, Takes},
    supply::Supply,
};
use crate::{
    checkpoint::{
        manifest::{FileRef, Manifest, OperatorState, PartRef, StateKind, SubtaskState},
        pack::Packer,
        sample,
        store::{ObjectPath, Store, memory::MemoryStore},
    },
    format::json::{JsonDecoder, encode},
    graph::{Node, NodeKind},
    ids::{EventTime, SubtaskIndex},
    job::JobPlan,
    memory::MemoryLimit,
    metrics::Metrics,
    operator::{
        Emitted, KeyRange, Operator, Output,
        build::{Context, build},
    },
    source::{RawRecords, Run},
    state::{Backend, WriteAhead, file},
};

const NOT_NULL: &str = " not null";
const RANGE: KeyRange = KeyRange { subtask: SubtaskIndex(0), parallelism: 1, max_parallelism: 128 };

/// A job of a source `orders` with these columns, and of `returns` with the same ones if the SQL has it: the first time is
/// the event time. A type may have ` not null` behind it.
struct Version<'a> {
    columns: &'a [(&'a str, &'a str)],
    sql: &'a str,
    /// More of `spec`.
    more: &'a str,
}

impl Version<'_> {
    fn plan(&self) -> Result<JobPlan, String> {
        let column = |(name, kind): &(&str, &str)| {
            let nullable = !kind.ends_with(NOT_NULL);
            let kind = kind.trim_end_matches(NOT_NULL);
            format!("        - {{ name: {name}, type: \"{kind}\", nullable: {nullable} }}\n")
        };
        let columns: String = self.columns.iter().map(column).collect();
        let written = |sink: &&str| self.sql.contains(&format!("INSERT INTO {sink} "));
        let sink = |sink: &str| format!("    - {{ name: {sink}, files: {{ path: /tmp/unused }} }}\n");
        let sinks: String =
            ["totals", "alerts", "archive"].iter().filter(|sink| written(sink)).map(|name| sink(name)).collect();
        let sql: String = self.sql.lines().map(|line| format!("    {line}\n")).collect();
        // The first column that is a time.
        let time = self.columns.iter().find(|(_, kind)| kind.starts_with("timestamp")).map_or("ts", |(name, _)| *name);
        let source = |name: &str| {
            format!(
                "    - name: {name}\n      kafka: {{ bootstrapServers: \"localhost:9092\", topic: {name} }}\n      \
                 watermark: {{ column: {time}, delay: 0s }}\n      schema:\n{columns}"
            )
        };
        let sources: String =
            ["orders", "returns"].iter().filter(|name| self.sql.contains(**name)).map(|name| source(name)).collect();
        let document = format!(
            "
apiVersion: tidegate.dev/v1alpha1
kind: StreamJob
metadata: {{ name: changed }}
spec:
  sources:
{sources}  sql: |
{sql}  sinks:
{sinks}  checkpoint:
    storage: {{ local: {{ path: /tmp/unused }} }}
{}",
            self.more
        );
        let job = StreamJob::from_yaml(&document).map_err(|error| format!("{error}\n{document}"))?;
        JobPlan::new(&job, Arc::new(Metrics::new())).map_err(|error| crate::error_chain(&error))
    }

    fn start(&self) -> Job {
        Job::build(self.plan().unwrap(), &Restored::default(), MemoryStore::new()).unwrap()
    }

    /// Goes on from what another version has left, as a start does.
    async fn go_on(&self, saved: &Saved) -> Result<Job, String> {
        let plan = self.plan()?;
        let told = |error: &dyn std::error::Error| crate::error_chain(error);
        let manifest = adopt(&saved.manifest, &plan.graph).map_err(|error| told(&error))?;
        let takes = Takes::of(&plan);
        let store: Arc<dyn Store> = Arc::new(saved.store.clone());
        let restored = Restored::load(&Supply::remote(store), &manifest, &takes, &[RANGE], &backend()).await;
        Job::build(plan, &restored.map_err(|error| told(&error))?, saved.store.clone())
    }
}

fn backend() -> Backend {
    Backend::new(StateBackend::Memory, PathBuf::new(), MemoryLimit::given(64 << 20))
}

/// What a version has left.
struct Saved {
    manifest: Manifest,
    store: MemoryStore,
}

struct Job {
    plan: JobPlan,
    /// By place in the graph.
    operators: BTreeMap<usize, Box<dyn Operator>>,
    decoder: JsonDecoder,
    store: MemoryStore,
    watermark: EventTime,
    /// Rows in flight, by the node that they are on their way to.
    in_flight: BTreeMap<usize, Vec<RecordBatch>>,
    /// What sinks have got, line by line.
    written: BTreeMap<String, Vec<String>>,
}

struct Lines<'a>(&'a [&'a str]);

impl RawRecords for Lines<'_> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn payload(&self, index: usize) -> Option<&[u8]> {
        self.0.get(index).map(|line| line.as_bytes())
    }

    fn position(&self, index: usize) -> u64 {
        index as u64
    }

    fn runs(&self) -> &[Run] {
        &[]
    }
}

impl Job {
    fn build(plan: JobPlan, restored: &Restored, store: MemoryStore) -> Result<Self, String> {
        let backend = backend();
        let packer = Packer::new(Arc::new(store.clone()), Handle::current(), backend.memory().for_uploads());
        let ahead = |name: &str| WriteAhead::new(packer.clone(), Handle::current(), name.to_owned());
        let context = Context { plan: &plan, range: RANGE, restored, backend: &backend, ahead: &ahead };
        let (mut operators, mut waiting) = (BTreeMap::new(), Vec::new());
        for (index, node) in plan.graph.nodes.iter().enumerate() {
            match &node.kind {
                NodeKind::Sink { .. } => {}
                NodeKind::Source { source, .. } => {
                    let table = plan.source(source).unwrap();
                    restored.reads_times_as_before(&plan, node, table).map_err(|error| crate::error_chain(&error))?;
                }
                _ => {
                    let built = build(node, &context).map_err(|error| crate::error_chain(&error))?;
                    operators.insert(index, built.operator);
                    let rows = in_flight::restored(&plan, node, restored, RANGE);
                    waiting.extend(
                        rows.map_err(|error| crate::error_chain(&error))?.into_iter().map(|rows| (index, rows)),
                    );
                }
            }
        }
        let decoder = JsonDecoder::new(plan.sources[0].schema.clone()).unwrap();
        let (in_flight, written) = (BTreeMap::new(), BTreeMap::new());
        let mut job = Self { plan, operators, decoder, store, watermark: EventTime::MIN, in_flight, written };
        for (index, (as_of, rows)) in waiting {
            let mut out = Output::default();
            job.operators.get_mut(&index).unwrap().on_restored(rows, as_of, &mut out).unwrap();
            assert!(out.elements.is_empty(), "nothing comes out before a watermark");
        }
        Ok(job)
    }

    /// Records of the source, and how far they bring the watermark, if they do.
    fn read(&mut self, lines: &[&str], watermark: Option<i64>) {
        self.pass(lines, watermark, false);
    }

    /// Records that come as far as the exchanges.
    fn read_in_flight(&mut self, lines: &[&str]) {
        self.pass(lines, None, true);
    }

    fn pass(&mut self, lines: &[&str], watermark: Option<i64>, holds: bool) {
        let decoded = self.decoder.decode(&Lines(lines)).unwrap();
        assert_eq!(decoded.bad, [], "{lines:?}");
        self.watermark = watermark.map_or(self.watermark, EventTime);
        let nodes = self.plan.graph.nodes.clone();
        let mut outputs: Vec<Vec<RecordBatch>> = Vec::new();
        for (index, node) in nodes.iter().enumerate() {
            let input = node.inputs.first().map(|input| outputs[input.0].clone()).unwrap_or_default();
            outputs.push(match &node.kind {
                NodeKind::Source { projection, .. } => vec![decoded.batch.project(projection).unwrap()],
                NodeKind::Sink { sink, .. } => {
                    for batch in &input {
                        let lines = encode(batch).unwrap();
                        let lines =
                            lines.rows().map(|line| String::from_utf8(line.to_vec()).unwrap().trim().to_owned());
                        self.written.entry(sink.clone()).or_default().extend(lines);
                    }
                    Vec::new()
                }
                _ if holds && node.exchange_id().is_some() => {
                    self.in_flight.entry(index).or_default().extend(input);
                    Vec::new()
                }
                _ => self.operate(index, input, watermark),
            });
        }
    }

    fn operate(&mut self, index: usize, input: Vec<RecordBatch>, watermark: Option<i64>) -> Vec<RecordBatch> {
        let operator = self.operators.get_mut(&index).unwrap();
        let mut out = Output::default();
        for batch in input {
            operator.on_batch(batch, &mut out).unwrap();
        }
        if let Some(watermark) = watermark {
            let mut is_unfinished = operator.on_watermark(EventTime(watermark), &mut out).unwrap();
            while is_unfinished {
                is_unfinished = operator.go_on(&mut out).unwrap();
            }
        }
        let batches = out.elements.into_iter().filter_map(|emitted| match emitted {
            Emitted::Batch(batch) => Some(batch),
            _ => None,
        });
        batches.collect()
    }

    /// What sinks have got, each line once more if it came twice, in order.
    fn rows(&self, sink: &str) -> Vec<String> {
        let mut lines = self.written.get(sink).cloned().unwrap_or_default();
        lines.sort();
        lines
    }

    /// Lets all windows end and gives what the sink has got.
    fn finish(mut self, sink: &str) -> Vec<String> {
        self.read(&[], Some(i64::MAX - 1_000_000_000));
        self.rows(sink)
    }

    /// Takes a checkpoint, with what is in flight.
    async fn save(mut self) -> Saved {
        let mut manifest = sample::manifest(1, 1, Vec::new());
        manifest.operators.clear();
        let nodes = self.plan.graph.nodes.clone();
        for (index, node) in nodes.iter().enumerate() {
            let subtask = match &node.kind {
                NodeKind::Source { .. } => {
                    let SourceColumns { columns, event_time } = SourceColumns::of(&self.plan.sources[0]);
                    let value = serde_json::json!({ "splits": [], "columns": columns, "eventTime": event_time });
                    SubtaskState { value, ..SubtaskState::default() }
                }
                _ => {
                    let Some(operator) = self.operators.get_mut(&index) else { continue };
                    let Some(state) = operator.freeze().unwrap().state else { continue };
                    let mut parts = Vec::new();
                    for part in &state.parts {
                        parts.push(match part.durable() {
                            Some(durable) => durable,
                            None => self.write(part.kind, part.tag(), &part.batch().unwrap()).await,
                        });
                    }
                    SubtaskState { value: state.value, parts, table: Vec::new() }
                }
            };
            let id = node.id.clone();
            let kind = node.state_kind().unwrap();
            let written_as = self.plan.graph.written_as(&id);
            manifest.operators.push(OperatorState { id, kind, written_as, subtasks: vec![subtask] });
        }
        for (index, batches) in std::mem::take(&mut self.in_flight) {
            let mut parts = Vec::new();
            for rows in &batches {
                parts.push(self.write(in_flight::ROWS, self.watermark.0, rows).await);
            }
            let id = nodes[index].exchange_id().unwrap();
            let subtasks = vec![SubtaskState { parts, ..SubtaskState::default() }];
            manifest.operators.push(OperatorState { id, kind: StateKind::InFlight, written_as: None, subtasks });
        }
        manifest.format = Manifest::format_of(&manifest.operators, &[]);
        // As it is read back.
        let (bytes, reference) = manifest.encode().unwrap();
        let manifest = Manifest::decode(&reference.manifest, &bytes).unwrap();
        Saved { manifest, store: self.store }
    }

    async fn write(&self, kind: &str, tag: i64, rows: &RecordBatch) -> PartRef {
        write(&self.store, kind, tag, rows).await
    }

    fn node(&self, id: &str) -> &Node {
        let found = self.plan.graph.nodes.iter().find(|node| node.id.0 == id);
        found.unwrap_or_else(|| panic!("no {id} in\n{}", self.plan.graph))
    }
}

async fn write(store: &MemoryStore, kind: &str, tag: i64, rows: &RecordBatch) -> PartRef {
    let bytes = file::encode(&rows.schema(), [rows]).unwrap();
    let path = ObjectPath(format!("data/00000001/000000000001/part-{}.arrow", store.paths().len()));
    let reference = FileRef::of(path.clone(), &bytes);
    store.put(&path, bytes).await.unwrap();
    PartRef { kind: kind.to_owned(), tag, rows: rows.num_rows() as u64, file: reference, batch: 0 }
}

impl Saved {
    fn operator(&mut self, kind: StateKind) -> &mut OperatorState {
        self.manifest.operators.iter_mut().find(|operator| operator.kind == kind).unwrap()
    }
}

/// The rows, each as its values, in the order of the columns' names.
fn values(rows: &[String]) -> Vec<String> {
    let value = |line: &String| {
        let parsed: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).unwrap();
        parsed.values().map(ToString::to_string).collect::<Vec<_>>().join("|")
    };
    rows.iter().map(value).collect()
}
