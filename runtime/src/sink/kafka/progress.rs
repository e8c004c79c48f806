//! Makes the progress topic fit for its slots, or says what would.
//!
//! It is made where nothing can be there yet that its markers would have told of: never for rows that may be published
//! already.

use std::time::Duration;

use rdkafka::{
    admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication, TopicResult},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
};
use tokio::runtime::Handle;

use crate::{
    env,
    kafka::{ANSWER_TIMEOUT, Cluster, Topic, Trouble, Watch, describe_topic, find_topic},
    sink::Preflight,
};

/// The replication from which on two of the copies can be in step while one is missing.
const ENOUGH_COPIES: u32 = 3;

/// The progress topic with at least `slots` partitions and compaction; made when missing, with the replication of
/// `rows_topic`, unless markers are awaited in it. Blocks, on a thread of a tokio runtime.
pub(super) fn ensure(
    cluster: &Cluster,
    progress: &str,
    rows_topic: &str,
    slots: u32,
    preflight: Preflight,
) -> Result<u32, Trouble> {
    let admin: AdminClient<Watch> = cluster.connect(&[], &[])?;
    let steps = Steps { cluster, admin, progress };
    if let Some(found) = find_topic(cluster, progress)? {
        steps.check_settings(found.replication)?;
        if found.partitions >= slots {
            return Ok(found.partitions);
        }
        if preflight.dry_run {
            return Ok(found.partitions);
        }
        steps.grow(found.partitions, slots)?;
    } else if preflight.awaited {
        return Err(steps.gone(rows_topic, slots));
    } else if preflight.dry_run {
        return Ok(0);
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
            // A leader that has not all markers would let what it does not know be written again.
            .set("unclean.leader.election.enable", "false")
            // So that a reader that begins anew has little to read.
            .set("segment.ms", "3600000");
        let topic = if rows.replication >= ENOUGH_COPIES { topic.set("min.insync.replicas", "2") } else { topic };
        let made = Handle::current().block_on(self.admin.create_topics([&topic], &options()));
        match first(made) {
            Ok(()) => {
                tracing::info!(topic = self.progress, partitions = slots, "made the progress topic");
                Ok(())
            }
            // Somebody was quicker.
            Err(KafkaError::AdminOp(RDKafkaErrorCode::TopicAlreadyExists)) => self.check_settings(rows.replication),
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

    /// The topic was there when what waits was written, and is not any more.
    fn gone(&self, rows_topic: &str, slots: u32) -> Trouble {
        Trouble::Refused(format!(
            "the progress topic `{}` is gone from `{brokers}`, and rows wait that may be in `{rows_topic}` already: without \
             its markers they would be written again. Bring it back; or, if they are not there, or may be there twice, \
             make it anew with\n  \
             kafka-topics.sh --bootstrap-server {brokers} --create --topic {} --partitions {slots} --config \
             cleanup.policy=compact",
            self.progress,
            self.progress,
            brokers = self.cluster.brokers,
        ))
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

    /// A topic that deletes by age forgets what was published; so does one whose leader may be a copy that lags.
    fn check_settings(&self, replication: u32) -> Result<(), Trouble> {
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
        let setting = |name: &str| settings.get(name).and_then(|entry| entry.value.clone()).unwrap_or_default();
        let policy = setting("cleanup.policy");
        if policy != "compact" {
            return Err(self.unfit(
                &format!("cleanup.policy `{policy}`, and only `compact` keeps the newest marker of every slot"),
                "cleanup.policy=compact",
            ));
        }
        if setting("unclean.leader.election.enable") == "true" {
            return Err(self.unfit(
                "unclean.leader.election.enable `true`, with which a copy that lags may become the leader: rows whose \
                 markers it lacks would be written again",
                "unclean.leader.election.enable=false",
            ));
        }
        let in_sync = setting("min.insync.replicas");
        if replication >= ENOUGH_COPIES && in_sync.parse::<u32>().is_ok_and(|copies| copies < 2) {
            tracing::warn!(
                topic = self.progress,
                replication,
                min_insync_replicas = in_sync,
                "markers of published rows may be on one broker only, and are lost with its disk: set min.insync.replicas=2"
            );
        }
        Ok(())
    }

    fn unfit(&self, found: &str, fix: &str) -> Trouble {
        Trouble::Refused(format!(
            "the progress topic `{}` has {found}; set another `progressTopic`, or correct it with\n  \
             kafka-configs.sh --bootstrap-server {} --alter --entity-type topics --entity-name {} --add-config {fix}",
            self.progress, self.cluster.brokers, self.progress
        ))
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
