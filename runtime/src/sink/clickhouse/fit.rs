//! Whether a table keeps what a sink promises: facts in, verdict out.

use std::collections::BTreeMap;

use arrow::datatypes::{Field, SchemaRef};
use serde::Deserialize;
use tidegate_crds::{Delivery, nearest};

use super::types;
use crate::words::type_name;

/// What the server says of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub database: String,
    pub table: String,
    pub engine: String,
    /// The engine with its arguments, keys and settings, as `SHOW CREATE TABLE` has them.
    pub engine_full: String,
    pub sorting_key: String,
    pub columns: Vec<ColumnFacts>,
    /// The server's defaults for the settings a table does not name.
    pub defaults: BTreeMap<String, u64>,
    /// What this user's profile says of `deduplicate_insert`; servers before 26 do not know it.
    pub deduplicate_insert: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct ColumnFacts {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    /// Empty, `DEFAULT`, `MATERIALIZED`, `ALIAS` or `EPHEMERAL`.
    pub default_kind: String,
}

pub(super) const PLAIN_WINDOW: &str = "non_replicated_deduplication_window";
pub(super) const REPLICATED_WINDOW: &str = "replicated_deduplication_window";
pub(super) const REPLICATED_SECONDS: &str = "replicated_deduplication_window_seconds";

/// Tokens a window has to hold for each slot and epoch that may wait: an epoch may be several inserts, an insert into many
/// partitions takes a place for each, and others may write to the table too. By far not all that waits may be repeated:
/// what the sink has is noted every few epochs (`checkpoint/committed.rs`), so there is more room for each.
const SPARE: u64 = 10;
const LEAST_WINDOW: u64 = 1000;
/// A job may be down over a long weekend between an insert and its repeat.
const LEAST_SECONDS: u64 = 7 * 24 * 3600;

/// The error is a message for the user.
pub(super) fn judge(facts: &Facts, schema: &SchemaRef, delivery: Delivery, pending: u64) -> Result<(), String> {
    if !facts.engine.ends_with("MergeTree") {
        return Err(format!(
            "table {} has engine {}; accepted are MergeTree engines, which alone know a repeated insert. Insert into the \
             table behind it, or create one: {}",
            facts.name(),
            facts.engine,
            create_table(facts, schema, delivery, window(pending))
        ));
    }
    match delivery {
        Delivery::Idempotent => replacing(facts, schema)?,
        _ => deduplicating(facts, window(pending))?,
    }
    columns(facts, schema)
}

fn window(pending: u64) -> u64 {
    pending.saturating_mul(SPARE).max(LEAST_WINDOW)
}

fn deduplicating(facts: &Facts, window: u64) -> Result<(), String> {
    if facts.deduplicate_insert.as_deref() == Some("disable") {
        return Err(
            "this user's settings have deduplicate_insert = 'disable', and with it a repeated insert is stored twice; \
                    accepted are 'enable' and 'backward_compatible_choice'. Run: ALTER USER <user> SETTINGS \
                    deduplicate_insert = 'enable'"
                .to_owned(),
        );
    }
    let needed = if facts.is_replicated() {
        vec![(REPLICATED_WINDOW, window), (REPLICATED_SECONDS, LEAST_SECONDS)]
    } else {
        vec![(PLAIN_WINDOW, window)]
    };
    let short: Vec<_> = needed.iter().filter(|(name, least)| facts.setting(name) < *least).collect();
    if short.is_empty() {
        return Ok(());
    }
    let found: Vec<String> = short.iter().map(|(name, _)| format!("{name} = {}", facts.setting(name))).collect();
    let fix: Vec<String> = short.iter().map(|(name, least)| format!("{name} = {least}")).collect();
    Err(format!(
        "table {} has {}, too little for exactly-once: a repeated insert must still be known; accepted is {} or more. Run: \
         ALTER TABLE {} MODIFY SETTING {}",
        facts.name(),
        found.join(", "),
        fix.join(", "),
        facts.name(),
        fix.join(", ")
    ))
}

fn replacing(facts: &Facts, schema: &SchemaRef) -> Result<(), String> {
    let fix = || create_table(facts, schema, Delivery::Idempotent, 0);
    if !facts.engine.ends_with("ReplacingMergeTree") {
        return Err(format!(
            "table {} has engine {}, and delivery Idempotent needs ReplacingMergeTree(<version>), which keeps one row a key. \
             Create such a table, with your version column and key: {}",
            facts.name(),
            facts.engine,
            fix()
        ));
    }
    let has = |name: &str| schema.field_with_name(name).is_ok();
    let Some(version) = facts.version() else {
        return Err(format!(
            "table {} is a ReplacingMergeTree without a version column, so an old row may replace a newer one. Create it with \
             one: {}",
            facts.name(),
            fix()
        ));
    };
    let key: Vec<&str> = facts.sorting_key.split(',').map(str::trim).filter(|part| !part.contains('(')).collect();
    let missing: Vec<String> =
        key.iter().chain([&version]).filter(|name| !has(name)).map(|name| format!("`{name}`")).collect();
    if !missing.is_empty() {
        return Err(format!(
            "table {} is ordered by ({}) with version `{version}`, and the query does not put out {}; it puts out {}",
            facts.name(),
            facts.sorting_key,
            missing.join(", "),
            names(schema)
        ));
    }
    if key.contains(&version) {
        return Err(format!(
            "table {} has its version column `{version}` in ORDER BY ({}), so no row ever replaces another. Create it with a \
             key that leaves it out: {}",
            facts.name(),
            facts.sorting_key,
            fix()
        ));
    }
    Ok(())
}

