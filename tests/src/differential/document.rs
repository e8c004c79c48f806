//! The document of a version, and its SQL.

use serde_json::json;
use tidegate_crds::StreamJob;

use super::{
    case::Case,
    kind::{literal, quoted},
    logical::{Body, First, Item, Select, TIME, Version, View, Windows},
};

/// Where the document says that things are.
#[derive(Debug, Clone)]
pub struct Places {
    /// A folder for each source, with a file for each split.
    pub sources: String,
    /// A folder for each sink.
    pub sinks: String,
    pub storage: String,
}

impl Places {
    /// For a job whose records and rows go other ways.
    pub fn nowhere() -> Self {
        let [sources, sinks, storage] = ["/nowhere"; 3].map(str::to_owned);
        Self { sources, sinks, storage }
    }
}

/// The version's document, as YAML.
pub fn text(case: &Case, version: &Version, places: &Places) -> String {
    let sources: Vec<_> = version
        .sources
        .iter()
        .map(|schema| {
            let source = case.source(&schema.name);
            let column = |(index, kind): &(usize, super::kind::Kind)| {
                let column = &source.columns[*index];
                json!({ "name": column.name, "type": kind.ours(), "nullable": column.is_nullable })
            };
            json!({
                "name": source.name,
                "files": { "path": format!("{}/{}/*.jsonl", places.sources, source.name) },
                "schema": schema.columns.iter().map(column).collect::<Vec<_>>(),
                "watermark": { "column": TIME, "delay": format!("{}ms", source.delay_ms) },
            })
        })
        .collect();
    let sinks: Vec<_> = version
        .inserts
        .iter()
        .map(|insert| json!({ "name": insert.sink, "files": { "path": format!("{}/{}", places.sinks, insert.sink) } }))
        .collect();
    let setting = &case.setting;
    let mut checkpoint = json!({
        "interval": format!("{}ms", setting.interval_ms),
        "timeout": "30s",
        "maxConcurrent": setting.max_concurrent,
        "tolerableFailures": 100,
        "storage": { "local": { "path": places.storage } },
    });
    if let Some(ms) = setting.alignment_timeout_ms {
        checkpoint["alignmentTimeout"] = json!(format!("{ms}ms"));
    }
    let document = json!({
        "apiVersion": "tidegate.dev/v1alpha1",
        "kind": "StreamJob",
        "metadata": { "name": "differential" },
        "spec": {
            "sources": sources,
            "sql": sql(version),
            "sinks": sinks,
            "parallelism": version.parallelism,
            "stateBackend": if setting.has_tables { "RocksDB" } else { "Memory" },
            "checkpoint": checkpoint,
            // A record that no restart gets past ends the job.
            "restart": { "fixedDelay": { "attempts": 12, "delay": "200ms" } },
        },
    });
    serde_yaml::to_string(&document).expect("a document")
}

pub fn read(text: &str) -> StreamJob {
    StreamJob::from_yaml(text).unwrap_or_else(|error| panic!("{error}:\n{text}"))
}

/// What the version's document has in `spec.sql`.
pub fn sql(version: &Version) -> String {
    let views = version.views.iter().map(view);
    let inserts = version
        .inserts
        .iter()
        .map(|insert| format!("INSERT INTO {} {};\n", quoted(&insert.sink), select(&insert.select)));
    views.chain(inserts).collect()
}

fn view(view: &View) -> String {
    let body = match &view.body {
        Body::Select(body) => select(body),
        Body::First(body) => first(body),
        Body::Windows(body) => windows(body),
    };
    format!("CREATE VIEW {} AS {body};\n", quoted(&view.name))
}

fn select(select: &Select) -> String {
    let filter = select.filter.as_ref().map(|filter| format!("\n  WHERE {}", filter.ours)).unwrap_or_default();
    format!("SELECT {}\n  FROM {}{filter}", items(&select.items), quoted(&select.from))
}

fn items(items: &[Item]) -> String {
    let item = |item: &Item| {
        let name = quoted(&item.name);
        if item.expr.ours == name { name } else { format!("{} AS {name}", item.expr.ours) }
    };
    items.iter().map(item).collect::<Vec<_>>().join(", ")
}

fn first(first: &First) -> String {
    let names = |names: &[String]| names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
    format!(
        "SELECT {}\n  FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY {} ORDER BY {TIME}) AS nth FROM {})\n  WHERE nth = 1",
        names(&first.columns),
        names(&first.keys),
        quoted(&first.from)
    )
}

fn windows(windows: &Windows) -> String {
    let keys: Vec<String> = windows.keys.iter().map(|key| quoted(key)).collect();
    let edges = windows.edges.iter().map(|edge| (*edge).to_owned());
    let aggregates =
        windows.aggregates.iter().map(|aggregate| format!("{} AS {}", aggregate.ours(), quoted(&aggregate.name)));
    let columns: Vec<String> = edges.chain(keys.iter().cloned()).chain(aggregates).collect();
    let by: Vec<String> =
        ["window_start", "window_end"].into_iter().map(str::to_owned).chain(keys.iter().cloned()).collect();
    let filter = windows.filter.as_ref().map(|filter| format!("\n  WHERE {}", filter.ours)).unwrap_or_default();
    let having = windows
        .having
        .as_ref()
        .map(|having| format!("\n  HAVING {} {}", having.aggregate.ours(), having.comparison))
        .unwrap_or_default();
    format!(
        "SELECT {}\n  FROM TUMBLE(TABLE {}, DESCRIPTOR({TIME}), INTERVAL {} SECOND){filter}\n  GROUP BY {}{having}",
        columns.join(", "),
        quoted(&windows.from),
        literal(&(windows.size_ms / 1000).to_string()),
        by.join(", ")
    )
}
