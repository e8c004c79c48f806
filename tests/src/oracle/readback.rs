//! Reading the committed output back, in the reference's words.

use std::path::Path;

use chrono::DateTime;
use serde_json::Value;

use super::Rows;

/// A row of the job's output, as JSON, in the reference's words.
pub(super) fn row(json: &[u8]) -> String {
    let value: Value = serde_json::from_slice(json).expect("rows are JSON");
    let field = |name: &str| value.get(name).unwrap_or_else(|| panic!("no field {name} in {value}")).to_string();
    let window = field("window_start");
    let window = DateTime::parse_from_rfc3339(window.trim_matches('"')).expect("an instant").timestamp_millis();
    let total = field("total");
    format!("{window} store {}: {} cents, {} orders", field("store_id"), cents(&total), field("orders"))
}

/// `12.34` as 1234. Text, since a float would hide an error of a cent.
pub(super) fn cents(total: &str) -> i64 {
    let total = total.trim_matches('"');
    let (whole, fraction) = total.split_once('.').unwrap_or((total, "00"));
    let fraction = format!("{fraction:0<2}");
    whole.parse::<i64>().expect("digits") * 100 + fraction.parse::<i64>().expect("two digits")
}

/// Everything in a folder of JSON lines.
pub fn file_rows(folder: &Path) -> Rows {
    let files = std::fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry").path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    files
        .flat_map(|path| {
            let text = std::fs::read_to_string(&path).expect("a readable file");
            text.lines().map(|line| row(line.as_bytes())).collect::<Vec<_>>()
        })
        .collect()
}
