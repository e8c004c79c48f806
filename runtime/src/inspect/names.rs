//! Names that SQL takes without quotes, of names that it would not.

use std::collections::BTreeSet;

/// Lower case, with `_` for what is no letter or digit: `sum(amount)` is `sum_amount`.
pub fn plain(name: &str) -> String {
    let mut plain = String::new();
    for c in name.chars() {
        match c {
            c if c.is_ascii_alphanumeric() => plain.push(c.to_ascii_lowercase()),
            _ if plain.ends_with('_') || plain.is_empty() => {}
            _ => plain.push('_'),
        }
    }
    plain.trim_end_matches('_').to_owned()
}

/// Names that were given, none twice.
#[derive(Debug, Default)]
pub struct Names {
    given: BTreeSet<String>,
}

impl Names {
    /// The name, with a number behind it if it was given before.
    pub fn give(&mut self, name: &str) -> String {
        let mut given = name.to_owned();
        let mut number = 1;
        while !self.given.insert(given.clone()) {
            number += 1;
            given = format!("{name}_{number}");
        }
        given
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_needs_no_quotes_and_is_given_once() {
        let cases = [
            ("deduplicate-orders-by-order_id", "deduplicate_orders_by_order_id"),
            ("sum(amount)", "sum_amount"),
            ("count(DISTINCT Store Id)", "count_distinct_store_id"),
        ];
        for (name, wanted) in cases {
            assert_eq!(plain(name), wanted);
        }
        let mut names = Names::default();
        assert_eq!(["a", "b", "a", "a_2"].map(|name| names.give(name)), ["a", "b", "a_2", "a_2_2"]);
    }
}
