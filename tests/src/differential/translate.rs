//! What the job must put out, as SQL of DuckDB.
//!
//! Every record, and every row between operators, has a *span* (`_span`): the version of the job that works on it there.
//! What is stateless works on a row in the span that the row has: so a `SELECT` is a union of what each version makes of its
//! rows. An operator with state hands rows from span to span. A deduplication puts a row out in the span in which the
//! checkpoint at its end has not got it waiting any more. A window puts its rows out in the span in which the watermark has
//! passed it, and each of its aggregates counts the rows from the span on since which it is there without a gap.
//! Where a span ends is told by the checkpoint that the next version went on from ([`super::cut`]).

use std::fmt::Write as _;

use serde_json::{Value as Json, json};

use super::{
    case::{Case, Source},
    cut::Cut,
    expr::Column,
    kind::{Kind, quoted},
    logical::{Aggregate, Body, First, Select, Version, Windows, columns, kind_of, of_item},
};

/// A version that the job went on with, from a cut.
#[derive(Debug, Clone)]
pub struct Span {
    pub version: Version,
    /// Where it began; the first begins with nothing.
    pub cut: Cut,
}

/// What a sink must have, of one span.
#[derive(Debug)]
pub struct Expected {
    pub sink: String,
    pub span: usize,
    pub sql: String,
    pub columns: Vec<Column>,
}

#[derive(Debug, Default)]
pub struct Translation {
    pub statements: Vec<Json>,
    pub expected: Vec<Expected>,
}

struct Translator<'a> {
    case: &'a Case,
    spans: &'a [Span],
    statements: Vec<Json>,
    done: Vec<String>,
}

pub fn translate(case: &Case, spans: &[Span]) -> Translation {
    let mut this = Translator { case, spans, statements: Vec::new(), done: Vec::new() };
    for source in &case.sources {
        this.source(source);
    }
    let mut expected = Vec::new();
    for (span, Span { version, .. }) in spans.iter().enumerate() {
        for insert in &version.inserts {
            let Select { from, .. } = &insert.select;
            this.relation(from);
            let inner = columns(version, &case.sources, from);
            let columns = insert.select.items.iter().map(|item| of_item(item, &inner)).collect();
            let sql = select(&insert.select, span, "");
            expected.push(Expected { sink: insert.sink.clone(), span, sql, columns });
        }
    }
    Translation { statements: this.statements, expected }
}

