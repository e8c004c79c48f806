//! What other dialects write as one is not read as a value and its name.

use super::run::run;

#[test]
fn what_is_one_in_another_dialect_is_not_read_as_a_name() {
    for (item, words) in [
        ("id * 1_000", "found `_000` right behind the number `1`"),
        ("0b111", "found `b111` right behind the number `0`"),
        ("1.5f", "found `f` right behind the number `1.5`"),
        ("b'abc'", "found a text right behind `b`"),
        ("'x' 'y'", "found a text behind a text"),
        ("'x'\n'y'", "found a text behind a text"),
        ("id 'y'", "found the text 'y' in the place of a name"),
        ("id AS 'y'", "found the text 'y' in the place of a name"),
        ("id NOTNULL", "found NOTNULL; accepted is IS NOT NULL"),
        ("(id) isnull", "found ISNULL; accepted is IS NULL"),
    ] {
        let error =
            run(&[("ts", "timestamp(3)"), ("id", "int")], &[], &format!("INSERT INTO totals (x) SELECT {item} FROM t"))
                .unwrap_err();
        assert!(
            error.contains(words) && error.contains("accepted is") | error.contains("accepted are"),
            "{item}: {error}"
        );
        assert!(error.contains("line "), "{item}: {error}");
    }
    let found = run(
        &[("ts", "timestamp(3)"), ("isnull", "int")],
        &[r#"{"ts":1,"isnull":1}"#],
        "INSERT INTO totals SELECT isnull, 'a''b' AS notnull, DATE'2026-01-01' AS d FROM t WHERE isnull IS NOT NULL",
    );
    assert_eq!(found, Ok(vec![r#"{"isnull":1,"notnull":"a'b","d":"2026-01-01"}"#.to_owned()]));
}
