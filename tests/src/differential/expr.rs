//! Expressions, each in the words of both dialects.
//!
//! What is drawn has one meaning by the standard and by both engines' documentation; where their words differ for it, the
//! two texts do. Numbers stay in a range in which nothing overflows and sums of doubles are exact in every order.

use super::{
    choose::Draw,
    kind::{Class, Kind, literal, quoted},
};
use crate::chance::Chance;

/// A column of a relation.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    pub name: String,
    pub kind: Kind,
    /// Largest magnitude of a number that can be reckoned with; none where only comparing is safe.
    pub most: Option<i64>,
    /// A column of a source whose value is as it came, maybe under another name.
    pub is_plain: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    pub ours: String,
    pub theirs: String,
    pub kind: Kind,
    pub most: Option<i64>,
    /// The column that it is, where it is nothing else.
    pub column: Option<String>,
}

/// Beyond it nothing is multiplied.
const MOST: i64 = 1_000_000;

impl Column {
    pub fn expr(&self) -> Expr {
        let name = quoted(&self.name);
        Expr { ours: name.clone(), theirs: name, kind: self.kind, most: self.most, column: Some(self.name.clone()) }
    }
}

impl Expr {
    fn same(text: impl Into<String>, kind: Kind, most: Option<i64>) -> Self {
        let text = text.into();
        Self { ours: text.clone(), theirs: text, kind, most, column: None }
    }

    fn of(ours: String, theirs: String, kind: Kind, most: Option<i64>) -> Self {
        Self { ours, theirs, kind, most, column: None }
    }

    /// Both texts with this one's in place of `{}`.
    fn within(&self, template: &str, kind: Kind, most: Option<i64>) -> Self {
        Self::of(template.replace("{}", &self.ours), template.replace("{}", &self.theirs), kind, most)
    }
}

/// A literal of the kind's class.
pub fn constant(chance: &mut Chance, kind: Kind) -> Expr {
    match kind.class() {
        Class::Boolean => Expr::same(chance.one_of(&["TRUE", "FALSE"]), kind, None),
        Class::Whole => {
            let value = chance.between(-3, 9);
            let text = if value < 0 { format!("({value})") } else { value.to_string() };
            Expr::same(text, Kind::BigInt, Some(9))
        }
        Class::Exact => Expr::same(chance.one_of(&["1.25", "0.5", "10", "(-2.75)"]), kind, Some(10)),
        Class::Real => {
            let text = chance.one_of(&["0.5", "1.25", "(-3.0)", "100"]);
            Expr::of(text.to_owned(), format!("CAST({text} AS DOUBLE)"), Kind::Double, Some(100))
        }
        Class::Text => {
            Expr::same(literal(chance.one_of(&["a", "x", "", "ä", "日本", "it's", "zz top", "none"])), Kind::Text, None)
        }
        Class::Date => Expr::same(
            format!("DATE '{}'", chance.one_of(&["2022-01-09", "1970-01-01", "2024-02-29"])),
            Kind::Date,
            None,
        ),
        Class::Instant | Class::Bytes => Expr::same("NULL", kind, None),
    }
}

/// Something of a scope's columns.
pub fn scalar(chance: &mut Chance, scope: &[Column], depth: u32) -> Expr {
    let mut expr = chance.pick(scope).expr();
    let layers = if depth == 0 { 0 } else { chance.one_of(&[0, 1, 1, 2]) };
    for _ in 0..layers {
        expr = around(chance, scope, expr, depth - 1);
    }
    expr
}

/// A number whose sums are exact.
pub fn tame_number(chance: &mut Chance, scope: &[Column], depth: u32) -> Option<Expr> {
    let numbers: Vec<Column> = scope
        .iter()
        .filter(|column| {
            column.most.is_some() && matches!(column.kind.class(), Class::Whole | Class::Exact | Class::Real)
        })
        .cloned()
        .collect();
    if numbers.is_empty() {
        return None;
    }
    for _ in 0..4 {
        let expr = scalar(chance, &numbers, depth);
        let is_number = matches!(expr.kind.class(), Class::Whole | Class::Exact | Class::Real);
        if is_number && expr.most.is_some_and(|most| most <= MOST) {
            return Some(expr);
        }
    }
    Some(chance.pick(&numbers).expr())
}

