//! Prints the HTTP API of a job as tables; `make generate` keeps them in `docs/reference/`.

mod reference;

use std::error::Error;

use reference::{Named, Tables};
use schemars::{Schema, schema_for};
use tidegate_crds::{
    Endpoint,
    api::{
        CheckpointDetails, CheckpointHistory, JobStatus, RescaleRequest, SavepointHistory, SavepointRequest,
        SavepointStatus, StopRequest,
    },
};

const INTRODUCTION: &str = "\
# HTTP API of a job

Generated from `crds/src/endpoint.rs` and `crds/src/api.rs`. `tidegate run` and `tidegate coordinator` serve it at
`--listen`, a worker `/metrics`, `/livez` and `/readyz` alone. Bodies are JSON, of at most 64 KiB. What is refused is answered
with 400, 404 or 409 (413 and 408 for a body that is too long or takes longer than 10 s) and one line of text: what was
found, and what is accepted. A process has at most 128 connections at a time; one on which nobody asks anything for 10 s is
closed.

| call | takes | gives | answers | |
|---|---|---|---|---|";

/// The types of bodies, by name.
fn types() -> [(&'static str, Schema); 8] {
    [
        ("JobStatus", schema_for!(JobStatus)),
        ("CheckpointHistory", schema_for!(CheckpointHistory)),
        ("CheckpointDetails", schema_for!(CheckpointDetails)),
        ("SavepointHistory", schema_for!(SavepointHistory)),
        ("SavepointStatus", schema_for!(SavepointStatus)),
        ("SavepointRequest", schema_for!(SavepointRequest)),
        ("RescaleRequest", schema_for!(RescaleRequest)),
        ("StopRequest", schema_for!(StopRequest)),
    ]
}

fn main() -> Result<(), Box<dyn Error>> {
    println!("{INTRODUCTION}");
    let (types, mut tables) = (types(), Tables::new(Named::ByType));
    for Endpoint { method, path, meaning, takes, gives, answers, .. } in Endpoint::ALL {
        for name in [takes, gives].into_iter().flatten() {
            let (_, schema) = types.iter().find(|(known, _)| known == name).ok_or(format!("no type `{name}`"))?;
            tables.add(name, schema.as_value());
        }
        let link =
            |name: Option<&str>| name.map_or("–".to_owned(), |name| format!("[{name}](#{})", name.to_lowercase()));
        println!("| `{method} {path}` | {} | {} | {answers} | {meaning} |", link(*takes), link(*gives));
    }
    tables.print();
    Ok(())
}
