//! A sink that keeps what it is given, as JSON lines: each chunk once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use tidegate::{
    checkpoint::{CommitPermit, destination::Destination},
    format::json,
    sink::{Chunk, Preflight, Publisher, SinkError},
};

use super::process::root_of;
use crate::sim::{Outlet, Pid, Shared, World};

/// All that was published, by any process.
#[derive(Debug, Default)]
pub struct Published {
    chunks: BTreeSet<String>,
    /// Which job has a lineage.
    lineages: BTreeMap<String, usize>,
    /// Lines by job, sink and epoch.
    pub lines: BTreeMap<(usize, String, u64), Vec<String>>,
}

pub type SharedPublished = Arc<Mutex<Published>>;

#[derive(Clone)]
pub struct Capture {
    pub world: Shared,
    pub pid: Pid,
    pub job: usize,
    pub sink: String,
    pub published: SharedPublished,
}

impl std::fmt::Debug for Capture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Capture").field(&self.sink).finish()
    }
}

impl Capture {
    fn failed(&self, action: &str, cause: Box<dyn std::error::Error + Send + Sync>) -> SinkError {
        SinkError::Failed { sink: self.sink.clone(), action: action.to_owned(), cause }
    }
}

#[async_trait]
impl Publisher for Capture {
    fn destination(&self) -> Destination {
        Destination::from([("sink".to_owned(), self.sink.clone())])
    }

    async fn preflight(&self, _: &SchemaRef, _: u32, _: Preflight) -> Result<(), SinkError> {
        Ok(())
    }

    async fn publish(&self, permit: &CommitPermit, chunk: &Chunk) -> Result<(), SinkError> {
        assert!(chunk.id.epoch <= permit.epoch(), "a permit covers its own epoch and earlier ones");
        let mut lines = Vec::new();
        for batch in &chunk.rows {
            let encoded = json::encode(batch).map_err(|error| self.failed("encode rows", error.into()))?;
            lines.extend(encoded.rows().map(|row| String::from_utf8_lossy(row).into_owned()));
        }
        let (id, lineage, epoch) = (chunk.id.to_string(), chunk.id.lineage.clone(), chunk.id.epoch);
        let (job, sink, published) = (self.job, self.sink.clone(), self.published.clone());
        let insert = move |world: &mut World| {
            world.publishes_for(&root_of(job), epoch);
            let mut published = published.lock().unwrap_or_else(PoisonError::into_inner);
            if *published.lineages.entry(lineage).or_insert(job) != job {
                world.violate(format!("{id} of job {job} is of another job's lineage"));
            }
            let is_new = published.chunks.insert(id.clone());
            world.note(format_args!("publish {id}: {} rows{}", lines.len(), if is_new { "" } else { ", again" }));
            if is_new {
                published.lines.entry((job, sink, epoch.0)).or_default().extend(lines);
            }
        };
        let answered = self.world.lock().request(Outlet::Table, self.pid, &format!("publish {}", chunk.id), insert);
        answered.await.ok().flatten().ok_or_else(|| self.failed("publish rows", "no answer".into()))
    }
}
