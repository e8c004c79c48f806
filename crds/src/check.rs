//! What can be said of a document without planning its SQL or asking a server.

use std::{collections::BTreeSet, ops::RangeInclusive, path::Path};

use crate::{
    CheckpointMode, ColumnType, Delivery, HdfsStorage, JobSpec, KafkaSecurity, Problem, Problems, S3Storage, SinkSpec,
    SourceSpec, StartFrom, StreamJob,
    document::{API_VERSION, KIND},
    nearest,
};

/// librdkafka properties that a user can't set, each with what to use instead.
const RESERVED_PROPERTIES: [(&str, &str); 9] = [
    ("bootstrap.servers", "set `bootstrapServers`"),
    ("group.id", "set `groupId`"),
    ("enable.auto.commit", "offsets are committed after each checkpoint"),
    ("enable.auto.offset.store", "offsets are kept in checkpoints"),
    ("auto.offset.reset", "set `startFrom`"),
    ("isolation.level", "sources read what is committed"),
    ("transactional.id", "it is made from job, sink and slot"),
    ("enable.idempotence", "it follows from `delivery`"),
    ("transaction.timeout.ms", "set `transactionTimeout`"),
];

impl StreamJob {
    /// All that is wrong with the document on its own.
    pub fn check(&self) -> Result<(), Problems> {
        let mut problems = Vec::new();
        if self.api_version != API_VERSION {
            problems
                .push(Problem::new("apiVersion", format!("found `{}`; accepted is `{API_VERSION}`", self.api_version)));
        }
        if self.kind != KIND {
            problems.push(Problem::new("kind", format!("found `{}`; accepted is `{KIND}`", self.kind)));
        }
        check_label("metadata.name", &self.metadata.name, &mut problems);
        if let Some(namespace) = &self.metadata.namespace {
            check_label("metadata.namespace", namespace, &mut problems);
        }
        check_job_id(self.spec.job_id.as_deref(), &mut problems);
        self.spec.check(&mut problems);
        if let Some(storage) = &self.spec.checkpoint.storage.local {
            let own = Path::new(&storage.path).join(self.id());
            problems.extend(self.spec.sinks.iter().enumerate().filter_map(|(index, sink)| sink.inside(index, &own)));
        }
        if problems.is_empty() { Ok(()) } else { Err(Problems(problems)) }
    }
}

impl JobSpec {
    fn check(&self, problems: &mut Vec<Problem>) {
        check_names("spec.sources", self.sources.iter().map(|source| source.name.as_str()), problems);
        check_names("spec.sinks", self.sinks.iter().map(|sink| sink.name.as_str()), problems);
        for (index, source) in self.sources.iter().enumerate() {
            check_source(&format!("spec.sources[{index}]"), source, &self.sinks, problems);
        }
        for (index, sink) in self.sinks.iter().enumerate() {
            check_sink(&format!("spec.sinks[{index}]"), sink, problems);
            if self.workers.is_some()
                && let Some(problem) = sink.private_folder(index)
            {
                problems.push(problem);
            }
        }
        if self.sources.is_empty() {
            problems.push(Problem::new("spec.sources", "is empty; a job needs at least one source"));
        }
        if self.sinks.is_empty() {
            problems.push(Problem::new("spec.sinks", "is empty; a job needs at least one sink"));
        }
        if self.sql.trim().is_empty() {
            problems.push(Problem::new("spec.sql", "is empty; write at least one `INSERT INTO <sink> SELECT …`"));
        }
        if self.max_parallelism == 0 || self.max_parallelism > 32_768 {
            problems.push(Problem::new(
                "spec.maxParallelism",
                format!("found {}; accepted is 1 to 32768", self.max_parallelism),
            ));
        } else if self.parallelism == 0 || self.parallelism > self.max_parallelism {
            problems.push(Problem::new(
                "spec.parallelism",
                format!("found {}; accepted is 1 to maxParallelism, {}", self.parallelism, self.max_parallelism),
            ));
        }
        if self.state_ttl.is_some_and(|ttl| ttl.millis() == 0) {
            problems.push(Problem::new(
                "spec.stateTtl",
                "found 0s; accepted is how long keys are remembered, 1ms or more; leave it out for ever",
            ));
        }
        self.check_workers(problems);
        self.check_checkpoint(problems);
        let restart = &self.restart;
        one_of(
            "spec.restart",
            &[
                ("fixedDelay", restart.fixed_delay.is_some()),
                ("exponentialDelay", restart.exponential_delay.is_some()),
                ("failureRate", restart.failure_rate.is_some()),
                ("none", restart.none.is_some()),
            ],
            0,
            problems,
        );
        if restart.same_failures == Some(0) {
            problems.push(Problem::new("spec.restart.sameFailures", "found 0; accepted is 1 or more"));
        }
        if let Some(delay) = &restart.exponential_delay
            && (!(1.0..=f64::MAX).contains(&delay.multiplier)
                || !(0.0..=1.0).contains(&delay.jitter)
                || delay.max < delay.initial)
        {
            problems.push(Problem::new(
                "spec.restart.exponentialDelay",
                "accepted are a multiplier of at least 1, a jitter from 0 to 1 and a max of at least initial",
            ));
        }
    }

