//! A whole text, run: JSON records of one source in, JSON rows of one sink out, one subtask of everything.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use prometheus_client::metrics::counter::Counter;
use tidegate_crds::{Column, StateBackend};

use super::*;
use crate::{
    error_chain,
    format::{
        arrow_schema,
        json::{JsonDecoder, encode},
    },
    ids::{EventTime, SubtaskIndex},
    memory::MemoryLimit,
    operator::{
        Emitted, KeyRange, Named, Operator, Output,
        map::Map,
        window::{LateRows, Window},
    },
    source::{RawRecords, Run},
    state::Backend,
};

struct Records<'a>(&'a [&'a str]);

impl RawRecords for Records<'_> {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn payload(&self, index: usize) -> Option<&[u8]> {
        Some(self.0[index].as_bytes())
    }
    fn position(&self, index: usize) -> u64 {
        index as u64
    }
    fn runs(&self) -> &[Run] {
        &[]
    }
}

/// A source `t` of these columns, its event time `ts` where it has one, and the sinks `totals` and `alerts`.
pub fn catalog_of(columns: &[(&str, &str)]) -> Catalog {
    let column = |(name, kind): &(&str, &str)| Column {
        name: (*name).to_owned(),
        kind: kind.parse().unwrap(),
        nullable: *name != "ts",
    };
    let schema = arrow_schema(&columns.iter().map(column).collect::<Vec<_>>());
    let event_time = columns.iter().any(|(name, _)| *name == "ts").then(|| "ts".to_owned());
    let source = CatalogSource { name: "t".into(), schema, event_time };
    Catalog { sources: vec![source], sinks: vec!["totals".into(), "alerts".into()] }
}

/// The rows that `sql` writes to its one sink when `t` has these records, each as JSON, or why there are none.
pub fn run(columns: &[(&str, &str)], records: &[&str], sql: &str) -> Result<Vec<String>, String> {
    let catalog = catalog_of(columns);
    let graph = plan(sql, &catalog).map_err(|error| error.to_string())?;
    let decoded = JsonDecoder::new(catalog.sources[0].schema.clone()).unwrap().decode(&Records(records)).unwrap();
    assert_eq!(decoded.bad, [], "{records:?}");
    let mut results: BTreeMap<usize, Vec<RecordBatch>> = BTreeMap::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        let input = node.inputs.first().map(|input| &results[&input.0]);
        let input_schema = node.inputs.first().map(|input| graph.nodes[input.0].schema.clone());
        let name = Named(node.id.clone());
        let output = match &node.kind {
            NodeKind::Source { projection, .. } => vec![decoded.batch.project(projection).unwrap()],
            NodeKind::Map { predicate, columns } => {
                let map = Map::new(name, predicate.clone(), columns.clone(), node.schema.clone());
                through(map, input.unwrap())?
            }
            NodeKind::WindowAggregate(spec) => {
                let range = KeyRange { subtask: SubtaskIndex(0), parallelism: 1, max_parallelism: 128 };
                let late = LateRows { counted: Counter::default(), encode: None };
                let backend = Backend::new(StateBackend::Memory, "unused".into(), MemoryLimit::given(64 << 20));
                let (input_schema, output) = (input_schema.unwrap(), node.schema.clone());
                let window = Window::new(name, spec.clone(), range, &input_schema, output, late, &backend).unwrap();
                through(window, input.unwrap())?
            }
            NodeKind::Sink { .. } => {
                let lines: Vec<_> = input.unwrap().iter().map(|batch| encode(batch).unwrap()).collect();
                let mut rows: Vec<String> =
                    lines.iter().flat_map(|l| l.rows().map(|row| String::from_utf8(row.to_vec()).unwrap())).collect();
                rows.sort();
                return Ok(rows);
            }
            other @ NodeKind::Deduplicate { .. } => panic!("{other:?}"),
        };
        assert!(output.iter().all(|batch| batch.schema() == node.schema), "{}", node.id);
        results.insert(index, output);
    }
    panic!("no sink in\n{graph}")
}

/// Every batch, then the end of time.
fn through(mut operator: impl Operator, input: &[RecordBatch]) -> Result<Vec<RecordBatch>, String> {
    let mut out = Output::default();
    let mut go = || {
        for batch in input {
            operator.on_batch(batch.clone(), &mut out)?;
        }
        let mut more = operator.on_watermark(EventTime::MAX, &mut out)?;
        while more {
            more = operator.go_on(&mut out)?;
        }
        Ok(())
    };
    go().map_err(|error: crate::operator::OperatorError| error_chain(&error))?;
    let batch = |emitted| match emitted {
        Emitted::Batch(batch) => Some(batch),
        _ => None,
    };
    Ok(out.elements.into_iter().filter_map(batch).collect())
}

/// What comes behind `SELECT` in a window of ten seconds, without keys.
pub fn in_window(select: &str) -> String {
    format!(
        "INSERT INTO totals SELECT {select} FROM TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND) \
         GROUP BY window_start, window_end"
    )
}
