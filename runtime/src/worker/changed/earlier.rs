//! Checkpoints of programs that named columns by their places and found operators by their ids.

use super::*;

const COLUMNS: &[(&str, &str)] =
    &[("ts", "timestamp(3)"), ("a", "bigint"), ("b", "bigint"), ("c", "int"), ("k", "string")];

fn sql(calls: &str) -> String {
    format!(
        "INSERT INTO totals SELECT {calls} FROM TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE)\n\
         GROUP BY window_start, window_end"
    )
}

fn record(a: i64) -> String {
    format!(r#"{{"ts":1000,"a":{a},"b":10,"c":{a},"k":"x"}}"#)
}

/// What such a program would have left, where it called its aggregates so.
async fn earlier(sql: &str, called: &[&str], in_flight: bool) -> Saved {
    let mut job = Version { columns: COLUMNS, sql, more: "" }.start();
    job.read(&[&record(2), &record(3)], None);
    if in_flight {
        job.read_in_flight(&[&record(4)]);
    }
    let mut saved = job.save().await;
    for operator in &mut saved.manifest.operators {
        operator.written_as = None;
        for subtask in &mut operator.subtasks {
            if let Some(value) = subtask.value.as_object_mut() {
                value.remove("keys");
                value.remove("columns");
            }
            let aggregates = subtask.value.get_mut("aggregates").and_then(serde_json::Value::as_array_mut);
            for (aggregate, called) in aggregates.into_iter().flatten().zip(called) {
                *aggregate = serde_json::json!({ "computes": called, "states": aggregate["states"] });
            }
        }
    }
    if in_flight {
        let store = saved.store.clone();
        let exchange = saved.operator(StateKind::InFlight);
        for part in &mut exchange.subtasks[0].parts {
            let bytes = store.get(&part.file.path).await.unwrap().unwrap();
            let (_, batches) = file::decode(bytes).unwrap();
            let fields = batches[0]
                .schema()
                .fields()
                .iter()
                .enumerate()
                .map(|(index, field)| {
                    let name = if field.name().starts_with("$(") { format!("${index}") } else { field.name().clone() };
                    field.as_ref().clone().with_name(name)
                })
                .collect::<Vec<_>>();
            let schema = Arc::new(arrow::datatypes::Schema::new(fields));
            let rows = RecordBatch::try_new(schema, batches[0].columns().to_vec()).unwrap();
            *part = write(&store, in_flight::ROWS, part.tag, &rows).await;
        }
    }
    saved.manifest.format = Manifest::format_of(&saved.manifest.operators, &[]);
    saved
}

async fn go_on(saved: &Saved, columns: &[(&str, &str)], sql: &str) -> Result<String, String> {
    let mut job = Version { columns, sql, more: "" }.go_on(saved).await?;
    job.read(&[&record(5)], None);
    Ok(values(&job.finish("totals")).join("; "))
}

#[tokio::test]
async fn the_same_job_goes_on_and_another_list_is_refused() {
    // Arguments stand behind the time: a, b, and then what is computed.
    let old = sql("SUM(a * b) AS x, SUM(a) AS y, AVG(a) AS z, SUM(c) AS w");
    let called = ["sum($2)", "sum(a)", "avg($3)", "sum($4)"];
    let saved = earlier(&old, &called, false).await;
    assert_eq!(go_on(&saved, COLUMNS, &old).await.as_deref(), Ok("10|100|10|3.3333333333333335"));
    let saved_in_flight = earlier(&old, &called, true).await;
    assert_eq!(go_on(&saved_in_flight, COLUMNS, &old).await.as_deref(), Ok("14|140|14|3.5"));

    let changed = sql("SUM(a * b) AS x, SUM(a) AS y, AVG(a) AS z, SUM(c) AS w, MAX(b) AS v");
    let less = sql("SUM(a) AS y, AVG(a) AS z, SUM(c) AS w");
    for sql in [&changed, &less] {
        let error = go_on(&saved, COLUMNS, sql).await.unwrap_err();
        assert!(error.contains("`sum($2)`") && error.contains("an earlier version of Tidegate"), "{error}");
    }
    let wider: Vec<_> =
        COLUMNS.iter().map(|(name, kind)| (*name, if *name == "c" { "bigint" } else { kind })).collect();
    let error = go_on(&saved, &wider, &old).await.unwrap_err();
    assert!(error.contains("an earlier version of Tidegate"), "{error}");
}

#[tokio::test]
async fn a_list_of_plain_columns_may_change() {
    let saved = earlier(&sql("SUM(a) AS x, COUNT(*) AS n"), &["sum(a)", "count(1)"], false).await;
    let added = sql("COUNT(*) AS n, SUM(a) AS x, SUM(a * b) AS y");
    assert_eq!(go_on(&saved, COLUMNS, &added).await.as_deref(), Ok("3|10|50"));
    assert_eq!(go_on(&saved, COLUMNS, &sql("COUNT(*) AS n")).await.as_deref(), Ok("3"));
    let narrower: Vec<_> =
        COLUMNS.iter().map(|(name, kind)| (*name, if *name == "a" { "int" } else { kind })).collect();
    let error = go_on(&saved, &narrower, &sql("SUM(a) AS x, COUNT(*) AS n")).await.unwrap_err();
    assert!(error.contains("an earlier version of Tidegate"), "it was a column and is computed: {error}");
}

#[tokio::test]
async fn rows_in_flight_whose_columns_are_places_are_refused_when_any_has_changed() {
    let (old, new) = (sql("SUM(a * b) AS x"), sql("SUM(a * b) AS x, SUM(a) AS y"));
    let saved = earlier(&old, &["sum($1)"], true).await;
    assert_eq!(go_on(&saved, COLUMNS, &old).await.as_deref(), Ok("140"));
    assert!(go_on(&saved, COLUMNS, &new).await.is_err());
}

#[tokio::test]
async fn operators_of_one_name_are_found_by_the_ids_that_contents_made() {
    let window = |calls: &str, sink: &str| sql(calls).replace("totals", sink);
    let both = format!("{};\n{}", window("SUM(a) AS x", "totals"), window("MAX(a) AS x", "alerts"));
    let mut saved = earlier(&both, &[], false).await;
    // Each as its own.
    let plan = Version { columns: COLUMNS, sql: &both, more: "" }.plan().unwrap();
    for operator in &mut saved.manifest.operators {
        let node = plan.graph.nodes.iter().find(|node| node.id == operator.id).unwrap();
        operator.id = node.known_as.former.clone();
        for aggregate in
            operator.subtasks[0].value.get_mut("aggregates").and_then(|list| list.as_array_mut()).into_iter().flatten()
        {
            aggregate.as_object_mut().unwrap().remove("arguments");
        }
    }
    let mut job = Version { columns: COLUMNS, sql: &both, more: "" }.go_on(&saved).await.unwrap();
    job.read(&[&record(1)], None);
    job.read(&[], Some(1_000_000));
    assert_eq!(
        (values(&job.rows("totals")), values(&job.rows("alerts"))),
        (vec!["6".to_owned()], vec!["3".to_owned()])
    );
}
