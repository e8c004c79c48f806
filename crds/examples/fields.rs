//! Prints every field of a `StreamJob`'s `spec` as tables; `make generate` keeps them in `docs/reference/`.

mod reference;

use reference::{Named, Tables};
use schemars::schema_for;
use tidegate_crds::JobSpec;

const INTRODUCTION: &str = "\
# Fields of a StreamJob

Generated from `crds/src`: every field of `spec`, what it accepts, and what it is when it is left out (–: nothing).
[StreamJob](streamjob.md) says how they go together.

A *duration* is whole numbers with units `ms`, `s`, `m` or `min`, `h`, `d`, such as `500ms` or `1h30m`. A *secret* is
`{ secretKeyRef: { name: …, key: … } }`. *Column types* are those of
[the table](streamjob.md#column-types).";

fn main() {
    println!("{INTRODUCTION}");
    let mut tables = Tables::new(Named::ByPath);
    tables.add("spec", schema_for!(JobSpec).as_value());
    tables.print();
}
