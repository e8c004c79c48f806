//! A topic as a source.

use async_trait::async_trait;
use rdkafka::consumer::BaseConsumer;
use tidegate_crds::{KafkaSource, Until};

use super::{
    assign::{assign, by_partition},
    batch::BatchConsumer,
    offsets,
    reader::KafkaReader,
    start::Start,
};
use crate::{
    kafka::{Cluster, Trouble, Watch, blocking, describe_topic, failed_to},
    source::{ReaderContext, Source, SourceError, SourceReader, SplitState},
};

/// What the user may set otherwise. The queue is small (bytes) but never held back by a count, and a fetcher that found
/// it full looks again after 2 ms, not after librdkafka's second.
const DEFAULTS: [(&str, &str); 3] =
    [("fetch.queue.backoff.ms", "2"), ("queued.max.messages.kbytes", "4096"), ("queued.min.messages", "1000000")];

/// A topic of an Apache Kafka cluster.
#[derive(Debug, Clone)]
pub struct KafkaTopic {
    name: String,
    topic: String,
    group: String,
    start: Start,
    bounded: bool,
    discovery: Option<std::time::Duration>,
    cluster: Cluster,
}

impl KafkaTopic {
    /// `job`, the job's id, makes the default group, `name` is the source's. Looks up secrets and checks properties; asks no broker.
    pub fn new(job: &str, name: &str, spec: &KafkaSource) -> Result<Self, SourceError> {
        Self::plan(job, name, spec).map_err(|trouble| trouble.of_source(name))
    }

    fn plan(job: &str, name: &str, spec: &KafkaSource) -> Result<Self, Trouble> {
        let bounded = spec.until == Some(Until::Latest);
        let interval = spec.partition_discovery_interval.0;
        Ok(Self {
            name: name.to_owned(),
            topic: spec.topic.clone(),
            group: spec.group_id.clone().unwrap_or_else(|| format!("tidegate-{job}")),
            start: Start::new(spec).map_err(Trouble::Refused)?,
            bounded,
            discovery: (!bounded && !interval.is_zero()).then_some(interval),
            cluster: Cluster::new("kafka", &spec.bootstrap_servers, spec.security.as_ref(), &spec.properties)?,
        })
    }

    /// What exactly-once rests on.
    fn fixed(&self) -> [(&str, &str); 7] {
        [
            ("group.id", &self.group),
            ("isolation.level", "read_committed"),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("auto.offset.reset", "error"),
            ("enable.partition.eof", "true"),
            ("allow.auto.create.topics", "false"),
        ]
    }

    /// Blocks.
    fn open(&self, context: ReaderContext, restored: Option<&[SplitState]>) -> Result<KafkaReader, Trouble> {
        let found = describe_topic(&self.cluster, &self.topic)?;
        let wanted =
            assign(&self.topic, found.partitions, context, restored, self.bounded).map_err(Trouble::Refused)?;
        let planner: BaseConsumer<Watch> = self.cluster.connect(&DEFAULTS, &self.fixed())?;
        let splits = offsets::resolve(&planner, &self.topic, &wanted, self.start, self.bounded)?;
        drop(planner);
        let config = self.cluster.client(&DEFAULTS, &self.fixed());
        let consumer = BatchConsumer::new(&config).map_err(failed_to("make a Kafka consumer"))?;
        KafkaReader::new(&self.name, &self.topic, context, self.discovery, self.bounded, consumer, splits)
    }
}

#[async_trait]
impl Source for KafkaTopic {
    async fn preflight(&self) -> Result<(), SourceError> {
        let (cluster, topic) = (self.cluster.clone(), self.topic.clone());
        blocking("look at the topic", move || describe_topic(&cluster, &topic).map(drop))
            .await
            .map_err(|trouble| trouble.of_source(&self.name))
    }

    fn fits(&self, splits: &[SplitState]) -> Result<(), SourceError> {
        by_partition(&self.topic, splits).map(drop).map_err(|message| Trouble::Refused(message).of_source(&self.name))
    }

    async fn reader(
        &self,
        context: ReaderContext,
        restored: Option<Vec<SplitState>>,
    ) -> Result<Box<dyn SourceReader>, SourceError> {
        let topic = self.clone();
        let reader = blocking("open the topic", move || topic.open(context, restored.as_deref()))
            .await
            .map_err(|trouble| trouble.of_source(&self.name))?;
        Ok(Box::new(reader))
    }
}
