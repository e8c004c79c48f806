//! One version of a job, as both dialects are written from it.

use super::{
    expr::{Column, Expr},
    kind::{Class, Kind},
};

/// The event time, in every relation that has one.
pub const TIME: &str = "ts";

/// What a version of the document says.
#[derive(Debug, Clone)]
pub struct Version {
    /// Columns of each source, in the document's order: indexes into those that the source's records have, and types.
    pub sources: Vec<SourceSchema>,
    /// In an order in which each reads what is before it.
    pub views: Vec<View>,
    pub inserts: Vec<Insert>,
    pub parallelism: u32,
}

#[derive(Debug, Clone)]
pub struct SourceSchema {
    pub name: String,
    /// Which column of the records, and its type in this version.
    pub columns: Vec<(usize, Kind)>,
}

#[derive(Debug, Clone)]
pub struct View {
    pub name: String,
    pub body: Body,
}

#[derive(Debug, Clone)]
pub enum Body {
    Select(Select),
    First(First),
    Windows(Windows),
}

/// `SELECT items FROM from WHERE filter`.
#[derive(Debug, Clone)]
pub struct Select {
    pub from: String,
    pub items: Vec<Item>,
    pub filter: Option<Expr>,
}

#[derive(Debug, Clone)]
pub struct Item {
    pub name: String,
    pub expr: Expr,
}

/// The first row of each key.
#[derive(Debug, Clone)]
pub struct First {
    pub from: String,
    pub keys: Vec<String>,
    /// Columns that it selects, the event time among them.
    pub columns: Vec<String>,
}

/// Aggregates over tumbling windows.
#[derive(Debug, Clone)]
pub struct Windows {
    pub from: String,
    pub size_ms: i64,
    pub keys: Vec<String>,
    pub edges: Vec<&'static str>,
    pub aggregates: Vec<Aggregate>,
    pub filter: Option<Expr>,
    pub having: Option<Having>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Aggregate {
    pub name: String,
    pub function: Function,
    /// `None` for `COUNT(*)`.
    pub argument: Option<Expr>,
    pub filter: Option<Expr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    Count,
    CountDistinct,
    Sum,
    Min,
    Max,
    Avg,
}

/// `HAVING aggregate comparison`.
#[derive(Debug, Clone)]
pub struct Having {
    pub aggregate: Aggregate,
    pub comparison: &'static str,
}

/// `INSERT INTO sink SELECT …`.
#[derive(Debug, Clone)]
pub struct Insert {
    pub sink: String,
    pub select: Select,
}

impl Version {
    pub fn view(&self, name: &str) -> Option<&View> {
        self.views.iter().find(|view| view.name == name)
    }
}

impl Body {
    pub fn from(&self) -> &str {
        match self {
            Self::Select(select) => &select.from,
            Self::First(first) => &first.from,
            Self::Windows(windows) => &windows.from,
        }
    }
}

impl Windows {
    /// All aggregates that are computed.
    pub fn computed(&self) -> impl Iterator<Item = &Aggregate> {
        self.aggregates.iter().chain(self.having.iter().map(|having| &having.aggregate))
    }

    /// Whether another aggregate differs from this one in a `CAST` alone: the planner takes two such for one name.
    pub fn has_like(&self, aggregate: &Aggregate) -> bool {
        let (text, blind) = (aggregate.ours(), without_casts(&aggregate.ours()));
        self.computed().any(|other| other.ours() != text && without_casts(&other.ours()) == blind)
    }
}

impl Aggregate {
    /// What it computes over rows of `from`, whatever it and its columns are called: what its state is known by over
    /// versions.
    pub fn identity(&self, version: &Version, from: &str) -> String {
        written_out(version, from, &self.ours())
    }

