//! The guide's table of what may change, line by line.

use super::*;

type Columns = &'static [(&'static str, &'static str)];

const COLUMNS: Columns = &[("ts", "timestamp(3)"), ("k", "string"), ("a", "bigint"), ("b", "bigint")];

/// Where the two rows from before the change are.
#[derive(Debug, Clone, Copy)]
enum Rows {
    /// In windows that are open, and in deduplications that wait for the watermark.
    Held,
    /// The watermark has passed them.
    Passed,
}

/// One change, with two rows before it and one after it.
struct Play {
    rows: Rows,
    old: (Columns, String),
    new: (Columns, String),
    /// More of the new version's `spec`.
    more: &'static str,
    /// What each sink has got in the end, or words of the refusal.
    expected: Result<&'static [(&'static str, &'static str)], &'static str>,
}

/// A line of the table: its first cell, and changes of its kind.
struct Line {
    change: &'static str,
    plays: Vec<Play>,
}

/// Lines that other tests play, which are of more than the state of operators.
const ELSEWHERE: [(&str, &str); 4] = [
    ("parallelism", "savepoints of a whole job, and `differential`"),
    ("`maxParallelism`", "`worker::restore`"),
    (
        "a sink taken out, or sent elsewhere, while rows for it wait",
        "`checkpoint::destination`, `store_sales::destinations`",
    ),
    ("the type of another column", "`types`"),
];

