//! The sink with `ExactlyOnce` delivery.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use tidegate_crds::KafkaSink;

use super::{
    marker::{Finding, Mark, Markers},
    preflight, progress,
    transaction::{Target, Transaction},
};
use crate::{
    checkpoint::{CommitPermit, PermitError, destination::Destination},
    ids::Epoch,
    kafka::{Cluster, Trouble, blocking, find_topic},
    sink::{Chunk, ChunkId, Preflight, Publisher, SinkError},
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
    /// The marks of all slots were compared with the log: a log does not go back under a process that runs.
    agrees: AtomicBool,
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
                agrees: AtomicBool::new(false),
                markers: Mutex::default(),
            }),
        })
    }
}

#[async_trait]
impl Publisher for KafkaPublisher {
    fn destination(&self) -> Destination {
        let Inner { topic, progress, key, .. } = &*self.inner;
        let fields =
            [("kafka.topic", topic.clone()), ("kafka.progressTopic", progress.clone()), ("kafka.key", key.join(", "))];
        fields.into_iter().map(|(field, value)| (field.to_owned(), value)).collect()
    }

    async fn preflight(&self, schema: &SchemaRef, slots: u32, preflight: Preflight) -> Result<(), SinkError> {
        let (inner, schema) = (Arc::clone(&self.inner), Arc::clone(schema));
        let checked = blocking("look at the topic", move || {
            preflight::check(&inner.cluster, &inner.topic, &inner.key, &schema)?;
            inner.ensure_progress(slots, preflight)?;
            // Asks whether transactions of this length are accepted, and fences nobody.
            Transaction::init(&inner.target(), &format!("tidegate-{}-preflight", inner.name)).map(drop)
        });
        checked.await.map_err(|trouble| trouble.of_sink(&self.inner.name))
    }

    async fn publish(&self, permit: &CommitPermit, chunk: &Chunk) -> Result<(), SinkError> {
        debug_assert!(chunk.id.epoch <= permit.epoch(), "a permit covers its own epoch and earlier ones");
        let (inner, chunk, owned) = (Arc::clone(&self.inner), chunk.clone(), permit.owned());
        let published = blocking("publish a chunk", move || inner.publish(&chunk, owned)).await;
        self.judge(permit, published).await
    }

    async fn compare(&self, owned: Epoch, lineage: &str) -> Result<(), SinkError> {
        if self.inner.agrees.load(Ordering::Acquire) {
            return Ok(());
        }
        let (inner, prefix) = (Arc::clone(&self.inner), self.inner.prefix(lineage));
        let compared = blocking("look at the progress topic", move || match inner.ahead(&prefix, owned)? {
            Some((key, mark)) => Err(Trouble::Refused(inner.ahead_of_log(&key, &mark, owned))),
            None => Ok(()),
        });
        compared.await.map_err(|trouble| trouble.of_sink(&self.inner.name))
    }

    async fn take_over(&self, permit: &CommitPermit, lineage: &str) -> Result<(), SinkError> {
        if self.inner.agrees.load(Ordering::Acquire) {
            return Ok(());
        }
        let (inner, prefix, owned) = (Arc::clone(&self.inner), self.inner.prefix(lineage), permit.owned());
        let found = blocking("look at the progress topic", move || inner.ahead(&prefix, owned)).await;
        self.judge(permit, found).await?;
        self.inner.agrees.store(true, Ordering::Release);
        Ok(())
    }
}

/// A mark that the log does not know of, and its key.
type Ahead = Option<(String, Mark)>;

