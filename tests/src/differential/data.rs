//! Records of a source: values, the order in which its splits have them, and how JSON spells them.

use chrono::DateTime;

use super::{choose::Draw, kind::Kind};
use crate::chance::Chance;

/// Which values a column has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// One, and now and then another: what is computed of some records is what is computed of others.
    Alike,
    /// A handful, so that groups have many rows.
    Few,
    /// Numbers whose sums are exact in every order, and short texts.
    Tame,
    /// All that the type can hold.
    Wild,
    /// Another one in every record.
    Unique,
    /// Numbers of which few fit into their type together, and none below zero: however they are added up, it is too much
    /// or not.
    Vast,
}

/// A column of a source, in all versions of the document that have it.
#[derive(Debug, Clone)]
pub struct SourceColumn {
    pub name: String,
    pub kind: Kind,
    pub is_nullable: bool,
    pub values: Values,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Boolean(bool),
    Whole(i64),
    /// So many units of `10^-scale`.
    Exact(i128, u8),
    Real(f64),
    /// A float: fewer digits tell it.
    Single(f32),
    Text(String),
    /// Days since 1970.
    Date(i32),
    /// Nanoseconds since 1970.
    Instant(i128),
    Bytes(Vec<u8>),
}

/// One record.
#[derive(Debug, Clone)]
pub struct Record {
    /// Event time in milliseconds, rounded down.
    pub ms: i64,
    /// One for each column.
    pub values: Vec<Value>,
    pub json: String,
}

const TEXTS: [&str; 18] = [
    "",
    "a",
    "A",
    "b",
    "ab",
    " a ",
    "ä",
    "Ä",
    "日本語",
    "😀",
    "e\u{301}",
    "100%",
    "a_b",
    "it's",
    "say \"hi\"",
    "back\\slash",
    "a\tb\nc",
    "null",
];
const FEW_TEXTS: [&str; 5] = ["x", "y", "ü", "", "zz top"];

impl Value {
    /// A value of a column, in the `index`-th record of its source.
    pub fn draw(chance: &mut Chance, column: &SourceColumn, index: usize) -> Self {
        let nulls = match column.values {
            Values::Alike => 10,
            Values::Few => 100,
            _ => 200,
        };
        if column.is_nullable && chance.happens(nulls) {
            return Self::Null;
        }
        if column.values == Values::Alike {
            return Self::alike(column.kind, chance.happens(20));
        }
        if column.values == Values::Vast {
            return Self::vast(chance, column.kind);
        }
        let is_wild = column.values == Values::Wild && chance.happens(500);
        match column.kind {
            Kind::Boolean => Self::Boolean(chance.happens(500)),
            Kind::Int if is_wild => Self::Whole(i64::from(chance.one_of(&[i32::MIN, i32::MAX, -1, 0, i32::MAX - 1]))),
            Kind::BigInt if is_wild => {
                Self::Whole(chance.one_of(&[i64::MIN, i64::MAX, i64::MIN + 1, -1, 0, (1 << 53) + 1, i64::MAX - 1]))
            }
            Kind::Int | Kind::BigInt => Self::Whole(match column.values {
                Values::Few => chance.between(0, 4),
                Values::Unique => index as i64,
                _ => chance.between(-1000, 1000),
            }),
            Kind::Float if is_wild => {
                Self::Single(chance.one_of(&[f32::MAX, f32::MIN, f32::MIN_POSITIVE, -0.0, 0.1, 1.0e-45, 16_777_217.0]))
            }
            Kind::Float => Self::Single(chance.between(-800, 800) as f32 / 8.0),
            Kind::Double if is_wild => {
                Self::Real(chance.one_of(&[f64::MAX, f64::MIN, f64::MIN_POSITIVE, -0.0, 0.1, 5e-324, 1e300, -2.5e-10]))
            }
            Kind::Double => {
                let eighths = match column.values {
                    Values::Few => 4 * chance.between(-2, 2),
                    _ => chance.between(-8000, 8000),
                };
                // Zero has two signs.
                Self::Real(if eighths == 0 && chance.happens(500) { -0.0 } else { eighths as f64 / 8.0 })
            }
            Kind::Decimal(digits, scale) if is_wild => {
                let most = 10_i128.pow(u32::from(digits)) - 1;
                Self::Exact(chance.one_of(&[most, -most, most - 1, 1, -1, 0, most / 3]), scale)
            }
            Kind::Decimal(_, scale) => Self::Exact(
                match column.values {
                    Values::Few => i128::from(chance.between(-2, 2)) * 10_i128.pow(u32::from(scale)),
                    _ => i128::from(chance.between(-99_999, 99_999)),
                },
                scale,
            ),
            Kind::Text => Self::Text(match column.values {
                Values::Few => chance.one_of(&FEW_TEXTS).to_owned(),
                Values::Unique => format!("n-{index}"),
                _ if chance.happens(20) => "long ✓ ".repeat(60),
                _ => chance.one_of(&TEXTS).to_owned(),
            }),
            Kind::Date if is_wild => Self::Date(chance.one_of(&[-719_162, 2_932_896, -1, 0, 11_016])),
            Kind::Date => Self::Date(match column.values {
                Values::Few => 19_000 + chance.between(0, 3) as i32,
                _ => chance.between(-400, 22_000) as i32,
            }),
            Kind::Instant(digits) => {
                let step = 10_i128.pow(9 - u32::from(digits));
                let seconds = if is_wild && digits < 9 {
                    chance.one_of(&[-62_135_596_800_i64, 253_402_300_799, -1, 0, 951_782_400])
                } else {
                    chance.between(-100, 2_000_000_000)
                };
                let nanos = i128::from(seconds) * 1_000_000_000 + i128::from(chance.draw() % 1_000_000_000);
                Self::Instant(nanos.div_euclid(step) * step)
            }
            Kind::Bytes => {
                let length = chance.within(0..6) as usize;
                Self::Bytes((0..length).map(|_| chance.one_of(&[0, 1, 0x7f, 0x80, 0xff, b'a'])).collect())
            }
        }
    }

