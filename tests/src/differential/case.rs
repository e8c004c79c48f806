//! A case: records, a first version of a job over them, and what is done to it. All of it is drawn from one seed.

use super::{
    act::{Act, acts},
    choose::Draw,
    data::{Record, SourceColumn, Value, Values},
    draw::{VAST, overflow, version},
    expr::Column,
    kind::Kind,
    logical::{TIME, Version},
};
use crate::{chance::Chance, sim::Micros};

#[derive(Debug)]
pub struct Case {
    pub seed: u64,
    pub sources: Vec<Source>,
    pub first: Version,
    pub setting: Setting,
    pub acts: Vec<Act>,
    /// Some number may have no room: then the job has to fail.
    pub is_hazardous: bool,
}

/// A source and all that it will ever bring.
#[derive(Debug)]
pub struct Source {
    pub name: String,
    /// Of all versions.
    pub columns: Vec<SourceColumn>,
    /// Of those, which the first version has.
    pub begins_with: Vec<usize>,
    pub delay_ms: i64,
    pub splits: Vec<Vec<Record>>,
    /// Records that a split keeps back until the version is the last: so no split of these ends before.
    pub keeps_back: Vec<bool>,
    /// Most records of one batch.
    pub batch: usize,
}

/// How the job runs.
#[derive(Debug, Clone)]
pub struct Setting {
    pub interval_ms: u64,
    pub max_concurrent: u32,
    pub alignment_timeout_ms: Option<u64>,
    pub has_tables: bool,
    pub has_memory: bool,
    /// When the last record is there, in virtual time.
    pub lasts: Micros,
    pub channel_bytes: usize,
    pub chunk_rows: usize,
    pub unwritten_keys: usize,
    pub labour_ms: u64,
    pub beside_ms: u64,
    /// How many of a thousand requests go wrong.
    pub trouble: u64,
}

impl Case {
    pub fn draw(seed: u64) -> Self {
        let mut chance = Chance::new(seed ^ 0x7161_6e64);
        let count = chance.one_of(&[1, 1, 1, 2]);
        let is_hazardous = chance.happens(60);
        let is_alike = chance.happens(300);
        let sources: Vec<Source> =
            (0..count).map(|index| Source::draw(&mut chance, index, is_hazardous && index == 0, is_alike)).collect();
        let setting = Setting::draw(&mut chance, is_alike);
        let mut first = version(&mut chance, &sources);
        if is_hazardous {
            overflow(&mut chance, &mut first, &sources);
        }
        let acts = if is_hazardous { Vec::new() } else { acts(&mut chance, &setting) };
        Self { seed, sources, first, setting, acts, is_hazardous }
    }

    pub fn source(&self, name: &str) -> &Source {
        self.sources.iter().find(|source| source.name == name).expect("a source of the case")
    }
}

impl Setting {
    fn draw(chance: &mut Chance, is_alike: bool) -> Self {
        let has_memory = chance.happens(900);
        let alignment_timeout_ms = chance.happens(250).then(|| chance.one_of(&[0, 5, 50]));
        Self {
            // Of few rows more are the same.
            interval_ms: chance.within(if is_alike { 100..400 } else { 200..1500 }),
            max_concurrent: if alignment_timeout_ms.is_some() { 1 } else { chance.one_of(&[1, 1, 2]) },
            alignment_timeout_ms,
            // Keys that were seen are in memory, or in tables.
            has_tables: !has_memory || chance.happens(100),
            has_memory,
            lasts: chance.within(3..8) * 1_000_000,
            channel_bytes: chance.one_of(&[32 << 10, 4 << 10]),
            chunk_rows: chance.one_of(&[200_000, 7]),
            unwritten_keys: chance.one_of(&[100_000, 20]),
            labour_ms: chance.one_of(&[0, 0, 5]),
            beside_ms: chance.one_of(&[0, 20]),
            trouble: chance.one_of(&[0, 0, 10]),
        }
    }
}

/// Names of columns beside those that every source has.
const NAMES: [&str; 8] = ["a", "b", "c", "price", "note", "Größe", "select", "d_1"];

