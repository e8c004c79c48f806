//! Views over views, each of which uses a column of the one below several times.

use super::{
    run::{catalog_of, run},
    *,
};

const COLUMNS: [(&str, &str); 2] = [("ts", "timestamp(3)"), ("a", "bigint")];
const DOUBLED: &str = "a + a";
const CLAMPED: &str = "CASE WHEN a < 1 THEN 1 WHEN a > 100 THEN 100 ELSE a END";

/// `v1` to `v<count>`, one a line, each with `computed` as its column `a`.
fn views(count: usize, computed: &str) -> String {
    let view = |index: usize| {
        let below = if index == 1 { "t".to_owned() } else { format!("v{}", index - 1) };
        format!("CREATE VIEW v{index} AS SELECT ts, {computed} AS a FROM {below};\n")
    };
    (1..=count).map(view).collect()
}

fn summed(count: usize, computed: &str) -> String {
    let from = format!("TUMBLE(TABLE v{count}, DESCRIPTOR(ts), INTERVAL '10' SECOND)");
    format!(
        "{}INSERT INTO totals SELECT SUM(a) AS x\nFROM {from} GROUP BY window_start, window_end",
        views(count, computed)
    )
}

/// On a stack of the size that the program plans on: tests have smaller ones.
fn on_a_stack_of_the_program(test: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(64 << 20).spawn(test).unwrap().join().unwrap();
}

#[test]
fn what_grows_with_each_view_is_filtered_where_it_is_read() {
    on_a_stack_of_the_program(|| {
        for (computed, expected) in [(DOUBLED, 1 << 24), (CLAMPED, 1)] {
            let sql = format!(
                "{}INSERT INTO totals SELECT a AS x FROM v24 WHERE a > 0 AND a < 100000000",
                views(24, computed)
            );
            let records = [r#"{"ts":1,"a":1}"#, r#"{"ts":1,"a":50}"#];
            let rows = run(&COLUMNS, &records, &sql).unwrap();
            assert!(rows.contains(&format!("{{\"x\":{expected}}}")), "{rows:?}");
            let all = format!("{}INSERT INTO totals SELECT a AS x FROM v24", views(24, computed));
            assert_eq!(run(&COLUMNS, &records, &all).unwrap().len(), 2);
        }
    });
}

#[test]
fn a_filter_in_each_of_many_views_keeps_its_place() {
    on_a_stack_of_the_program(|| {
        for count in [24, 95] {
            let sql = format!("{}INSERT INTO totals SELECT a AS x FROM v{count} WHERE a <> 5", views(count, "a + 1"));
            let sql = sql.replace(";\n", " WHERE a > 0 AND 100 / a >= 0;\n");
            let records = [r#"{"ts":1,"a":1}"#, r#"{"ts":1,"a":0}"#, r#"{"ts":1,"a":-7}"#];
            assert_eq!(run(&COLUMNS, &records, &sql), Ok(vec![format!("{{\"x\":{}}}", 1 + count)]));
        }
    });
}

#[test]
fn state_that_would_have_a_name_without_end_is_refused_with_its_place() {
    let keyed = "INSERT INTO totals SELECT ts\nFROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY a ORDER BY ts) AS rn FROM v24) WHERE rn = 1";
    for computed in [DOUBLED, CLAMPED] {
        for sql in [summed(24, computed), format!("{}{keyed}", views(24, computed))] {
            let error = plan(&sql, &catalog_of(&COLUMNS)).unwrap_err().to_string();
            assert!(
                error.contains("line 25, column 20") && error.contains("is too long; accepted are about 1048576"),
                "{error}"
            );
        }
    }
}

#[test]
fn what_is_short_written_out_has_the_name_that_it_had() {
    let graph = plan(&summed(3, DOUBLED), &catalog_of(&COLUMNS)).unwrap();
    let known_as: Vec<String> = graph.nodes.iter().map(|node| format!("{:?}", node.known_as)).collect();
    let name = "((a + a) + (a + a)) + ((a + a) + (a + a))";
    assert!(known_as.iter().any(|known| known.contains(name)), "{known_as:#?}");
    let rows = run(&COLUMNS, &[r#"{"ts":1,"a":3}"#], &summed(12, DOUBLED)).unwrap();
    assert_eq!(rows, [format!("{{\"x\":{}}}", 3 << 12)]);
}
