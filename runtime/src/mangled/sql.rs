//! SQL: a graph, or a refusal with its place.

use tidegate_crds::Column;

use super::assert_plain;
use crate::{
    format::arrow_schema,
    sql::{Catalog, CatalogSource, plan},
};

/// A text over one source with a column of every type.
pub fn text(bytes: &[u8]) {
    let Ok(sql) = std::str::from_utf8(bytes) else { return };
    let source = CatalogSource {
        name: "orders".to_owned(),
        schema: arrow_schema(&columns()),
        event_time: Some("ts".to_owned()),
    };
    let catalog = Catalog { sources: vec![source], sinks: vec!["totals".to_owned(), "alerts".to_owned()] };
    if let Err(error) = plan(sql, &catalog) {
        let lines = sql.split('\n').count() as u64;
        assert!(error.at.is_none_or(|at| (1..=lines).contains(&at.line) && at.column >= 1), "{error} of {sql}");
        assert_plain(sql, &error.to_string());
    }
}

/// One of every type, named by it.
pub(super) fn columns() -> Vec<Column> {
    const COLUMNS: [(&str, &str); 11] = [
        ("ts", "timestamp(3)"),
        ("s", "string"),
        ("b", "boolean"),
        ("i", "int"),
        ("n", "bigint"),
        ("f", "float"),
        ("d", "double"),
        ("amount", "decimal(12,2)"),
        ("wide", "decimal(38,10)"),
        ("day", "date"),
        ("raw", "bytes"),
    ];
    let column = |(name, kind): (&str, &str)| {
        Some(Column { name: name.to_owned(), kind: kind.parse().ok()?, nullable: name != "ts" })
    };
    COLUMNS.into_iter().filter_map(column).collect()
}