impl Translator<'_> {
    fn say(&mut self, sql: String, lists: Vec<Json>) {
        self.statements.push(json!({ "sql": sql, "lists": lists }));
    }

    /// The records as text, each with its span; then typed as the versions have it.
    fn source(&mut self, source: &Source) {
        let mut lists: Vec<Vec<Json>> = vec![Vec::new(); source.columns.len() + 2];
        for (split, records) in source.splits.iter().enumerate() {
            for (position, record) in records.iter().enumerate() {
                let span = self.spans.iter().rposition(|span| span.cut.next(&source.name, split) <= position as u64);
                for (list, value) in lists.iter_mut().zip(&record.values) {
                    list.push(json!(value.spelled()));
                }
                lists[source.columns.len()].push(json!(span.unwrap_or_default()));
                lists[source.columns.len() + 1].push(json!(record.ms));
            }
        }
        let names = source.columns.iter().map(|column| quoted(&column.name));
        let names: Vec<String> = names.chain(["_span".to_owned(), "_ms".to_owned()]).collect();
        let unnested: Vec<String> =
            names.iter().enumerate().map(|(index, name)| format!("UNNEST(${}) AS {name}", index + 1)).collect();
        let raw = format!("raw_{}", source.name);
        let lists = lists.into_iter().map(Json::from).collect();
        self.say(format!("CREATE TABLE {raw} AS SELECT {}", unnested.join(", ")), lists);
        let last: Vec<(usize, Kind)> = self.schema_of(source, self.spans.len() - 1);
        let parts: Vec<String> = (0..self.spans.len())
            .map(|span| {
                let known = self.schema_of(source, span);
                let typed: Vec<String> = last
                    .iter()
                    .map(|(index, kind)| {
                        let name = quoted(&source.columns[*index].name);
                        let value = match known.iter().find(|(known, _)| known == index) {
                            Some((_, then)) => then.read(&name),
                            None => "NULL".to_owned(),
                        };
                        format!("CAST({value} AS {}) AS {name}", kind.theirs())
                    })
                    .collect();
                format!("SELECT {}, CAST(_span AS INTEGER) AS _span, CAST(_ms AS BIGINT) AS _ms FROM {raw} WHERE _span = {span}", typed.join(", "))
            })
            .collect();
        self.say(format!("CREATE TABLE {} AS {}", quoted(&source.name), parts.join(" UNION ALL ")), Vec::new());
        self.done.push(source.name.clone());
    }

    fn schema_of(&self, source: &Source, span: usize) -> Vec<(usize, Kind)> {
        let schemas = &self.spans[span].version.sources;
        schemas
            .iter()
            .find(|schema| schema.name == source.name)
            .map(|schema| schema.columns.clone())
            .unwrap_or_default()
    }

    /// Spans whose version has the view.
    fn with(&self, name: &str) -> Vec<(usize, &Body)> {
        let spans = self.spans.iter().enumerate();
        spans.filter_map(|(index, span)| Some((index, &span.version.view(name)?.body))).collect()
    }

    /// Makes the table of a view, and of what it reads.
    fn relation(&mut self, name: &str) {
        if self.done.iter().any(|done| done == name) {
            return;
        }
        self.done.push(name.to_owned());
        let reads: Vec<String> = self.with(name).iter().map(|(_, body)| body.from().to_owned()).collect();
        for from in reads {
            self.relation(&from);
        }
        let versions = self.with(name);
        let Some((begins, first)) = versions.first().map(|(span, body)| (*span, (*body).clone())) else { return };
        let parts: Vec<String> = match first {
            Body::Select(_) => versions
                .iter()
                .filter_map(|(span, body)| match body {
                    Body::Select(body) => Some(select(body, *span, ", _span, _ms")),
                    _ => None,
                })
                .collect(),
            Body::First(_) => {
                let Some((_, Body::First(newest))) = versions.last() else { return };
                vec![self.first(newest, begins)]
            }
            Body::Windows(_) => versions
                .iter()
                .filter_map(|(span, body)| match body {
                    Body::Windows(body) => Some(self.windows(name, body, *span, begins)),
                    _ => None,
                })
                .collect(),
        };
        let sql = format!("CREATE TABLE {} AS {}", quoted(name), parts.join("\nUNION ALL BY NAME "));
        self.say(sql, Vec::new());
    }

    /// The view of a span that has the deduplication: two that are written alike are one operator, so a view may be added
    /// to one that is there.
    fn same_first(&self, span: usize, first: &First) -> Option<&str> {
        let is_same =
            |body: &Body| matches!(body, Body::First(other) if other.from == first.from && other.keys == first.keys);
        let views = &self.spans[span].version.views;
        views.iter().find(|view| is_same(&view.body)).map(|view| view.name.as_str())
    }

    /// The first row of each key, in the span in which it does not wait any more.
    fn first(&self, first: &First, added: usize) -> String {
        let begins =
            (0..added).rev().take_while(|span| self.same_first(*span, first).is_some()).last().unwrap_or(added);
        let keys: Vec<String> = first.keys.iter().map(|key| quoted(key)).collect();
        let names: Vec<String> = first.columns.iter().map(|name| quoted(name)).collect();
        let mut leaves = String::new();
        for span in begins..self.spans.len() - 1 {
            let waiting = self.same_first(span, first).map_or(&[][..], |name| self.spans[span + 1].cut.waiting(name));
            let waiting: Vec<String> = waiting.iter().map(ToString::to_string).collect();
            let waiting = if waiting.is_empty() { "NULL".to_owned() } else { waiting.join(", ") };
            let passed = format!("(_ms NOT IN ({waiting}))");
            let passed = if waiting == "NULL" { "TRUE".to_owned() } else { passed };
            write!(leaves, " WHEN _span <= {span} AND {passed} THEN {span}").expect("memory");
        }
        let last = self.spans.len() - 1;
        let leaves = if leaves.is_empty() { last.to_string() } else { format!("CASE{leaves} ELSE {last} END") };
        format!(
            "SELECT {}, CAST({leaves} AS INTEGER) AS _span, _ms FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY {} ORDER BY _ms, _span) \
             AS _nth FROM {} WHERE _span >= {begins}) WHERE _nth = 1",
            names.join(", "),
            keys.join(", "),
            quoted(&first.from)
        )
    }

    /// What the windows that close in a span put out.
    fn windows(&self, name: &str, windows: &Windows, span: usize, begins: usize) -> String {
        let inner = columns(&self.spans[span].version, &self.case.sources, &windows.from);
        let size = windows.size_ms;
        let mut columns: Vec<String> = windows
            .edges
            .iter()
            .map(|edge| match *edge {
                "window_start" => "make_timestamp(_start * 1000) AS window_start".to_owned(),
                edge => format!("make_timestamp((_start + {size}) * 1000) AS {edge}"),
            })
            .collect();
        let keys: Vec<String> = windows.keys.iter().map(|key| quoted(key)).collect();
        columns.extend(keys.iter().cloned());
        let value = |aggregate: &Aggregate| {
            let since = self.since(name, aggregate, span);
            let kind = aggregate.argument.as_ref().map(|argument| kind_of(argument, &inner));
            aggregate.theirs(&format!("_span >= {since}"), kind)
        };
        columns.extend(
            windows.aggregates.iter().map(|aggregate| format!("{} AS {}", value(aggregate), quoted(&aggregate.name))),
        );
        columns.push(format!("CAST({span} AS INTEGER) AS _span"));
        let by: Vec<String> = ["_start".to_owned()].into_iter().chain(keys).collect();
        // Each version's `WHERE` is for the rows that came to it.
        let filters: Vec<String> = self
            .with(name)
            .into_iter()
            .map(|(span, body)| match body {
                Body::Windows(Windows { filter: Some(filter), .. }) => {
                    format!("(_span = {span} AND ({}))", filter.theirs)
                }
                _ => format!("_span = {span}"),
            })
            .collect();
        let mut having = Vec::new();
        if span > begins {
            having.push(format!("_start + {} > {}", size - 1, self.passed(name, span)));
        }
        if span + 1 < self.spans.len() {
            having.push(format!("_start + {} <= {}", size - 1, self.passed(name, span + 1)));
        }
        if let Some(wanted) = &windows.having {
            having.push(format!("{} {}", value(&wanted.aggregate), wanted.comparison));
        }
        let having = if having.is_empty() { String::new() } else { format!(" HAVING {}", having.join(" AND ")) };
        format!(
            "SELECT {} FROM (SELECT *, _ms - (((_ms % {size}) + {size}) % {size}) AS _start FROM {} WHERE {}) GROUP BY {}{having}",
            columns.join(", "),
            quoted(&windows.from),
            filters.join(" OR "),
            by.join(", ")
        )
    }

    /// The watermark of a window where a span begins.
    fn passed(&self, name: &str, span: usize) -> i64 {
        self.spans[span].cut.watermark(name)
    }

    /// The span since which an aggregate is there.
    fn since(&self, name: &str, aggregate: &Aggregate, span: usize) -> usize {
        let windows = |span: usize| match self.spans[span].version.view(name).map(|view| &view.body) {
            Some(Body::Windows(windows)) => Some(windows),
            _ => None,
        };
        let identity = |aggregate: &Aggregate, span: usize| {
            windows(span).map(|windows| aggregate.identity(&self.spans[span].version, &windows.from))
        };
        let wanted = identity(aggregate, span);
        let has = |span: &usize| {
            windows(*span).is_some_and(|windows| windows.computed().any(|other| identity(other, *span) == wanted))
        };
        (0..=span).rev().take_while(has).last().unwrap_or(span)
    }
}

fn select(select: &Select, span: usize, more: &str) -> String {
    let items: Vec<String> =
        select.items.iter().map(|item| format!("{} AS {}", item.expr.theirs, quoted(&item.name))).collect();
    let filter = select.filter.as_ref().map(|filter| format!(" AND ({})", filter.theirs)).unwrap_or_default();
    format!("SELECT {}{more} FROM {} WHERE _span = {span}{filter}", items.join(", "), quoted(&select.from))
}
