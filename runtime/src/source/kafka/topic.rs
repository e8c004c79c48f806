//! A topic as a source.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use rdkafka::consumer::{BaseConsumer, Consumer};
use tidegate_crds::{KafkaSource, Until};

use super::{
    assign::{assign, by_partition, same_topic},
    batch::BatchConsumer,
    offsets,
    reader::{KafkaReader, KnownTopic},
    start::Start,
};
use crate::{
    env,
    kafka::{Cluster, Trouble, Watch, blocking, describe_topic, failed_to, topic_id},
    source::{Positions, ReaderContext, Source, SourceError, SourceReader, SplitState},
};

/// What the user may set otherwise. The queue is small (bytes) but never held back by a count, and a fetcher that found
/// it full looks again after 2 ms, not after librdkafka's second.
const DEFAULTS: [(&str, &str); 3] =
    [("fetch.queue.backoff.ms", "2"), ("queued.max.messages.kbytes", "4096"), ("queued.min.messages", "1000000")];

/// A topic of an Apache Kafka cluster.
#[derive(Debug, Clone)]
pub struct KafkaTopic {
    pub(super) name: String,
    pub(super) topic: String,
    group: String,
    start: Start,
    pub(super) bounded: bool,
    pub(super) discovery: Option<Duration>,
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

    /// For a client that sees the ends of partitions behind open transactions, and reads nothing.
    fn uncommitted(&self) -> [(&str, &str); 7] {
        self.fixed().map(|(name, value)| (name, if name == "isolation.level" { "read_uncommitted" } else { value }))
    }

    /// A client that has heard nothing of the topic yet: it asks whether the places are those of the record before when it
    /// learns of the leaders.
    pub(super) fn consumer(&self) -> Result<Arc<BatchConsumer>, Trouble> {
        let config = self.cluster.client(&DEFAULTS, &self.fixed());
        BatchConsumer::new(&config).map_err(failed_to("make a Kafka consumer"))
    }

    /// For a bounded run.
    fn until(&self) -> Result<Option<BaseConsumer<Watch>>, Trouble> {
        self.bounded.then(|| self.cluster.connect(&DEFAULTS, &self.uncommitted())).transpose()
    }

    /// Which topic it is that has the name. Blocks.
    fn id(&self, planner: &BaseConsumer<Watch>) -> Result<Option<String>, Trouble> {
        let action = format!("look up the id of topic `{}`", self.topic);
        topic_id(planner.client(), &self.topic).map_err(failed_to(action))
    }

    /// Blocks.
    fn find(&self, known: Option<&[SplitState]>) -> Result<Vec<SplitState>, Trouble> {
        let found = describe_topic(&self.cluster, &self.topic)?;
        let planner: BaseConsumer<Watch> = self.cluster.connect(&DEFAULTS, &self.fixed())?;
        let id = self.id(&planner)?;
        let mut start = self.start;
        if let Some(known) = known {
            if same_topic(&self.topic, id.as_deref(), known).is_ok()
                && offsets::are_there(&planner, &self.topic, found.partitions, known)?
            {
                return Ok(known.to_vec());
            }
            tracing::warn!(
                source = self.name,
                topic = self.topic,
                "the topic was made anew since the job first started, which has no checkpoint yet: it begins in the new one"
            );
            if start == Start::Latest {
                // All that is there came since.
                start = Start::Earliest;
            }
        }
        let until = self.until()?;
        let splits = offsets::find(&planner, &self.topic, found.partitions, start, until.as_ref())?;
        Ok(splits.iter().map(|split| split.state(&self.topic, id.as_deref())).collect())
    }

    /// Blocks.
    fn open(&self, context: ReaderContext, from: &Positions) -> Result<KafkaReader, Trouble> {
        let asked_at = env::monotonic();
        let found = describe_topic(&self.cluster, &self.topic)?;
        let wanted = assign(&self.topic, found.partitions, context, from, self.bounded).map_err(Trouble::Refused)?;
        let planner: BaseConsumer<Watch> = self.cluster.connect(&DEFAULTS, &self.fixed())?;
        let id = self.id(&planner)?;
        same_topic(&self.topic, id.as_deref(), from.splits()).map_err(Trouble::Refused)?;
        // The others were found with their ends.
        let lacks_end = wanted.iter().any(|wanted| wanted.begin.end().is_none());
        let until = if lacks_end { self.until()? } else { None };
        let splits = offsets::resolve(&planner, &self.topic, &wanted, until.as_ref())?;
        drop((planner, until));
        let known_before = || from.splits().iter().find_map(|state| state.provenance.as_ref()?.topic_id.clone());
        let known = KnownTopic { id: id.or_else(known_before), partitions: found.partitions, asked_at };
        KafkaReader::new(self.clone(), context, splits, known)
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

    fn is_at_end(&self, splits: &[SplitState]) -> bool {
        self.bounded && splits.iter().all(|split| split.end.is_some_and(|end| split.next >= end))
    }

    async fn find_splits(&self, known: Option<&[SplitState]>) -> Result<Vec<SplitState>, SourceError> {
        let (topic, known) = (self.clone(), known.map(<[SplitState]>::to_vec));
        blocking("look at the topic", move || topic.find(known.as_deref()))
            .await
            .map_err(|trouble| trouble.of_source(&self.name))
    }

    /// Not the servers: a topic is known by its id.
    fn begins_by(&self) -> Option<String> {
        let Self { topic, group, start, bounded, .. } = self;
        Some(format!("{topic} {group} {start:?} {bounded}"))
    }

    async fn reader(&self, context: ReaderContext, from: Positions) -> Result<Box<dyn SourceReader>, SourceError> {
        let topic = self.clone();
        let reader = blocking("open the topic", move || topic.open(context, &from))
            .await
            .map_err(|trouble| trouble.of_source(&self.name))?;
        Ok(Box::new(reader))
    }
}
