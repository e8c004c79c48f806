//! The `CustomResourceDefinition` of `StreamJob`, as it is installed.
//!
//! The types say what is accepted; here is what Kubernetes wants beside: a bound on every list, map and string (CEL
//! rules are costed by them, and nobody fills etcd by mistake), and no number formats that it does not know.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Map, Value};

use crate::{ColumnType, StreamJobResource};

/// Bounds for what sets none of its own.
const LONGEST_STRING: u64 = 1024;
const LONGEST_LIST: u64 = 128;
const LARGEST_MAP: u64 = 128;
/// The same for Kubernetes' own types: affinities, tolerations, environment.
const LONGEST_STRING_OF_POD: u64 = 32_768;
/// Formats of OpenAPI v3 that the API server knows.
const FORMATS: [&str; 6] = ["int32", "int64", "float", "double", "date", "date-time"];

/// The definition to install.
pub fn definition() -> Result<CustomResourceDefinition, serde_json::Error> {
    let mut definition = serde_json::to_value(StreamJobResource::crd())?;
    let schema = definition.pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties");
    if let Some(Value::Object(parts)) = schema {
        for part in ["spec", "status"] {
            if let Some(schema) = parts.get_mut(part) {
                finish(schema, LONGEST_STRING);
            }
        }
    }
    serde_json::from_value(definition)
}

/// Walks one schema and everything below it.
fn finish(schema: &mut Value, longest: u64) {
    let Value::Object(schema) = schema else { return };
    let nullable_alone = schema.get("type").is_none();
    match schema.get("type").and_then(Value::as_str) {
        Some("string") if !schema.contains_key("enum") && !is_time(schema) => bound(schema, "maxLength", longest),
        Some("array") => bound(schema, "maxItems", LONGEST_LIST),
        Some("object") if !schema.contains_key("properties") => bound(schema, "maxProperties", LARGEST_MAP),
        _ if nullable_alone && schema.contains_key("x-kubernetes-int-or-string") => {
            bound(schema, "maxLength", LONGEST_STRING);
        }
        _ => {}
    }
    if schema.get("format").is_some_and(|format| format == ColumnType::FORMAT) {
        schema.insert("pattern".to_owned(), ColumnType::PATTERN.into());
    }
    if schema.get("format").and_then(Value::as_str).is_some_and(|format| !FORMATS.contains(&format)) {
        schema.remove("format");
    }
    for below in ["items", "additionalProperties"] {
        if let Some(below) = schema.get_mut(below) {
            finish(below, longest);
        }
    }
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        for (name, property) in properties {
            finish(property, if name == "template" { LONGEST_STRING_OF_POD } else { longest });
        }
    }
}

fn is_time(schema: &Map<String, Value>) -> bool {
    schema.get("format").is_some_and(|format| format == "date-time")
}

fn bound(schema: &mut Map<String, Value>, keyword: &str, limit: u64) {
    schema.entry(keyword).or_insert(limit.into());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `kubectl apply` keeps the whole object in an annotation, and all annotations together fit 256 KiB.
    #[test]
    fn the_definition_is_small_enough_for_client_side_apply() {
        let text = serde_json::to_string(&definition().unwrap()).unwrap();
        assert!(text.len() < 200_000, "{} bytes", text.len());
    }

    #[test]
    fn every_field_of_the_spec_is_described_and_bounded() {
        let definition = serde_json::to_value(definition().unwrap()).unwrap();
        let spec = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        let mut found = Vec::new();
        look("spec", spec, &mut found);
        assert_eq!(found, Vec::<String>::new());
    }

    fn look(path: &str, schema: &Value, found: &mut Vec<String>) {
        let missing = |keyword: &str| schema.get(keyword).is_none();
        match schema["type"].as_str() {
            Some("string") if missing("enum") && missing("maxLength") => found.push(format!("{path}: no maxLength")),
            Some("array") if missing("maxItems") => found.push(format!("{path}: no maxItems")),
            _ => {}
        }
        if schema.get("items").is_some() {
            look(&format!("{path}[]"), &schema["items"], found);
        }
        let properties = schema["properties"].as_object();
        for (name, property) in properties.into_iter().flatten() {
            // What a name of Kubernetes' own types means is in Kubernetes' documentation.
            if property.get("description").is_none() && !path.starts_with("spec.template.") {
                found.push(format!("{path}.{name}: no description"));
            }
            look(&format!("{path}.{name}"), property, found);
        }
    }
}
