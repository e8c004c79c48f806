//! Prints the JSON schema of a `StreamJob`'s `spec`; `make generate` keeps it in `docs/reference/`.

use schemars::schema_for;
use tidegate_crds::JobSpec;

fn main() -> serde_json::Result<()> {
    println!("{}", serde_json::to_string_pretty(&schema_for!(JobSpec))?);
    Ok(())
}
