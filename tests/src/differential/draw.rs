//! The first version of a job: views over the sources, and what is inserted.

use super::{
    case::Source,
    choose::Draw,
    expr::{Column, Expr, constant, predicate, scalar, tame_number},
    kind::{Class, Kind},
    logical::{
        Aggregate, Body, First, Function, Having, Insert, Item, Select, SourceSchema, TIME, Version, View, Windows,
        columns,
    },
};
use crate::chance::Chance;

pub fn version(chance: &mut Chance, sources: &[Source]) -> Version {
    let schema = |source: &Source| SourceSchema {
        name: source.name.clone(),
        columns: source.begins_with.iter().map(|index| (*index, source.columns[*index].kind)).collect(),
    };
    let parallelism = chance.one_of(&[1, 2, 2, 3, 4]);
    let mut version =
        Version { sources: sources.iter().map(schema).collect(), views: Vec::new(), inserts: Vec::new(), parallelism };
    for (index, source) in sources.iter().enumerate() {
        let least = usize::from(index == 0);
        for _ in 0..(chance.within(0..3) as usize).max(least) {
            insert(chance, &mut version, sources, &source.name);
        }
    }
    // What nobody reads would only hold the job back.
    let read = |name: &str| {
        version.views.iter().any(|view| view.body.from() == name)
            || version.inserts.iter().any(|insert| insert.select.from == name)
    };
    let unread: Vec<String> =
        version.sources.iter().map(|source| source.name.clone()).filter(|name| !read(name)).collect();
    for name in unread {
        insert(chance, &mut version, sources, &name);
    }
    version
}

/// The column of a source whose numbers have no room.
pub const VAST: &str = "vast";

/// Adds an `INSERT` in which a number may have no room.
pub fn overflow(chance: &mut Chance, version: &mut Version, sources: &[Source]) {
    let from = sources[0].name.clone();
    let scope = columns(version, sources, &from);
    let vast = scope.iter().find(|column| column.name == VAST).expect("a vast column").expr();
    let sink = format!("out_{}", version.inserts.len());
    if chance.happens(600) && vast.kind != Kind::Int {
        let sum = Aggregate { name: "total".to_owned(), function: Function::Sum, argument: Some(vast), filter: None };
        let keys = if chance.happens(500) { vec!["k".to_owned()] } else { Vec::new() };
        let size_ms = chance.one_of(&[1000, 60_000]);
        let body = Windows {
            from,
            size_ms,
            keys,
            edges: vec!["window_start"],
            aggregates: vec![sum],
            filter: None,
            having: None,
        };
        let name = name(version);
        version.views.push(View { name: name.clone(), body: Body::Windows(body) });
        let items = everything_of(&columns(version, sources, &name));
        version.inserts.push(Insert { sink, select: Select { from: name, items, filter: None } });
        return;
    }
    let template = if vast.kind == Kind::Int { "(vast * vast)" } else { "(vast + vast)" };
    let expr = Expr { ours: template.to_owned(), theirs: template.to_owned(), column: None, ..vast };
    let items = vec![Item { name: "much".to_owned(), expr }];
    version.inserts.push(Insert { sink, select: Select { from, items, filter: None } });
}

/// Adds an `INSERT` with the views that it reads.
pub fn insert(chance: &mut Chance, version: &mut Version, sources: &[Source], source: &str) {
    let mut from = source.to_owned();
    if chance.happens(350) {
        from = select_view(chance, version, sources, &from);
    }
    if chance.happens(350) {
        from = first_view(chance, version, sources, &from);
        if chance.happens(250) {
            from = select_view(chance, version, sources, &from);
        }
    }
    let is_windowed = chance.happens(750);
    if is_windowed {
        let read = from;
        from = windows_view(chance, version, sources, &read);
        if chance.happens(120) {
            twin(chance, version, sources, &from);
        }
    }
    let scope = columns(version, sources, &from);
    let select = if is_windowed {
        Select {
            from,
            items: everything(chance, &scope),
            filter: chance.happens(150).then(|| predicate(chance, &scope, 1)),
        }
    } else {
        select(chance, from, &scope, false)
    };
    let sink = format!("out_{}", version.inserts.len());
    version.inserts.push(Insert { sink, select });
}