    fn check_workers(&self, problems: &mut Vec<Problem>) {
        let Some(workers) = &self.workers else { return };
        let known = problems.len();
        in_range("spec.workers.replicas", workers.replicas.unwrap_or(1), 1..=1000, problems);
        in_range("spec.workers.slotsPerWorker", workers.slots_per_worker, 1..=64, problems);
        in_range("spec.workers.standby", workers.standby, 0..=1000, problems);
        if problems.len() == known && workers.slots(self.parallelism) < self.parallelism {
            let (slots, parallelism) = (workers.slots(self.parallelism), self.parallelism);
            problems.push(Problem::new(
                "spec.workers",
                format!("found {slots} slots (replicas times slotsPerWorker); accepted is parallelism, {parallelism}, or more"),
            ));
        }
    }

    fn check_checkpoint(&self, problems: &mut Vec<Problem>) {
        let checkpoint = &self.checkpoint;
        let storage = &checkpoint.storage;
        one_of(
            "spec.checkpoint.storage",
            &[("s3", storage.s3.is_some()), ("hdfs", storage.hdfs.is_some()), ("local", storage.local.is_some())],
            1,
            problems,
        );
        if let Some(local) = &storage.local {
            check_folder("spec.checkpoint.storage.local.path", &local.path, problems);
        }
        if let Some(s3) = &storage.s3 {
            check_s3(s3, problems);
        }
        if let Some(Err(wrong)) = storage.hdfs.as_ref().map(HdfsStorage::address) {
            problems.push(Problem::new("spec.checkpoint.storage.hdfs.url", wrong));
        }
        if checkpoint.interval.millis() < 10 {
            problems.push(Problem::new(
                "spec.checkpoint.interval",
                format!("found {}; accepted is 10ms or more", checkpoint.interval),
            ));
        }
        if checkpoint.timeout.millis() == 0 {
            problems.push(Problem::new("spec.checkpoint.timeout", "found 0s; accepted is a time above zero"));
        }
        if checkpoint.mode == CheckpointMode::AtLeastOnce
            && let Some(timeout) = checkpoint.alignment_timeout
        {
            problems.push(Problem::new(
                "spec.checkpoint.alignmentTimeout",
                format!(
                    "found {timeout} beside `mode: AtLeastOnce`, with which no record waits for a barrier; accepted is \
                     one of the two"
                ),
            ));
        }
        if checkpoint.max_concurrent > 1
            && let Some(timeout) = checkpoint.alignment_timeout
        {
            problems.push(Problem::new(
                "spec.checkpoint.maxConcurrent",
                format!(
                    "found {} beside `alignmentTimeout: {timeout}`, and a barrier that overtakes records would overtake \
                     the one before it; accepted is one of the two: `alignmentTimeout` where records keep barriers \
                     waiting, `maxConcurrent` where uploads take longer than the interval",
                    checkpoint.max_concurrent
                ),
            ));
        }
        in_range("spec.checkpoint.retained", checkpoint.retained, 1..=1000, problems);
        in_range("spec.checkpoint.maxPendingEpochs", checkpoint.max_pending_epochs, 1..=10_000, problems);
        in_range("spec.checkpoint.maxConcurrent", checkpoint.max_concurrent, 1..=100, problems);
    }
}

