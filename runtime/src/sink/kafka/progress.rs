//! Makes the progress topic fit for its slots, or says what would.

use std::time::Duration;

use rdkafka::{
    admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication, TopicResult},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
};
use tokio::runtime::Handle;

use crate::{
    env,
    kafka::{ANSWER_TIMEOUT, Cluster, Topic, Trouble, Watch, describe_topic, find_topic},
};

/// The progress topic with at least `slots` partitions and compaction; made when missing, with the replication of
/// `rows_topic`. Blocks, on a thread of a tokio runtime.
pub(super) fn ensure(cluster: &Cluster, progress: &str, rows_topic: &str, slots: u32) -> Result<u32, Trouble> {
    let admin: AdminClient<Watch> = cluster.connect(&[], &[])?;
    let steps = Steps { cluster, admin, progress };
    if let Some(found) = find_topic(cluster, progress)? {
        steps.check_compacted()?;
        if found.partitions >= slots {
            return Ok(found.partitions);
        }
        steps.grow(found.partitions, slots)?;
    } else {
        steps.make(describe_topic(cluster, rows_topic)?, slots)?;
    }
    steps.wait_for(slots)
}

struct Steps<'a> {
    cluster: &'a Cluster,
    admin: AdminClient<Watch>,
    progress: &'a str,
}

impl Steps<'_> {
    fn make(&self, rows: Topic, slots: u32) -> Result<(), Trouble> {
        let topic = NewTopic::new(self.progress, slots as i32, TopicReplication::Fixed(rows.replication as i32))
            .set("cleanup.policy", "compact")
            // So that a reader that begins anew has little to read.
            .set("segment.ms", "3600000");
        let made = Handle::current().block_on(self.admin.create_topics([&topic], &options()));
        match first(made) {
            Ok(()) => {
                tracing::info!(topic = self.progress, partitions = slots, "made the progress topic");
                Ok(())
            }
            // Somebody was quicker.
            Err(KafkaError::AdminOp(RDKafkaErrorCode::TopicAlreadyExists)) => self.check_compacted(),
            Err(error) if is_forbidden(&error) => Err(Trouble::Refused(format!(
                "there is no progress topic `{}` at `{brokers}`, and this user may not make it; make it with\n  \
                 kafka-topics.sh --bootstrap-server {brokers} --create --topic {} --partitions {slots} \
                 --replication-factor {} --config cleanup.policy=compact",
                self.progress,
                self.progress,
                rows.replication,
                brokers = self.cluster.brokers,
            ))),
            Err(error) => Err(Trouble::failed(format!("make the progress topic `{}`", self.progress), error)),
        }
    }

    fn grow(&self, partitions: u32, slots: u32) -> Result<(), Trouble> {
        let more = NewPartitions::new(self.progress, slots as usize);
        let grown = Handle::current().block_on(self.admin.create_partitions([&more], &options()));
        match first(grown) {
            Ok(()) => {
                tracing::info!(topic = self.progress, partitions = slots, "added partitions to the progress topic");
                Ok(())
            }
            // Somebody was quicker: `wait_for` looks again.
            Err(KafkaError::AdminOp(RDKafkaErrorCode::InvalidPartitions)) => Ok(()),
            Err(error) if is_forbidden(&error) => Err(Trouble::Refused(format!(
                "the progress topic `{}` has {partitions} partitions, and this sink needs {slots}, one a slot; add them with\n  \
                 kafka-topics.sh --bootstrap-server {} --alter --topic {} --partitions {slots}",
                self.progress, self.cluster.brokers, self.progress
            ))),
            Err(error) => Err(Trouble::failed(format!("add partitions to topic `{}`", self.progress), error)),
        }
    }

    /// A topic that deletes by age forgets what was published.
    fn check_compacted(&self) -> Result<(), Trouble> {
        let action = format!("look up the settings of topic `{}`", self.progress);
        let (topic, options) = (ResourceSpecifier::Topic(self.progress), options());
        let answers = Handle::current()
            .block_on(self.admin.describe_configs([&topic], &options))
            .map_err(|error| Trouble::failed(&action, error))?;
        let Some(answer) = answers.into_iter().next() else {
            return Err(Trouble::failed(action, "the brokers named none"));
        };
        let settings = match answer {
            Ok(settings) => settings,
            Err(RDKafkaErrorCode::TopicAuthorizationFailed) => {
                return Err(Trouble::Refused(format!(
                    "this user may not see the settings of the progress topic `{}`, which must be compacted; grant it \
                     DescribeConfigs",
                    self.progress
                )));
            }
            Err(code) => return Err(Trouble::failed(action, KafkaError::AdminOp(code))),
        };
        let policy = settings.get("cleanup.policy").and_then(|entry| entry.value.clone()).unwrap_or_default();
        if policy == "compact" {
            return Ok(());
        }
        Err(Trouble::Refused(format!(
            "the progress topic `{}` has cleanup.policy `{policy}`, and only `compact` keeps the newest marker of every \
             slot; set another `progressTopic`, or correct it with\n  \
             kafka-configs.sh --bootstrap-server {} --alter --entity-type topics --entity-name {} --add-config \
             cleanup.policy=compact",
            self.progress, self.cluster.brokers, self.progress
        )))
    }

    /// A broker tells of what it made a little later.
    fn wait_for(&self, slots: u32) -> Result<u32, Trouble> {
        let deadline = env::monotonic() + ANSWER_TIMEOUT;
        loop {
            let found = find_topic(self.cluster, self.progress)?.map_or(0, |topic| topic.partitions);
            if found >= slots {
                return Ok(found);
            }
            if env::monotonic() >= deadline {
                return Err(Trouble::failed(
                    format!("make the progress topic `{}`", self.progress),
                    format!("it has {found} of {slots} partitions after {} s", ANSWER_TIMEOUT.as_secs()),
                ));
            }
            Handle::current().block_on(env::sleep(Duration::from_millis(50)));
        }
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(ANSWER_TIMEOUT)).operation_timeout(Some(ANSWER_TIMEOUT))
}

fn first(results: KafkaResult<Vec<TopicResult>>) -> KafkaResult<()> {
    match results?.into_iter().next() {
        Some(Err((_, code))) => Err(KafkaError::AdminOp(code)),
        _ => Ok(()),
    }
}

fn is_forbidden(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::ClusterAuthorizationFailed
                | RDKafkaErrorCode::PolicyViolation
        )
    )
}
