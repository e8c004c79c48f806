//! Prints the reasons of conditions as a table; `make generate` keeps it in `docs/reference/`.

use tidegate_crds::{ConditionType, Reason};

fn main() {
    println!("# Conditions\n");
    println!(
        "Generated from `crds/src/reason.rs`. Every condition of a `StreamJob` has one of these reasons, and a message"
    );
    println!("that says what was found.\n");
    println!("| condition | true means |\n|---|---|");
    for ConditionType { name, meaning } in ConditionType::ALL {
        println!("| `{name}` | {meaning} |");
    }
    println!("\n| reason | meaning | what to do |\n|---|---|---|");
    for Reason { name, meaning, remedy } in Reason::ALL {
        println!("| `{name}` | {meaning} | {remedy} |");
    }
}