/// One more layer around an expression.
fn around(chance: &mut Chance, scope: &[Column], e: Expr, depth: u32) -> Expr {
    if chance.happens(150) {
        return branches(chance, scope, &e, depth);
    }
    match e.kind.class() {
        Class::Whole => around_whole(chance, scope, &e),
        Class::Exact => around_exact(chance, &e),
        Class::Real => around_real(chance, &e),
        Class::Text => around_text(chance, scope, &e),
        Class::Boolean => match chance.within(0..4) {
            0 => e.within("(NOT {})", Kind::Boolean, None),
            1 => e.within("coalesce({}, FALSE)", Kind::Boolean, None),
            2 => e.within("CASE WHEN {} THEN 1 ELSE 0 END", Kind::BigInt, Some(1)),
            _ => e.within("CAST({} AS VARCHAR)", Kind::Text, None),
        },
        Class::Date => match chance.within(0..4) {
            0 => {
                let part = chance.one_of(&["year", "month", "day"]);
                e.within(&format!("extract({part} FROM {{}})"), Kind::BigInt, Some(9999))
            }
            1 => e.within("coalesce({}, DATE '2020-02-29')", Kind::Date, None),
            2 => e.within("CAST({} AS VARCHAR)", Kind::Text, None),
            _ => e.within("nullif({}, DATE '2022-01-09')", Kind::Date, None),
        },
        Class::Instant => match e.kind {
            // Their functions don't know nanoseconds, and ours no year 9999.
            Kind::Instant(9) => e,
            _ if e.most.is_none() => e,
            _ => match chance.within(0..3) {
                0 => {
                    let part = chance.one_of(&["year", "month", "day", "hour", "minute"]);
                    e.within(&format!("extract({part} FROM {{}})"), Kind::BigInt, Some(9999))
                }
                1 => e.within("CAST({} AS DATE)", Kind::Date, None),
                _ => {
                    let unit = chance.one_of(&["minute", "hour", "day", "month"]);
                    e.within(&format!("date_trunc('{unit}', {{}})"), e.kind, None)
                }
            },
        },
        Class::Bytes => e,
    }
}

fn branches(chance: &mut Chance, scope: &[Column], e: &Expr, depth: u32) -> Expr {
    let condition = predicate(chance, scope, depth);
    let other = constant(chance, e.kind);
    let most = e.most.zip(other.most).map(|(one, other)| one.max(other)).or(e.most);
    let text = |condition: &str, one: &str, other: &str| format!("CASE WHEN {condition} THEN {one} ELSE {other} END");
    let ours = text(&condition.ours, &e.ours, &other.ours);
    Expr::of(ours, text(&condition.theirs, &e.theirs, &other.theirs), e.kind, most)
}

fn around_whole(chance: &mut Chance, scope: &[Column], e: &Expr) -> Expr {
    let (Some(most), Kind::Int | Kind::BigInt) = (e.most.filter(|most| *most <= MOST), e.kind) else {
        return match chance.within(0..3) {
            0 => e.within("CAST({} AS VARCHAR)", Kind::Text, None),
            1 => e.within("nullif({}, 0)", e.kind, None),
            _ => e.within("coalesce({}, 1)", Kind::BigInt, None),
        };
    };
    let other = chance.pick(scope).clone();
    let is_partner = other.kind.class() == Class::Whole && other.most.is_some_and(|most| most <= MOST);
    match chance.within(0..13) {
        0 => e.within(&format!("({{}} + {})", chance.between(1, 9)), Kind::BigInt, Some(most + 9)),
        1 => e.within(&format!("({{}} * {})", chance.between(2, 9)), Kind::BigInt, Some(most * 9)),
        2 => e.within("(-{})", e.kind, Some(most)),
        3 => e.within("abs({})", e.kind, Some(most)),
        4 => e.within(&format!("({{}} % {})", chance.between(2, 7)), Kind::BigInt, Some(7)),
        5 => {
            let by = chance.between(2, 7);
            Expr::of(format!("({} / {by})", e.ours), format!("({} // {by})", e.theirs), Kind::BigInt, Some(most))
        }
        6 => e.within("coalesce({}, -1)", Kind::BigInt, Some(most.max(1))),
        7 => e.within("nullif({}, 0)", e.kind, Some(most)),
        8 => e.within("CAST({} AS VARCHAR)", Kind::Text, None),
        9 => e.within("CAST({} AS DOUBLE)", Kind::Double, Some(most)),
        10 => e.within("CAST({} AS DECIMAL(20, 2))", Kind::Decimal(20, 2), Some(most)),
        11 if is_partner => {
            let other = other.expr();
            let function = chance.one_of(&["greatest", "least"]);
            let text = |one: &str, other: &str| format!("{function}({one}, {other})");
            let most = most.max(other.most.unwrap_or(MOST));
            Expr::of(text(&e.ours, &other.ours), text(&e.theirs, &other.theirs), Kind::BigInt, Some(most))
        }
        _ if is_partner => {
            let other = other.expr();
            let (sign, sum) = (chance.one_of(&["+", "-", "*"]), other.most.unwrap_or(MOST));
            let result = if sign == "*" { most * sum } else { most + sum };
            // As wide as it has to be: an int times an int is an int.
            let text = |one: &str, other: &str| format!("(CAST({one} AS BIGINT) {sign} {other})");
            Expr::of(text(&e.ours, &other.ours), text(&e.theirs, &other.theirs), Kind::BigInt, Some(result))
        }
        _ => e.within("({} - 1)", Kind::BigInt, Some(most + 1)),
    }
}

