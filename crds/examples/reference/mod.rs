//! JSON schemas as tables of fields, for the references in `docs/`.

use std::collections::{BTreeSet, VecDeque};

use serde_json::{Map, Value};

/// What the sections of objects are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// By the path to them: `spec.checkpoint`.
    ByPath,
    /// By their type: `CheckpointStatus`.
    ByType,
}

/// Tables of one document, an object each.
pub struct Tables {
    named: Named,
    definitions: Map<String, Value>,
    waiting: VecDeque<(String, Value)>,
    done: BTreeSet<String>,
}

impl Tables {
    pub fn new(named: Named) -> Self {
        Self { named, definitions: Map::new(), waiting: VecDeque::new(), done: BTreeSet::new() }
    }

    /// Adds an object, and all that it refers to.
    pub fn add(&mut self, name: &str, schema: &Value) {
        if let Some(Value::Object(definitions)) = schema.get("$defs") {
            self.definitions.extend(definitions.clone());
        }
        self.waiting.push_back((name.to_owned(), schema.clone()));
    }

    /// All tables, each with its heading.
    pub fn print(&mut self) {
        while let Some((name, schema)) = self.waiting.pop_front() {
            if self.done.insert(name.clone()) {
                self.table(&name, &schema);
            }
        }
    }

    fn table(&mut self, name: &str, schema: &Value) {
        println!("\n## {name}\n\n{}\n\n| field | type | default | |\n|---|---|---|---|", text(schema));
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let mut below = Vec::new();
        for (field, schema) in schema["properties"].as_object().into_iter().flatten() {
            let kind = self.kind(&format!("{name}.{field}"), schema, &mut below);
            let default = match schema.get("default") {
                Some(default) => code(default),
                None if self.named == Named::ByPath && required.contains(&field.as_str()) => "required".to_owned(),
                None => "–".to_owned(),
            };
            println!("| `{field}` | {kind} | {default} | {} |", cell(&self.meaning(schema)));
        }
        // What belongs together stands together.
        below.into_iter().rev().for_each(|object| self.waiting.push_front(object));
    }

    /// What a field is, and whether it can be left out: a choice between it and null.
    fn resolved<'a>(&'a self, schema: &'a Value) -> (&'a Value, Option<&'a str>) {
        let choices = schema["anyOf"].as_array();
        let chosen = choices.and_then(|of| of.iter().find(|choice| choice["type"] != "null")).unwrap_or(schema);
        match chosen["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/")) {
            Some(name) => (self.definitions.get(name).unwrap_or(chosen), Some(name)),
            None => (chosen, None),
        }
    }

    fn kind(&self, path: &str, schema: &Value, below: &mut Vec<(String, Value)>) -> String {
        let (schema, of_type) = self.resolved(schema);
        match of_type {
            Some("SecretRef") => return "secret".to_owned(),
            Some(name) if name.starts_with("io.k8s.") => {
                return format!("Kubernetes' {}", name.rsplit('.').next().unwrap_or(name));
            }
            _ => {}
        }
        let values = values(schema);
        if !values.is_empty() {
            return values.iter().map(|(value, _)| format!("`{value}`")).collect::<Vec<_>>().join(", ");
        }
        let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str()).unwrap_or("any");
        match kind {
            "array" => {
                let items = self.kind(&format!("{path}[]"), &schema["items"], below);
                format!("list of {items}{}", range(schema, "minItems", "maxItems"))
            }
            "object" if schema.get("properties").is_some() => {
                let name = of_type.filter(|_| self.named == Named::ByType).unwrap_or(path);
                below.push((name.to_owned(), schema.clone()));
                format!("[object](#{})", anchor(name))
            }
            "object" if schema["additionalProperties"].is_object() => {
                format!("map to {}", self.kind(path, &schema["additionalProperties"], below))
            }
            "object" => "`{}`".to_owned(),
            "string" if schema["pattern"].as_str().is_some_and(|pattern| pattern.contains("min|m|s|ms")) => {
                "duration".to_owned()
            }
            "string" if schema["format"] == "column-type" => "column type".to_owned(),
            "string" => match range(schema, "minLength", "maxLength").as_str() {
                "" => "string".to_owned(),
                range => format!("string{range} characters"),
            },
            other => format!("{other}{}", range(schema, "minimum", "maximum")),
        }
    }

    /// What is said of a field, and of each of its values.
    fn meaning(&self, schema: &Value) -> String {
        let own = text(schema);
        let (resolved, _) = self.resolved(schema);
        let own = if own.is_empty() { text(resolved) } else { own };
        let values = values(resolved);
        let said = values.iter().filter(|(_, meaning)| !meaning.is_empty());
        said.fold(own, |text, (value, meaning)| format!("{text} `{value}`: {meaning}").trim_start().to_owned())
    }
}

/// The values of a type that has few, with what is said of each.
fn values(schema: &Value) -> Vec<(String, String)> {
    let choices = schema["oneOf"].as_array().into_iter().flatten();
    let choices = if schema.get("enum").is_some() { vec![schema] } else { choices.collect() };
    let mut values = Vec::new();
    for choice in choices {
        let plain = choice["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
        values.extend(plain.map(|value| (value.to_owned(), String::new())));
        values.extend(choice["const"].as_str().map(|value| (value.to_owned(), text(choice))));
    }
    values
}

fn range(schema: &Value, least: &str, most: &str) -> String {
    match (schema[least].as_u64(), schema[most].as_u64()) {
        (Some(least), Some(most)) => format!(", {least} to {most}"),
        (Some(least), None) => format!(", from {least}"),
        (None, Some(most)) => format!(", up to {most}"),
        (None, None) => String::new(),
    }
}

fn text(schema: &Value) -> String {
    schema["description"].as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn code(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    format!("`{text}`")
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn anchor(name: &str) -> String {
    name.to_lowercase().chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-' || *c == '_').collect()
}
