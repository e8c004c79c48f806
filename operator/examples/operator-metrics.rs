//! Prints the operator's metrics as a table; `make generate` keeps it in `docs/reference/`.

#[path = "../src/metrics.rs"]
mod metrics;

use std::time::Duration;

use metrics::Metrics;

const INTRODUCTION: &str = "\
# Metrics of the operator

Generated from `operator/src/metrics.rs`: what `/metrics` of the operator has, at port 8080, as OpenMetrics. Of a histogram
there are `_bucket`, `_sum` and `_count`.

| metric | kind | label | |
|---|---|---|---|";

fn main() {
    println!("{INTRODUCTION}");
    let metrics = Metrics::new();
    // One with a label is told of when it has a value.
    metrics.reconciled(Duration::ZERO);
    metrics.failed("Unreachable");
    metrics.leads();
    let text = metrics.encode(std::iter::empty());
    for (name, meaning) in text.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split_once(' ')) {
        let mut lines = text.lines().skip_while(|line| !line.starts_with(&format!("# TYPE {name} "))).map(str::trim);
        let kind = lines.next().and_then(|line| line.rsplit(' ').next()).unwrap_or("unknown");
        let sample = lines.next().unwrap_or_default();
        let label = sample.split_once('{').and_then(|(_, labels)| labels.split_once('=')).map(|(label, _)| label);
        let label = label.filter(|label| *label != "le").map_or_else(|| "–".to_owned(), |label| format!("`{label}`"));
        let suffix = if kind == "counter" { "_total" } else { "" };
        println!("| `{name}{suffix}` | {kind} | {label} | {meaning} |");
    }
}
