//! From the document's sources and sinks to the systems behind them.

#![cfg_attr(not(all(feature = "clickhouse", feature = "kafka")), allow(unused))] // what only arms use that are left out

use std::sync::Arc;

use tidegate_crds::{Delivery, JobSpec, Problem, Problems, SinkSpec, SourceSpec};

use super::plan::{JobError, SinkTarget, SourceTable};
#[cfg(feature = "clickhouse")]
use crate::sink::clickhouse::ClickHousePublisher;
use crate::{
    format::arrow_schema,
    sink::{files::FilesPublisher, print::Print},
    source::{
        Source,
        files::Files,
        generator::{Generator, Orders},
    },
};
#[cfg(feature = "kafka")]
use crate::{
    sink::kafka::{KafkaDirectSink, KafkaPublisher},
    source::kafka::KafkaTopic,
};

/// The source at `spec.sources[index]` of the job with this id.
pub(super) fn source(job: &str, index: usize, spec: &SourceSpec) -> Result<SourceTable, JobError> {
    let mut schema = arrow_schema(&spec.schema);
    let source: Arc<dyn Source> = match spec {
        #[cfg(feature = "kafka")]
        SourceSpec { kafka: Some(kafka), .. } => Arc::new(KafkaTopic::new(job, &spec.name, kafka)?),
        SourceSpec { files: Some(files), .. } => Arc::new(Files::new(&spec.name, files)),
        SourceSpec { generator: Some(generator), .. } => {
            schema = Orders::schema();
            Arc::new(Generator::new(&spec.name, generator)?)
        }
        _ => return Err(no_kind(format!("spec.sources[{index}]"))),
    };
    Ok(SourceTable {
        name: spec.name.clone(),
        schema,
        watermark: spec.watermark.clone(),
        format: spec.format.clone(),
        source,
    })
}

/// The sink at `spec.sinks[index]`.
pub(super) fn sink(index: usize, spec: &SinkSpec, job: &JobSpec) -> Result<SinkTarget, JobError> {
    let name = spec.name.clone();
    Ok(match spec {
        #[cfg(feature = "kafka")]
        SinkSpec { kafka: Some(kafka), .. } if spec.delivery() == Delivery::ExactlyOnce => {
            SinkTarget::Published(Arc::new(KafkaPublisher::new(&name, kafka)?))
        }
        #[cfg(feature = "kafka")]
        SinkSpec { kafka: Some(kafka), .. } => {
            SinkTarget::Direct(Arc::new(KafkaDirectSink::new(&name, kafka, spec.delivery())))
        }
        #[cfg(feature = "clickhouse")]
        SinkSpec { click_house: Some(table), .. } => {
            let pending = job.checkpoint.most_pending();
            let field = format!("spec.sinks[{index}]");
            SinkTarget::Published(Arc::new(ClickHousePublisher::new(&name, &field, table, spec.delivery(), pending)?))
        }
        SinkSpec { files: Some(files), .. } => SinkTarget::Published(Arc::new(FilesPublisher::new(&name, files))),
        SinkSpec { print: Some(_), .. } => SinkTarget::Direct(Arc::new(Print::new(&name))),
        _ => return Err(no_kind(format!("spec.sinks[{index}]"))),
    })
}

/// The document's own check, and that of what this build has, say so first.
fn no_kind(field: String) -> JobError {
    Problems(vec![Problem::new(field, "names no system")]).into()
}