fn columns(facts: &Facts, schema: &SchemaRef) -> Result<(), String> {
    for field in schema.fields() {
        let Some(column) = facts.columns.iter().find(|column| column.name == *field.name()) else {
            return Err(format!(
                "table {} has no column `{}`{}. Rename it in the query, or run: ALTER TABLE {} ADD COLUMN {}",
                facts.name(),
                field.name(),
                nearest(field.name(), facts.columns.iter().map(|column| column.name.as_str())),
                facts.name(),
                definition(field)
            ));
        };
        if matches!(column.default_kind.as_str(), "MATERIALIZED" | "ALIAS") {
            return Err(format!(
                "column `{}` of table {} is {} and can't be written; leave it out of the query",
                column.name,
                facts.name(),
                column.default_kind
            ));
        }
        if !types::accepts(field.data_type(), &column.kind) {
            let Some(accepted) = types::accepted(field.data_type()) else {
                return Err(format!(
                    "column `{}` is of type {}, which can't be written to ClickHouse; CAST it in the query",
                    column.name,
                    type_name(field.data_type())
                ));
            };
            let way_out = if facts.is_in_key(&column.name) {
                format!("make the table anew, since no ALTER changes a column of its key, with {}", definition(field))
            } else {
                format!("run: ALTER TABLE {} MODIFY COLUMN {}", facts.name(), definition(field))
            };
            return Err(format!(
                "column `{}` of table {} is {}, and the query's {} does not fit in without loss; accepted are {}. CAST it in \
                 the query, or {way_out}",
                column.name,
                facts.name(),
                column.kind,
                type_name(field.data_type()),
                accepted.join(", "),
            ));
        }
    }
    let forgotten = facts.columns.iter().find(|column| {
        column.default_kind.is_empty()
            && !column.kind.starts_with("Nullable(")
            && schema.field_with_name(&column.name).is_err()
    });
    match forgotten {
        None => Ok(()),
        Some(column) => Err(format!(
            "column `{}` of table {} has no default, and the query does not put it out; it puts out {}. Add it to the query, or \
             run: ALTER TABLE {} MODIFY COLUMN {} DEFAULT defaultValueOfTypeName('{}')",
            column.name,
            facts.name(),
            names(schema),
            facts.name(),
            quote(&column.name),
            column.kind.replace('\'', "\\'")
        )),
    }
}

impl Facts {
    /// Keeper has its tokens.
    pub(super) fn is_replicated(&self) -> bool {
        self.engine.starts_with("Replicated") || self.engine.starts_with("Shared")
    }

    fn name(&self) -> String {
        format!("{}.{}", quote(&self.database), quote(&self.table))
    }

    /// The table's own value of a setting, else the server's default.
    fn setting(&self, name: &str) -> u64 {
        let own = self.engine_full.split_once(" SETTINGS ").and_then(|(_, settings)| {
            let pairs = settings.split(',').filter_map(|pair| pair.split_once('='));
            pairs.filter(|(key, _)| key.trim() == name).find_map(|(_, value)| value.trim().parse().ok())
        });
        own.or_else(|| self.defaults.get(name).copied()).unwrap_or(0)
    }

    /// Whether rows are ordered by the column.
    fn is_in_key(&self, column: &str) -> bool {
        self.sorting_key.split(|sign: char| !(sign.is_alphanumeric() || sign == '_')).any(|word| word == column)
    }

    /// The version column of a `ReplacingMergeTree`: its first argument that is no quoted path or replica name.
    fn version(&self) -> Option<&str> {
        let arguments = self.engine_full.strip_prefix(&self.engine)?.strip_prefix('(')?.split_once(')')?.0;
        arguments
            .split(',')
            .map(|part| part.trim().trim_matches('`'))
            .find(|part| !part.is_empty() && !part.starts_with('\''))
    }
}

fn create_table(facts: &Facts, schema: &SchemaRef, delivery: Delivery, window: u64) -> String {
    let columns: Vec<String> = schema.fields().iter().map(|field| definition(field)).collect();
    let (engine, window) = match delivery {
        Delivery::Idempotent => ("ReplacingMergeTree(<version>)", None),
        _ => ("MergeTree", Some(format!("{PLAIN_WINDOW} = {window}"))),
    };
    let nullable = schema.fields().iter().any(|field| field.is_nullable()).then(|| "allow_nullable_key = 1".to_owned());
    let settings: Vec<String> = window.into_iter().chain(nullable).collect();
    let settings = if settings.is_empty() { String::new() } else { format!(" SETTINGS {}", settings.join(", ")) };
    format!("CREATE TABLE {} ({}) ENGINE = {engine} ORDER BY (<key>){settings}", facts.name(), columns.join(", "))
}

fn definition(field: &Field) -> String {
    format!("{} {}", quote(field.name()), types::suggested(field.data_type(), field.is_nullable()))
}

fn names(schema: &SchemaRef) -> String {
    schema.fields().iter().map(|field| format!("`{}`", field.name())).collect::<Vec<_>>().join(", ")
}

/// A name as the server reads it, whatever is in it.
pub(super) fn quote(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}
