//! From one version of a job to the next.

use super::{
    case::Source,
    choose::Draw,
    document,
    draw::{aggregate, having, insert},
    expr::{Column, predicate},
    kind::Kind,
    logical::{Body, Item, TIME, Version, Windows, columns},
};
use crate::chance::Chance;

/// One thing that is done to a document. What it hits is drawn when it is done; where there is no such thing, nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The same document, by a process of a higher revision.
    Nothing,
    AddAggregate,
    RemoveAggregate,
    ReorderAggregates,
    RenameAggregate,
    /// An aggregate gets a `FILTER`, or another one.
    FilterAggregate,
    /// Another `WHERE` of a window.
    FilterWindow,
    Having,
    /// Another `WHERE` of an `INSERT`.
    FilterInsert,
    ReorderSource,
    AddSourceColumn,
    WidenSourceColumn,
    AddInsert,
    Parallelism,
    /// A deduplication selects a column that it did not before.
    SelectMore,
}

/// What a change has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// The new version must take over what the old one knows.
    Kept,
    /// It may, or may be refused before the old one is asked to end.
    MayBeRefused,
}

const ALL: [Change; 20] = [
    Change::Nothing,
    Change::AddAggregate,
    Change::AddAggregate,
    Change::AddAggregate,
    Change::RemoveAggregate,
    Change::RemoveAggregate,
    Change::ReorderAggregates,
    Change::ReorderAggregates,
    Change::RenameAggregate,
    Change::FilterAggregate,
    Change::FilterWindow,
    Change::Having,
    Change::FilterInsert,
    Change::ReorderSource,
    Change::AddSourceColumn,
    Change::WidenSourceColumn,
    Change::WidenSourceColumn,
    Change::AddInsert,
    Change::Parallelism,
    Change::SelectMore,
];

impl Change {
    pub fn draw(chance: &mut Chance) -> Self {
        chance.one_of(&ALL)
    }

    /// Does it to a version.
    pub fn apply(self, chance: &mut Chance, version: &mut Version, sources: &[Source]) -> Fate {
        match self {
            Self::Nothing => {}
            Self::Parallelism => version.parallelism = chance.within(1..5) as u32,
            Self::AddInsert => {
                let source = chance.pick(&version.sources).name.clone();
                insert(chance, version, sources, &source);
            }
            Self::FilterInsert => {
                let place = chance.within(0..version.inserts.len() as u64) as usize;
                let from = version.inserts[place].select.from.clone();
                let scope = columns(version, sources, &from);
                let filter = chance.happens(800).then(|| predicate(chance, &scope, 1));
                version.inserts[place].select.filter = filter;
            }
            Self::ReorderSource => {
                let place = chance.within(0..version.sources.len() as u64) as usize;
                chance.shuffle(&mut version.sources[place].columns);
            }
            Self::AddSourceColumn => add_column(chance, version, sources),
            Self::WidenSourceColumn => return widen_column(chance, version, sources),
            Self::SelectMore => select_more(chance, version, sources),
            _ => self.of_windows(chance, version, sources),
        }
        Fate::Kept
    }

    fn of_windows(self, chance: &mut Chance, version: &mut Version, sources: &[Source]) {
        let all: Vec<usize> =
            (0..version.views.len()).filter(|view| matches!(version.views[*view].body, Body::Windows(_))).collect();
        if all.is_empty() {
            return;
        }
        let place = *chance.pick(&all);
        let name = version.views[place].name.clone();
        let from = version.views[place].body.from().to_owned();
        let mut scope = columns(version, sources, &from);
        scope.retain(|column| column.name != TIME);
        if scope.is_empty() {
            return;
        }
        let before = columns(version, sources, &name);
        let Body::Windows(windows) = &mut version.views[place].body else { return };
        self.of_window(chance, windows, &scope);
        select_all(version, sources, &name, &before);
    }

    fn of_window(self, chance: &mut Chance, windows: &mut Windows, scope: &[Column]) {
        // No version gives the name of another's to something else.
        let fresh = format!("m{}", 10 + chance.draw() % 100_000);
        let count = windows.aggregates.len();
        let one = chance.within(0..count as u64) as usize;
        match self {
            Self::AddAggregate => {
                let added = aggregate(chance, scope, fresh);
                if windows.has_like(&added) {
                    return;
                }
                windows.aggregates.insert(chance.within(0..count as u64 + 1) as usize, added);
            }
            Self::RemoveAggregate if count > 1 => {
                windows.aggregates.remove(one);
            }
            Self::ReorderAggregates => chance.shuffle(&mut windows.aggregates),
            Self::RenameAggregate => windows.aggregates[one].name = fresh,
            Self::FilterAggregate => {
                let mut other = windows.aggregates[one].clone();
                other.filter = chance.happens(700).then(|| predicate(chance, scope, 1));
                if chance.happens(300) {
                    other = aggregate(chance, scope, fresh);
                }
                if !windows.has_like(&other) {
                    windows.aggregates[one] = other;
                }
            }
            Self::FilterWindow => windows.filter = chance.happens(700).then(|| predicate(chance, scope, 1)),
            Self::Having => {
                let wanted = chance.happens(700).then(|| having(chance, scope, &windows.aggregates));
                windows.having = wanted.filter(|having| !windows.has_like(&having.aggregate));
            }
            _ => {}
        }
    }
}

