//! Names that views give below a deduplication, and the source that rows come from.

use super::*;

const COLUMNS: &[(&str, &str)] =
    &[("ts", "timestamp(3)"), ("id", "bigint"), ("k", "bigint"), ("x", "bigint"), ("y", "bigint")];

fn record(id: i64) -> String {
    format!(r#"{{"ts":{},"id":{id},"k":{},"x":{id},"y":{}}}"#, 1_000 * id, id % 2, 100 * id)
}

/// The first row of each `id` of a view with these columns.
fn first(view: &str) -> String {
    format!(
        "CREATE VIEW v AS SELECT id, {view}, ts FROM orders;\n\
         CREATE VIEW u AS SELECT * FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY id ORDER BY ts) AS n FROM v) WHERE n = 1;\n"
    )
}

fn window(calls: &str, of: &str, by: &str) -> String {
    format!(
        "INSERT INTO totals SELECT {calls} FROM TUMBLE(TABLE {of}, DESCRIPTOR(ts), INTERVAL '1' MINUTE)\n\
         GROUP BY window_start, window_end{by}"
    )
}

/// Where the two rows from before the change are.
#[derive(Debug, Clone, Copy)]
enum Rows {
    /// In the deduplication.
    Wait,
    /// In the window.
    Passed,
    InFlight,
}

/// Two rows before the change, a checkpoint in between that is of the new version, one row after it: what comes out.
async fn play(old: &str, new: &str, rows: Rows) -> Result<String, String> {
    let mut job = Version { columns: COLUMNS, sql: old, more: "" }.start();
    let (one, two) = (record(1), record(2));
    match rows {
        Rows::Wait => job.read(&[&one, &two], None),
        Rows::Passed => job.read(&[&one, &two], Some(5_000)),
        Rows::InFlight => job.read_in_flight(&[&one, &two]),
    }
    let new = Version { columns: COLUMNS, sql: new, more: "" };
    let saved = new.go_on(&job.save().await).await?.save().await;
    let mut job = new.go_on(&saved).await?;
    job.read(&[&record(6)], None);
    Ok(values(&job.finish("totals")).join("; "))
}

#[tokio::test]
async fn what_views_call_a_column_below_a_deduplication_does_not_matter() {
    let plan = |view: &str, calls: &str| first(view) + &window(calls, "u", "");
    let swapped = plan("y AS a, x AS b", "SUM(a) AS s, MAX(b) AS m");
    let of_y = plan("y AS x", "SUM(x) AS s");
    let thrice = plan("x * 3 AS a", "SUM(a) AS s");
    // The columns in the order of their names.
    let cases = [
        (
            plan("x AS a", "SUM(a) AS s, COUNT(*) AS z"),
            plan("x AS amount", "SUM(amount) AS s, COUNT(*) AS z"),
            [Some("9|3"), Some("9|3")],
        ),
        (
            plan("x AS a, y AS b", "SUM(a) AS s, MAX(b) AS m"),
            plan("y AS a, x AS b", "SUM(b) AS s, MAX(a) AS m"),
            [Some("600|9"), Some("600|9")],
        ),
        // Other sums, which begin.
        (plan("x AS a, y AS b", "SUM(a) AS s, MAX(b) AS m"), swapped, [Some("6|900"), Some("6|600")]),
        // Rows that wait don't have what is summed now.
        (plan("x AS x", "SUM(x) AS s"), of_y, [None, Some("600")]),
        (plan("x * 2 AS a", "SUM(a) AS s"), thrice, [None, Some("18")]),
    ];
    for (old, new, expected) in cases {
        for (rows, expected) in [Rows::Wait, Rows::Passed].into_iter().zip(expected) {
            match (play(&old, &new, rows).await, expected) {
                (Ok(found), Some(expected)) => assert_eq!(found, expected, "{rows:?}: {old} to {new}"),
                (Err(error), None) => assert!(error.contains("is read now and was not before"), "{error}"),
                (found, expected) => panic!("{rows:?}: {found:?}, not {expected:?}: {old} to {new}"),
            }
        }
    }
}

#[tokio::test]
async fn rows_in_flight_are_read_by_what_their_columns_are() {
    let plan = |view: &str, calls: &str| {
        format!("CREATE VIEW v AS SELECT {view}, ts FROM orders;\n{}", window(calls, "v", ""))
    };
    let old = plan("x AS a, y AS b", "SUM(a) AS s, MAX(b) AS m");
    let same = plan("y AS a, x AS b", "SUM(b) AS s, MAX(a) AS m");
    let other = plan("y AS a, x AS b", "SUM(a) AS s, MAX(b) AS m");
    assert_eq!(play(&old, &same, Rows::InFlight).await.as_deref(), Ok("600|9"));
    assert_eq!(play(&old, &other, Rows::InFlight).await.as_deref(), Ok("6|900"));
}

#[tokio::test]
async fn a_key_over_a_deduplication_that_is_computed_otherwise_is_refused() {
    let second = "INSERT INTO totals SELECT a, b FROM\n\
                  (SELECT *, ROW_NUMBER() OVER (PARTITION BY a ORDER BY ts) AS m FROM u) WHERE m = 1";
    for reader in [window("a, COUNT(*) AS z", "u", ", a"), second.to_owned()] {
        let plan = |view: &str| first(view) + &reader;
        let old = plan("k AS a, y AS b");
        for (other, key) in [("y AS a, k AS b", "y"), ("k + 1 AS a, y AS b", "k + 1")] {
            let error = play(&old, &plan(other), Rows::Passed).await.unwrap_err();
            assert!(error.contains(&format!("its keys were k, and are {key}")), "{error}");
        }
        assert!(play(&old, &old, Rows::Passed).await.is_ok());
    }
}

#[tokio::test]
async fn a_view_that_reads_another_source_does_not_bring_its_rows_into_the_state_of_the_former() {
    let deduplicated = "INSERT INTO totals SELECT id, x FROM\n\
                        (SELECT *, ROW_NUMBER() OVER (PARTITION BY id ORDER BY ts) AS n FROM v) WHERE n = 1";
    for reader in [window("SUM(x) AS s", "v", ""), deduplicated.to_owned()] {
        let plan = |one: &str, other: &str| {
            format!(
                "CREATE VIEW v AS SELECT id, x, ts FROM {one};\nCREATE VIEW z AS SELECT id, x, ts FROM {other};\n\
                 {reader};\nINSERT INTO archive SELECT id, x FROM z"
            )
        };
        let (old, new) = (plan("orders", "returns"), plan("returns", "orders"));
        let error = play(&old, &new, Rows::Wait).await.unwrap_err();
        assert!(error.contains("state of rows of source `orders`, and reads source `returns` now"), "{error}");
        assert!(play(&old, &old, Rows::Wait).await.is_ok());
        // An earlier program did not tell, and had one source only.
        let one = |source: &str| format!("CREATE VIEW v AS SELECT id, x, ts FROM {source};\n{reader}");
        let error = go_on_from_earlier(&one("orders"), &one("returns")).await.unwrap_err();
        assert!(error.contains("earlier version") && error.contains("reads source `returns` now"), "{error}");
    }
}

/// From the state of a program that told of neither columns nor sources nor keys.
async fn go_on_from_earlier(old: &str, new: &str) -> Result<Vec<String>, String> {
    let mut job = Version { columns: COLUMNS, sql: old, more: "" }.start();
    job.read(&[&record(1), &record(2)], None);
    let mut saved = job.save().await;
    for operator in &mut saved.manifest.operators {
        operator.written_as = None;
        for subtask in &mut operator.subtasks {
            subtask.value.as_object_mut().unwrap().remove("keys");
        }
    }
    let job = Version { columns: COLUMNS, sql: new, more: "" }.go_on(&saved).await?;
    Ok(values(&job.finish("totals")))
}

#[tokio::test]
async fn rows_that_an_earlier_program_left_under_names_of_views_are_taken_only_if_the_names_are_the_same() {
    let plan = |view: &str, columns: &str| first(view) + &format!("INSERT INTO totals SELECT {columns} FROM u");
    let old = plan("x AS a, y AS b", "a, b");
    assert_eq!(go_on_from_earlier(&old, &old).await, Ok(vec!["1|100".to_owned(), "2|200".to_owned()]));
    for new in [plan("x AS amount, y AS b", "amount, b"), plan("x AS a, y AS b", "a")] {
        let error = go_on_from_earlier(&old, &new).await.unwrap_err();
        assert!(
            error.contains("earlier version of Tidegate") && error.contains("under names that views give"),
            "{error}"
        );
    }
    let plain = |columns: &str| plan("x, y", columns);
    assert_eq!(
        go_on_from_earlier(&plain("x, y"), &plain("y")).await,
        Ok(vec!["100".to_owned(), "200".to_owned()]),
        "columns of the source may change"
    );
}