/// Gives windows some aggregates, whose names begin alike.
fn fill(chance: &mut Chance, windows: &mut Windows, scope: &[Column], prefix: &str) {
    for number in 0..chance.within(1..5) {
        let one = aggregate(chance, scope, format!("{prefix}{number}"));
        if !windows.has_like(&one) {
            windows.aggregates.push(one);
        }
    }
}

/// Windows over the same rows, by the same keys, with other aggregates.
fn twin(chance: &mut Chance, version: &mut Version, sources: &[Source], of: &str) {
    let Some(Body::Windows(windows)) = version.view(of).map(|view| view.body.clone()) else { return };
    let mut scope = columns(version, sources, &windows.from);
    scope.retain(|column| column.name != TIME);
    if scope.is_empty() {
        return;
    }
    let mut body = Windows { aggregates: Vec::new(), having: None, filter: None, ..windows };
    fill(chance, &mut body, &scope, "t");
    let name = name(version);
    version.views.push(View { name: name.clone(), body: Body::Windows(body) });
    let items = everything_of(&columns(version, sources, &name));
    let sink = format!("out_{}", version.inserts.len());
    version.inserts.push(Insert { sink, select: Select { from: name, items, filter: None } });
}

fn name(version: &Version) -> String {
    format!("v{}", version.views.len())
}

fn select_view(chance: &mut Chance, version: &mut Version, sources: &[Source], from: &str) -> String {
    let scope = columns(version, sources, from);
    let body = Body::Select(select(chance, from.to_owned(), &scope, true));
    let name = name(version);
    version.views.push(View { name: name.clone(), body });
    name
}

/// Some columns and expressions; with the event time as it is, if `keeps_time`.
fn select(chance: &mut Chance, from: String, scope: &[Column], keeps_time: bool) -> Select {
    let mut items: Vec<Item> = Vec::new();
    for column in scope {
        if column.name == TIME && keeps_time || chance.happens(600) {
            items.push(Item { name: column.name.clone(), expr: column.expr() });
        }
    }
    for number in 0..chance.within(0..5) {
        items.push(Item { name: format!("x{number}"), expr: scalar(chance, scope, 2) });
    }
    if items.is_empty() {
        items.push(Item { name: scope[0].name.clone(), expr: scope[0].expr() });
    }
    // Names stay unique over layers of views.
    let mut taken: Vec<String> = Vec::new();
    for item in &mut items {
        while taken.contains(&item.name) {
            item.name.push('_');
        }
        taken.push(item.name.clone());
    }
    chance.shuffle(&mut items);
    Select { from, items, filter: chance.happens(400).then(|| predicate(chance, scope, 2)) }
}

fn everything_of(scope: &[Column]) -> Vec<Item> {
    scope.iter().map(|column| Item { name: column.name.clone(), expr: column.expr() }).collect()
}

/// All columns, and something made of them.
fn everything(chance: &mut Chance, scope: &[Column]) -> Vec<Item> {
    let mut items = everything_of(scope);
    if chance.happens(300) {
        items.push(Item { name: "made_of_it".to_owned(), expr: scalar(chance, scope, 1) });
    }
    items
}