impl Source {
    fn draw(chance: &mut Chance, index: usize, is_hazardous: bool, is_alike: bool) -> Self {
        let digits = chance.one_of(&[3, 3, 3, 6, 9, 0]);
        let column =
            |name: &str, kind, is_nullable, values| SourceColumn { name: name.to_owned(), kind, is_nullable, values };
        let mut columns = vec![
            column(TIME, Kind::Instant(digits), false, Values::Tame),
            column("id", chance.one_of(&[Kind::BigInt, Kind::Text]), false, Values::Unique),
            column("k", Kind::Int, chance.happens(500), Values::Few),
            column("n", Kind::Int, chance.happens(500), Values::Tame),
        ];
        let more = chance.within(2..7) as usize;
        for name in NAMES.iter().take(more) {
            columns.push(any_column(chance, name));
        }
        if is_hazardous {
            let kind = chance.one_of(&[Kind::Int, Kind::BigInt, Kind::BigInt, Kind::Decimal(38, 2)]);
            columns.push(column(VAST, kind, false, Values::Vast));
        }
        // Some come with a later version; what is there must be drawn now.
        let later = chance.within(0..3) as usize;
        for number in 0..later {
            let mut added = any_column(chance, &format!("later_{number}"));
            added.is_nullable = true;
            columns.push(added);
        }
        if is_alike {
            let columns = columns.iter_mut().filter(|column| !matches!(column.values, Values::Unique | Values::Vast));
            columns.for_each(|column| column.values = Values::Alike);
        }
        let begins_with = (0..columns.len() - later).collect();
        let records = records(chance, &columns, digits, is_alike);
        let delay_ms = chance.one_of(&[0, 1, 1000, 5000, 20_000]);
        let splits = splits(chance, records, delay_ms);
        let mut keeps_back: Vec<bool> = splits.iter().map(|_| chance.happens(600)).collect();
        keeps_back[0] = true;
        let batch = chance.one_of(&[1, 3, 10, 50]);
        Self { name: format!("s{index}"), columns, begins_with, delay_ms, splits, keeps_back, batch }
    }

    /// A column as SQL sees it, of this type in its version.
    pub fn column(&self, index: usize, kind: Kind) -> Column {
        let column = &self.columns[index];
        let most = match (column.values, kind) {
            (Values::Wild | Values::Vast, _) | (_, Kind::Text | Kind::Boolean | Kind::Bytes) => None,
            _ => Some(1000),
        };
        Column { name: column.name.clone(), kind, most, is_plain: true }
    }
}

fn any_column(chance: &mut Chance, name: &str) -> SourceColumn {
    let kind = match chance.within(0..14) {
        0 => Kind::Boolean,
        1 | 2 => Kind::Int,
        3 | 4 => Kind::BigInt,
        5 => Kind::Float,
        6 | 7 => Kind::Double,
        8 => Kind::Decimal(12, 2),
        9 => chance.one_of(&[Kind::Decimal(38, 10), Kind::Decimal(8, 0), Kind::Decimal(18, 6)]),
        10 | 11 => Kind::Text,
        12 => chance.one_of(&[Kind::Date, Kind::Bytes]),
        _ => Kind::Instant(chance.one_of(&[0, 3, 6, 9])),
    };
    let values = chance.one_of(&[Values::Few, Values::Tame, Values::Tame, Values::Wild]);
    SourceColumn { name: name.to_owned(), kind, is_nullable: chance.happens(600), values }
}

/// Records in the order of their event times, which no two share unless they are alike.
fn records(chance: &mut Chance, columns: &[SourceColumn], digits: u8, is_alike: bool) -> Vec<Record> {
    let count = chance.within(if is_alike { 20..60 } else { 20..120 }) as usize;
    let starts = [1_767_225_600_000, 951_782_340_000, -30_000, -86_400_000_000, 0];
    let mut ms = chance.one_of(&starts);
    let step = if digits == 0 { 1000 } else { 1 };
    // Where they are alike, several checkpoints are to find a window open.
    let spread = if is_alike { chance.one_of(&[20, 100, 500]) } else { chance.one_of(&[200, 1000, 3000]) };
    let mut records: Vec<Record> = Vec::new();
    for index in 0..count {
        ms += if digits == 0 { step * chance.between(1, 3) } else { chance.between(1, spread) };
        if chance.happens(100) {
            // On the edge of a window, or one before it.
            ms = (ms.div_euclid(1000) + 1) * 1000 - if digits == 0 { 0 } else { chance.between(0, 1) };
        }
        let below = if digits > 3 { chance.draw() % 1_000_000 } else { 0 };
        let unit = 10_i128.pow(9 - u32::from(digits));
        let nanos = (i128::from(ms) * 1_000_000 + i128::from(below)).div_euclid(unit) * unit;
        let values: Vec<Value> = columns
            .iter()
            .map(|column| if column.name == TIME { Value::Instant(nanos) } else { Value::draw(chance, column, index) })
            .collect();
        records.push(Record::new(chance, columns, nanos.div_euclid(1_000_000) as i64, values));
        if chance.happens(150) {
            let again = chance.pick(&records).clone();
            let again = Record::new(chance, columns, again.ms, again.values);
            records.push(again);
        }
    }
    records
}

/// The records, spread over splits, each within the delay of the newest before it.
fn splits(chance: &mut Chance, records: Vec<Record>, delay_ms: i64) -> Vec<Vec<Record>> {
    let count = chance.within(1..5) as usize;
    let mut splits: Vec<Vec<(i64, Record)>> = (0..count).map(|_| Vec::new()).collect();
    for record in records {
        // Where a record stands depends on a time at most the delay after its own.
        let place = record.ms + chance.between(0, delay_ms);
        splits[chance.within(0..count as u64) as usize].push((place, record));
    }
    // A split of one record or none could not keep any back.
    splits.retain(|split| split.len() > 1);
    splits
        .into_iter()
        .map(|mut split| {
            split.sort_by_key(|(place, _)| *place);
            split.into_iter().map(|(_, record)| record).collect()
        })
        .collect()
}
