//! A table of a ClickHouse server.
//!
//! `ExactlyOnce` rests on `insert_deduplication_token`: a server drops a block whose token it has seen in the table's
//! deduplication window. A token counts for a block, so a chunk is sent as one block, or, when it is large, as several
//! inserts cut at fixed rows with a token each; a repeat sends the same blocks under the same tokens. The window is
//! finite, so right before each insert the log is asked whether the job is still ours: a process that slept past the
//! window, while another took over, sends nothing more.
//!
//! A plain `MergeTree` writes a token to its deduplication log before the rows are part of the table. A server that is
//! killed in between has the token and not the rows, and drops the repeat: nothing that a client can send tells it. A
//! replicated table enters both into Keeper at once. So a plain table is taken, with a warning; the guide has the numbers.
//!
//! `Idempotent` sends without tokens, into a `ReplacingMergeTree`
//! that keeps the newest row of a key.

mod blocks;
mod error;
mod fit;
mod preflight;
#[cfg(test)]
mod tests;
mod types;

use std::{fmt, time::Duration};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use clickhouse::{Client, Compression};
use tidegate_crds::{ClickHouseSink, Delivery};

use self::fit::quote;
use super::{Chunk, Preflight, Publisher, SinkError};
use crate::{
    checkpoint::{CommitPermit, destination::Destination},
    fault,
    job::secrets,
};

const SEND_TIMEOUT: Duration = Duration::from_mins(1);
const ANSWER_TIMEOUT: Duration = Duration::from_mins(5);

/// What makes an insert one block, honest about values that do not fit, and answered only when it is done. A user's
/// profile may say otherwise of each.
const SETTINGS: [(&str, &str); 9] = [
    ("async_insert", "0"),
    ("max_insert_threads", "1"),
    ("min_insert_block_size_rows", "0"),
    ("min_insert_block_size_bytes", "0"),
    ("insert_deduplicate", "1"),
    // A repeat whose first try reached the table and not its materialized views reaches those.
    ("deduplicate_blocks_in_dependent_materialized_views", "1"),
    ("input_format_null_as_default", "0"),
    // A chunk over many partitions would be refused again and again.
    ("max_partitions_per_insert_block", "0"),
    ("date_time_overflow_behavior", "throw"),
];

/// Inserts chunks by HTTP.
#[derive(Clone)]
pub struct ClickHousePublisher {
    sink: String,
    client: Client,
    url: String,
    database: String,
    table: String,
    delivery: Delivery,
    pending_epochs: u32,
}

impl fmt::Debug for ClickHousePublisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sink, url, database, table, delivery, .. } = self;
        write!(f, "ClickHousePublisher({sink}: {delivery:?} to {database}.{table} at {url})")
    }
}

impl ClickHousePublisher {
    /// `sink` is the sink's name and `field` its place in the document, such as `spec.sinks[0]`. `pending_epochs` is
    /// how many epochs can be published and not yet known to be. Delivery is `ExactlyOnce` or `Idempotent`.
    pub fn new(
        sink: &str,
        field: &str,
        spec: &ClickHouseSink,
        delivery: Delivery,
        pending_epochs: u32,
    ) -> Result<Self, SinkError> {
        let refused = |message: String| SinkError::Refused { sink: sink.to_owned(), message };
        if !matches!(delivery, Delivery::ExactlyOnce | Delivery::Idempotent) {
            return Err(refused(format!(
                "{field}.delivery is {delivery:?}; ClickHouse takes ExactlyOnce or Idempotent"
            )));
        }
        let mut client = Client::default().with_url(&spec.url).with_compression(Compression::None);
        if let Some(user) = &spec.user {
            client = client.with_user(user);
        }
        if let Some(password) = &spec.password {
            let password = secrets::resolve(&format!("{field}.clickHouse.password"), password)
                .map_err(|missing| SinkError::Secret { sink: sink.to_owned(), missing })?;
            client = client.with_password(password);
        }
        Ok(Self {
            sink: sink.to_owned(),
            client,
            url: spec.url.clone(),
            database: spec.database.clone(),
            table: spec.table.clone(),
            delivery,
            pending_epochs,
        })
    }

    async fn insert(
        &self,
        rows: &[arrow::array::RecordBatch],
        schema: &SchemaRef,
        token: &str,
    ) -> Result<(), SinkError> {
        let action = || format!("insert `{token}` into {}.{}", self.database, self.table);
        let body = blocks::encode(rows, schema).map_err(|cause| SinkError::Failed {
            sink: self.sink.clone(),
            action: action(),
            cause: cause.into(),
        })?;
        let columns: Vec<String> = schema.fields().iter().map(|field| quote(field.name())).collect();
        let sql = format!(
            "INSERT INTO {}.{} ({}) FORMAT ArrowStream",
            quote(&self.database),
            quote(&self.table),
            columns.join(", ")
        );
        let mut insert = self.client.insert_formatted_with(sql).with_timeouts(Some(SEND_TIMEOUT), Some(ANSWER_TIMEOUT));
        for (name, value) in SETTINGS {
            insert = insert.with_setting(name, value);
        }
        if self.delivery == Delivery::ExactlyOnce {
            insert = insert.with_setting("insert_deduplication_token", token);
        }
        let sent = match insert.send(body).await {
            Ok(()) => insert.end().await,
            Err(error) => Err(error),
        };
        sent.map_err(|cause| self.judge(action(), cause))
    }
}

#[async_trait]
impl Publisher for ClickHousePublisher {
    fn destination(&self) -> Destination {
        let Self { database, table, delivery, .. } = self;
        let fields = [
            ("clickHouse.database", database.clone()),
            ("clickHouse.table", table.clone()),
            ("delivery", format!("{delivery:?}")),
        ];
        fields.into_iter().map(|(field, value)| (field.to_owned(), value)).collect()
    }

    async fn preflight(&self, schema: &SchemaRef, slots: u32, _: Preflight) -> Result<(), SinkError> {
        let facts = self.look().await?;
        let pending_chunks = u64::from(self.pending_epochs) * u64::from(slots);
        fit::judge(&facts, schema, self.delivery, pending_chunks)
            .map_err(|message| SinkError::Refused { sink: self.sink.clone(), message })?;
        if self.delivery == Delivery::ExactlyOnce && !facts.is_replicated() {
            tracing::warn!(
                sink = self.sink,
                table = format!("{}.{}", self.database, self.table),
                engine = facts.engine,
                "rows of an insert are lost if the server is killed in the middle of it: this engine remembers the insert \
                 before it has the rows, and drops the repeat. Use a Replicated engine, for which one replica is enough, \
                 or delivery Idempotent"
            );
        }
        Ok(())
    }

    async fn publish(&self, permit: &CommitPermit, chunk: &Chunk) -> Result<(), SinkError> {
        for (nth, (token, rows)) in blocks::cut(chunk).into_iter().enumerate() {
            if nth > 0 || chunk.id.index > 0 {
                fault::reach("clickhouse-between-inserts");
            }
            permit.confirm().await.map_err(|cause| SinkError::Failed {
                sink: self.sink.clone(),
                action: format!("insert `{token}`"),
                cause: cause.into(),
            })?;
            self.insert(&rows, &chunk.schema, &token).await?;
        }
        Ok(())
    }
}