    pub fn ours(&self) -> String {
        let argument = self.argument.as_ref().map_or("*", |argument| &argument.ours);
        let filter = self.filter.as_ref().map(|filter| format!(" FILTER (WHERE {})", filter.ours)).unwrap_or_default();
        match self.function {
            Function::CountDistinct => format!("COUNT(DISTINCT {argument}){filter}"),
            function => format!("{}({argument}){filter}", function.word()),
        }
    }

    /// Over the rows for which `counts` is true.
    pub fn theirs(&self, counts: &str, argument_kind: Option<Kind>) -> String {
        let argument = self.argument.as_ref().map_or("*", |argument| &argument.theirs);
        let filter = self.filter.as_ref().map(|filter| format!(" AND ({})", filter.theirs)).unwrap_or_default();
        let filter = format!(" FILTER (WHERE {counts}{filter})");
        match (self.function, argument_kind) {
            (Function::CountDistinct, _) => format!("COUNT(DISTINCT {argument}){filter}"),
            // Theirs gives a double.
            (Function::Avg, Some(Kind::Decimal(_, scale))) => {
                format!("average_(SUM({argument}){filter}, COUNT({argument}){filter}, {scale})")
            }
            // Theirs wraps around in 128 bits, also where it has no room.
            (Function::Sum, Some(Kind::Decimal(38, 2))) => format!(
                "CASE WHEN SUM(CAST({argument} AS DOUBLE)){filter} >= 1e36 THEN error('no room') ELSE SUM({argument}){filter} END"
            ),
            // Ours are computed with doubles.
            (Function::Sum | Function::Avg, Some(Kind::Float)) => {
                format!("{}(CAST({argument} AS DOUBLE)){filter}", self.function.word())
            }
            (function, _) => format!("{}({argument}){filter}", function.word()),
        }
    }

    /// The type of its value, as far as comparing goes.
    pub fn kind(&self, argument: Option<Kind>) -> Kind {
        match (self.function, argument) {
            (Function::Count | Function::CountDistinct, _) | (_, None) => Kind::BigInt,
            (Function::Sum, Some(Kind::Float)) => Kind::Double,
            (Function::Sum, Some(kind)) if kind.class() == Class::Whole => Kind::BigInt,
            (Function::Min | Function::Max | Function::Sum, Some(kind)) => kind,
            (Function::Avg, Some(kind)) if kind.class() == Class::Exact => kind,
            (Function::Avg, Some(_)) => Kind::Double,
        }
    }
}

impl Function {
    fn word(self) -> &'static str {
        match self {
            Self::Count | Self::CountDistinct => "COUNT",
            Self::Sum => "SUM",
            Self::Min => "MIN",
            Self::Max => "MAX",
            Self::Avg => "AVG",
        }
    }
}

/// The text of an expression over the rows of `from`, with what views compute written out.
fn written_out(version: &Version, from: &str, text: &str) -> String {
    let Some(view) = version.view(from) else { return text.to_owned() };
    let below = view.body.from();
    let Body::Select(select) = &view.body else { return written_out(version, below, text) };
    let meaning = |word: &str| {
        let item = select.items.iter().find(|item| item.name == word)?;
        let text = &item.expr.ours;
        Some(if item.expr.column.is_some() { text.clone() } else { format!("({text})") })
    };
    written_out(version, below, &with_words(text, meaning))
}

/// A text with another one in the place of some words, but not in quotes.
fn with_words(text: &str, meaning: impl Fn(&str) -> Option<String>) -> String {
    let put = |word: &str| meaning(word).unwrap_or_else(|| word.to_owned());
    let (mut put_out, mut word, mut is_quoted) = (String::new(), String::new(), false);
    for c in text.chars() {
        if !is_quoted && (c.is_alphanumeric() || c == '_') {
            word.push(c);
            continue;
        }
        put_out += &put(&std::mem::take(&mut word));
        is_quoted ^= c == '\'';
        put_out.push(c);
    }
    put_out + &put(&word)
}