impl SinkSpec {
    /// What is wrong with `spec.sinks[index]` of a job whose workers are processes of their own: each would write to a
    /// folder of its own disk, and the coordinator to another.
    pub fn private_folder(&self, index: usize) -> Option<Problem> {
        let files = self.files.as_ref().filter(|files| !files.shared)?;
        Some(Problem::new(
            format!("spec.sinks[{index}].files.shared"),
            format!(
                "is not set, and the job's workers are processes of their own, each of which would write to its own `{}`; \
                 accepted is `true`, with a folder that all of them share",
                files.path
            ),
        ))
    }
}

impl SinkSpec {
    /// What is wrong with `spec.sinks[index]` if its files would lie among the job's checkpoints.
    fn inside(&self, index: usize, checkpoints: &Path) -> Option<Problem> {
        let path = &self.files.as_ref()?.path;
        Path::new(path).starts_with(checkpoints).then(|| {
            Problem::new(
                format!("spec.sinks[{index}].files.path"),
                format!(
                    "found `{path}`, which is in the folder of the job's checkpoints, `{}`; accepted is one outside of it",
                    checkpoints.display()
                ),
            )
        })
    }
}

fn check_s3(s3: &S3Storage, problems: &mut Vec<Problem>) {
    if !(3..=63).contains(&s3.bucket.len()) || s3.bucket.contains([':', '/']) {
        problems.push(Problem::new(
            "spec.checkpoint.storage.s3.bucket",
            format!(
                "found `{}`; accepted is the name of a bucket, of 3 to 63 characters, without scheme and folder (`prefix`)",
                s3.bucket
            ),
        ));
    }
    if let Some(endpoint) = &s3.endpoint
        && !["http://", "https://"].iter().any(|scheme| endpoint.starts_with(scheme))
    {
        problems.push(Problem::new(
            "spec.checkpoint.storage.s3.endpoint",
            format!("found `{endpoint}`; accepted is a URL, such as http://minio:9000"),
        ));
    }
}

/// The job's name and namespace are part of object keys and of Kubernetes names.
fn check_label(field: &str, name: &str, problems: &mut Vec<Problem>) {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 63 || !name.chars().all(fits) || name.starts_with('-') || name.ends_with('-') {
        problems.push(Problem::new(
            field,
            format!("found `{name}`; accepted are 1 to 63 lower-case letters, digits and `-`, not at either end"),
        ));
    }
}

/// A folder is one of the machine; an address or a shell's short form would be taken for a name in the folder where the
/// process was started.
fn check_folder(at: &str, path: &str, problems: &mut Vec<Problem>) {
    if path.is_empty() || path.starts_with('~') || path.contains("://") || path.starts_with("file:") {
        problems.push(Problem::new(
            at,
            format!("found `{path}`; accepted is the path of a folder of this machine, such as /var/lib/tidegate"),
        ));
    }
}

/// The job's id is a folder of the storage.
fn check_job_id(id: Option<&str>, problems: &mut Vec<Problem>) {
    let Some(id) = id else { return };
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let at_end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let ends = at_end(id.chars().next()) && at_end(id.chars().last());
    if id.len() > 127 || !id.chars().all(fits) || !ends || id.contains("..") {
        problems.push(Problem::new(
            "spec.jobId",
            format!(
                "found `{id}`; accepted are 1 to 127 lower-case letters, digits, `-` and single `.`, a letter or digit at both ends"
            ),
        ));
    }
}

