//! Whatever the text, the answer is a graph or a refusal with a place inside the text.

use proptest::prelude::*;

use super::*;

/// Words and signs that statements are made of.
fn piece() -> impl Strategy<Value = String> {
    const PIECES: &[&str] = &[
        "SELECT",
        "FROM",
        "WHERE",
        "GROUP BY",
        "HAVING",
        "INSERT INTO",
        "CREATE VIEW",
        "AS",
        "WITH",
        "UNION",
        "JOIN",
        "TUMBLE",
        "TABLE",
        "DESCRIPTOR",
        "INTERVAL",
        "MINUTE",
        "ROW_NUMBER()",
        "OVER",
        "PARTITION BY",
        "ORDER BY",
        "QUALIFY",
        "DISTINCT",
        "FILTER",
        "CASE",
        "WHEN",
        "THEN",
        "END",
        "CAST",
        "BETWEEN",
        "AND",
        "OR",
        "NOT",
        "IN",
        "LIKE",
        "NULL",
        "orders",
        "clicks",
        "totals",
        "ts",
        "amount",
        "rn",
        "v",
        "window_start",
        "sum",
        "count",
        "(",
        ")",
        ",",
        ";",
        "*",
        "=",
        "<",
        "+",
        "-",
        "/",
        ".",
        "::",
        "'1'",
        "1",
        "0",
        "1.5",
        "\"",
        "'",
        "ä",
        "\n",
        "--",
        "/*",
    ];
    prop_oneof![9 => proptest::sample::select(PIECES).prop_map(str::to_owned), 1 => "\\PC{0,3}"]
}

fn inside(sql: &str, error: &SqlError) -> bool {
    error.at.is_none_or(|at| at.line >= 1 && at.column >= 1 && at.line as usize <= sql.split('\n').count())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn words_in_any_order_never_panic(pieces in proptest::collection::vec(piece(), 0..40)) {
        let sql = format!("INSERT INTO totals SELECT {}", pieces.join(" "));
        if let Err(error) = plan(&sql, &catalog()) {
            prop_assert!(inside(&sql, &error), "{error} of {sql}");
        }
    }

    #[test]
    fn a_good_text_with_some_of_it_replaced_never_panics(
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), 0..12_usize, piece()), 1..4)
    ) {
        let mut sql: Vec<char> = STORE_SALES.chars().collect();
        for (at, length, piece) in cuts {
            let at = at.index(sql.len());
            let end = (at + length).min(sql.len());
            sql.splice(at..end, piece.chars());
        }
        let sql: String = sql.into_iter().collect();
        if let Err(error) = plan(&sql, &catalog()) {
            prop_assert!(inside(&sql, &error), "{error} of {sql}");
        }
    }
}