fn record(a: i64, b: i64) -> String {
    format!(r#"{{"ts":{},"k":"{a}","a":{a},"b":{b},"c":7}}"#, 1_000 * a)
}

impl Play {
    async fn play(&self) -> Result<BTreeMap<String, String>, String> {
        let mut job = Version { columns: self.old.0, sql: &self.old.1, more: "" }.start();
        job.read(&[&record(2, 10), &record(3, 10)], None);
        if let Rows::Passed = self.rows {
            job.read(&[], Some(4_000));
        }
        let mut written = std::mem::take(&mut job.written);
        let new = Version { columns: self.new.0, sql: &self.new.1, more: self.more };
        let mut job = new.go_on(&job.save().await).await?;
        job.read(&[&record(5, 1)], None);
        job.read(&[], Some(1_000_000_000));
        for (sink, rows) in job.written {
            written.entry(sink).or_default().extend(rows);
        }
        Ok(written.into_iter().map(|(sink, rows)| (sink, values(&rows).join("; "))).collect())
    }
}

/// The same columns, rows that are held.
fn held(old: &str, new: &str, expected: Result<&'static [(&'static str, &'static str)], &'static str>) -> Play {
    Play { rows: Rows::Held, old: (COLUMNS, old.to_owned()), new: (COLUMNS, new.to_owned()), more: "", expected }
}

/// A window of a minute over `of`, written to `sink`.
fn window(sink: &str, calls: &str, of: &str) -> String {
    format!("INSERT INTO {sink} {};\n", grouped(calls, of, ""))
}

fn grouped(calls: &str, of: &str, having: &str) -> String {
    format!(
        "SELECT {calls} FROM TUMBLE(TABLE {of}, DESCRIPTOR(ts), INTERVAL '1' MINUTE) GROUP BY window_start, window_end{having}"
    )
}

/// The first row of each key of a view, with these columns of it.
fn first(sink: &str, columns: &str, key: &str, of: &str) -> String {
    format!(
        "INSERT INTO {sink} SELECT {columns} FROM\n\
         (SELECT *, ROW_NUMBER() OVER (PARTITION BY {key} ORDER BY ts) AS n FROM {of}) WHERE n = 1;\n"
    )
}

fn view(name: &str, select: &str) -> String {
    format!("CREATE VIEW {name} AS {select};\n")
}

fn lines() -> Vec<Line> {
    let sum = window("totals", "SUM(a) AS x", "orders");
    let moved: Columns = &[("b", "bigint"), ("a", "bigint"), ("k", "string"), ("ts", "timestamp(3)")];
    let with_c: Columns = &[("ts", "timestamp(3)"), ("k", "string"), ("a", "bigint"), ("b", "bigint"), ("c", "bigint")];
    let needs_c: Columns =
        &[("ts", "timestamp(3)"), ("k", "string"), ("a", "bigint"), ("b", "bigint"), ("c", "bigint not null")];
    let finer: Columns = &[("ts", "timestamp(6)"), ("k", "string"), ("a", "bigint"), ("b", "bigint")];
    let two_times: Columns =
        &[("ts", "timestamp(3)"), ("sent", "timestamp(3)"), ("k", "string"), ("a", "bigint"), ("b", "bigint")];
    let other_time: Columns =
        &[("sent", "timestamp(3)"), ("ts", "timestamp(3)"), ("k", "string"), ("a", "bigint"), ("b", "bigint")];
    let line = |change: &'static str, plays: Vec<Play>| Line { change, plays };
    vec![
        line(
            "another order of a source's columns, of the columns of a `SELECT`, of statements; other names of columns in a \
             view, also below a deduplication",
            vec![
                Play { new: (moved, sum.clone()), ..held(&sum, &sum, Ok(&[("totals", "10")])) },
                held(
                    &(window("totals", "SUM(a) AS x, MAX(b) AS y", "orders")
                        + &window("alerts", "MAX(a) AS x", "orders")),
                    &(window("alerts", "MAX(a) AS x", "orders")
                        + &window("totals", "MAX(b) AS y, SUM(a) AS x", "orders")),
                    Ok(&[("alerts", "5"), ("totals", "10|10")]),
                ),
                held(
                    &(view("v", "SELECT ts, k, a AS one FROM orders") + &first("totals", "one", "k", "v")),
                    &(view("v", "SELECT k, ts, a AS two FROM orders") + &first("totals", "two AS one", "k", "v")),
                    Ok(&[("totals", "2; 3; 5")]),
                ),
            ],
        ),
        line(
            "a new aggregate in a window",
            vec![held(&sum, &window("totals", "MAX(b) AS w, SUM(a) AS x", "orders"), Ok(&[("totals", "1|10")]))],
        ),
        line(
            "an aggregate taken out",
            vec![held(&window("totals", "MAX(b) AS w, SUM(a) AS x", "orders"), &sum, Ok(&[("totals", "10")]))],
        ),
        line(
            "what an aggregate computes, as `SUM(a * b)` to `SUM(a * c)`",
            vec![held(
                &window("totals", "SUM(a * b) AS x, MAX(b) AS y", "orders"),
                &window("totals", "SUM(a * a) AS x, MAX(b) AS y", "orders"),
                Ok(&[("totals", "25|10")]),
            )],
        ),
        line(
            "a cast in an aggregate, put in or taken out",
            vec![
                held(
                    &window("totals", "SUM(CAST(a AS INT)) AS x", "orders"),
                    &sum,
                    Err("differs from it in casts only"),
                ),
                held(
                    &sum,
                    &window("totals", "SUM(CAST(a AS INT)) AS x", "orders"),
                    Err("differs from it in casts only"),
                ),
            ],
        ),
        line(
            "another `WHERE` or `HAVING`",
            vec![
                held(
                    &(view("v", "SELECT * FROM orders WHERE b > 5") + &window("totals", "SUM(a) AS x", "v")),
                    &(view("v", "SELECT * FROM orders WHERE b < 5") + &window("totals", "SUM(a) AS x", "v")),
                    Ok(&[("totals", "10")]),
                ),
                held(
                    &format!("INSERT INTO totals {}", grouped("SUM(a) AS x", "orders", " HAVING SUM(a) > 10")),
                    &format!("INSERT INTO totals {}", grouped("SUM(a) AS x", "orders", " HAVING SUM(a) > 9")),
                    Ok(&[("totals", "10")]),
                ),
            ],
        ),
        {
            let of = |computed: &str| {
                view("v", &format!("SELECT ts, k, {computed} AS x FROM orders")) + &first("totals", "x", "k", "v")
            };
            let (old, new) = (of("a * b"), of("a + b"));
            line(
                "a column computed otherwise that is no key",
                vec![
                    Play { rows: Rows::Passed, ..held(&old, &new, Ok(&[("totals", "20; 30; 6")])) },
                    held(&old, &new, Err("is read now and was not before")),
                ],
            )
        },
        line(
            "a view renamed, other keys, another window length",
            vec![
                held(
                    &(view("v", "SELECT * FROM orders") + &window("totals", "SUM(a) AS x", "v")),
                    &(view("w", "SELECT * FROM orders") + &window("totals", "SUM(a) AS x", "w")),
                    Err("would be lost"),
                ),
                held(
                    &first("totals", "a", "k", "orders"),
                    &first("totals", "a", "k, b", "orders"),
                    Err("would be lost"),
                ),
                held(&sum, &sum.replace("'1' MINUTE", "'2' MINUTE"), Err("would be lost")),
            ],
        ),
        {
            let of = |key: &str| {
                view("v", &format!("SELECT ts, {key} AS q, a FROM orders")) + &first("totals", "a", "q", "v")
            };
            line(
                "a key that is computed otherwise under the same name",
                vec![held(&of("b"), &of("b + 1"), Err("its keys were b, and are b + 1"))],
            )
        },
        {
            let of = |one: &str, other: &str| {
                view("v", &format!("SELECT * FROM {one}"))
                    + &window("totals", "SUM(a) AS x", "v")
                    + &format!("INSERT INTO archive SELECT a FROM {other};\n")
            };
            line(
                "a view that reads another source",
                vec![held(&of("orders", "returns"), &of("returns", "orders"), Err("reads source `returns` now"))],
            )
        },
        line(
            "an `INSERT`, a view or a window added",
            vec![
                held(
                    &sum,
                    &(view("v", "SELECT * FROM orders") + &sum + &window("alerts", "SUM(a) AS x", "v")),
                    Ok(&[("alerts", "5"), ("totals", "10")]),
                ),
                held(
                    &sum,
                    &(sum.clone() + "INSERT INTO alerts SELECT a FROM orders"),
                    Ok(&[("alerts", "5"), ("totals", "10")]),
                ),
            ],
        ),
        line(
            "a deduplication or a window added that is written like one that is there: the same input, keys, length and \
             aggregates",
            vec![
                held(
                    &sum,
                    &(sum.clone() + &window("alerts", "SUM(a) AS x", "orders")),
                    Ok(&[("alerts", "10"), ("totals", "10")]),
                ),
                Play {
                    rows: Rows::Passed,
                    ..held(
                        &first("totals", "a", "k", "orders"),
                        &(first("totals", "a", "k", "orders") + &first("alerts", "a", "k", "orders")),
                        Ok(&[("alerts", "5"), ("totals", "2; 3; 5")]),
                    )
                },
            ],
        ),
        line(
            "a window written under another sink or in another view",
            vec![
                held(&sum, &window("alerts", "SUM(a) AS x", "orders"), Ok(&[("alerts", "10")])),
                held(
                    &sum,
                    &(view("sums", &grouped("SUM(a) AS x", "orders", "")) + "INSERT INTO totals SELECT x FROM sums"),
                    Ok(&[("totals", "10")]),
                ),
                held(
                    &sum,
                    &(window("alerts", "SUM(a) AS x", "orders") + &window("archive", "MAX(a) AS x", "orders")),
                    Err("would be lost"),
                ),
            ],
        ),
        line(
            "two that were written alike, and so were one operator, differ now",
            vec![
                held(
                    &(sum.clone() + &window("alerts", "SUM(a) AS x", "orders")),
                    &(sum.clone() + &window("alerts", "SUM(a) AS x, MIN(a) AS y", "orders")),
                    Ok(&[("alerts", "10|5"), ("totals", "10")]),
                ),
                held(&(sum.clone() + &window("alerts", "SUM(a) AS x", "orders")), &sum, Err("would be lost")),
            ],
        ),
        line(
            "two that differed are written alike now",
            vec![held(
                &(sum.clone() + &window("alerts", "SUM(a) AS x, MIN(a) AS y", "orders")),
                &(sum.clone() + &window("alerts", "SUM(a) AS x", "orders")),
                Err("are one now"),
            )],
        ),
        line(
            "a source's new column, which may be null",
            vec![Play {
                new: (with_c, first("totals", "a, c", "k", "orders")),
                ..held(&first("totals", "a", "k", "orders"), "", Ok(&[("totals", "2|null; 3|null; 5|7")]))
            }],
        ),
        {
            let (old, new) = (first("totals", "a", "k", "orders"), first("totals", "a, b", "k", "orders"));
            line(
                "a column that a source had and that is read now for the first time",
                vec![
                    Play { rows: Rows::Passed, ..held(&old, &new, Ok(&[("totals", "2; 3; 5|1")])) },
                    held(&old, &new, Err("column `b` is read now and was not before")),
                    Play {
                        more: "  allowNonRestoredState: true\n",
                        ..held(&old, &new, Ok(&[("totals", "2|null; 3|null; 5|1")]))
                    },
                ],
            )
        },
        line(
            "a column that is not null, in rows that lack it",
            vec![Play {
                new: (needs_c, first("totals", "a, c", "k", "orders")),
                ..held(
                    &first("totals", "a", "k", "orders"),
                    "",
                    Err("column `c` is new, or computed otherwise than before, and can't be null"),
                )
            }],
        ),
        line(
            "the precision of a timestamp, such as `timestamp(3)` to `timestamp(6)`",
            vec![Play {
                new: (finer, sum.clone()),
                ..held(&sum, "", Err("column `ts` was timestamp(3) in the checkpoint and is timestamp(6)"))
            }],
        ),
        line(
            "another event time (`watermark.column`)",
            vec![Play {
                old: (two_times, sum.clone()),
                new: (other_time, sum.replace("DESCRIPTOR(ts)", "DESCRIPTOR(sent)")),
                ..held("", "", Err("its event time was `ts` in the checkpoint and is `sent`"))
            }],
        ),
    ]
}

#[tokio::test]
async fn every_line_is_as_the_guide_says() {
    for Line { change, plays } in lines() {
        assert!(!plays.is_empty(), "{change}");
        for play in plays {
            let told = format!("{change}, rows {:?}:\n{}\nto\n{}", play.rows, play.old.1, play.new.1);
            match (play.play().await, play.expected) {
                (Ok(found), Ok(expected)) => {
                    let expected: Vec<(&str, &str)> = expected.to_vec();
                    let found: Vec<(&str, &str)> =
                        found.iter().map(|(sink, rows)| (sink.as_str(), rows.as_str())).collect();
                    assert_eq!(found, expected, "{told}");
                }
                (Err(error), Err(words)) => assert!(error.contains(words), "{told}\n{error}"),
                (found, expected) => panic!("{told}\n{found:?}, not {expected:?}"),
            }
        }
    }
}

#[test]
fn the_guide_has_these_lines_and_no_other() {
    let guide = include_str!("../../../../docs/guide/checkpoints.md");
    let (_, table) = guide.split_once("| change | state |\n|---|---|\n").unwrap();
    let told = table.lines().take_while(|line| line.starts_with('|')).filter_map(|line| line.split(" | ").next());
    let told: Vec<&str> = told.map(|cell| cell.trim_start_matches("| ")).collect();
    let played: Vec<&str> = lines().iter().map(|line| line.change).collect();
    let elsewhere: Vec<&str> = ELSEWHERE.iter().map(|(change, _)| *change).collect();
    let missing: Vec<&&str> =
        told.iter().filter(|change| !played.contains(change) && !elsewhere.contains(change)).collect();
    assert!(missing.is_empty(), "nobody plays {missing:?}");
    assert_eq!(told.len(), played.len() + elsewhere.len(), "the guide lacks a line that is played");
}
