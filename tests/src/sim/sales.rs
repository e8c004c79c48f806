//! What the sales of a topic must come to, and whether what was put out is that.
//!
//! Of an id, the row with the smallest event time counts, and again the one that comes when the id was forgotten: where
//! that was read late, with the watermark far behind, the id may be remembered still, so such a row may count or not. A row
//! that was late is in no window, and, where the job keeps late rows, among these.

use std::collections::{BTreeMap, BTreeSet};

use super::topic::Sale;

/// Of windows, in milliseconds of event time.
pub const WINDOW_MS: i64 = 10_000;

/// A window's beginning, and its store.
type Key = (i64, i64);

/// Cents and rows of a window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sum {
    cents: i64,
    rows: i64,
}

impl Sum {
    fn add(&mut self, cents: i64) {
        self.cents += cents;
        self.rows += 1;
    }

    fn with(mut self, cents: i64) -> Self {
        self.add(cents);
        self
    }
}

/// What the job does about repeated ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counts {
    All,
    /// Each id once in so many milliseconds.
    Unique {
        ttl_ms: i64,
    },
}

/// What must be put out.
#[derive(Debug, Default)]
pub struct Expected {
    certain: BTreeMap<Key, Sum>,
    /// Rows that may count, by window: their cents.
    possible: BTreeMap<Key, Vec<i64>>,
}

fn key(sale: &Sale) -> Key {
    (sale.ts_ms.div_euclid(WINDOW_MS) * WINDOW_MS, sale.store)
}

impl Expected {
    pub fn of(sales: &[Sale], counts: Counts) -> Self {
        let mut expected = Self::default();
        match counts {
            Counts::All => sales.iter().for_each(|sale| expected.certain.entry(key(sale)).or_default().add(sale.cents)),
            Counts::Unique { ttl_ms } => {
                let mut by_id: BTreeMap<u64, Vec<&Sale>> = BTreeMap::new();
                sales.iter().for_each(|sale| by_id.entry(sale.id).or_default().push(sale));
                for mut sales in by_id.into_values() {
                    sales.sort_by_key(|sale| sale.ts_ms);
                    let Some(first) = sales.first() else { continue };
                    expected.certain.entry(key(first)).or_default().add(first.cents);
                    let again = sales.iter().filter(|sale| sale.ts_ms > first.ts_ms + ttl_ms);
                    again.for_each(|sale| expected.possible.entry(key(sale)).or_default().push(sale.cents));
                }
            }
        }
        expected
    }

    /// Whether rows, in the reference's words, are what must be there, with those that were late. How many of the possible
    /// rows count.
    pub fn compare<'a>(&self, rows: impl IntoIterator<Item = &'a str>, late: &[Sale]) -> Result<u64, String> {
        let mut found: BTreeMap<Key, Sum> = BTreeMap::new();
        for row in rows {
            let (key, sum) = parse(row).ok_or_else(|| format!("no row of the reference: {row}"))?;
            if found.insert(key, sum).is_some() {
                return Err(format!("{row}: there is another row of this window"));
            }
        }
        for sale in late {
            found.entry(key(sale)).or_default().add(sale.cents);
        }
        let keys: BTreeSet<&Key> = self.certain.keys().chain(self.possible.keys()).chain(found.keys()).collect();
        let (mut counted, mut wrong) = (0, Vec::new());
        for key in keys {
            let wanted = self.certain.get(key).copied().unwrap_or_default();
            let there = found.get(key).copied().unwrap_or_default();
            let possible = self.possible.get(key).map(Vec::as_slice).unwrap_or_default();
            match counts(wanted, there, possible) {
                Some(of_possible) => counted += of_possible,
                None => wrong.push(format!("{key:?}: {there:?}, expected {wanted:?} and some of {possible:?}")),
            }
        }
        if wrong.is_empty() {
            return Ok(counted);
        }
        Err(format!(
            "{} windows differ:\n{}",
            wrong.len(),
            wrong.iter().take(5).cloned().collect::<Vec<_>>().join("\n")
        ))
    }
}

/// How many of the possible rows are in `there` beside what is certain; `None` if there is no such choice.
fn counts(certain: Sum, there: Sum, possible: &[i64]) -> Option<u64> {
    let Some((last, others)) = possible.split_last() else { return (certain == there).then_some(0) };
    // Sums of cents are as good as unique, so few branches are looked at.
    if certain.rows > there.rows || certain.cents > there.cents {
        return None;
    }
    counts(certain.with(*last), there, others).map(|count| count + 1).or_else(|| counts(certain, there, others))
}

/// `<window> store <store>: <cents> cents, <rows> orders`.
fn parse(row: &str) -> Option<(Key, Sum)> {
    let numbers: Vec<i64> = row.split([' ', ':', ',']).filter_map(|word| word.parse().ok()).collect();
    let [window, store, cents, rows] = numbers[..] else { return None };
    Some(((window, store), Sum { cents, rows }))
}

/// A late row, as the sink for them has it.
pub fn parse_late(record: &str) -> Option<Sale> {
    let fields: serde_json::Value = serde_json::from_str(record).ok()?;
    let text = |name: &str| match &fields[name] {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Null => None,
        other => Some(other.to_string()),
    };
    let (units, hundredths) = text("amount")?.split_once('.').map(|(a, b)| (a.to_owned(), b.to_owned()))?;
    let time = text("ts")?.replace(' ', "T");
    let time = if time.ends_with('Z') { time } else { time + "Z" };
    Some(Sale {
        id: 0,
        store: text("store_id")?.parse().ok()?,
        cents: format!("{units}{hundredths:0<2}").parse().ok()?,
        ts_ms: chrono::DateTime::parse_from_rfc3339(&time).ok()?.timestamp_millis(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sale(id: u64, cents: i64, ts_ms: i64) -> Sale {
        Sale { id, store: 1, cents, ts_ms }
    }

    #[test]
    fn rows_of_ids_that_were_forgotten_may_count_and_nothing_else_may() {
        let sales = [sale(1, 100, 0), sale(1, 7, 900), sale(2, 50, 10), sale(1, 1000, 5000)];
        let expected = Expected::of(&sales, Counts::Unique { ttl_ms: 1000 });
        let row = |cents, rows| format!("0 store 1: {cents} cents, {rows} orders");
        for (row, found) in [
            (row(150, 2), Ok(0)),
            (row(1150, 3), Ok(1)),
            (row(157, 3), Err(())),
            (row(50, 1), Err(())),
            (row(1150, 2), Err(())),
        ] {
            assert_eq!(expected.compare([row.as_str()], &[]).map_err(drop), found, "{row}");
        }
        assert!(expected.compare([row(150, 2).as_str(), row(0, 0).as_str()], &[]).is_err(), "twice");
        let all = Expected::of(&sales, Counts::All);
        assert_eq!(all.compare([row(1150, 3).as_str()], &[sale(0, 7, 900)]), Ok(0), "late, but there");
    }

    #[test]
    fn a_late_row_is_read_as_it_was_written() {
        let late = parse_late(r#"{"store_id":3,"amount":"12.30","ts":"2026-01-01T00:00:01.500Z"}"#);
        assert_eq!(late, Some(Sale { id: 0, store: 3, cents: 1230, ts_ms: 1_767_225_601_500 }));
    }
}