fn check_names<'a>(list: &str, names: impl Iterator<Item = &'a str>, problems: &mut Vec<Problem>) {
    let mut seen = BTreeSet::new();
    for (index, name) in names.enumerate() {
        let mut chars = name.chars();
        let starts = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        if !starts || !chars.all(|c| c.is_ascii_alphanumeric() || c == '_') || name.len() > 63 {
            problems.push(Problem::new(
                format!("{list}[{index}].name"),
                format!("found `{name}`; accepted is an SQL identifier: a letter or `_`, then letters, digits, `_`, up to 63"),
            ));
        }
        if !seen.insert(name.to_lowercase()) {
            problems.push(Problem::new(
                format!("{list}[{index}].name"),
                format!("`{name}` is already the name of another entry of {list}; names must differ"),
            ));
        }
    }
}

/// As the schema has it, which Kubernetes alone looks at.
fn in_range(field: &str, found: u32, accepted: RangeInclusive<u32>, problems: &mut Vec<Problem>) {
    if !accepted.contains(&found) {
        let (least, most) = (accepted.start(), accepted.end());
        problems.push(Problem::new(field, format!("found {found}; accepted is {least} to {most}")));
    }
}

/// Exactly one of the fields must be set; with `least` 0, none may do too.
fn one_of(path: &str, fields: &[(&str, bool)], least: usize, problems: &mut Vec<Problem>) {
    let set: Vec<&str> = fields.iter().filter(|(_, set)| *set).map(|(name, _)| *name).collect();
    if set.len() > 1 || set.len() < least {
        let found = if set.is_empty() { "none".to_owned() } else { set.join(" and ") };
        let accepted: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
        problems.push(Problem::new(path, format!("found {found}; exactly one of {} is accepted", accepted.join(", "))));
    }
}

fn check_source(path: &str, source: &SourceSpec, sinks: &[SinkSpec], problems: &mut Vec<Problem>) {
    one_of(
        path,
        &[
            ("kafka", source.kafka.is_some()),
            ("files", source.files.is_some()),
            ("generator", source.generator.is_some()),
        ],
        1,
        problems,
    );
    let generated = source.generator.is_some();
    if generated && !source.schema.is_empty() {
        problems.push(Problem::new(
            format!("{path}.schema"),
            "a generator has columns of its own (order_id, store_id, amount, ts); leave `schema` out",
        ));
    }
    if !generated && source.schema.is_empty() {
        problems.push(Problem::new(format!("{path}.schema"), "is empty; name the columns of the records"));
    }
    let mut columns = BTreeSet::new();
    for (index, column) in source.schema.iter().enumerate() {
        if !columns.insert(column.name.to_lowercase()) {
            problems.push(Problem::new(
                format!("{path}.schema[{index}].name"),
                format!("`{}` is already a column of source `{}`; names must differ", column.name, source.name),
            ));
        }
    }
    if let Some(watermark) = &source.watermark {
        check_watermark(path, source, &watermark.column, problems);
    }
    for (field, sink) in [("deadLetterSink", &source.format.dead_letter_sink), ("lateSink", &source.format.late_sink)] {
        if let Some(sink) = sink
            && !sinks.iter().any(|candidate| candidate.name == *sink)
        {
            problems.push(Problem::new(
                format!("{path}.format.{field}"),
                format!("there is no sink `{sink}`{}", nearest(sink, sinks.iter().map(|sink| sink.name.as_str()))),
            ));
        }
    }
    let dead_letters = source.format.bad_records == crate::BadRecords::DeadLetter;
    if dead_letters != source.format.dead_letter_sink.is_some() {
        problems.push(Problem::new(
            format!("{path}.format"),
            "`badRecords: DeadLetter` and `deadLetterSink` go together; set both or neither",
        ));
    }
    if let Some(kafka) = &source.kafka {
        let path = format!("{path}.kafka");
        check_brokers(&path, &kafka.bootstrap_servers, problems);
        check_properties(&path, &kafka.properties, problems);
        check_security(&path, kafka.security.as_ref(), problems);
        if (kafka.start_from == StartFrom::Timestamp) != kafka.start_timestamp.is_some() {
            problems.push(Problem::new(
                format!("{path}.startTimestamp"),
                "`startFrom: Timestamp` and `startTimestamp` go together; set both or neither",
            ));
        }
    }
    if let Some(generator) = &source.generator {
        let counts = [
            ("rate", generator.rate.unwrap_or(1)),
            ("stores", generator.stores),
            ("stepMicros", generator.step_micros),
        ];
        for (field, _) in counts.iter().filter(|(_, count)| *count == 0) {
            problems.push(Problem::new(format!("{path}.generator.{field}"), "found 0; accepted is 1 or more"));
        }
        for (field, share) in [("duplicates", generator.duplicates), ("outOfOrder", generator.out_of_order)] {
            if !(0.0..=1.0).contains(&share) {
                problems.push(Problem::new(
                    format!("{path}.generator.{field}"),
                    format!("found {share}; accepted is a share from 0 to 1"),
                ));
            }
        }
    }
}

