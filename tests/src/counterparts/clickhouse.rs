//! The `ClickHouse` engine behind an HTTP address.
//!
//! The engine is the one of `ClickHouse` 26.9, as the Python library chdb; `front.py` gives it
//! `ClickHouse`'s HTTP interface and says what of it is spoken. It proves our SQL, our formats and
//! deduplication; it can't prove users, replicas or limits. For these name a real server by
//! [`VARIABLE`].
//!
//! # What was found about deduplication
//!
//! Measured with `FORMAT ArrowStream` into a plain `MergeTree` that has
//! `non_replicated_deduplication_window = 1000`; most of it is asserted in `tests/all/counterparts/clickhouse.rs`.
//!
//! - A repeated `insert_deduplication_token` is dropped without an error, whatever the rows are,
//!   also after `kill -9` and a restart, and also when eight clients send it at once.
//! - **What is remembered is (partition, token, number of the block).** A repeat whose first try
//!   reached some partitions only adds the others; so does a repeat after `DROP PARTITION`, which
//!   forgets the partition's tokens.
//! - **The number of the block comes from how the stream is cut, not from the rows.** Record
//!   batches are gathered until 1,048,449 rows (`min_insert_block_size_rows`) and written as one
//!   block; the same token with two record batches and then one is *not* a repeat: both are stored.
//!   Two batches and then two others are. So send a chunk as one record batch, or cut it in the
//!   same way every time. One batch is one block at any size (2.5 M rows were).
//! - The window counts blocks: an insert over 100 partitions uses up 100 of the 1000. A token past
//!   the window is forgotten and its repeat is stored.
//! - With window 0, the default, every repeat is stored, silently. `ALTER TABLE … MODIFY SETTING`
//!   turns the window on; tokens from before are not known.
//! - Without a token, equal blocks are dropped as repeats once the window is on, even with
//!   `insert_deduplicate=0` (this version asks `deduplicate_insert`). Always send a token.
//! - A materialized view behind the table is protected by the same token.
//! - An insert that touches more than 100 partitions is refused as a whole (code 252,
//!   `max_partitions_per_insert_block`).
//!
//! # What was found about types
//!
//! - `Decimal(p, s)` takes Arrow `decimal128` of another scale, cutting surplus digits; **a value
//!   too large for its precision is stored as it is, without an error**.
//! - `DateTime64(3)` takes `timestamp` in s, ms, µs, with or without UTC, as the instant it names.
//!   `DateTime` cuts to seconds, and **clamps** what lies outside 1970 … 2106, without an error.
//! - Columns are matched by name in any order. A missing column gets its default, **a surplus one
//!   is ignored**, and NULL for a column that isn't nullable becomes the default, unless
//!   `input_format_null_as_default=0` (then code 349).
//! - `system.tables` has `engine`, `engine_full`, `sorting_key`, `partition_key`, `primary_key` and
//!   `create_table_query`, and `system.columns` has `name`, `type` and `default_kind`, as in a
//!   server. The window is to be read from `engine_full`; it is not there when it is the default.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::Command;

use super::Error;
use super::cache::{self, Program};
use super::process::Launch;
use super::server::{Origin, Place, Server, controlled, named_by};

/// Names a server to use instead of ours, by its HTTP address, `http://[user:password@]host:port`.
pub const VARIABLE: &str = "TIDEGATE_TEST_CLICKHOUSE";

const NAME: &str = "clickhouse";

/// A Python environment with the engine, `chdb-core`.
pub const PROGRAM: Program = Program { name: "chdb", version: "26.9.0", fill };

/// A running engine with an empty database `default`.
#[derive(Debug)]
pub struct ClickHouse {
    url: String,
    client: reqwest::Client,
    origin: Origin,
}

controlled!(ClickHouse);

impl ClickHouse {
    /// Starts an empty engine (about a second), or takes the server named by [`VARIABLE`].
    pub async fn start() -> Result<Self, Error> {
        Self::start_at(Ipv4Addr::LOCALHOST.into()).await
    }

    /// As [`ClickHouse::start`], on another address of this machine, such as that of the pods of a
    /// [`super::Cluster`].
    pub async fn start_at(address: IpAddr) -> Result<Self, Error> {
        // Tests that share a server have a runtime each, and a connection ends with the runtime that opened it: none is
        // kept for the next request.
        let client = reqwest::Client::builder().pool_max_idle_per_host(0).build().expect("a client");
        if let Some(url) = named_by(VARIABLE) {
            return Ok(Self {
                url: url.trim_end_matches('/').to_owned(),
                client,
                origin: Origin::Theirs { server: NAME, variable: VARIABLE },
            });
        }
        let installed = PROGRAM.ready().await?;
        let place = Place::reserve_at(NAME, address)?;
        let arguments: Vec<OsString> = vec![
            cache::recipe("clickhouse/front.py").into(),
            place.path().join("data").into(),
            address.to_string().into(),
            place.port.number().to_string().into(),
        ];
        let launch = Launch {
            program: installed.join("venv/bin/python"),
            arguments,
            environment: vec![("PYTHONDONTWRITEBYTECODE", "1".into())],
        };
        let server = Server::start(NAME, place, launch).await?;
        Ok(Self { url: format!("http://{}", server.address()), client, origin: server.into() })
    }

    /// The HTTP address, without a trailing slash.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Runs one statement; the answer is its output, tab separated unless it says `FORMAT …`.
    pub async fn query(&self, sql: &str) -> Result<String, Error> {
        self.send(sql, &[], Vec::new()).await
    }

    /// Runs `INSERT INTO … FORMAT …` on `data`, with settings such as `insert_deduplication_token`.
    pub async fn insert(&self, sql: &str, settings: &[(&str, &str)], data: Vec<u8>) -> Result<(), Error> {
        self.send(sql, settings, data).await.map(drop)
    }

    /// Starts the engine again with the same address and data.
    pub async fn restart(&mut self) -> Result<(), Error> {
        self.origin.ours("restart")?.restart().await
    }

    async fn send(&self, sql: &str, settings: &[(&str, &str)], data: Vec<u8>) -> Result<String, Error> {
        let failed = |source| Error::Http { server: NAME, url: self.url.clone(), source };
        // A long statement goes into the body, where an insert has its data.
        let (sql, body) = if data.is_empty() { (None, sql.as_bytes().to_vec()) } else { (Some(("query", sql)), data) };
        let parameters = sql.iter().chain(settings);
        let url = reqwest::Url::parse_with_params(&self.url, parameters).map_err(|_| Error::Variable {
            variable: VARIABLE,
            value: self.url.clone(),
            expected: "an HTTP address",
        })?;
        let response = self.client.post(url).body(body).send().await.map_err(failed)?;
        let status = response.status();
        let text = response.text().await.map_err(failed)?;
        if status.is_success() {
            return Ok(text);
        }
        Err(Error::Refused { server: NAME, status: status.as_u16(), message: text })
    }
}

fn fill(folder: &Path) -> Result<(), Error> {
    let venv = folder.join("venv");
    cache::run(NAME, Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    cache::run(
        NAME,
        // Not `bin/pip`: its first line names the folder before it is renamed.
        Command::new(venv.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--no-deps"])
            .args(["--disable-pip-version-check", "--requirement"])
            .arg(cache::recipe("clickhouse/requirements.txt")),
    )
}
