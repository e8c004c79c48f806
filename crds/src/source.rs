//! Where records come from.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Column, HumanDuration, SecretRef};

/// A source: a name for the SQL, one system, a format and typed columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("[has(self.kafka), has(self.files), has(self.generator)].filter(set, set).size() == 1")
        .message("exactly one of kafka, files, generator is accepted"),
    validation = Rule::new("has(self.generator) != (self.schema.size() > 0)")
        .message("name the columns of the records; only a generator has columns of its own, and takes none")
        .field_path(".schema"),
    validation = Rule::new("!has(self.watermark) || (has(self.generator) ? self.watermark.column == 'ts' : self.schema.exists(column, column.name == self.watermark.column))")
        .message("the watermark's column must be one of the schema; a generator's is ts")
        .field_path(".watermark")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SourceSpec {
    /// Name of the table in the SQL.
    #[schemars(length(min = 1, max = 63), pattern("^[A-Za-z_][A-Za-z0-9_]*$"))]
    pub name: String,
    /// A topic of an Apache Kafka cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<KafkaSource>,
    /// JSON lines from files of the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<FilesSource>,
    /// Orders made up, for trying things out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generator: Option<GeneratorSource>,
    /// How bytes become columns; not for the generator, whose columns are fixed.
    #[serde(default)]
    pub format: FormatSpec,
    /// The columns; not for the generator.
    #[serde(default)]
    #[schemars(length(max = 1000), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub schema: Vec<Column>,
    /// Event time. Windows need it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark: Option<WatermarkSpec>,
}

/// Which column is the event time, and how late a record may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WatermarkSpec {
    /// A timestamp column of the schema.
    #[schemars(length(min = 1, max = 255))]
    pub column: String,
    /// How far the watermark stays behind the newest event of a partition.
    #[serde(default = "no_delay")]
    pub delay: HumanDuration,
    /// A partition without records for so long, while it was asked, no longer holds the watermark back. Never, when not
    /// set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<HumanDuration>,
    /// A record whose event time is further ahead of the clock is a bad one; `0s` accepts any time. `365d`, when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_ahead: Option<HumanDuration>,
}

/// How bytes become columns; JSON, one object a record.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("(self.badRecords == 'DeadLetter') == has(self.deadLetterSink)")
        .message("badRecords: DeadLetter and deadLetterSink go together; set both or neither")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FormatSpec {
    /// What happens to a record that is not JSON, does not fit the schema, or has an event time too far ahead.
    #[serde(default)]
    pub bad_records: BadRecords,
    /// The sink that takes bad records, with `badRecords: DeadLetter`: columns source, partition, offset, error, record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub dead_letter_sink: Option<String>,
    /// The sink that takes this source's late records, which are counted and dropped otherwise: columns source, `window_end`,
    /// record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub late_sink: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BadRecords {
    /// The job fails and names the record's place.
    #[default]
    Fail,
    /// The record is counted, logged by its place, and left out.
    Skip,
    /// The record goes to a sink of its own.
    DeadLetter,
}

/// Topics of an Apache Kafka cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("(self.startFrom == 'Timestamp') == has(self.startTimestamp)")
        .message("startFrom: Timestamp and startTimestamp go together; set both or neither")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KafkaSource {
    /// `host:port`, several separated by commas.
    #[schemars(length(min = 1, max = 4096))]
    pub bootstrap_servers: String,
    /// The topic to read.
    #[schemars(length(min = 1, max = 249))]
    pub topic: String,
    /// Group that offsets are committed to, for lag monitors; the job's own offsets are in its checkpoints. Default:
    /// `tidegate-<job>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_id: Option<String>,
    /// Where a job without a checkpoint begins. What that is is looked up once, when the job first starts.
    #[serde(default)]
    pub start_from: StartFrom,
    /// Where `startFrom: Timestamp` begins: an RFC 3339 instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_timestamp: Option<String>,
    /// Where the job ends; never, when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Until>,
    /// How often new partitions are looked for; `0s` turns it off. Up to `10s` the watermark waits for each look, so that
    /// what a new partition held before it was found is not late.
    #[serde(default = "discovery")]
    pub partition_discovery_interval: HumanDuration,
    /// Encryption and authentication; plain text without any when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security: Option<KafkaSecurity>,
    /// librdkafka properties, passed through; those that exactly-once rests on are refused.
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
}

/// How a Kafka cluster is spoken to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KafkaSecurity {
    /// `PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`.
    #[schemars(extend("enum" = ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]))]
    pub protocol: String,
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]))]
    pub sasl_mechanism: Option<String>,
    /// User name for SASL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<SecretRef>,
    /// Password for SASL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretRef>,
    /// Certificate authority, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<SecretRef>,
    /// Client certificate, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<SecretRef>,
    /// Key of the client certificate, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<SecretRef>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StartFrom {
    #[default]
    Earliest,
    Latest,
    GroupOffsets,
    Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Until {
    /// The end of every partition as it was when the job first started, behind transactions that were open then.
    #[serde(alias = "Latest")]
    Latest,
}

/// JSON lines from a path or a glob; bounded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FilesSource {
    /// A file, or a glob such as `/data/orders/*.jsonl`.
    pub path: String,
}

/// Deterministic orders: `order_id string, store_id bigint, amount decimal(12,2), ts timestamp(3)`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GeneratorSource {
    /// How many orders; without an end when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Orders a second over all subtasks; as fast as possible when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub rate: Option<u64>,
    /// Same seed, same orders.
    #[serde(default)]
    pub seed: u64,
    /// How many stores the orders are of.
    #[serde(default = "stores")]
    #[schemars(range(min = 1))]
    pub stores: u64,
    /// Share of orders that repeat an earlier one, 0 to 1.
    #[serde(default)]
    pub duplicates: f64,
    /// Share of orders whose event time is up to `maxDelay` behind, 0 to 1.
    #[serde(default)]
    pub out_of_order: f64,
    /// How far behind an out-of-order event may be.
    #[serde(default = "max_delay")]
    pub max_delay: HumanDuration,
    /// Event time that passes from one order to the next, in microseconds.
    #[serde(default = "step")]
    #[schemars(range(min = 1))]
    pub step_micros: u64,
    /// Event time of the first order: an RFC 3339 instant.
    #[serde(default = "start")]
    pub start: String,
}

fn no_delay() -> HumanDuration {
    HumanDuration::from_secs(0)
}

fn discovery() -> HumanDuration {
    HumanDuration::from_secs(1)
}

fn stores() -> u64 {
    1000
}

fn max_delay() -> HumanDuration {
    HumanDuration::from_secs(5)
}

fn step() -> u64 {
    1000
}

fn start() -> String {
    "2026-01-01T00:00:00Z".into()
}
