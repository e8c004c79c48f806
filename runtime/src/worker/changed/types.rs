//! The whole table of what becomes of state when a column changes its type.

use super::*;
use crate::state::changes::{Change, HOLDERS, Holder, TABLE, Verdict, spoken};

/// A change as a user writes it, and numbers that both types have, two that come before it and two that come after.
struct Case {
    change: Change,
    from: &'static str,
    to: &'static str,
    before: [f64; 2],
    after: [f64; 2],
}

const LARGE: f64 = 2_000_000_000.0;

const CASES: [Case; 17] = [
    case(Change::Same, "int", "int", [LARGE, LARGE + 4.0], [LARGE + 4.0, LARGE + 8.0]),
    case(Change::WiderInteger, "int", "bigint", [LARGE, LARGE + 4.0], [LARGE + 4.0, LARGE + 8.0]),
    case(Change::NarrowerInteger, "bigint", "int", [LARGE, LARGE + 4.0], [LARGE + 4.0, LARGE + 8.0]),
    case(Change::FloatToDouble, "float", "double", [1.25, 3.5], [3.5, 5.75]),
    case(Change::DoubleToFloat, "double", "float", [1.25, 3.5], [3.5, 5.75]),
    case(Change::IntegerToDecimal, "int", "decimal(12,2)", [LARGE, LARGE + 4.0], [LARGE + 4.0, LARGE + 8.0]),
    case(Change::IntegerToDecimal, "bigint", "decimal(21,2)", [LARGE, LARGE + 4.0], [LARGE + 4.0, LARGE + 8.0]),
    case(Change::IntegerToDouble, "int", "double", [LARGE, LARGE + 4.0], [LARGE + 4.0, LARGE + 8.0]),
    case(Change::WiderDecimal, "decimal(10,2)", "decimal(12,4)", [1.25, 3.5], [3.5, 5.75]),
    case(Change::WiderDecimal, "decimal(10,2)", "decimal(12,2)", [1.25, 3.5], [3.5, 5.75]),
    // What an average keeps has 256 bits then, or had.
    case(Change::WiderDecimal, "decimal(8,2)", "decimal(28,2)", [1.25, 3.5], [3.5, 5.75]),
    case(Change::WiderDecimal, "decimal(8,2)", "decimal(38,10)", [1.25, 3.5], [3.5, 5.75]),
    case(Change::WiderDecimal, "decimal(30,2)", "decimal(38,4)", [1.25, 3.5], [3.5, 5.75]),
    case(Change::IntegerToDecimal, "bigint", "decimal(30,0)", [LARGE, LARGE + 4.0], [LARGE + 4.0, LARGE + 8.0]),
    case(Change::Other, "decimal(12,2)", "int", [1.0, 3.0], [3.0, 5.0]),
    case(Change::Other, "double", "decimal(12,2)", [1.0, 3.0], [3.0, 5.0]),
    case(Change::Other, "bigint", "double", [1.0, 3.0], [3.0, 5.0]),
];

const fn case(change: Change, from: &'static str, to: &'static str, before: [f64; 2], after: [f64; 2]) -> Case {
    Case { change, from, to, before, after }
}

/// What is computed, with what comes out of two rows that hold `before` and two that hold `after`.
fn computed(holder: Holder) -> Vec<(String, fn(&[f64; 4]) -> f64)> {
    let named = |call: &str| call.to_owned();
    match holder {
        Holder::Count => vec![(named("COUNT(v)"), |_| 4.0), (named("COUNT(*) FILTER (WHERE v > 3)"), |v| over(v, 3.0))],
        Holder::Distinct => vec![(named("COUNT(DISTINCT v)"), |_| 3.0)],
        Holder::Sum => vec![
            (named("SUM(v)"), |v| v.iter().sum()),
            (named("SUM(v) FILTER (WHERE v > 3)"), |v| v.iter().filter(|v| **v > 3.0).sum()),
        ],
        Holder::Average => vec![(named("AVG(v)"), |v| v.iter().sum::<f64>() / 4.0)],
        Holder::Extreme => vec![(named("MIN(v)"), |v| v[0]), (named("MAX(v)"), |v| v[3])],
        Holder::Computed => vec![(named("SUM(abs(v))"), |v| v.iter().sum()), (named("MAX(abs(v))"), |v| v[3])],
        Holder::Rows | Holder::Key => Vec::new(),
    }
}

fn over(values: &[f64; 4], bound: f64) -> f64 {
    values.iter().filter(|value| **value > bound).count() as f64
}