fn check_watermark(path: &str, source: &SourceSpec, column: &str, problems: &mut Vec<Problem>) {
    let field = format!("{path}.watermark.column");
    if source.generator.is_some() {
        if column != "ts" {
            problems.push(Problem::new(field, format!("found `{column}`; a generator's event time is `ts`")));
        }
        return;
    }
    match source.schema.iter().find(|candidate| candidate.name == column) {
        None => problems.push(Problem::new(
            field,
            format!(
                "source `{}` has no column `{column}`{}",
                source.name,
                nearest(column, source.schema.iter().map(|column| column.name.as_str()))
            ),
        )),
        Some(found) if !matches!(found.kind, ColumnType::Timestamp { .. }) => problems
            .push(Problem::new(field, format!("column `{column}` is of type {}; accepted is a timestamp", found.kind))),
        Some(_) => {}
    }
}

fn check_sink(path: &str, sink: &SinkSpec, problems: &mut Vec<Problem>) {
    one_of(
        path,
        &[
            ("kafka", sink.kafka.is_some()),
            ("clickHouse", sink.click_house.is_some()),
            ("files", sink.files.is_some()),
            ("print", sink.print.is_some()),
        ],
        1,
        problems,
    );
    if let Some(kafka) = &sink.kafka {
        let path = format!("{path}.kafka");
        check_brokers(&path, &kafka.bootstrap_servers, problems);
        check_properties(&path, &kafka.properties, problems);
        check_security(&path, kafka.security.as_ref(), problems);
    }
    if let Some(files) = &sink.files {
        check_folder(&format!("{path}.files.path"), &files.path, problems);
    }
    if let Some(server) = &sink.click_house {
        check_click_house_url(&format!("{path}.clickHouse.url"), &server.url, problems);
    }
    let accepted: &[Delivery] = match sink {
        SinkSpec { click_house: Some(_), .. } => &[Delivery::ExactlyOnce, Delivery::Idempotent],
        SinkSpec { kafka: Some(_), .. } => &[Delivery::ExactlyOnce, Delivery::AtLeastOnce, Delivery::None],
        SinkSpec { files: Some(_), .. } => &[Delivery::ExactlyOnce],
        _ => &[Delivery::AtLeastOnce, Delivery::None],
    };
    if let Some(delivery) = sink.delivery
        && !accepted.contains(&delivery)
    {
        let names: Vec<String> = accepted.iter().map(|delivery| format!("{delivery:?}")).collect();
        problems.push(Problem::new(
            format!("{path}.delivery"),
            format!("found {delivery:?}; this kind of sink accepts {}", names.join(", ")),
        ));
    }
}

fn check_click_house_url(at: &str, url: &str, problems: &mut Vec<Problem>) {
    if url.contains(['@', '?']) {
        // Not shown: it may have a password.
        let message = "found `@` or `?` in it; accepted is the server's HTTP interface alone, such as \
                       http://clickhouse:8123, and `user` and `password` beside it";
        problems.push(Problem::new(at, message));
    } else if !["http://", "https://"].iter().any(|scheme| url.starts_with(scheme)) {
        let message = format!("found `{url}`; accepted is the server's HTTP interface, such as http://clickhouse:8123");
        problems.push(Problem::new(at, message));
    }
}

