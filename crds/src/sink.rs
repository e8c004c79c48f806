//! Where results go.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{HumanDuration, KafkaSecurity, SecretRef};

/// A sink: a name for the SQL, one system, and what is promised of its output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("[has(self.kafka), has(self.clickHouse), has(self.files), has(self.print)].filter(set, set).size() == 1")
        .message("exactly one of kafka, clickHouse, files, print is accepted"),
    validation = Rule::new("!has(self.files)")
        .message("a pod's disk is lost with the pod; write to kafka or clickHouse")
        .field_path(".files"),
    validation = Rule::new("!has(self.clickHouse) || !has(self.delivery) || self.delivery in ['ExactlyOnce', 'Idempotent']")
        .message("clickHouse delivers ExactlyOnce or Idempotent")
        .field_path(".delivery"),
    validation = Rule::new("!has(self.kafka) || !has(self.delivery) || self.delivery != 'Idempotent'")
        .message("kafka delivers ExactlyOnce, AtLeastOnce or None")
        .field_path(".delivery"),
    validation = Rule::new("!has(self.print) || !has(self.delivery) || self.delivery in ['AtLeastOnce', 'None']")
        .message("print delivers AtLeastOnce or None")
        .field_path(".delivery")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SinkSpec {
    /// Name after `INSERT INTO`.
    #[schemars(length(min = 1, max = 63), pattern("^[A-Za-z_][A-Za-z0-9_]*$"))]
    pub name: String,
    /// A topic of an Apache Kafka cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<KafkaSink>,
    /// A table of a ClickHouse server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub click_house: Option<ClickHouseSink>,
    /// Files in a folder; not in a pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<FilesSink>,
    /// JSON lines on standard output, to look at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub print: Option<PrintSink>,
    /// What is promised. Default: `ExactlyOnce`; `AtLeastOnce` for `print`, which can't do more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
}

impl SinkSpec {
    /// The delivery that is asked for, `ExactlyOnce` where none is.
    pub fn delivery(&self) -> Delivery {
        self.delivery.unwrap_or(Delivery::ExactlyOnce)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Delivery {
    /// Every row once, whatever fails.
    ExactlyOnce,
    /// Every row at least once, into a table that keeps one row a key (ClickHouse `ReplacingMergeTree`).
    Idempotent,
    /// Every row, some twice after a failure; written at once.
    AtLeastOnce,
    /// Written at once; rows may be lost or repeated after a failure.
    None,
}

/// A topic of an Apache Kafka cluster; rows as JSON objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KafkaSink {
    /// `host:port`, several separated by commas.
    #[schemars(length(min = 1, max = 4096))]
    pub bootstrap_servers: String,
    /// The topic to write.
    #[schemars(length(min = 1, max = 249))]
    pub topic: String,
    /// Columns whose values, joined by `|`, are the record's key; no key when empty.
    #[serde(default)]
    pub key: Vec<String>,
    /// Compacted topic that markers of published epochs go to, with `ExactlyOnce`. Made when missing. Default:
    /// `<topic>-tidegate-progress`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_topic: Option<String>,
    /// How long one transaction may take; not above the broker's `transaction.max.timeout.ms`.
    #[serde(default = "transaction_timeout")]
    pub transaction_timeout: HumanDuration,
    /// Encryption and authentication; plain text without any when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security: Option<KafkaSecurity>,
    /// librdkafka properties, passed through; those that exactly-once rests on are refused.
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
}

/// A table of a ClickHouse server, by HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClickHouseSink {
    /// Such as `http://clickhouse:8123`.
    #[schemars(length(min = 1, max = 2048), pattern("^https?://"))]
    pub url: String,
    /// The table's database.
    #[serde(default = "database")]
    pub database: String,
    /// The table to insert into.
    #[schemars(length(min = 1, max = 255))]
    pub table: String,
    /// User name; the server's default user when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Password of the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretRef>,
}

/// Files in a folder, one a chunk, each complete when it appears.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FilesSink {
    /// The folder.
    pub path: String,
    /// The folder is one and the same in every process of the job, such as one of a file system that all of them mount.
    /// Needed with workers: each publishes what it computes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
    /// How rows are written.
    #[serde(default)]
    pub format: FileFormat,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FileFormat {
    #[default]
    JsonLines,
    Parquet,
}

/// Rows as JSON lines on standard output.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrintSink {}

fn transaction_timeout() -> HumanDuration {
    HumanDuration::from_secs(60)
}

fn database() -> String {
    "default".into()
}