    fn alike(kind: Kind, is_other: bool) -> Self {
        match kind {
            Kind::Boolean => Self::Boolean(!is_other),
            Kind::Int | Kind::BigInt => Self::Whole(if is_other { 0 } else { 7 }),
            Kind::Float => Self::Single(if is_other { -0.0 } else { 2.5 }),
            Kind::Double => Self::Real(if is_other { -0.0 } else { 2.5 }),
            Kind::Decimal(_, scale) => Self::Exact(if is_other { 0 } else { 7 * 10_i128.pow(u32::from(scale)) }, scale),
            Kind::Text => Self::Text(if is_other { "" } else { "ü" }.to_owned()),
            Kind::Date => Self::Date(if is_other { -1 } else { 19_000 }),
            Kind::Instant(_) => Self::Instant(if is_other { 0 } else { 951_782_340_000_000_000 }),
            Kind::Bytes => Self::Bytes(if is_other { Vec::new() } else { vec![0xff] }),
        }
    }

    fn vast(chance: &mut Chance, kind: Kind) -> Self {
        let share = chance.one_of(&[0, 0, 0, 1, 2, 3]);
        let of = |most: i128| if share == 0 { i128::from(7_u8) } else { most / share };
        match kind {
            // So far below the end that doubles tell whether a sum has reached it.
            Kind::Decimal(digits, scale) => Self::Exact(of(10_i128.pow(u32::from(digits)) - 10_i128.pow(30)), scale),
            Kind::Int => Self::Whole(of(i128::from(i32::MAX)) as i64),
            _ => Self::Whole(of(i128::from(i64::MAX)) as i64),
        }
    }