fn around_exact(chance: &mut Chance, e: &Expr) -> Expr {
    let (Kind::Decimal(_, scale), Some(most)) = (e.kind, e.most.filter(|most| *most <= MOST)) else {
        return e.within("nullif({}, 0)", e.kind, None);
    };
    // Not how many digits it has: only its value counts from here on.
    let wider = Kind::Decimal(30, scale.max(2));
    match chance.within(0..8) {
        // Halves are rounded up, away from zero, with four digits more than the dividend has.
        7 => Expr::of(
            format!("(CAST({} AS DECIMAL(20, 2)) / 7)", e.ours),
            format!("average_(CAST({} AS DECIMAL(20, 2)), 7, 2)", e.theirs),
            Kind::Decimal(30, 6),
            None,
        ),
        0 => e.within("({} + 1.25)", wider, Some(most + 2)),
        1 => e.within("({} * 3)", wider, Some(most * 3)),
        2 => e.within("(-{})", e.kind, Some(most)),
        3 => e.within("abs({})", e.kind, Some(most)),
        4 if scale > 0 => {
            let rounded = Kind::Decimal(20, scale - 1);
            e.within(&format!("CAST({{}} AS DECIMAL(20, {}))", scale - 1), rounded, Some(most + 1))
        }
        5 => e.within("coalesce({}, 0.5)", wider, Some(most)),
        _ => e.within("({} - 0.25)", wider, Some(most + 1)),
    }
}

fn around_real(chance: &mut Chance, e: &Expr) -> Expr {
    let Some(most) = e.most.filter(|most| *most <= 10_000) else {
        return e.within("abs({})", e.kind, None);
    };
    match chance.within(0..8) {
        0 => e.within("({} + 0.5)", Kind::Double, Some(most + 1)),
        1 => e.within("({} * 2)", e.kind, Some(most * 2)),
        2 => e.within("(-{})", e.kind, Some(most)),
        3 => e.within("abs({})", e.kind, Some(most)),
        4 => e.within("floor({})", e.kind, Some(most + 1)),
        5 => e.within("ceil({})", e.kind, Some(most + 1)),
        // Theirs rounds.
        6 => {
            let theirs = format!("CAST(trunc({}) AS BIGINT)", e.theirs);
            Expr::of(format!("CAST({} AS BIGINT)", e.ours), theirs, Kind::BigInt, Some(most))
        }
        _ => {
            let sqrt = |text: &str| format!("sqrt(abs(CAST({text} AS DOUBLE)))");
            Expr::of(sqrt(&e.ours), sqrt(&e.theirs), Kind::Double, None)
        }
    }
}

fn around_text(chance: &mut Chance, scope: &[Column], e: &Expr) -> Expr {
    let text = |template: &str| e.within(template, Kind::Text, None);
    match chance.within(0..18) {
        0 => text("upper({})"),
        1 => text("lower({})"),
        2 => text("({} || '-é')"),
        3 => text("concat({}, '-', 'x')"),
        4 => text(&format!("substr({{}}, {}, {})", chance.between(1, 3), chance.between(0, 4))),
        5 => text(&format!("left({{}}, {})", chance.between(0, 4))),
        6 => text(&format!("right({{}}, {})", chance.between(0, 4))),
        7 => {
            let length = |name: &str, text: &str| format!("{name}({text})");
            Expr::of(length("char_length", &e.ours), length("length", &e.theirs), Kind::BigInt, Some(2000))
        }
        8 => text("trim({})"),
        9 => text("replace({}, 'a', 'ß')"),
        10 => text(&format!("lpad({{}}, {}, '*')", chance.between(0, 6))),
        11 => text(&format!("rpad({{}}, {}, 'ä')", chance.between(0, 6))),
        12 => e.within("strpos({}, 'b')", Kind::BigInt, Some(2000)),
        13 => text("coalesce({}, 'none')"),
        14 => text("nullif({}, 'x')"),
        15 => e.within("starts_with({}, 'a')", Kind::Boolean, None),
        16 => {
            let length = |name: &str, text: &str| format!("{name}({text})");
            Expr::of(length("octet_length", &e.ours), length("strlen", &e.theirs), Kind::BigInt, Some(9000))
        }
        _ => {
            let other = chance.pick(scope).clone();
            if other.kind.class() != Class::Text {
                return text("repeat({}, 2)");
            }
            let other = other.expr();
            let join = |one: &str, other: &str| format!("({one} || {other})");
            Expr::of(join(&e.ours, &other.ours), join(&e.theirs, &other.theirs), Kind::Text, None)
        }
    }
}

