//! Operators that others are written beside, and that move.

use super::*;

const COLUMNS: &[(&str, &str)] = &[("ts", "timestamp(3)"), ("a", "bigint"), ("b", "bigint"), ("k", "string")];

fn window(calls: &str) -> String {
    format!(
        "SELECT {calls} FROM TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE) GROUP BY window_start, window_end, k"
    )
}

fn record(a: i64) -> String {
    format!(r#"{{"ts":1000,"a":{a},"b":10,"k":"x"}}"#)
}

/// Two rows before the change, one after it: what comes out at each sink.
async fn play(old: &str, new: (&[(&str, &str)], &str)) -> Result<BTreeMap<String, String>, String> {
    let mut job = Version { columns: COLUMNS, sql: old, more: "" }.start();
    job.read(&[&record(2), &record(3)], None);
    let saved = job.save().await;
    let mut job = Version { columns: new.0, sql: new.1, more: "" }.go_on(&saved).await?;
    job.read(&[&record(5)], None);
    job.read(&[], Some(1_000_000));
    Ok(job.written.iter().map(|(sink, rows)| (sink.clone(), values(rows).join("; "))).collect())
}

fn sinks(rows: &[(&str, &str)]) -> BTreeMap<String, String> {
    rows.iter().map(|(sink, row)| ((*sink).to_owned(), (*row).to_owned())).collect()
}

#[tokio::test]
async fn two_windows_over_one_view_keep_their_state_whatever_changes_beside_them() {
    let both = format!("INSERT INTO totals {};\nINSERT INTO alerts {}", window("SUM(a) AS x"), window("MAX(a) AS x"));
    let moved: Vec<(&str, &str)> = COLUMNS.iter().rev().copied().collect();
    let more = format!(
        "INSERT INTO totals {};\nINSERT INTO alerts {}",
        window("SUM(a) AS x, MAX(b) AS y"),
        window("MAX(a) AS x")
    );
    let swapped =
        format!("INSERT INTO alerts {};\nINSERT INTO totals {}", window("MAX(a) AS x"), window("SUM(a) AS x"));
    let third = format!("{both};\nINSERT INTO archive {}", window("COUNT(*) AS n"));
    let cases: [(&[(&str, &str)], &str, &[(&str, &str)]); 5] = [
        (COLUMNS, &both, &[("totals", "10"), ("alerts", "5")]),
        (&moved, &both, &[("totals", "10"), ("alerts", "5")]),
        (COLUMNS, &more, &[("totals", "10|10"), ("alerts", "5")]),
        (COLUMNS, &swapped, &[("totals", "10"), ("alerts", "5")]),
        (COLUMNS, &third, &[("totals", "10"), ("alerts", "5"), ("archive", "1")]),
    ];
    for (columns, sql, expected) in cases {
        assert_eq!(play(&both, (columns, sql)).await, Ok(sinks(expected)), "{sql}");
    }
}

#[tokio::test]
async fn a_second_window_leaves_the_first_its_state_and_begins_without() {
    let one = format!("INSERT INTO totals {}", window("SUM(a) AS x"));
    for second in ["MAX(a) AS x", "SUM(b) AS x"] {
        let both = format!("INSERT INTO alerts {};\n{one}", window(second));
        let expected = if second == "MAX(a) AS x" { "5" } else { "10" };
        assert_eq!(
            play(&one, (COLUMNS, &both)).await,
            Ok(sinks(&[("totals", "10"), ("alerts", expected)])),
            "{second}"
        );
    }
    // And back: what is left is refused, by name.
    let both = format!("INSERT INTO alerts {};\n{one}", window("MAX(a) AS x"));
    let error = play(&both, (COLUMNS, &one)).await.unwrap_err();
    assert!(error.contains("would be lost") && error.contains("window-orders-by-k-60000ms-in-alerts"), "{error}");
}

#[tokio::test]
async fn what_was_the_same_in_two_statements_and_differs_now_goes_on_in_both() {
    let same = format!("INSERT INTO totals {0};\nINSERT INTO alerts {0}", window("SUM(a) AS x"));
    let job = Version { columns: COLUMNS, sql: &same, more: "" }.start();
    job.node("window-orders-by-k-60000ms");
    let apart = format!(
        "INSERT INTO totals {};\nINSERT INTO alerts {}",
        window("SUM(a) AS x"),
        window("SUM(a) AS x, MIN(a) AS y")
    );
    assert_eq!(play(&same, (COLUMNS, &apart)).await, Ok(sinks(&[("totals", "10"), ("alerts", "10|5")])));
    let error = play(&apart, (COLUMNS, &same)).await.unwrap_err();
    assert!(error.contains("are one now") && error.contains("-in-alerts") && error.contains("-in-totals"), "{error}");
    // Who joins one that has state goes on with it: it computes the same.
    let one = format!("INSERT INTO totals {}", window("SUM(a) AS x"));
    assert_eq!(play(&one, (COLUMNS, &same)).await, Ok(sinks(&[("totals", "10"), ("alerts", "10")])));
}

#[tokio::test]
async fn what_was_the_same_in_two_statements_goes_on_in_one_that_is_written_elsewhere_too() {
    let (sum, more) = (window("SUM(a) AS x"), window("SUM(a) AS x, MIN(a) AS y"));
    let same = format!("INSERT INTO totals {sum};\nINSERT INTO alerts {sum}");
    let view = |of: &str, sink: &str| format!("CREATE VIEW moved AS {of};\nINSERT INTO {sink} SELECT * FROM moved");
    for (sql, expected) in [
        (format!("{};\nINSERT INTO alerts {more}", view(&sum, "totals")), [("totals", "10"), ("alerts", "10|5")]),
        (format!("{};\nINSERT INTO totals {sum}", view(&more, "alerts")), [("totals", "10"), ("alerts", "10|5")]),
        (
            format!("{};\nINSERT INTO alerts SELECT * FROM moved", view(&sum, "totals")),
            [("totals", "10"), ("alerts", "10")],
        ),
    ] {
        assert_eq!(play(&same, (COLUMNS, &sql)).await, Ok(sinks(&expected)), "{sql}");
    }
    // Nobody goes on with what one of the two had: it isn't left out in silence.
    let other = window("SUM(a) AS x").replace("'1' MINUTE", "'2' MINUTE");
    let two = format!(
        "{};\nINSERT INTO archive {more};\nINSERT INTO totals {sum}",
        view(&more, "alerts").replace("MIN(", "MAX(")
    );
    let alone = format!("INSERT INTO totals {sum}");
    for sql in [format!("{alone};\nINSERT INTO alerts {other}"), two, alone] {
        let error = play(&same, (COLUMNS, &sql)).await.unwrap_err();
        assert!(error.contains("would be lost") && error.contains("INSERT INTO alerts"), "{error}\n{sql}");
    }
}

#[tokio::test]
async fn one_that_is_written_elsewhere_goes_on_if_nobody_else_could_be_meant() {
    let one = format!("INSERT INTO totals {}", window("SUM(a) AS x"));
    let elsewhere = [
        format!("INSERT INTO alerts {}", window("SUM(a) AS x")),
        format!("CREATE VIEW sums AS {};\nINSERT INTO totals SELECT x FROM sums", window("SUM(a) AS x")),
        format!("INSERT INTO totals WITH sums AS ({}) SELECT x FROM sums", window("SUM(a) AS x")),
    ];
    for sql in &elsewhere {
        let rows = play(&one, (COLUMNS, sql)).await;
        assert_eq!(rows.map(|rows| rows.into_values().collect::<Vec<_>>()), Ok(vec!["10".to_owned()]), "{sql}");
    }
    let two = format!("INSERT INTO alerts {};\nINSERT INTO archive {}", window("SUM(a) AS x"), window("MAX(a) AS x"));
    let error = play(&one, (COLUMNS, &two)).await.unwrap_err();
    assert!(
        error.contains("would be lost") && error.contains("INSERT INTO totals") | error.contains("renamed to"),
        "{error}"
    );
}

#[tokio::test]
async fn deduplications_inside_each_other_are_told_apart_from_the_inside() {
    let first = |of: &str| {
        format!(
            "(SELECT * FROM (SELECT ts, a, b, k, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts) AS n FROM {of}) WHERE n = 1)"
        )
    };
    let sql = format!("INSERT INTO totals SELECT a FROM {}", first(&first("orders")));
    let job = Version { columns: COLUMNS, sql: &sql, more: "" }.start();
    let within: Vec<&str> = job
        .plan
        .graph
        .nodes
        .iter()
        .filter(|node| node.exchange_id().is_some())
        .flat_map(|node| node.known_as.written_as.within.iter().map(String::as_str))
        .collect();
    assert_eq!(within, ["INSERT INTO totals", "INSERT INTO totals (2)"], "{}", job.plan.graph);
}

#[tokio::test]
async fn rows_in_flight_go_with_their_operator() {
    let one = format!("INSERT INTO totals {}", window("SUM(a * b) AS x"));
    let both = format!("INSERT INTO alerts {};\n{one}", window("MAX(a) AS x"));
    let mut job = Version { columns: COLUMNS, sql: &one, more: "" }.start();
    job.read(&[&record(2)], None);
    job.read_in_flight(&[&record(3)]);
    let saved = job.save().await;
    let job = Version { columns: COLUMNS, sql: &both, more: "" }.go_on(&saved).await.unwrap();
    assert_eq!(values(&job.finish("totals")), ["50"]);
    let changed = format!("INSERT INTO totals {}", window("SUM(a * b) AS x, MAX(b) AS y"));
    let error = Version { columns: COLUMNS, sql: &changed, more: "" }.go_on(&saved).await.err().unwrap();
    assert!(error.contains("`b` is read now and was not before") && error.contains("take a savepoint"), "{error}");
}