fn record(id: usize, value: f64) -> String {
    format!(r#"{{"id":"{id}","ts":{},"v":{value}}}"#, 1_000 + id)
}

impl Case {
    /// The only value of the only row, or why the state was refused.
    async fn play(&self, sql: &str) -> Result<Vec<String>, String> {
        let columns = |kind: &'static str| [("id", "string"), ("ts", "timestamp(3)"), ("v", kind)];
        let (from, to) = (columns(self.from), columns(self.to));
        let [a, b] = self.before;
        let [c, d] = self.after;
        let mut old = Version { columns: &from, sql, more: "" }.start();
        old.read(&[&record(1, a), &record(2, b)], None);
        let saved = old.save().await;
        let mut new = Version { columns: &to, sql, more: "" }.go_on(&saved).await?;
        // Once more, from what the new one leaves.
        new.read(&[&record(3, c)], None);
        let saved = new.save().await;
        let mut new = Version { columns: &to, sql, more: "" }.go_on(&saved).await.unwrap();
        new.read(&[&record(4, d)], None);
        Ok(new.finish("totals"))
    }

    fn all(&self) -> [f64; 4] {
        [self.before[0], self.before[1], self.after[0], self.after[1]]
    }
}

fn number(json: &serde_json::Value) -> f64 {
    json.as_f64().or_else(|| json.as_str()?.parse().ok()).unwrap_or_else(|| panic!("no number: {json}"))
}

#[tokio::test]
async fn every_aggregate_over_every_change_gives_the_exact_result_or_is_refused() {
    for case in &CASES {
        for holder in HOLDERS {
            let wanted = crate::state::changes::verdict(holder, case.change);
            for (call, expected) in computed(holder) {
                let sql = format!(
                    "INSERT INTO totals SELECT {call} AS x FROM TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE)\n\
                     GROUP BY window_start, window_end"
                );
                let told = format!("{call} of {} to {}, {:?}", case.from, case.to, case.change);
                match case.play(&sql).await {
                    Ok(rows) => {
                        assert_ne!(wanted, Verdict::Refused, "{told}: {rows:?}");
                        let [row] = rows.as_slice() else { panic!("{told}: {rows:?}") };
                        let found: serde_json::Value = serde_json::from_str(row).unwrap();
                        assert!((number(&found["x"]) - expected(&case.all())).abs() < 1e-9, "{told}: {row}");
                    }
                    Err(error) => {
                        assert_eq!(wanted, Verdict::Refused, "{told}: {error}");
                        assert!(
                            error.contains("was computed of") && error.contains("take the aggregate out"),
                            "{error}"
                        );
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn rows_that_wait_and_keys_over_every_change_are_as_the_table_says() {
    let first = "SELECT id, ts, v FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY {key} ORDER BY ts) AS n FROM orders) WHERE n = 1";
    let window = "SELECT v, COUNT(*) AS x FROM TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE)\n\
                  GROUP BY window_start, window_end, v";
    for case in &CASES {
        let told = format!("{} to {}", case.from, case.to);
        let waiting = case.play(&format!("INSERT INTO totals {}", first.replace("{key}", "id"))).await;
        if crate::state::changes::verdict(Holder::Rows, case.change) == Verdict::Refused {
            let error = waiting.unwrap_err();
            assert!(error.contains("column `v` was") && error.contains("a type may become wider"), "{told}: {error}");
        } else {
            let rows: Vec<serde_json::Value> =
                waiting.unwrap().iter().map(|row| serde_json::from_str(row).unwrap()).collect();
            assert_eq!(rows.iter().map(|row| number(&row["v"])).collect::<Vec<_>>(), case.all(), "{told}");
        }
        for sql in
            [format!("INSERT INTO totals {}", first.replace("{key}", "v")), format!("INSERT INTO totals {window}")]
        {
            let played = case.play(&sql).await;
            if case.change == Change::Same {
                assert_eq!(played.unwrap().len(), 3, "{sql}");
            } else {
                let error = played.unwrap_err();
                assert!(error.contains("can't change while"), "{told}: {error}");
            }
        }
    }
}

/// Every line of the table has a case, and the guide has every line.
#[test]
fn the_guide_has_the_table() {
    let word = |verdict: &Verdict| match verdict {
        Verdict::Kept => "kept",
        Verdict::Converted => "converted",
        Verdict::Refused => "refused",
    };
    let guide = include_str!("../../../../docs/guide/checkpoints.md");
    for (change, verdicts) in &TABLE[1..] {
        assert!(CASES.iter().any(|case| case.change == *change), "{change:?} is not played");
        let named = match change {
            Change::Same => "",
            Change::WiderInteger => "`int` to `bigint`",
            Change::NarrowerInteger => "`bigint` to `int`",
            Change::FloatToDouble => "`float` to `double`",
            Change::DoubleToFloat => "`double` to `float`",
            Change::IntegerToDecimal => "an integer to a decimal that has all its values",
            Change::IntegerToDouble => "`int` to `double`",
            Change::WiderDecimal => "a decimal to one with no fewer digits before and after the point",
            Change::Other => "any other",
        };
        let verdicts: Vec<&str> = verdicts.iter().map(word).collect();
        let line = format!("| {named} | {} |", verdicts.join(" | "));
        assert!(guide.contains(&line), "docs/guide/checkpoints.md lacks the line\n{line}");
    }
    for case in &CASES {
        let schema = |kind: &'static str| {
            let columns = [("ts", "timestamp(3)"), ("v", kind)];
            let plan =
                Version { columns: &columns, sql: "INSERT INTO totals SELECT v FROM orders", more: "" }.plan().unwrap();
            plan.sources[0].schema.field(1).data_type().clone()
        };
        let (from, to) = (schema(case.from), schema(case.to));
        assert_eq!(Change::of(&from, &to), case.change, "{} to {}", spoken(&from), spoken(&to));
    }
}
