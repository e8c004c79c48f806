//! Comparison as a multiset: nothing lost, nothing repeated, nothing else.

use std::collections::BTreeMap;

/// Rows with how often each is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows(BTreeMap<String, u64>);

impl FromIterator<String> for Rows {
    fn from_iter<T: IntoIterator<Item = String>>(rows: T) -> Self {
        let mut counts = BTreeMap::new();
        for row in rows {
            *counts.entry(row).or_default() += 1;
        }
        Self(counts)
    }
}

impl Rows {
    pub fn len(&self) -> u64 {
        self.0.values().sum()
    }

    /// Each row with how often it is there.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(row, count)| (row.as_str(), *count))
    }

    /// How often a row is there.
    pub fn count(&self, row: &str) -> u64 {
        self.0.get(row).copied().unwrap_or_default()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is in one and not in the other, as text; empty when they are the same.
    pub fn difference(&self, expected: &Self) -> Vec<String> {
        let all = self.0.keys().chain(expected.0.keys().filter(|row| !self.0.contains_key(*row)));
        all.filter_map(|row| {
            let (found, wanted) = (self.count(row), expected.count(row));
            (found != wanted).then(|| format!("{row}: {found} times, expected {wanted}"))
        })
        .collect()
    }
}

/// Fails with the first differences.
pub fn assert_same(what: &str, found: &Rows, expected: &Rows) {
    let difference = found.difference(expected);
    assert!(
        difference.is_empty(),
        "{what}: {} rows, expected {}; {} differ:\n{}",
        found.len(),
        expected.len(),
        difference.len(),
        difference.iter().take(10).cloned().collect::<Vec<_>>().join("\n")
    );
    assert!(!expected.is_empty(), "{what}: a reference without rows proves nothing");
}