    /// As text that DuckDB reads by [`Kind::read`].
    pub fn spelled(&self) -> Option<String> {
        Some(match self {
            Self::Null => return None,
            Self::Boolean(value) => value.to_string(),
            Self::Whole(value) => value.to_string(),
            Self::Exact(units, scale) => exact(*units, *scale),
            Self::Real(value) => format!("{value:e}"),
            Self::Single(value) => format!("{value:e}"),
            Self::Text(text) => text.clone(),
            Self::Date(days) => day(*days),
            Self::Instant(nanos) => nanos.to_string(),
            Self::Bytes(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        })
    }

    /// As JSON, in one of the ways that are accepted.
    fn json(&self, kind: Kind, chance: &mut Chance) -> String {
        let in_quotes = chance.happens(100);
        let number = |text: String| if in_quotes { format!("\"{text}\"") } else { text };
        match self {
            Self::Null => "null".to_owned(),
            Self::Boolean(value) => value.to_string(),
            Self::Whole(value) if chance.happens(50) => number(format!("{value}.0")),
            Self::Whole(value) => number(value.to_string()),
            Self::Exact(units, scale) => number(exact(*units, *scale)),
            Self::Real(value) => number(if chance.happens(500) { format!("{value:e}") } else { format!("{value:?}") }),
            Self::Single(value) => {
                number(if chance.happens(500) { format!("{value:e}") } else { format!("{value:?}") })
            }
            Self::Text(text) if chance.happens(100) => escaped(text),
            Self::Text(text) => serde_json::to_string(text).expect("a text"),
            Self::Date(days) => format!("\"{}\"", day(*days)),
            Self::Instant(nanos) => match kind {
                Kind::Instant(digits) if chance.happens(150) => {
                    nanos.div_euclid(10_i128.pow(9 - u32::from(digits))).to_string()
                }
                Kind::Instant(digits) => format!("\"{}\"", instant(*nanos, digits, chance)),
                _ => unreachable!("an instant is of a column of instants"),
            },
            Self::Bytes(bytes) => format!("\"{}\"", base64(bytes)),
        }
    }
}

impl Record {
    pub fn new(chance: &mut Chance, columns: &[SourceColumn], ms: i64, values: Vec<Value>) -> Self {
        let mut fields: Vec<String> = Vec::new();
        for (column, value) in columns.iter().zip(&values) {
            if *value == Value::Null && chance.happens(500) {
                continue;
            }
            let name = serde_json::to_string(&column.name).expect("a name");
            fields.push(format!("{name}:{}", value.json(column.kind, chance)));
        }
        if chance.happens(100) {
            fields.insert(0, "\"nobody asked\":[1,{\"a\":null}]".to_owned());
        }
        if chance.happens(200) {
            fields.reverse();
        }
        let blank = if chance.happens(100) { " " } else { "" };
        Self { ms, values, json: format!("{{{}}}", fields.join(&format!(",{blank}"))) }
    }
}

fn exact(units: i128, scale: u8) -> String {
    let sign = if units < 0 { "-" } else { "" };
    let (units, whole) = (units.unsigned_abs(), 10_u128.pow(u32::from(scale)));
    if scale == 0 {
        return format!("{sign}{units}");
    }
    format!("{sign}{}.{:0width$}", units / whole, units % whole, width = usize::from(scale))
}

fn day(days: i32) -> String {
    let seconds = i64::from(days) * 86_400;
    DateTime::from_timestamp(seconds, 0).expect("a day of the calendar").format("%Y-%m-%d").to_string()
}

fn instant(nanos: i128, digits: u8, chance: &mut Chance) -> String {
    let (seconds, rest) = (nanos.div_euclid(1_000_000_000) as i64, nanos.rem_euclid(1_000_000_000) as u32);
    let at = DateTime::from_timestamp(seconds, rest).expect("an instant of the calendar");
    let fraction = match digits {
        0 => String::new(),
        digits => format!(".{}", &format!("{rest:09}")[..usize::from(digits)]),
    };
    let (between, zone) = (chance.one_of(&["T", " "]), chance.one_of(&["Z", "Z", "+00:00", ""]));
    format!("{}{between}{}{fraction}{zone}", at.format("%Y-%m-%d"), at.format("%H:%M:%S"))
}

/// Every character as JSON's `\u`.
fn escaped(text: &str) -> String {
    let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    format!("\"{units}\"")
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let six = bits >> (18 - 6 * digit) & 63;
            text.push(if digit <= chunk.len() { DIGITS[six as usize] as char } else { '=' });
        }
    }
    text
}