fn check_properties(path: &str, properties: &std::collections::BTreeMap<String, String>, problems: &mut Vec<Problem>) {
    for (name, instead) in RESERVED_PROPERTIES {
        if properties.contains_key(name) {
            problems.push(Problem::new(format!("{path}.properties"), format!("`{name}` can't be set: {instead}")));
        }
    }
}

/// Brokers as `host:port`, with commas between: librdkafka takes much else, and says later that nobody answers.
fn check_brokers(path: &str, brokers: &str, problems: &mut Vec<Problem>) {
    let is_broker = |broker: &str| {
        let host = broker.rsplit_once(':').map_or(broker, |(host, _)| host);
        !host.is_empty() && !broker.contains("//") && !broker.contains(char::is_whitespace)
    };
    if !brokers.split(',').all(|broker| is_broker(broker.trim())) {
        problems.push(Problem::new(
            format!("{path}.bootstrapServers"),
            format!("found `{brokers}`; accepted are brokers as `host:port`, with commas between them"),
        ));
    }
}

fn check_security(path: &str, security: Option<&KafkaSecurity>, problems: &mut Vec<Problem>) {
    const PROTOCOLS: [&str; 4] = ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"];
    const MECHANISMS: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];
    let Some(security) = security else { return };
    if !PROTOCOLS.contains(&security.protocol.as_str()) {
        problems.push(Problem::new(
            format!("{path}.security.protocol"),
            format!("found `{}`; accepted are {}", security.protocol, PROTOCOLS.join(", ")),
        ));
    }
    let sasl = security.protocol.starts_with("SASL");
    match &security.sasl_mechanism {
        Some(mechanism) if !MECHANISMS.contains(&mechanism.as_str()) => problems.push(Problem::new(
            format!("{path}.security.saslMechanism"),
            format!("found `{mechanism}`; accepted are {}", MECHANISMS.join(", ")),
        )),
        None if sasl => problems.push(Problem::new(
            format!("{path}.security.saslMechanism"),
            format!("is missing, and the protocol is {}; accepted are {}", security.protocol, MECHANISMS.join(", ")),
        )),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use crate::StreamJob;

    #[test]
    fn numbers_are_within_the_bounds_of_the_schema() {
        let refused = |spec: serde_json::Value| -> String {
            let mut document = serde_json::json!({
                "apiVersion": "tidegate.dev/v1alpha1", "kind": "StreamJob", "metadata": { "name": "job" },
                "spec": {
                    "sources": [{ "name": "orders", "generator": {} }],
                    "sql": "INSERT INTO out SELECT amount FROM orders",
                    "sinks": [{ "name": "out", "print": {} }],
                    "checkpoint": { "storage": { "local": { "path": "/data/checkpoints" } } },
                }
            });
            for (field, value) in spec.as_object().unwrap() {
                document["spec"][field] = value.clone();
            }
            serde_json::from_value::<StreamJob>(document).unwrap().check().unwrap_err().to_string()
        };
        let most = u32::MAX;
        let storage = serde_json::json!({ "local": { "path": "/data" } });
        for (spec, words) in [
            (
                serde_json::json!({ "workers": { "replicas": most, "standby": most } }),
                "spec.workers.replicas: found 4294967295; accepted is 1 to 1000\nspec.workers.standby: found 4294967295; \
                 accepted is 0 to 1000",
            ),
            (
                serde_json::json!({ "workers": { "slotsPerWorker": 0 } }),
                "spec.workers.slotsPerWorker: found 0; accepted is 1 to 64",
            ),
            (
                serde_json::json!({ "checkpoint": { "storage": storage, "maxConcurrent": 101 } }),
                "spec.checkpoint.maxConcurrent: found 101; accepted is 1 to 100",
            ),
        ] {
            assert_eq!(refused(spec), words);
        }
    }

    /// YAML has them; JSON has not, and a pause that is no number would be none.
    #[test]
    fn a_pause_grows_by_a_number() {
        let text = |multiplier: &str| {
            format!(
                "{{apiVersion: tidegate.dev/v1alpha1, kind: StreamJob, metadata: {{name: job}}, spec: {{\
                 sources: [{{name: orders, generator: {{}}}}], sql: INSERT INTO out SELECT amount FROM orders, \
                 sinks: [{{name: out, print: {{}}}}], restart: {{exponentialDelay: {{multiplier: {multiplier}}}}}, \
                 checkpoint: {{storage: {{local: {{path: /data}}}}}}}}}}"
            )
        };
        StreamJob::from_yaml(&text("1.5")).unwrap();
        for multiplier in [".nan", ".inf", "-.inf", "0.5"] {
            let problems = StreamJob::from_yaml(&text(multiplier)).unwrap_err().to_string();
            assert!(problems.contains("a multiplier of at least 1"), "{multiplier}: {problems}");
        }
    }

    #[test]
    fn a_sink_is_where_it_can_be() {
        let problems = |sink: serde_json::Value| {
            let document = serde_json::json!({
                "apiVersion": "tidegate.dev/v1alpha1", "kind": "StreamJob", "metadata": { "name": "job" },
                "spec": {
                    "sources": [{ "name": "orders", "generator": {} }],
                    "sql": "INSERT INTO out SELECT amount FROM orders",
                    "sinks": [sink],
                    "checkpoint": { "storage": { "local": { "path": "/data" } } },
                }
            });
            serde_json::from_value::<StreamJob>(document).unwrap().check().map_err(|problems| problems.to_string())
        };
        let files = |path: &str| problems(serde_json::json!({ "name": "out", "files": { "path": path } }));
        for path in ["/data/out", "/data/job-out", "/data"] {
            assert_eq!(files(path), Ok(()), "{path}");
        }
        for path in ["/data/job", "/data/job/out", "/data//job/data/"] {
            let problem = files(path).unwrap_err();
            assert!(
                problem.contains("spec.sinks[0].files.path: found") && problem.contains("`/data/job`"),
                "{problem}"
            );
        }
        let server =
            |url: &str| problems(serde_json::json!({ "name": "out", "clickHouse": { "url": url, "table": "totals" } }));
        assert_eq!(server("http://clickhouse:8123"), Ok(()));
        let problem = server("clickhouse:8123").unwrap_err();
        assert!(problem.contains("spec.sinks[0].clickHouse.url: found `clickhouse:8123`"), "{problem}");
        for url in ["http://bob:hunter2@clickhouse:8123", "http://clickhouse:8123?password=hunter2"] {
            let problem = server(url).unwrap_err();
            assert!(problem.contains("`user` and `password` beside it") && !problem.contains("hunter2"), "{problem}");
        }
        let kafka = |brokers: &str| {
            problems(serde_json::json!({ "name": "out", "kafka": { "bootstrapServers": brokers, "topic": "totals" } }))
        };
        for brokers in ["kafka:9092", "a:1,b:2", "a:1, b:2", "[::1]:9092", "kafka"] {
            assert_eq!(kafka(brokers), Ok(()), "{brokers}");
        }
        for brokers in ["kafka://a:1", "a:1;b:2 c:3", "a:1,,b:2", ":9092"] {
            let problem = kafka(brokers).unwrap_err();
            let told = format!("spec.sinks[0].kafka.bootstrapServers: found `{brokers}`; accepted are brokers as");
            assert!(problem.contains(&told), "{problem}");
        }
        for path in ["file:///data/out", "~/out", "s3://bucket/out", "", "file:/data/out"] {
            let problem = files(path).unwrap_err();
            assert!(
                problem.contains(&format!("spec.sinks[0].files.path: found `{path}`; accepted is the path")),
                "{problem}"
            );
        }
    }

    #[test]
    fn a_bucket_is_a_name_and_no_address() {
        let check = |bucket: &str| {
            let document = serde_json::json!({
                "apiVersion": "tidegate.dev/v1alpha1", "kind": "StreamJob",
                "metadata": { "name": "job" },
                "spec": {
                    "sources": [{ "name": "orders", "generator": {} }],
                    "sql": "INSERT INTO out SELECT amount FROM orders",
                    "sinks": [{ "name": "out", "print": {} }],
                    "checkpoint": { "storage": { "s3": { "bucket": bucket } } },
                }
            });
            serde_json::from_value::<StreamJob>(document).unwrap().check().map_err(|problems| problems.to_string())
        };
        assert_eq!(check("tide-gate.checkpoints"), Ok(()));
        for bucket in ["s3://tidegate", "tidegate/jobs", "ab"] {
            let problem = check(bucket).unwrap_err();
            assert!(
                problem.contains(&format!("spec.checkpoint.storage.s3.bucket: found `{bucket}`; accepted is the name")),
                "{problem}"
            );
        }
    }

    #[test]
    fn what_names_folders_is_checked() {
        let check = |namespace: &str, path: &str, ttl: &str| {
            let document = serde_json::json!({
                "apiVersion": "tidegate.dev/v1alpha1", "kind": "StreamJob",
                "metadata": { "name": "job", "namespace": namespace },
                "spec": {
                    "sources": [{ "name": "orders", "generator": {} }],
                    "sql": "INSERT INTO out SELECT amount FROM orders",
                    "sinks": [{ "name": "out", "print": {} }],
                    "stateTtl": ttl,
                    "checkpoint": { "storage": { "local": { "path": path } } },
                }
            });
            serde_json::from_value::<StreamJob>(document).unwrap().check().map_err(|problems| problems.to_string())
        };
        assert_eq!(check("shop", "/data", "1ms"), Ok(()));
        assert_eq!(check("shop", "relative/data", "30d"), Ok(()));
        for (namespace, path, ttl, said) in [
            ("../../evil", "/data", "1s", "metadata.namespace: found `../../evil`; accepted are 1 to 63"),
            ("Foo_", "/data", "1s", "metadata.namespace: found `Foo_`"),
            (
                "shop",
                "file:///data",
                "1s",
                "spec.checkpoint.storage.local.path: found `file:///data`; accepted is the path",
            ),
            ("shop", "~/data", "1s", "spec.checkpoint.storage.local.path: found `~/data`"),
            ("shop", "", "1s", "spec.checkpoint.storage.local.path: found ``"),
            ("shop", "/data", "0s", "spec.stateTtl: found 0s; accepted is how long"),
        ] {
            let problem = check(namespace, path, ttl).unwrap_err();
            assert!(problem.contains(said), "{problem}");
        }
    }

    #[test]
    fn workers_write_files_only_into_a_folder_that_they_share() {
        let job = |workers: serde_json::Value, shared: bool| -> StreamJob {
            let files = serde_json::json!({ "path": "/data/out", "shared": shared });
            let document = serde_json::json!({
                "apiVersion": "tidegate.dev/v1alpha1", "kind": "StreamJob", "metadata": { "name": "job" },
                "spec": {
                    "sources": [{ "name": "orders", "generator": {} }],
                    "sql": "INSERT INTO out SELECT amount FROM orders",
                    "sinks": [{ "name": "print", "print": {} }, { "name": "out", "files": files }],
                    "workers": workers,
                    "checkpoint": { "storage": { "local": { "path": "/data/checkpoints" } } },
                }
            });
            serde_json::from_value(document).unwrap()
        };
        job(serde_json::json!({}), true).check().unwrap();
        job(serde_json::Value::Null, false).check().unwrap();
        let problems = job(serde_json::json!({}), false).check().unwrap_err().to_string();
        assert!(problems.contains("spec.sinks[1].files.shared: is not set"), "{problems}");
        assert!(problems.contains("its own `/data/out`; accepted is `true`"), "{problems}");
    }
}