impl KafkaPublisher {
    /// Marks that are ahead of the log are those of a later attempt, whose log this is, too: then what they cover is
    /// published, and this process is not needed any more. If there is none, the log is not the one they were written by.
    async fn judge(&self, permit: &CommitPermit, found: Result<Ahead, Trouble>) -> Result<(), SinkError> {
        let name = &self.inner.name;
        let Some((key, mark)) = found.map_err(|trouble| trouble.of_sink(name))? else { return Ok(()) };
        match permit.confirm().await {
            Ok(()) => Err(Trouble::Refused(self.inner.ahead_of_log(&key, &mark, permit.owned())).of_sink(name)),
            Err(error @ PermitError::Over { .. }) => {
                tracing::info!(sink = name, key, ?mark, reason = %error, "published by a later attempt");
                Ok(())
            }
            Err(error @ PermitError::Unknown(_)) => {
                let action = format!("tell whose the marker `{key}` is");
                Err(Trouble::failed(action, error).of_sink(name))
            }
        }
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

    fn prefix(&self, lineage: &str) -> String {
        format!("{lineage}/{}/", self.name)
    }

    /// The newest mark of all slots, if it is behind what the log owns.
    fn ahead(&self, prefix: &str, owned: Epoch) -> Result<Ahead, Trouble> {
        let Some(topic) = find_topic(&self.cluster, &self.progress)? else { return Ok(None) };
        let marks = self.ask_markers(|markers| markers.all(prefix, topic.partitions))?;
        let newest = marks.into_iter().max_by_key(|(_, mark)| mark.at);
        Ok(newest.filter(|(_, mark)| mark.at.epoch > owned))
    }

    fn ahead_of_log(&self, key: &str, mark: &Mark, owned: Epoch) -> String {
        format!(
            "the progress topic `{}` is ahead of the job's log: `{key}` is published up to epoch {}, chunk {}, and the \
             newest epoch that the log owns is {owned}{}. So the checkpoints are older than what was published from them, as \
             after a restore from a backup or from a replica that lags. Nothing is written, since rows in topic `{}` would \
             come again or be left out. Bring the newest checkpoints back; or begin under another `jobId`, with \
             `restoreFrom`, and remove from the topic what comes again",
            self.progress,
            mark.at.epoch,
            mark.at.index,
            if mark.at.epoch == owned { ", with other rows" } else { "" },
            self.topic
        )
    }

    /// Writes the chunk unless it is there. A mark that the log does not know of is for the caller to judge.
    fn publish(&self, chunk: &Chunk, owned: Epoch) -> Result<Ahead, Trouble> {
        let id = &chunk.id;
        // A worker does not make the topic: the coordinator has, before rows came.
        self.ensure_progress(id.slot + 1, Preflight { awaited: true, dry_run: false })?;
        let partition = id.slot as i32;
        let target = self.target();
        let transaction = Transaction::init(&target, &transactional_id(id))?;
        let key = format!("{}{}", self.prefix(&id.lineage), id.slot);
        let newest = self.ask_markers(|markers| markers.newest(&key, partition))?;
        match Mark::find(newest.as_ref(), id, &chunk.checksum, owned) {
            Finding::Absent => transaction.write(chunk, partition, &key).map(|()| None),
            Finding::Published => {
                tracing::info!(sink = self.name, chunk = %id, ?newest, "chunk is already published");
                Ok(None)
            }
            Finding::Ahead(newest) => Ok(Some((key, newest.clone()))),
        }
    }

    fn ensure_progress(&self, slots: u32, preflight: Preflight) -> Result<(), Trouble> {
        if self.partitions.load(Ordering::Acquire) < slots {
            let found = progress::ensure(&self.cluster, &self.progress, &self.topic, slots, preflight)?;
            if self.partitions.fetch_max(found, Ordering::AcqRel) < found {
                // Who reads markers does not know the new partitions yet: made anew, it does.
                *self.markers.lock().unwrap_or_else(PoisonError::into_inner) = None;
            }
        }
        Ok(())
    }

    /// One that had no answer is not asked again: its client may have forgotten a partition, and for good
    /// (confluentinc/librdkafka#5280).
    fn ask_markers<T>(&self, ask: impl FnOnce(&Markers) -> Result<T, Trouble>) -> Result<T, Trouble> {
        let asked = self.markers()?;
        let answer = ask(&asked);
        if answer.is_err() {
            let mut markers = self.markers.lock().unwrap_or_else(PoisonError::into_inner);
            markers.take_if(|markers| Arc::ptr_eq(markers, &asked));
        }
        answer
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_had_no_answer_about_markers_is_not_asked_again() {
        let fields = serde_json::json!({ "bootstrapServers": "127.0.0.1:1", "topic": "sales" });
        let publisher = KafkaPublisher::new("out", &serde_json::from_value(fields).unwrap()).unwrap();
        let inner = &publisher.inner;
        let first = inner.markers().unwrap();
        inner.ask_markers(|_| Ok(())).unwrap();
        assert!(Arc::ptr_eq(&first, &inner.markers().unwrap()));
        inner.ask_markers(|_| Err::<(), _>(Trouble::failed("read the markers", "it took too long"))).unwrap_err();
        assert!(!Arc::ptr_eq(&first, &inner.markers().unwrap()));
    }
}
