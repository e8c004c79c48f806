//! Rows of a checkpoint whose columns have changed, and times that are read in another unit.

use super::*;

const OLD: &[(&str, &str)] = &[("ts", "timestamp(3)"), ("id", "string"), ("a", "bigint"), ("b", "bigint")];
const RECORD: &str = r#"{"ts":1000,"id":"x","a":1,"b":2,"c":3}"#;

fn first(columns: &str) -> String {
    format!(
        "INSERT INTO totals SELECT {columns} FROM\n\
         (SELECT *, ROW_NUMBER() OVER (PARTITION BY id ORDER BY ts) AS n FROM orders) WHERE n = 1"
    )
}

async fn waiting() -> Saved {
    let mut job = Version { columns: OLD, sql: &first("id, a"), more: "" }.start();
    job.read(&[RECORD], None);
    job.save().await
}

#[tokio::test]
async fn a_column_that_rows_in_state_lack_is_null_only_if_their_source_did_not_have_it() {
    let saved = waiting().await;
    let sql = first("id, a, b");
    let error = Version { columns: OLD, sql: &sql, more: "" }.go_on(&saved).await.err().unwrap();
    assert!(error.contains("column `b` is read now") && error.contains("allowNonRestoredState: true"), "{error}");
    let accepts = Version { columns: OLD, sql: &sql, more: "  allowNonRestoredState: true\n" };
    assert_eq!(values(&accepts.go_on(&saved).await.unwrap().finish("totals")), [r#"1|null|"x""#]);

    let mut new = OLD.to_vec();
    new.push(("c", "bigint"));
    let sql = first("id, a, c");
    let job = Version { columns: &new, sql: &sql, more: "" }.go_on(&saved).await.unwrap();
    assert_eq!(values(&job.finish("totals")), [r#"1|null|"x""#], "its source did not have it");
    let renamed = "CREATE VIEW v AS SELECT ts, id, a, c + 1 AS c FROM orders;\n".to_owned()
        + &sql.replace("FROM orders", "FROM v");
    let error = Version { columns: &new, sql: &renamed, more: "" }.go_on(&saved).await.err().unwrap();
    assert!(error.contains("would be lost"), "another relation, another operator: {error}");
}

#[tokio::test]
async fn a_time_that_is_read_in_another_unit_is_refused() {
    let window = "INSERT INTO totals SELECT COUNT(*) AS n FROM TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE)\n\
                  GROUP BY window_start, window_end";
    let finer: Vec<(&str, &str)> =
        OLD.iter().map(|(name, kind)| (*name, if *name == "ts" { "timestamp(6)" } else { kind })).collect();
    for sql in [window, "INSERT INTO totals SELECT id, ts FROM orders", &first("id, a")] {
        let mut job = Version { columns: OLD, sql, more: "" }.start();
        job.read(&[RECORD], None);
        let saved = job.save().await;
        let error = Version { columns: &finer, sql, more: "" }.go_on(&saved).await.err().unwrap();
        assert!(error.contains("column `ts` was timestamp(3) in the checkpoint and is timestamp(6)"), "{error}");
        assert!(Version { columns: OLD, sql, more: "" }.go_on(&saved).await.is_ok());
    }
}

#[tokio::test]
async fn another_event_time_is_refused_while_operators_remember_the_time() {
    let columns = |first: &'static str, second: &'static str| {
        [(first, "timestamp(3)"), (second, "timestamp(3)"), ("id", "string"), ("a", "bigint"), ("b", "bigint")]
    };
    let (old, new) = (columns("ts", "sent"), columns("sent", "ts"));
    let window = |time: &str| {
        format!(
            "INSERT INTO totals SELECT COUNT(*) AS n FROM TUMBLE(TABLE orders, DESCRIPTOR({time}), INTERVAL '1' MINUTE)\n\
             GROUP BY window_start, window_end"
        )
    };
    let go_on = async |before: &str, after: &str| {
        let saved = Version { columns: &old, sql: before, more: "" }.start().save().await;
        Version { columns: &new, sql: after, more: "" }.go_on(&saved).await.map(|_| ())
    };
    let error = go_on(&window("ts"), &window("sent")).await.unwrap_err();
    assert!(error.contains("its event time was `ts` in the checkpoint and is `sent`"), "{error}");
    let rows = "INSERT INTO totals SELECT id, ts FROM orders";
    assert_eq!(go_on(rows, rows).await, Ok(()), "nobody remembers the time");
}

/// Beside the event time, which stays as it is.
#[tokio::test]
async fn another_time_that_is_read_in_another_unit_is_refused() {
    let columns = |sent: &'static str| [("ts", "timestamp(3)"), ("sent", sent), ("id", "string"), ("a", "bigint")];
    let record = r#"{"ts":1000,"sent":2000,"id":"x","a":1}"#;
    let window = |calls: &str| {
        format!(
            "INSERT INTO totals SELECT {calls} FROM TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE)\n\
             GROUP BY window_start, window_end"
        )
    };
    let rows = "INSERT INTO totals SELECT id, sent FROM orders".to_owned();
    for (before, after) in [("timestamp(3)", "timestamp(6)"), ("timestamp(6)", "timestamp(3)")] {
        for sql in [window("MAX(sent) AS last"), window("COUNT(sent) AS n"), first("id, sent"), rows.clone()] {
            let (old, new) = (columns(before), columns(after));
            let mut job = Version { columns: &old, sql: &sql, more: "" }.start();
            job.read(&[record], None);
            let saved = job.save().await;
            let gone_on = Version { columns: &new, sql: &sql, more: "" }.go_on(&saved).await;
            let error = gone_on.err().unwrap_or_else(|| panic!("{before} to {after} is taken by: {sql}"));
            let words = format!("column `sent` was {before} in the checkpoint and is {after}");
            assert!(error.contains(&words), "{sql}: {error}");
            assert!(Version { columns: &old, sql: &sql, more: "" }.go_on(&saved).await.is_ok(), "{sql}");
        }
    }
}

#[tokio::test]
async fn a_key_that_is_zero_is_one_key_whatever_its_sign() {
    for kind in ["double", "float"] {
        let columns = [("ts", "timestamp(3)"), ("f", kind), ("a", "bigint")];
        let sql = first("a").replace("PARTITION BY id", "PARTITION BY f");
        let version = Version { columns: &columns, sql: &sql, more: "" };
        for (zero, other) in [("0.0", "-0.0"), ("-0.0", "0.0")] {
            let record = |ts: u64, f: &str, a: u64| format!(r#"{{"ts":{ts},"f":{f},"a":{a}}}"#);
            let mut job = version.start();
            job.read(&[&record(1, other, 1), &record(2, zero, 2), &record(2, "1.5", 3)], None);
            // Later ones come to a job that knows the keys from a checkpoint.
            job.read(&[], Some(1_000));
            assert_eq!(values(&job.rows("totals")), ["1", "3"], "{kind} {zero}");
            let saved = job.save().await;
            let mut job = version.go_on(&saved).await.unwrap();
            job.read(&[&record(2_000, zero, 4), &record(2_001, other, 5), &record(2_002, "2.5", 6)], None);
            assert_eq!(values(&job.finish("totals")), ["6"], "{kind} {zero}");
        }
    }
}
