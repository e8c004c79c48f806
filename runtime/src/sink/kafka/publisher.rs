//! The sink with `ExactlyOnce` delivery.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use tidegate_crds::KafkaSink;

use super::{
    marker::Markers,
    preflight, progress,
    transaction::{Target, Transaction},
};
use crate::{
    checkpoint::CommitPermit,
    kafka::{Cluster, Trouble, blocking},
    sink::{Chunk, ChunkId, Publisher, SinkError},
};

/// Publishes chunks by one transaction each; see the module's documentation.
pub struct KafkaPublisher {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    topic: String,
    key: Vec<String>,
    progress: String,
    timeout: Duration,
    cluster: Cluster,
    /// Partitions that the progress topic is known to have.
    partitions: AtomicU32,
    markers: Mutex<Option<Arc<Markers>>>,
}

impl fmt::Debug for KafkaPublisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { name, topic, progress, cluster, .. } = &*self.inner;
        f.debug_struct("KafkaPublisher")
            .field("name", name)
            .field("topic", topic)
            .field("progress", progress)
            .field("cluster", cluster)
            .finish_non_exhaustive()
    }
}

impl KafkaPublisher {
    /// `name` is the sink's. Looks up secrets and checks properties; asks no broker.
    pub fn new(name: &str, spec: &KafkaSink) -> Result<Self, SinkError> {
        Self::plan(name, spec).map_err(|trouble| trouble.of_sink(name))
    }

    fn plan(name: &str, spec: &KafkaSink) -> Result<Self, Trouble> {
        let progress = spec.progress_topic.clone().unwrap_or_else(|| format!("{}-tidegate-progress", spec.topic));
        if progress == spec.topic {
            return Err(Trouble::Refused(format!(
                "kafka.progressTopic: found `{progress}`, which takes the rows; accepted is a topic of its own"
            )));
        }
        if spec.transaction_timeout.millis() < 1000 {
            return Err(Trouble::Refused(format!(
                "kafka.transactionTimeout: found {}; accepted is 1s or more",
                spec.transaction_timeout
            )));
        }
        let cluster = Cluster::new("kafka", &spec.bootstrap_servers, spec.security.as_ref(), &spec.properties)?;
        Ok(Self {
            inner: Arc::new(Inner {
                name: name.to_owned(),
                topic: spec.topic.clone(),
                key: spec.key.clone(),
                progress,
                timeout: spec.transaction_timeout.0,
                cluster,
                partitions: AtomicU32::new(0),
                markers: Mutex::default(),
            }),
        })
    }
}

#[async_trait]
impl Publisher for KafkaPublisher {
    async fn preflight(&self, schema: &SchemaRef, slots: u32) -> Result<(), SinkError> {
        let (inner, schema) = (Arc::clone(&self.inner), Arc::clone(schema));
        let checked = blocking("look at the topic", move || {
            preflight::check(&inner.cluster, &inner.topic, &inner.key, &schema)?;
            inner.ensure_progress(slots)?;
            // Asks whether transactions of this length are accepted, and fences nobody.
            Transaction::init(&inner.target(), &format!("tidegate-{}-preflight", inner.name)).map(drop)
        });
        checked.await.map_err(|trouble| trouble.of_sink(&self.inner.name))
    }

    async fn publish(&self, permit: &CommitPermit, chunk: &Chunk) -> Result<(), SinkError> {
        debug_assert!(chunk.id.epoch <= permit.epoch(), "a permit covers its own epoch and earlier ones");
        let (inner, chunk) = (Arc::clone(&self.inner), chunk.clone());
        let published = blocking("publish a chunk", move || inner.publish(&chunk));
        published.await.map_err(|trouble| trouble.of_sink(&self.inner.name))
    }
}

impl Inner {
    fn target(&self) -> Target<'_> {
        Target {
            cluster: &self.cluster,
            topic: &self.topic,
            key: &self.key,
            progress: &self.progress,
            timeout: self.timeout,
        }
    }

    fn publish(&self, chunk: &Chunk) -> Result<(), Trouble> {
        let id = &chunk.id;
        self.ensure_progress(id.slot + 1)?;
        let partition = id.slot as i32;
        let target = self.target();
        let transaction = Transaction::init(&target, &transactional_id(id))?;
        let key = marker_key(id);
        if let Some(newest) = self.markers()?.newest(&key, partition)?
            && newest.covers(id)
        {
            tracing::info!(sink = self.name, chunk = %id, ?newest, "chunk is already published");
            return Ok(());
        }
        transaction.write(chunk, partition, &key)
    }

    fn ensure_progress(&self, slots: u32) -> Result<(), Trouble> {
        if self.partitions.load(Ordering::Acquire) < slots {
            let found = progress::ensure(&self.cluster, &self.progress, &self.topic, slots)?;
            if self.partitions.fetch_max(found, Ordering::AcqRel) < found {
                // Who reads markers does not know the new partitions yet: made anew, it does.
                *self.markers.lock().unwrap_or_else(PoisonError::into_inner) = None;
            }
        }
        Ok(())
    }

    fn markers(&self) -> Result<Arc<Markers>, Trouble> {
        let mut markers = self.markers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(markers) = &*markers {
            return Ok(Arc::clone(markers));
        }
        let made = Arc::new(Markers::new(&self.cluster, &self.progress, self.timeout)?);
        *markers = Some(Arc::clone(&made));
        Ok(made)
    }
}

fn transactional_id(id: &ChunkId) -> String {
    format!("tidegate-{}-{}-{}", id.lineage, id.sink, id.slot)
}

fn marker_key(id: &ChunkId) -> String {
    format!("{}/{}/{}", id.lineage, id.sink, id.slot)
}
