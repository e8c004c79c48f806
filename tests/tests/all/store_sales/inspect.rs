//! What a stopped job holds, asked by SQL: with what it has published it is every order, once.

use tidegate_crds::api::JobStatus;
use tidegate_tests::{
    job::End,
    oracle::{Rows, Workload, assert_same, reference},
    world::{PATIENCE, World},
};

const ORDERS: u64 = 300_000;

/// Open windows and what waits for them, as the sinks would have it.
const HELD: &str = "
    SELECT start, store_id, CAST(sum(amount) * 100 AS BIGINT) AS cents, CAST(sum(orders) AS BIGINT) AS orders FROM (
        SELECT CAST(window_start AS BIGINT) AS start, store_id, sum_amount AS amount, count AS orders
        FROM window_unique_orders_by_store_id_60000ms_partials
      UNION ALL
        SELECT CAST(ts AS BIGINT) / 60000 * 60000, store_id, amount, 1
        FROM deduplicate_orders_by_order_id_waiting
    ) GROUP BY start, store_id";
const KEYS: &str = "SELECT count(DISTINCT key_hash) AS keys FROM deduplicate_orders_by_order_id_keys";

async fn ask(world: &World, storage: &str, sql: &str) -> Vec<serde_json::Value> {
    let (is_answered, said) = world.inspect(&[storage, "--format", "json", "--sql", sql]).await;
    assert!(is_answered, "{sql}\n{said}");
    let rows = said.lines().filter(|line| line.starts_with('{'));
    rows.map(|line| serde_json::from_str(line).expect("a row")).collect()
}

fn row(held: &serde_json::Value) -> String {
    let field = |name: &str| held[name].as_i64().unwrap_or_else(|| panic!("no {name}: {held}"));
    let (start, store) = (field("start"), field("store_id"));
    format!("{start} store {store}: {} cents, {} orders", field("cents"), field("orders"))
}

/// The sections of the guide that show queries have one to a block.
fn queries_of_the_guide() -> Vec<String> {
    let guide = include_str!("../../../../docs/guide/checkpoints.md");
    let blocks = guide.split("```sql\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.map(str::to_owned).collect()
}

async fn holds_what_is_not_published(backend: &str) {
    let world = World::shared().await;
    let name = format!("asked-{}", backend.to_lowercase());
    let workload = Workload::new(121, ORDERS);
    let run = world.store_sales(&name, &workload).await;
    let folder = tempfile::tempdir().unwrap();
    let mut job = world
        .job(&run, &name)
        .set("spec.stateBackend", backend)
        .set("spec.sources[0].kafka.until", "null")
        .env("TIDEGATE_LOCAL_FOLDER", folder.path().display());
    let mut process = job.start();
    let has_read_all = |status: &JobStatus| status.sources.len() == 1 && status.sources[0].lag == 0;
    process.wait_for("all orders to be read", PATIENCE, has_read_all).await;
    let stop = r#"{"purpose": "Suspend", "savepoint": "asked"}"#;
    assert_eq!(process.ask_to_stop(stop, PATIENCE).await.0, 202);
    assert_eq!(process.wait(PATIENCE), End::Finished);

    let expected = reference(&workload);
    let published = world.table_rows(&run).await;
    let storage = format!("s3://{}/{name}", world.s3.bucket());
    for place in [storage.clone(), format!("{storage}/savepoints/asked")] {
        let held = ask(world, &place, HELD).await;
        assert!(!held.is_empty(), "{place} holds the newest windows");
        let all: Rows = published.iter().map(|(row, _)| row.to_owned()).chain(held.iter().map(row)).collect();
        assert_same(&place, &all, &expected);
        let orders: i64 = (0..ORDERS)
            .map(|index| workload.orders.order(index).number)
            .collect::<std::collections::HashSet<_>>()
            .len() as i64;
        assert_eq!(ask(world, &place, KEYS).await[0]["keys"].as_i64(), Some(orders), "{place}");
        for query in queries_of_the_guide() {
            assert!(!ask(world, &place, &query).await.is_empty(), "{place}: nothing for\n{query}");
        }
    }
    let (is_answered, said) = world.inspect(&[&storage]).await;
    assert!(is_answered && said.contains("deduplicate_orders_by_order_id_keys"), "{said}");
    let (is_answered, said) =
        world.inspect(&[&storage, "--sql", "SELECT * FROM deduplicate_orders_by_order_id_key"]).await;
    assert!(!is_answered && said.contains("did you mean `deduplicate_orders_by_order_id_keys`?"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_finds_every_order_that_is_not_published_of_state_in_memory() {
    holds_what_is_not_published("Memory").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_finds_every_order_that_is_not_published_of_state_on_disk() {
    holds_what_is_not_published("RocksDB").await;
}
