//! Whatever the text, the answer is a graph or a refusal with a place inside the text, in words for the user.

use proptest::prelude::*;

use super::{run::run, *};
use crate::mangled::internal;

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

const COLUMNS: [(&str, &str); 10] = [
    ("ts", "timestamp(3)"),
    ("i", "int"),
    ("n", "bigint"),
    ("d", "decimal(12,2)"),
    ("w", "decimal(38,10)"),
    ("f", "double"),
    ("s", "string"),
    ("b", "boolean"),
    ("day", "date"),
    ("raw", "bytes"),
];

/// Expressions of every kind, most of which can't be typed.
fn expression() -> impl Strategy<Value = String> {
    const LEAVES: &[&str] = &[
        "ts",
        "i",
        "n",
        "d",
        "w",
        "f",
        "s",
        "b",
        "day",
        "raw",
        "NULL",
        "0",
        "1",
        "-1",
        "2.50",
        "9223372036854775807",
        "'abc'",
        "'5'",
        "''",
        "'2026-01-31'",
        "true",
        "DATE '2026-01-31'",
        "INTERVAL '1' DAY",
        "INTERVAL '999999999' DAY",
    ];
    const UNARY: &[&str] = &[
        "-(@)",
        "NOT (@)",
        "(@) IS NULL",
        "abs(@)",
        "upper(@)",
        "round(@)",
        "sqrt(@)",
        "length(@)",
        "CAST(@ AS INT)",
        "CAST(@ AS BIGINT)",
        "CAST(@ AS DECIMAL(38,0))",
        "CAST(@ AS DECIMAL(5,2))",
        "CAST(@ AS DOUBLE)",
        "CAST(@ AS DATE)",
        "CAST(@ AS TIMESTAMP)",
        "CAST(@ AS BOOLEAN)",
        "CAST(@ AS VARCHAR)",
        "TRY_CAST(@ AS INT)",
        "EXTRACT(year FROM @)",
        "date_trunc('hour', @)",
        "date_format(@, 'yyyy-MM-dd')",
        "to_char(@, '%Y')",
        "trim(@)",
        "CEIL(@)",
        "FLOOR(@)",
        "sum(@)",
        "count(@)",
        "avg(@)",
        "max(@)",
        "min(@)",
        "to_timestamp(@)",
        "md5(@)",
        "ln(@)",
        "CASE WHEN @ THEN 1 END",
        "substring(@ FROM 2 FOR 1)",
        "(@) LIKE 'a%'",
        "initcap(@)",
        "signum(@)",
    ];
    const BINARY: &[&str] = &[
        "(@) + (#)",
        "(@) - (#)",
        "(@) * (#)",
        "(@) / (#)",
        "(@) % (#)",
        "(@) = (#)",
        "(@) < (#)",
        "(@) AND (#)",
        "(@) || (#)",
        "coalesce(@, #)",
        "nullif(@, #)",
        "greatest(@, #)",
        "concat(@, #)",
        "power(@, #)",
        "substr(@, #)",
        "CASE WHEN @ THEN # ELSE NULL END",
        "CASE @ WHEN # THEN 1 ELSE 'a' END",
        "(@) IN (#, 1)",
        "(@) BETWEEN 0 AND #",
        "(@) LIKE (#)",
        "strpos(@, #)",
        "date_part(@, #)",
        "mod(@, #)",
        "left(@, #)",
        "starts_with(@, #)",
        "(@) IS DISTINCT FROM (#)",
        "replace(@, 'a', #)",
        "round(@, #)",
        "split_part(@, #, 1)",
    ];
    let leaf = proptest::sample::select(LEAVES).prop_map(str::to_owned);
    leaf.prop_recursive(3, 12, 2, |inner| {
        let unary = (proptest::sample::select(UNARY), inner.clone()).prop_map(|(form, a)| form.replace('@', &a));
        let binary = (proptest::sample::select(BINARY), inner.clone(), inner)
            .prop_map(|(form, a, b)| form.replace('@', "\u{1}").replace('#', &b).replace('\u{1}', &a));
        prop_oneof![unary, binary]
    })
}

const RECORDS: [&str; 3] = [
    r#"{"ts":1,"i":2147483647,"n":9223372036854775807,"d":9999999999.99,"w":9999999999999999999999999999.5,"f":1e308,"s":"abc","b":true,"day":"9999-12-31","raw":"AP/+"}"#,
    r#"{"ts":-1,"i":-2147483648,"n":-9223372036854775808,"d":-0.01,"w":-1,"f":-0.0,"s":"","b":false,"day":"0000-01-01","raw":""}"#,
    r#"{"ts":0}"#,
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn words_in_any_order_never_panic(pieces in proptest::collection::vec(piece(), 0..40)) {
        let sql = format!("INSERT INTO totals SELECT {}", pieces.join(" "));
        if let Err(error) = plan(&sql, &catalog()) {
            prop_assert!(inside(&sql, &error), "{error} of {sql}");
            prop_assert_eq!(internal(&sql, &error.to_string()), None, "{} of {}", error, sql);
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
            prop_assert_eq!(internal(&sql, &error.to_string()), None, "{} of {}", error, sql);
        }
    }

    #[test]
    fn whatever_is_computed_of_whatever_is_a_value_or_words_for_the_user(
        expression in expression(),
        windowed in any::<bool>(),
        filtered in any::<bool>(),
    ) {
        let (from, grouped) = if windowed {
            ("TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' HOUR)", "GROUP BY window_start")
        } else {
            ("t", "")
        };
        let select = if filtered {
            format!("1 AS x FROM {from} WHERE {expression} {grouped}")
        } else {
            format!("{expression} AS x FROM {from} {grouped}")
        };
        let sql = format!("INSERT INTO totals\nSELECT {select}");
        if let Err(message) = run(&COLUMNS, &RECORDS, &sql) {
            prop_assert_eq!(internal(&sql, &message), None, "{} of {}", message, sql);
            let is_placed = message.starts_with("spec.sql, line 2, column ") || message.starts_with("operator `");
            prop_assert!(is_placed, "{} of {}", message, sql);
        }
    }
}
