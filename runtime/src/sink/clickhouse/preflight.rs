//! What the server says of the table.

use serde::{Deserialize, de::DeserializeOwned};
use tidegate_crds::nearest;

use super::{
    ClickHousePublisher,
    fit::{ColumnFacts, Facts, PLAIN_WINDOW, REPLICATED_SECONDS, REPLICATED_WINDOW},
};
use crate::sink::SinkError;

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct Table {
    engine: String,
    engine_full: String,
    sorting_key: String,
}

#[derive(Deserialize)]
struct Setting {
    name: String,
    value: String,
}

impl ClickHousePublisher {
    pub(super) async fn look(&self) -> Result<Facts, SinkError> {
        let (database, table) = (&self.database, &self.table);
        let found: Vec<Table> = self
            .ask(
                "SELECT engine, engine_full, sorting_key FROM system.tables WHERE database = ? AND name = ?",
                &[database, table],
            )
            .await?;
        let Some(Table { engine, engine_full, sorting_key }) = found.into_iter().next() else {
            return Err(self.missing().await?);
        };
        let columns: Vec<ColumnFacts> = self
            .ask(
                "SELECT name, type, default_kind FROM system.columns WHERE database = ? AND table = ? ORDER BY position",
                &[database, table],
            )
            .await?;
        let settings = if engine.starts_with("Replicated") {
            "SELECT name, value FROM system.replicated_merge_tree_settings WHERE name IN (?, ?, ?)"
        } else {
            "SELECT name, value FROM system.merge_tree_settings WHERE name IN (?, ?, ?)"
        };
        let defaults: Vec<Setting> = self.ask(settings, &[PLAIN_WINDOW, REPLICATED_WINDOW, REPLICATED_SECONDS]).await?;
        let defaults = defaults.into_iter().filter_map(|s| Some((s.name, s.value.parse().ok()?))).collect();
        let user: Vec<Setting> =
            self.ask("SELECT name, value FROM system.settings WHERE name = ?", &["deduplicate_insert"]).await?;
        let deduplicate_insert = user.into_iter().next().map(|setting| setting.value);
        let (database, table) = (database.clone(), table.clone());
        Ok(Facts { database, table, engine, engine_full, sorting_key, columns, defaults, deduplicate_insert })
    }

    /// Says which of the two is not there, and what is near.
    async fn missing(&self) -> Result<SinkError, SinkError> {
        let databases: Vec<Named> = self.ask("SELECT name FROM system.databases ORDER BY name", &[]).await?;
        let (what, name, candidates) = if databases.iter().any(|found| found.name == self.database) {
            let tables =
                self.ask("SELECT name FROM system.tables WHERE database = ? ORDER BY name", &[&self.database]).await?;
            ("table", format!("{}.{}", self.database, self.table), tables)
        } else {
            ("database", self.database.clone(), databases)
        };
        let wanted = if what == "table" { &self.table } else { &self.database };
        let near = nearest(wanted, candidates.iter().map(|found| found.name.as_str()));
        let message =
            format!("there is no {what} `{name}` at {}, or this user may not see it{near}; create it first", self.url);
        Ok(SinkError::Refused { sink: self.sink.clone(), message })
    }

    /// The rows that answer a question.
    async fn ask<T: DeserializeOwned>(&self, sql: &str, values: &[&str]) -> Result<Vec<T>, SinkError> {
        let action = || format!("ask {} about table {}.{}", self.url, self.database, self.table);
        let query = values.iter().fold(self.client.query(sql), |query, value| query.bind(*value));
        let answer = match query.fetch_bytes("JSONEachRow") {
            Ok(mut cursor) => cursor.collect().await,
            Err(error) => Err(error),
        };
        let answer = answer.map_err(|error| self.judge(action(), error))?;
        let rows = serde_json::Deserializer::from_slice(&answer).into_iter().collect::<Result<Vec<T>, _>>();
        rows.map_err(|cause| SinkError::Failed { sink: self.sink.clone(), action: action(), cause: cause.into() })
    }
}