fn first_view(chance: &mut Chance, version: &mut Version, sources: &[Source], from: &str) -> String {
    let scope = columns(version, sources, from);
    let candidates: Vec<&Column> = scope.iter().filter(|column| column.name != TIME).collect();
    let mut keys: Vec<String> = Vec::new();
    if !candidates.is_empty() {
        for _ in 0..chance.one_of(&[1, 1, 2]) {
            let key = chance.pick(&candidates).name.clone();
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
    }
    if keys.is_empty() {
        return from.to_owned();
    }
    let mut selected: Vec<String> = scope
        .iter()
        .filter(|column| column.name == TIME || keys.contains(&column.name) || chance.happens(700))
        .map(|column| column.name.clone())
        .collect();
    chance.shuffle(&mut selected);
    let name = name(version);
    version
        .views
        .push(View { name: name.clone(), body: Body::First(First { from: from.to_owned(), keys, columns: selected }) });
    name
}

fn windows_view(chance: &mut Chance, version: &mut Version, sources: &[Source], from: &str) -> String {
    let scope = columns(version, sources, from);
    let inside: Vec<Column> = scope.iter().filter(|column| column.name != TIME).cloned().collect();
    let inside = if inside.is_empty() { scope.clone() } else { inside };
    let mut keys: Vec<String> = Vec::new();
    for _ in 0..chance.one_of(&[0, 1, 1, 1, 2]) {
        let key = chance.pick(&inside).name.clone();
        if key != TIME && !keys.contains(&key) {
            keys.push(key);
        }
    }
    let edges = chance.one_of(&[&["window_start"][..], &["window_start", "window_end"], &["window_end"]]).to_vec();
    let mut body = Windows {
        from: from.to_owned(),
        size_ms: chance.one_of(&[1000, 5000, 7000, 60_000, 3_600_000]),
        keys,
        edges,
        aggregates: Vec::new(),
        filter: chance.happens(200).then(|| predicate(chance, &inside, 1)),
        having: None,
    };
    fill(chance, &mut body, &inside, "m");
    if chance.happens(250) {
        let having = having(chance, &inside, &body.aggregates);
        body.having = Some(having).filter(|having| !body.has_like(&having.aggregate));
    }
    let name = name(version);
    version.views.push(View { name: name.clone(), body: Body::Windows(body) });
    name
}

pub fn having(chance: &mut Chance, scope: &[Column], aggregates: &[Aggregate]) -> Having {
    let counted = if chance.happens(500) {
        aggregates.iter().find(|aggregate| matches!(aggregate.function, Function::Count)).cloned()
    } else {
        None
    };
    let aggregate = counted.unwrap_or_else(|| Aggregate {
        name: "kept".to_owned(),
        function: Function::Count,
        argument: chance.happens(500).then(|| chance.pick(scope).expr()),
        filter: chance.happens(300).then(|| predicate(chance, scope, 1)),
    });
    Having { aggregate, comparison: chance.one_of(&["> 1", ">= 1", "<> 2", "< 5", "IS NOT NULL"]) }
}

pub fn aggregate(chance: &mut Chance, scope: &[Column], name: String) -> Aggregate {
    let filter = chance.happens(300).then(|| predicate(chance, scope, 1));
    let of = |function, argument| Aggregate { name: name.clone(), function, argument, filter: filter.clone() };
    match chance.within(0..15) {
        0 | 1 => of(Function::Count, None),
        2 => of(Function::Count, Some(scalar(chance, scope, 1))),
        3 | 4 => of(Function::CountDistinct, Some(comparable(chance, scope))),
        5..=8 => match tame_number(chance, scope, 2) {
            Some(number) => of(Function::Sum, Some(number)),
            None => of(Function::Count, None),
        },
        9 | 10 => {
            let function = chance.one_of(&[Function::Min, Function::Max]);
            let argument = comparable(chance, scope);
            // Not said to be ordered.
            if matches!(argument.kind.class(), Class::Boolean | Class::Bytes) {
                return of(Function::Count, Some(argument));
            }
            of(function, Some(argument))
        }
        11 | 12 => match tame_number(chance, scope, 1) {
            // How many digits an average has follows from the column's type.
            Some(number) if number.kind.class() == Class::Exact => {
                let plain = scope.iter().any(|column| {
                    column.is_plain && number.column.as_ref() == Some(&column.name) && scale(column.kind) <= 6
                });
                of(if plain { Function::Avg } else { Function::Sum }, Some(number))
            }
            Some(number) => of(Function::Avg, Some(number)),
            None => of(Function::Count, None),
        },
        13 => {
            let kind = chance.one_of(&[Kind::BigInt, Kind::Decimal(12, 2), Kind::Text]);
            let literal = constant(chance, kind);
            let function = match kind {
                Kind::Text => chance.one_of(&[Function::Min, Function::Max, Function::Count]),
                _ => chance.one_of(&[Function::Sum, Function::Sum, Function::Max, Function::CountDistinct]),
            };
            of(function, Some(literal))
        }
        _ => of(Function::Count, Some(constant(chance, Kind::Bytes))),
    }
}

fn scale(kind: Kind) -> u8 {
    match kind {
        Kind::Decimal(_, scale) => scale,
        _ => 0,
    }
}

fn comparable(chance: &mut Chance, scope: &[Column]) -> Expr {
    if chance.happens(300) { scalar(chance, scope, 1) } else { chance.pick(scope).expr() }
}
