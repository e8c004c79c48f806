use std::time::Duration;

use tidegate_tests::counterparts::ClickHouse;
use tidegate_tests::counterparts::toxiproxy::{Direction, Toxic, Toxiproxy};

use super::leftovers::Traces;

#[tokio::test]
async fn a_way_can_be_closed_and_an_answer_lost() {
    let server = ClickHouse::start().await.unwrap();
    let table = format!("ways_{}", std::process::id());
    let create = format!("CREATE TABLE {table} (id Int64) ENGINE = MergeTree ORDER BY id");
    server.query(&create).await.unwrap();
    let count = format!("SELECT count() FROM {table}");
    let insert = format!("INSERT INTO {table} VALUES (1)");

    let network = Toxiproxy::start().await.unwrap();
    let upstream = server.url().trim_start_matches("http://");
    let way = network.proxy(upstream).await.unwrap();
    let through = format!("http://{}", way.address());
    // One connection per request: what a toxic did to one must not meet the next.
    let client = reqwest::Client::builder().pool_max_idle_per_host(0).timeout(Duration::from_secs(20)).build().unwrap();
    let post = |sql: &str| client.post(&through).body(sql.to_owned()).send();
    assert!(post(&insert).await.unwrap().status().is_success());

    way.disable().await.unwrap();
    assert!(post(&insert).await.unwrap_err().is_connect());
    way.enable().await.unwrap();
    assert_eq!(server.query(&count).await.unwrap(), "1\n");

    // The request arrives, the answer doesn't: the client can't know, the server did it.
    for toxic in [Toxic::LimitData { bytes: 0 }, Toxic::Timeout { ms: 3000 }] {
        way.add("lost", toxic, Direction::ToClient).await.unwrap();
        post(&insert).await.unwrap_err();
        way.remove("lost").await.unwrap();
    }
    assert_eq!(server.query(&count).await.unwrap(), "3\n");

    let slow = Toxic::Latency { ms: 300, jitter_ms: 0 };
    way.add("slow", slow, Direction::ToServer).await.unwrap();
    let started = std::time::Instant::now();
    assert!(post(&count).await.unwrap().status().is_success());
    assert!(started.elapsed() >= Duration::from_millis(300));
    way.remove("slow").await.unwrap();

    way.add("reset", Toxic::ResetPeer { ms: 0 }, Direction::ToServer).await.unwrap();
    post(&count).await.unwrap_err();

    let traces = Traces::of(network.pid());
    drop((way, network));
    assert!(traces.are_gone());
}