/// An expression's text with what is cast in the place of each `CAST`.
fn without_casts(text: &str) -> String {
    let Some((before, rest)) = text.split_once("CAST(") else { return text.to_owned() };
    let (mut depth, mut is_quoted, mut kept, mut end) = (0, false, rest.len(), rest.len());
    for (at, c) in rest.char_indices() {
        match c {
            '\'' => is_quoted = !is_quoted,
            _ if is_quoted => {}
            '(' => depth += 1,
            ')' if depth == 0 => {
                end = at;
                break;
            }
            ')' => depth -= 1,
            ' ' if depth == 0 && rest[at..].starts_with(" AS ") => kept = at,
            _ => {}
        }
    }
    without_casts(&format!("{before}{}{}", &rest[..kept], rest.get(end + 1..).unwrap_or_default()))
}

/// What columns a relation of a version has, `time` included.
pub fn columns(version: &Version, sources: &[super::case::Source], name: &str) -> Vec<Column> {
    if let Some(schema) = version.sources.iter().find(|schema| schema.name == name) {
        let source = sources.iter().find(|source| source.name == name).expect("a source of the case");
        return schema.columns.iter().map(|(index, kind)| source.column(*index, *kind)).collect();
    }
    let view = version.view(name).unwrap_or_else(|| panic!("no relation {name}"));
    let inner = columns(version, sources, view.body.from());
    let find = |name: &str| inner.iter().find(|column| column.name == name).expect("a column of what is read").clone();
    match &view.body {
        Body::Select(select) => select.items.iter().map(|item| of_item(item, &inner)).collect(),
        Body::First(first) => first.columns.iter().map(|name| find(name)).collect(),
        Body::Windows(windows) => {
            let edge = |name: &&str| Column {
                name: (*name).to_owned(),
                kind: Kind::Instant(3),
                most: Some(1),
                is_plain: false,
            };
            let aggregate = |aggregate: &Aggregate| {
                let argument = aggregate.argument.as_ref().map(|argument| kind_of(argument, &inner));
                let kind = aggregate.kind(argument);
                // Sums of tame numbers are tame; of doubles that is not said, for an average has many digits.
                let most = matches!(kind.class(), Class::Whole).then_some(1_000_000).filter(|_| {
                    aggregate.argument.as_ref().is_none_or(|argument| argument.most.is_some())
                        || matches!(aggregate.function, Function::Count | Function::CountDistinct)
                });
                Column { name: aggregate.name.clone(), kind, most, is_plain: false }
            };
            let edges = windows.edges.iter().map(edge);
            edges
                .chain(windows.keys.iter().map(|key| find(key)))
                .chain(windows.aggregates.iter().map(aggregate))
                .collect()
        }
    }
}

/// The column that an item is, of these that it reads.
pub fn of_item(item: &Item, inner: &[Column]) -> Column {
    let plain = item.expr.column.as_ref().and_then(|name| inner.iter().find(|column| column.name == *name));
    match plain {
        Some(column) => Column { name: item.name.clone(), ..column.clone() },
        None => {
            let (kind, most) = (item.expr.kind, item.expr.most);
            Column { name: item.name.clone(), kind, most, is_plain: false }
        }
    }
}

/// Of a column the type that it has now, of anything else the one that it was made with.
pub fn kind_of(expr: &Expr, inner: &[Column]) -> Kind {
    let plain = expr.column.as_ref().and_then(|name| inner.iter().find(|column| column.name == *name));
    plain.map_or(expr.kind, |column| column.kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_view_computes_is_written_out_and_quoted_text_stays() {
        let meaning = |word: &str| (word == "x1").then(|| "(id + 2)".to_owned());
        assert_eq!(
            with_words("SUM(x1) FILTER (WHERE x10 = 'x1''s x1')", meaning),
            "SUM((id + 2)) FILTER (WHERE x10 = 'x1''s x1')"
        );
        assert_eq!(with_words("x1", meaning), "(id + 2)");
    }
}
