//! What the Kafka source and the Kafka sink share: how a cluster is spoken to, and what its answers mean.
//!
//! A [`Cluster`] is made of the document's words (brokers, security, properties) once, when the job is planned: a wrong
//! property or a missing secret is refused there. Each client is then made of it with the settings it needs, in three
//! layers, later ones winning: our defaults, the user's properties, and what exactly-once rests on.
//!
//! All clients report to a [`Watch`]: librdkafka's log goes to `tracing`, and the errors of its connections are kept,
//! since a call that timed out says nothing of *why* ("connection refused", "authentication failed"), and they do.
//!
//! Calls of librdkafka block. Those of this module are made on threads that may block, by [`blocking`].

mod cluster;
pub(crate) mod event;
mod topic;
mod topic_id;
mod trouble;
mod watch;

pub(crate) use cluster::Cluster;
pub(crate) use topic::{Topic, describe_topic, find_topic};
pub(crate) use topic_id::topic_id;
pub(crate) use trouble::{Trouble, blocking, failed_to};
pub(crate) use watch::{Ailment, Watch, log};

/// How long a question to the cluster may take before it counts as unreachable.
pub(crate) const ANSWER_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(20);
