//! Where results go.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{HumanDuration, KafkaSecurity, SecretRef};

/// A sink: a name for the SQL, one system, and what is promised of its output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SinkSpec {
    /// Name after `INSERT INTO`.
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<KafkaSink>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub click_house: Option<ClickHouseSink>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<FilesSink>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub print: Option<PrintSink>,
    /// What is promised. Default: `ExactlyOnce`; `AtLeastOnce` for `print`, which can't do more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
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
    pub bootstrap_servers: String,
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
    pub url: String,
    #[serde(default = "database")]
    pub database: String,
    pub table: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretRef>,
}

/// Files in a folder of this machine, one a chunk, each complete when it appears.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FilesSink {
    /// The folder.
    pub path: String,
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
