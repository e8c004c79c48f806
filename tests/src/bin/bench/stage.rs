//! Parts of the job, as programs of their own: the raw limit that the job is measured against.

use std::{path::PathBuf, sync::Arc};

use arrow::json::ReaderBuilder;
use clap::Args;
use tidegate::{
    env,
    format::intake::Intake,
    graph::NodeKind,
    ids::SubtaskIndex,
    job::{JobPlan, SourceTable},
    metrics::{Metrics, named},
    source::{Fetched, Positions, ReaderContext},
};
use tidegate_crds::StreamJob;

/// A job's document, with fields set over it.
#[derive(Debug, Args)]
pub struct Stage {
    job: PathBuf,
    #[arg(long, value_name = "PATH=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,
}

pub fn pair(text: &str) -> Result<(String, String), String> {
    text.split_once('=').map(|(path, value)| (path.to_owned(), value.to_owned())).ok_or("accepted is PATH=VALUE".into())
}

/// What a stage does with the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duty {
    Consume,
    Decode,
    ArrowJson,
}

impl Stage {
    /// Reads the job's one source to its end, on as many threads as the job has subtasks, and prints the records.
    pub fn run(&self, duty: Duty) {
        let text = std::fs::read_to_string(&self.job).expect("the document");
        let job = StreamJob::from_yaml_with(&text, &self.set).expect("a valid document");
        let plan = JobPlan::new(&job, Metrics::new().into()).expect("a plan");
        let threads = plan.spec.parallelism;
        let read: usize = std::thread::scope(|scope| {
            let plan = &plan;
            let subtasks: Vec<_> = (0..threads).map(|subtask| scope.spawn(move || read(plan, subtask, duty))).collect();
            subtasks.into_iter().map(|subtask| subtask.join().expect("a subtask")).sum()
        });
        println!("{read}");
    }
}

/// The source of the job, and the columns it decodes.
fn source(plan: &JobPlan) -> (&SourceTable, &[usize]) {
    let mut sources = plan.graph.nodes.iter().filter_map(|node| match &node.kind {
        NodeKind::Source { source, projection } => Some((plan.source(source).expect("the source"), &projection[..])),
        _ => None,
    });
    sources.next().expect("a source")
}

/// One subtask's share.
fn read(plan: &JobPlan, subtask: u32, duty: Duty) -> usize {
    let (table, projection) = source(plan);
    let bad = plan.metrics.source_bad_records.get_or_create(&named(&table.name)).clone();
    let policy = table.format.bad_records;
    let mut intake = Intake::new(table.name.clone(), &table.schema, projection, table.watermark.as_ref(), policy, bad)
        .expect("a decoder");
    let columns = Arc::new(table.schema.project(projection).expect("the columns"));
    let mut arrow = ReaderBuilder::new(columns).with_batch_size(1 << 16).build_decoder().expect("a decoder");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let context = ReaderContext { subtask: SubtaskIndex(subtask), parallelism: plan.spec.parallelism };
        let from = Positions::Found(table.source.find_splits(None).await.expect("splits"));
        let mut reader = table.source.reader(context, from).await.expect("a reader");
        let mut read = 0;
        loop {
            match reader.fetch().await.expect("records") {
                Fetched::Records(records) => {
                    read += records.len();
                    let rows = match duty {
                        Duty::Consume => records.len(),
                        Duty::Decode => intake
                            .decode(records.as_ref(), |_| "of a bad record", env::wall_clock_ms())
                            .expect("good records")
                            .rows
                            .num_rows(),
                        Duty::ArrowJson => {
                            for payload in (0..records.len()).filter_map(|index| records.payload(index)) {
                                assert_eq!(arrow.decode(payload).expect("a good record"), payload.len());
                            }
                            arrow.flush().expect("a batch").map_or(0, |batch| batch.num_rows())
                        }
                    };
                    assert_eq!(rows, records.len());
                }
                Fetched::SplitsChanged | Fetched::SplitsKnown => {}
                Fetched::Rows { .. } => panic!("the source is to be decoded"),
                Fetched::Exhausted => return read,
            }
        }
    })
}
