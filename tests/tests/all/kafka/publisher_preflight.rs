use rdkafka::{
    admin::{AdminOptions, ResourceSpecifier},
    consumer::{BaseConsumer, Consumer},
};
use tidegate::sink::{Preflight, Publisher, SinkError, kafka::KafkaPublisher};
use tidegate_crds::{HumanDuration, KafkaSink};

use super::{
    broker::{self, PATIENCE, admin, topic},
    publisher::{schema, spec},
};

async fn refused(spec: &KafkaSink, parts: &[&str]) {
    let error =
        KafkaPublisher::new("out", spec).unwrap().preflight(&schema(), 3, Preflight::default()).await.unwrap_err();
    let SinkError::Refused { message, .. } = &error else { panic!("not a refusal: {error:?}") };
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

async fn partitions(topic: &str) -> usize {
    let consumer: BaseConsumer = broker::config().await.create().unwrap();
    consumer.fetch_metadata(Some(topic), PATIENCE).unwrap().topics()[0].partitions().len()
}

#[tokio::test]
async fn the_progress_topic_is_made_compacted_with_a_partition_a_slot_and_grows() {
    let topic = topic("preflight", 1, &[]).await;
    let progress = format!("{topic}-tidegate-progress");
    let publisher = KafkaPublisher::new("out", &spec(&topic).await).unwrap();
    publisher.preflight(&schema(), 3, Preflight { dry_run: true, awaited: false }).await.unwrap();
    assert_eq!(partitions(&progress).await, 0, "nothing is made for who only looks");
    for slots in [3, 3, 5, 2] {
        let publisher = KafkaPublisher::new("out", &spec(&topic).await).unwrap();
        publisher.preflight(&schema(), slots, Preflight::default()).await.unwrap();
    }
    assert_eq!(partitions(&progress).await, 5);
    let asked = [ResourceSpecifier::Topic(&progress)];
    let answer = admin().await.describe_configs(&asked, &AdminOptions::new()).await.unwrap().remove(0).unwrap();
    assert_eq!(answer.get("cleanup.policy").unwrap().value.as_deref(), Some("compact"));
    assert_eq!(answer.get("unclean.leader.election.enable").unwrap().value.as_deref(), Some("false"));
}

#[tokio::test]
async fn what_would_break_the_promise_is_refused_with_the_way_out() {
    let topic = topic("store-totals", 1, &[]).await;
    let good = spec(&topic).await;

    let wrong = topic.replace("store-totals", "store-totalz");
    refused(&KafkaSink { topic: wrong, ..good.clone() }, &["there is no topic", "did you mean `store-totals"]).await;

    refused(&KafkaSink { key: vec!["stor".into()], ..good.clone() }, &["kafka.key", "did you mean `store`?"]).await;

    let deleting = broker::topic("deleting", 3, &[("cleanup.policy", "compact,delete")]).await;
    let parts =
        ["cleanup.policy `compact,delete`", "kafka-configs.sh", &deleting, "--add-config cleanup.policy=compact"];
    refused(&KafkaSink { progress_topic: Some(deleting.clone()), ..good.clone() }, &parts).await;

    let unclean = [("cleanup.policy", "compact"), ("unclean.leader.election.enable", "true")];
    let unclean = broker::topic("unclean", 3, &unclean).await;
    let parts =
        ["a copy that lags may become the leader", &unclean, "--add-config unclean.leader.election.enable=false"];
    refused(&KafkaSink { progress_topic: Some(unclean.clone()), ..good.clone() }, &parts).await;

    let long = HumanDuration::from_secs(7200);
    let parts = ["kafka.transactionTimeout: found 7200000 ms", "transaction.max.timeout.ms"];
    refused(&KafkaSink { transaction_timeout: long, ..good.clone() }, &parts).await;

    let itself = KafkaSink { progress_topic: Some(topic), ..good };
    assert!(KafkaPublisher::new("out", &itself).unwrap_err().to_string().contains("a topic of its own"));
}
