use std::time::Duration;

use rdkafka::{
    Offset, TopicPartitionList,
    admin::{AdminOptions, NewTopic, TopicReplication},
};
use tidegate::{
    failure::Reason,
    source::{Fetched, Positions, Source, SourceError, SplitState, kafka::KafkaTopic},
};
use tidegate_crds::{KafkaSource, StartFrom, Until};

use super::{
    broker::{PATIENCE, admin, bootstrap, eventually, produce, topic},
    source::{ALONE, open, read, spec},
};

fn at(topic: &str, partition: u32, next: u64) -> SplitState {
    SplitState { split: format!("{topic}-{partition}"), next, ..SplitState::default() }
}

fn told(error: &SourceError, parts: &[&str]) {
    let SourceError::Refused { message, .. } = error else { panic!("not a refusal: {error:?}") };
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

async fn refused(spec: &KafkaSource, restored: Vec<SplitState>) -> SourceError {
    refused_from(spec, Positions::Restored(restored)).await
}

async fn refused_from(spec: &KafkaSource, from: Positions) -> SourceError {
    let source = KafkaTopic::new("job", "orders", spec).unwrap();
    match source.reader(ALONE, from).await {
        Err(error) => error,
        Ok(reader) => panic!("not refused: {:?}", reader.positions()),
    }
}

#[tokio::test]
async fn a_place_that_retention_passed_is_an_error_and_never_a_jump() {
    let topic = topic("retention", 2, &[]).await;
    produce(&topic, 1, (0..100).map(|n| n.to_string())).await;
    let mut until = TopicPartitionList::new();
    until.add_partition_offset(&topic, 1, Offset::Offset(60)).unwrap();

    // While the reader has not begun to fetch there.
    let restored = vec![at(&topic, 0, 0), at(&topic, 1, 10)];
    admin().await.delete_records(&until, &AdminOptions::new()).await.unwrap();
    let parts = ["partition 1", &topic, "offset 10", "60 to 100", "10 to 59", "startFrom"];
    told(&refused(&spec(&topic).await, restored).await, &parts);
}

/// Nothing of it is in a checkpoint, so nothing was put out: it begins like a job that starts now.
#[tokio::test]
async fn a_job_without_a_checkpoint_begins_at_what_retention_has_left() {
    let topic = topic("retention-before", 1, &[]).await;
    let spec = spec(&topic).await;
    produce(&topic, 0, (0..100).map(|n| n.to_string())).await;
    let source = KafkaTopic::new("job", "orders", &spec).unwrap();
    let found = source.find_splits(None).await.unwrap();
    let mut until = TopicPartitionList::new();
    until.add_partition_offset(&topic, 0, Offset::Offset(60)).unwrap();
    admin().await.delete_records(&until, &AdminOptions::new()).await.unwrap();
    let mut reader = source.reader(ALONE, Positions::Found(found)).await.unwrap();
    assert_eq!(read(&mut *reader, 40).await.first(), Some(&(format!("{topic}-0"), 60, Some("60".to_owned()))));
}

#[tokio::test]
async fn a_place_that_is_not_there_yet_is_an_error_of_the_fetch() {
    let topic = topic("ahead", 1, &[]).await;
    produce(&topic, 0, (0..5).map(|n| n.to_string())).await;
    let mut reader = open(&spec(&topic).await, 0, 1, Some(vec![at(&topic, 0, 4000)])).await;
    for _ in 0..2 {
        let error = tokio::time::timeout(PATIENCE, reader.fetch()).await.expect("fetch hangs").map(drop).unwrap_err();
        told(&error, &["partition 0", &topic, "offset 4000", "0 to 5", "made anew"]);
        assert_eq!(reader.positions()[0].next, 4000);
    }
}

#[tokio::test]
async fn a_checkpoint_of_more_partitions_or_of_another_topic_is_refused() {
    let topic = topic("shrank", 2, &[]).await;
    let error = refused(&spec(&topic).await, vec![at(&topic, 2, 7)]).await;
    told(&error, &["has 2 partitions", "names partition 2", "new job name"]);
    let error = refused(&spec(&topic).await, vec![at("sales", 0, 7)]).await;
    told(&error, &["`sales-0`", "no partition of topic"]);
}

#[tokio::test]
async fn a_topic_made_anew_under_its_name_is_refused() {
    let topic = topic("anew", 1, &[]).await;
    let spec = spec(&topic).await;
    produce(&topic, 0, (0..5).map(|n| n.to_string())).await;
    let mut reader = open(&spec, 0, 1, None).await;
    read(&mut *reader, 5).await;
    let before = reader.positions();
    drop(reader);
    // The same one, and as checkpoints were before they had ids.
    open(&spec, 0, 1, Some(before.clone())).await;
    let old = SplitState { provenance: None, ..before[0].clone() };
    let learned = open(&spec, 0, 1, Some(vec![old])).await.positions();
    let id = |state: &SplitState| state.provenance.as_ref().and_then(|provenance| provenance.topic_id.clone());
    assert!(id(&before[0]).is_some() && id(&learned[0]) == id(&before[0]), "{learned:?}");

    make_anew(&topic).await;
    produce(&topic, 0, (0..9).map(|n| n.to_string())).await;
    let error = refused(&spec, before).await;
    told(&error, &[&topic, "made anew", "jobId"]);
}

#[tokio::test]
async fn a_job_without_a_checkpoint_begins_in_the_topic_that_was_made_anew() {
    let topic = topic("anew-before", 1, &[]).await;
    let spec = KafkaSource { start_from: StartFrom::Latest, ..spec(&topic).await };
    produce(&topic, 0, (0..5).map(|n| n.to_string())).await;
    let source = KafkaTopic::new("job", "orders", &spec).unwrap();
    let found = source.find_splits(None).await.unwrap();
    make_anew(&topic).await;
    produce(&topic, 0, (0..9).map(|n| n.to_string())).await;
    // Who has found it and not looked again reads nothing of another topic.
    told(&refused_from(&spec, Positions::Found(found.clone())).await, &[&topic, "made anew"]);
    let again = source.find_splits(Some(&found)).await.unwrap();
    // All that is there came since the job first started.
    assert!(again[0].next == 0 && again[0].provenance != found[0].provenance, "{again:?}");
    source.reader(ALONE, Positions::Found(again)).await.unwrap();
}

/// Deletes a topic of one partition, and makes another of the same name.
async fn make_anew(topic: &str) {
    admin().await.delete_topics(&[topic], &AdminOptions::new()).await.unwrap();
    eventually("the topic is gone and can be made anew", || async {
        let topic = NewTopic::new(topic, 1, TopicReplication::Fixed(1));
        admin().await.create_topics(&[topic], &AdminOptions::new()).await.unwrap().remove(0).is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_topic_made_anew_under_its_name_is_refused_while_it_is_read() {
    let topic = topic("anew-while-read", 1, &[]).await;
    // As the fields are when nobody sets them.
    let fields = serde_json::json!({ "bootstrapServers": bootstrap().await, "topic": topic });
    let spec: KafkaSource = serde_json::from_value(fields).unwrap();
    produce(&topic, 0, (0..5).map(|n| n.to_string())).await;
    let mut reader = open(&spec, 0, 1, None).await;
    assert_eq!(read(&mut *reader, 5).await.len(), 5);
    make_anew(&topic).await;
    produce(&topic, 0, (0..9).map(|n| n.to_string())).await;
    let error = loop {
        // Within a look at the topic the reader goes on where it is, and that is no place of the one that it knows.
        match tokio::time::timeout(PATIENCE, reader.fetch()).await.expect("fetch hangs") {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    told(&error, &[&topic, "made anew", "jobId"]);
    // Nor can anybody go on from a checkpoint that was taken meanwhile.
    told(&refused(&spec, reader.positions()).await, &[&topic, "made anew", "jobId"]);
}

#[tokio::test]
async fn a_topic_that_is_missing_names_the_nearest() {
    let topic = topic("store-sales", 1, &[]).await;
    let wrong = topic.replace("store-sales", "store-slaes");
    let source = KafkaTopic::new("job", "orders", &spec(&wrong).await).unwrap();
    told(&source.preflight().await.unwrap_err(), &[&wrong, "did you mean `store-sales"]);
    KafkaTopic::new("job", "orders", &spec(&topic).await).unwrap().preflight().await.unwrap();
}

#[tokio::test]
async fn brokers_that_do_not_answer_are_told_with_the_reason() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let spec = KafkaSource { bootstrap_servers: closed.clone(), ..spec("any").await };
    let error = KafkaTopic::new("job", "orders", &spec).unwrap().preflight().await.unwrap_err();
    let SourceError::Unreachable { message, .. } = &error else { panic!("not unreachable: {error:?}") };
    for part in [closed.as_str(), "Connection refused", "bootstrapServers"] {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
    assert!(error.reason().may_pass());
}

#[tokio::test]
async fn a_start_time_that_is_none_is_refused() {
    let spec = KafkaSource {
        start_from: StartFrom::Timestamp,
        start_timestamp: Some("yesterday".into()),
        ..spec("any").await
    };
    told(&KafkaTopic::new("job", "orders", &spec).unwrap_err(), &["startTimestamp", "yesterday", "RFC 3339"]);
}

#[tokio::test]
async fn a_bounded_run_ignores_partitions_it_did_not_start_with() {
    let topic = topic("bounded-grown", 2, &[]).await;
    produce(&topic, 1, ["new".to_owned()]).await;
    let spec = KafkaSource { until: Some(Until::Latest), ..spec(&topic).await };
    let restored = SplitState { end: Some(0), ..at(&topic, 0, 0) };
    let mut reader = open(&spec, 0, 1, Some(vec![restored.clone()])).await;
    let found: Vec<_> = reader.positions().into_iter().map(|state| (state.split, state.next, state.end)).collect();
    assert_eq!(found, [(restored.split, 0, Some(0))]);
    let fetched = tokio::time::timeout(Duration::from_mins(1), reader.fetch()).await.unwrap().unwrap();
    assert!(matches!(fetched, Fetched::Exhausted));
}
