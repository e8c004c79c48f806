//! Looks a topic up, and says why it can't be used.

use std::time::Duration;

use rdkafka::{
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    metadata::{Metadata, MetadataTopic},
};
use tidegate_crds::nearest;

use super::{ANSWER_TIMEOUT, Cluster, Trouble, Watch, watch::Ailment};
use crate::env;

/// What a cluster says of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Topic {
    pub(crate) partitions: u32,
    pub(crate) replication: u32,
}

/// The topic, `None` when there is no such topic. Refused when the cluster does not let us in. Blocks.
pub(crate) fn find_topic(cluster: &Cluster, topic: &str) -> Result<Option<Topic>, Trouble> {
    let consumer: BaseConsumer<Watch> = cluster.connect(&[], &[("allow.auto.create.topics", "false")])?;
    let metadata = ask(cluster, &consumer, Some(topic))?;
    let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else { return Ok(None) };
    match found.error().map(RDKafkaErrorCode::from) {
        None if found.partitions().is_empty() => Ok(None),
        None => Ok(Some(Topic {
            partitions: found.partitions().len() as u32,
            replication: found.partitions().first().map_or(1, |first| first.replicas().len() as u32),
        })),
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => Ok(None),
        Some(RDKafkaErrorCode::TopicAuthorizationFailed) => Err(Trouble::Refused(format!(
            "the brokers at `{}` do not let this user see topic `{topic}`; grant it Describe",
            cluster.brokers
        ))),
        Some(RDKafkaErrorCode::InvalidTopic) => {
            Err(Trouble::Refused(format!("`{topic}` is not a name that a topic can have")))
        }
        Some(code) => Err(Trouble::failed(format!("look up topic `{topic}`"), KafkaError::MetadataFetch(code))),
    }
}

/// The topic, or a refusal that names the nearest one there is. Blocks.
pub(crate) fn describe_topic(cluster: &Cluster, topic: &str) -> Result<Topic, Trouble> {
    let deadline = env::monotonic() + ANSWER_TIMEOUT;
    loop {
        if let Some(found) = find_topic(cluster, topic)? {
            return Ok(found);
        }
        let consumer: BaseConsumer<Watch> = cluster.connect(&[], &[("allow.auto.create.topics", "false")])?;
        let metadata = ask(cluster, &consumer, None)?;
        let names = || metadata.topics().iter().map(MetadataTopic::name);
        // Brokers learn of a new topic one after the other: one that is listed will be found, too.
        if !names().any(|name| name == topic) || env::monotonic() >= deadline {
            let others = names().filter(|name| !name.starts_with("__") && *name != topic);
            return Err(Trouble::Refused(format!(
                "there is no topic `{topic}` at `{}`{}; make it, or correct `topic`",
                cluster.brokers,
                nearest(topic, others)
            )));
        }
    }
}

/// Asks in short turns, so that a refusal is noticed before the time is over.
fn ask(cluster: &Cluster, consumer: &BaseConsumer<Watch>, topic: Option<&str>) -> Result<Metadata, Trouble> {
    let deadline = env::monotonic() + ANSWER_TIMEOUT;
    loop {
        let answer = consumer.fetch_metadata(topic, Duration::from_secs(2));
        // Errors of connections arrive as events.
        while consumer.poll(Duration::ZERO).is_some() {}
        let ailment = consumer.client().context().newest();
        match answer {
            Ok(metadata) => return Ok(metadata),
            Err(error) => {
                if let Some(refusal) = ailment.as_ref().filter(|ailment| ailment.is_refusal()) {
                    return Err(Trouble::Refused(turned_away(cluster, refusal)));
                }
                if env::monotonic() >= deadline {
                    return Err(Trouble::Unreachable(unreachable(cluster, ailment.as_ref(), &error)));
                }
            }
        }
    }
}

fn turned_away(cluster: &Cluster, refusal: &Ailment) -> String {
    format!(
        "the brokers at `{}` refused to let us in: {}; check `security` (protocol, saslMechanism, username, password)",
        cluster.brokers, refusal.reason
    )
}

fn unreachable(cluster: &Cluster, ailment: Option<&Ailment>, error: &KafkaError) -> String {
    let brokers = &cluster.brokers;
    match ailment {
        Some(ailment) => format!(
            "no broker of `{brokers}` answered within {} s: {}; check `bootstrapServers`, `security.protocol` and the network",
            ANSWER_TIMEOUT.as_secs(),
            ailment.reason
        ),
        None => format!(
            "no broker of `{brokers}` answered within {} s ({error}); check `bootstrapServers`, `security.protocol` and the network",
            ANSWER_TIMEOUT.as_secs()
        ),
    }
}