/// A condition on a scope's columns.
pub fn predicate(chance: &mut Chance, scope: &[Column], depth: u32) -> Expr {
    if depth > 0 && chance.happens(300) {
        let (one, other) = (operand(chance, scope, depth - 1), operand(chance, scope, depth - 1));
        let word = chance.one_of(&["AND", "OR"]);
        let join = |one: &str, other: &str| format!("({one} {word} {other})");
        return Expr::of(join(&one.ours, &other.ours), join(&one.theirs, &other.theirs), Kind::Boolean, None);
    }
    if depth > 0 && chance.happens(100) {
        return predicate(chance, scope, depth - 1).within("(NOT {})", Kind::Boolean, None);
    }
    let e = if chance.happens(250) { scalar(chance, scope, depth) } else { chance.pick(scope).expr() };
    let is = |template: &str| e.within(template, Kind::Boolean, None);
    if chance.happens(150) {
        return is(chance.one_of(&["({} IS NULL)", "({} IS NOT NULL)"]));
    }
    let sign = chance.one_of(&["=", "<>", "<", "<=", ">", ">="]);
    match e.kind.class() {
        Class::Boolean => is(chance.one_of(&["{}", "({} IS TRUE)", "({} IS NOT FALSE)"])),
        Class::Text => match chance.within(0..6) {
            0 => is("({} LIKE 'a%')"),
            1 => is("({} LIKE '%_b%')"),
            2 => is("({} IN ('x', 'ä', ''))"),
            3 => is("({} IS DISTINCT FROM 'x')"),
            4 => is("({} NOT LIKE '%x')"),
            _ => compared(chance, &e, sign),
        },
        Class::Whole => match chance.within(0..5) {
            0 if e.most.is_some() => is("({} % 2 = 0)"),
            1 => is("({} IN (0, 1, 3, 500))"),
            2 => is("({} BETWEEN -100 AND 400)"),
            3 if depth > 0 => listed(chance, scope, &e, depth - 1),
            _ => compared(chance, &e, sign),
        },
        Class::Exact | Class::Real | Class::Date => compared(chance, &e, sign),
        Class::Instant | Class::Bytes => is("({} IS NOT NULL)"),
    }
}

/// An operand of `AND` and `OR`: some have no brackets around them.
fn operand(chance: &mut Chance, scope: &[Column], depth: u32) -> Expr {
    let mut booleans = scope.iter().filter(|column| column.kind.class() == Class::Boolean);
    match booleans.next() {
        Some(column) if chance.happens(200) => {
            let template = chance.one_of(&[
                "{} IS DISTINCT FROM TRUE",
                "{} IS NOT DISTINCT FROM FALSE",
                "{} IS DISTINCT FROM NULL",
                "{} IS NOT TRUE",
                "NOT {}",
            ]);
            column.expr().within(template, Kind::Boolean, None)
        }
        _ => predicate(chance, scope, depth),
    }
}

/// A number in a list of which an item is computed of the row.
fn listed(chance: &mut Chance, scope: &[Column], e: &Expr, depth: u32) -> Expr {
    let condition = predicate(chance, scope, depth);
    let template = chance.one_of(&[
        "({} IN (0, CASE WHEN {c} THEN 1 ELSE {} END))",
        "({} NOT IN (0, 5, CASE WHEN {c} THEN 3 END))",
        "({} IN (CASE WHEN {c} THEN 1 WHEN {} > 2 THEN 3 ELSE {} END, 500))",
    ]);
    let text = |e: &str, condition: &str| template.replace("{}", e).replace("{c}", condition);
    Expr::of(text(&e.ours, &condition.ours), text(&e.theirs, &condition.theirs), Kind::Boolean, None)
}

fn compared(chance: &mut Chance, e: &Expr, sign: &str) -> Expr {
    let other = constant(chance, e.kind);
    let text = |one: &str, other: &str| format!("({one} {sign} {other})");
    Expr::of(text(&e.ours, &other.ours), text(&e.theirs, &other.theirs), Kind::Boolean, None)
}
