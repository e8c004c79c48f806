//! Brokers with transactions, as Apache Kafka has them: an id has one producer at a time, whoever begins with it fences
//! the one before and ends what it left open, rows and marker of a transaction are there together or not at all, and only
//! committed ones are seen.

use std::collections::BTreeMap;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use tidegate::{
    checkpoint::{CommitPermit, destination::Destination},
    ids::Epoch,
    sink::{Chunk, Preflight, Publisher, SinkError},
};

use super::{
    table::rows,
    world::{Outlet, Pid, Shared, World},
};

#[derive(Debug, Default)]
pub struct Broker {
    producers: BTreeMap<String, Producer>,
    /// Committed rows by job and sink, with their epochs, in the reference's words.
    pub rows: BTreeMap<String, Vec<(Epoch, String)>>,
    /// By key: what the newest committed marker says.
    markers: BTreeMap<String, Marker>,
}

/// The last chunk of a transaction.
type Marker = (Epoch, u32);

#[derive(Debug, Default)]
struct Producer {
    /// Grows with each who begins to use the id.
    epoch: u64,
    open: Option<(Vec<String>, Option<Marker>)>,
}

/// Somebody else uses the id by now.
#[derive(Debug, thiserror::Error)]
#[error("fenced")]
struct Fenced;

impl Broker {
    fn init(&mut self, id: &str) -> u64 {
        let producer = self.producers.entry(id.to_owned()).or_default();
        producer.open = None;
        producer.epoch += 1;
        producer.epoch
    }

    fn producer(&mut self, id: &str, epoch: u64) -> Result<&mut Producer, Fenced> {
        self.producers.get_mut(id).filter(|producer| producer.epoch == epoch).ok_or(Fenced)
    }

    fn send(&mut self, id: &str, epoch: u64, rows: Vec<String>) -> Result<(), Fenced> {
        self.producer(id, epoch)?.open.get_or_insert_default().0.extend(rows);
        Ok(())
    }

    fn mark(&mut self, id: &str, epoch: u64, marker: Marker) -> Result<(), Fenced> {
        self.producer(id, epoch)?.open.get_or_insert_default().1 = Some(marker);
        Ok(())
    }

    /// How many rows are seen now, and the marker of the same lane that was there before, if it is not an earlier one.
    fn commit(&mut self, sink: String, id: &str, epoch: u64) -> Result<(usize, Option<Marker>), Fenced> {
        let Some((rows, marker)) = self.producer(id, epoch)?.open.take() else { return Ok((0, None)) };
        let count = rows.len();
        let of = marker.map_or(Epoch(0), |(epoch, _)| epoch);
        self.rows.entry(sink).or_default().extend(rows.into_iter().map(|row| (of, row)));
        let before = marker.and_then(|marker| self.markers.insert(id.to_owned(), marker));
        Ok((count, before.filter(|before| Some(*before) >= marker)))
    }
}

/// Publishes to the brokers, in the steps of the real sink.
#[derive(Debug)]
pub struct TopicPublisher {
    pub world: Shared,
    pub pid: Pid,
    /// Of the job's store.
    pub root: &'static str,
    pub sink: String,
}

impl TopicPublisher {
    async fn ask<T: Send + 'static>(
        &self,
        action: &str,
        serve: impl FnOnce(&mut World) -> T + Send + 'static,
    ) -> Result<T, SinkError> {
        let answered = self.world.lock().request(Outlet::Brokers, self.pid, action, serve);
        answered.await.ok().flatten().ok_or_else(|| self.failed(action, "no answer".into()))
    }

    fn failed(&self, action: &str, cause: Box<dyn std::error::Error + Send + Sync>) -> SinkError {
        SinkError::Failed { sink: self.sink.clone(), action: action.to_owned(), cause }
    }
}

#[async_trait]
impl Publisher for TopicPublisher {
    fn destination(&self) -> Destination {
        Destination::from([("sink".to_owned(), self.sink.clone())])
    }

    async fn preflight(&self, _: &SchemaRef, _: u32, _: Preflight) -> Result<(), SinkError> {
        self.ask("look at the topic", |_| ()).await
    }

    async fn publish(&self, permit: &CommitPermit, chunk: &Chunk) -> Result<(), SinkError> {
        assert!(chunk.id.epoch <= permit.epoch(), "a permit covers its own epoch and earlier ones");
        let id = format!("{}-{}-{}", chunk.id.lineage, chunk.id.sink, chunk.id.slot);
        let name = |step: &str| format!("{step} {}", chunk.id);
        let of = id.clone();
        let epoch = self.ask(&name("init"), move |world| world.broker.init(&of)).await?;
        let of = id.clone();
        let newest = self.ask(&name("markers"), move |world| world.broker.markers.get(&of).copied()).await?;
        let marker = (chunk.id.epoch, chunk.id.index);
        if let Some(newest) = newest.filter(|newest| *newest >= marker) {
            // The real sink would refuse: its log is older than what was published from it. Here it never is.
            if newest.0 > permit.owned() && permit.confirm().await.is_ok() {
                let found = format!("{id} is published up to {newest:?}, and its log owns {}", permit.owned());
                self.world.lock().violate(found);
            }
            return Ok(());
        }
        let fenced = |error: Fenced| self.failed("write a transaction", error.into());
        let (of, rows) = (id.clone(), rows(chunk));
        self.ask(&name("rows"), move |world| world.broker.send(&of, epoch, rows)).await?.map_err(fenced)?;
        let of = id.clone();
        self.ask(&name("marker"), move |world| world.broker.mark(&of, epoch, marker)).await?.map_err(fenced)?;
        let (noted, root, sink) = (name("commit"), self.root, format!("{}{}", self.root, self.sink));
        let commit = move |world: &mut World| {
            let committed = world.broker.commit(sink, &id, epoch);
            if let Ok((_, Some(newer))) = committed {
                world.violate(format!("{noted} comes after {newer:?} of the same lane"));
            }
            if committed.is_ok() {
                world.publishes_for(root, marker.0);
            }
            world.note(format_args!("{noted}: {committed:?}"));
            committed
        };
        self.ask(&name("commit"), commit).await?.map_err(fenced)?;
        Ok(())
    }
}
