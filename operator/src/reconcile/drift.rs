//! Whether an object is still as it was applied: told without a write.
//!
//! The API server fills in defaults and writes quantities its own way, so an object is never equal to what was sent. It is
//! as it should be when everything that was sent is in it, and the digest of what was sent last is that of what would be
//! sent now (which notices fields that are no longer wanted).

use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde_json::Value;

use crate::build::APPLIED;

const DIGEST_BYTES: usize = 8;

/// The digest that goes with an object when it is applied.
pub fn digest(wanted: &Value) -> String {
    crate::digest::of(&[wanted.to_string().as_bytes()], DIGEST_BYTES)
}

/// Whether `live` is missing or is not as `wanted`.
pub fn differs<K: Resource + Serialize>(wanted: &K, live: Option<&K>) -> bool {
    let Some(live) = live else { return true };
    let (Ok(wanted), Ok(found)) = (serde_json::to_value(wanted), serde_json::to_value(live)) else { return true };
    live.annotations().get(APPLIED) != Some(&digest(&wanted)) || !contains(&found, &wanted)
}

/// Whether everything in `wanted` is in `found`.
fn contains(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => wanted.iter().all(|(key, wanted)| {
            // An empty list or map is left out when it is stored.
            found.get(key).map_or_else(|| is_empty(wanted), |found| contains(found, wanted))
        }),
        (Value::Array(found), Value::Array(wanted)) => {
            found.len() == wanted.len() && found.iter().zip(wanted).all(|(found, wanted)| contains(found, wanted))
        }
        (Value::String(found), Value::String(wanted)) => {
            found == wanted || quantity(found).is_some_and(|found| Some(found) == quantity(wanted))
        }
        (found, wanted) => found == wanted,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_empty),
        _ => false,
    }
}

/// A Kubernetes quantity in thousandths: `1500m`, `1.5` and `1500e-3` are the same.
fn quantity(text: &str) -> Option<i128> {
    const SUFFIXES: [(&str, i128); 14] = [
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("Ti", 1 << 40),
        ("Pi", 1 << 50),
        ("Ei", 1 << 60),
        ("k", 1_000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
        ("T", 1_000_000_000_000),
        ("P", 1_000_000_000_000_000),
        ("E", 1_000_000_000_000_000_000),
        ("m", 0),
        ("", 1),
    ];
    let (number, factor) = SUFFIXES.iter().find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, *factor)))?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then_some(());
    digits(whole)?;
    let padded: String = fraction.chars().chain("000".chars()).take(3).collect();
    let thousandths = whole.parse::<i128>().ok()?.checked_mul(1000)?.checked_add(padded.parse().ok()?)?;
    if factor == 0 { Some(thousandths / 1000) } else { thousandths.checked_mul(factor) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_the_api_server_adds_is_no_difference_and_what_it_lacks_is() {
        let wanted =
            json!({"spec": {"replicas": 1, "env": [{"name": "A"}], "cpu": "1500m", "memory": "2Gi", "none": []}});
        let found = |cpu: &str, env: Value| json!({"spec": {"replicas": 1, "env": env, "cpu": cpu, "memory": "2048Mi", "policy": "Always"}});
        assert!(contains(&found("1.5", json!([{"name": "A", "x": 1}])), &wanted));
        assert!(!contains(&found("2", json!([{"name": "A"}])), &wanted));
        assert!(!contains(&found("1.5", json!([{"name": "A"}, {"name": "B"}])), &wanted));
        assert!(!contains(&json!({"spec": {}}), &wanted));
    }
}
