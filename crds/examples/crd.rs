//! Prints the `CustomResourceDefinition` of `StreamJob` as YAML; `make generate` keeps it in `crds/` and in the chart.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("# Generated from crds/src by `make generate`.");
    print!("{}", serde_yaml::to_string(&tidegate_crds::definition()?)?);
    Ok(())
}