/// Whoever reads the windows selects their columns as they are now: what nobody reads would not be computed.
fn select_all(version: &mut Version, sources: &[Source], view: &str, before: &[Column]) {
    let now = columns(version, sources, view);
    for insert in version.inserts.iter_mut().filter(|insert| insert.select.from == view) {
        insert.select.items =
            now.iter().map(|column| Item { name: column.name.clone(), expr: column.expr() }).collect();
        // It may ask for columns that are gone, or mean others by now.
        if before.iter().any(|column| !now.contains(column)) {
            insert.select.filter = None;
        }
    }
}

fn add_column(chance: &mut Chance, version: &mut Version, sources: &[Source]) {
    let place = chance.within(0..version.sources.len() as u64) as usize;
    let schema = &mut version.sources[place];
    let source = sources.iter().find(|source| source.name == schema.name).expect("a source of the case");
    let missing: Vec<usize> =
        (0..source.columns.len()).filter(|index| schema.columns.iter().all(|(known, _)| known != index)).collect();
    if let Some(added) = missing.first() {
        let at = chance.within(0..schema.columns.len() as u64 + 1) as usize;
        schema.columns.insert(at, (*added, source.columns[*added].kind));
    }
}

/// A wider type of one column; of a key it may be refused.
fn widen_column(chance: &mut Chance, version: &mut Version, sources: &[Source]) -> Fate {
    let place = chance.within(0..version.sources.len() as u64) as usize;
    let schema = &mut version.sources[place];
    let source = sources.iter().find(|source| source.name == schema.name).expect("a source of the case");
    let wider: Vec<(usize, Kind)> =
        schema.columns.iter().enumerate().filter_map(|(at, (_, kind))| Some((at, widened(*kind, chance)?))).collect();
    if wider.is_empty() {
        return Fate::Kept;
    }
    let (at, kind) = *chance.pick(&wider);
    let (index, _) = schema.columns[at];
    schema.columns[at].1 = kind;
    let name = source.columns[index].name.clone();
    // Whether somebody has written a cast or planning has put it there is told by whether it can lose anything, and a cast
    // of a BIGINT to a decimal can where that of an INT can't.
    let is_cast = kind == Kind::BigInt && document::sql(version).contains("AS DECIMAL(");
    // Floats that were told from each other need not differ as doubles do.
    let is_told_apart = kind == Kind::Double && document::sql(version).contains("COUNT(DISTINCT ");
    // A view may call it otherwise, or make a key of it.
    let may_be = |key: &String| *key == name || source.columns.iter().all(|column| column.name != *key);
    let is_key = |body: &Body| match body {
        Body::First(first) => first.keys.iter().any(may_be),
        Body::Windows(windows) => windows.keys.iter().any(may_be),
        Body::Select(_) => false,
    };
    let may_be_refused = is_cast || is_told_apart || version.views.iter().any(|view| is_key(&view.body));
    if may_be_refused { Fate::MayBeRefused } else { Fate::Kept }
}

fn widened(kind: Kind, chance: &mut Chance) -> Option<Kind> {
    Some(match kind {
        Kind::Int => Kind::BigInt,
        Kind::Float => Kind::Double,
        Kind::Decimal(digits, scale) if digits <= 18 => {
            let more = chance.one_of(&[0, 2]);
            Kind::Decimal(digits + 4, scale + more)
        }
        _ => return None,
    })
}

fn select_more(chance: &mut Chance, version: &mut Version, sources: &[Source]) {
    let all: Vec<usize> =
        (0..version.views.len()).filter(|view| matches!(version.views[*view].body, Body::First(_))).collect();
    if all.is_empty() {
        return;
    }
    let place = *chance.pick(&all);
    let name = version.views[place].name.clone();
    let from = version.views[place].body.from().to_owned();
    let scope = columns(version, sources, &from);
    let Body::First(first) = &mut version.views[place].body else { return };
    let Some(more) = scope.iter().find(|column| !first.columns.contains(&column.name)) else { return };
    first.columns.push(more.name.clone());
    // It has to be read, or it is not selected.
    for insert in version.inserts.iter_mut().filter(|insert| insert.select.from == name) {
        let mut called = more.name.clone();
        while insert.select.items.iter().any(|item| item.name == called) {
            called.push('_');
        }
        insert.select.items.push(Item { name: called, expr: more.expr() });
    }
}
