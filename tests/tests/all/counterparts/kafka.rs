use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use tidegate_tests::counterparts::{Kafka, kafka};
use tidegate_tests::skip::is_named;

use super::leftovers::Traces;

const PATIENCE: Duration = Duration::from_mins(5);

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_keeps_what_was_committed_over_a_crash_and_leaves_nothing() {
    let mut broker = Kafka::start().await.unwrap();
    let topic = format!("round-trip-{}", std::process::id());
    create_topic(broker.bootstrap(), &topic).await;

    let producer = transactional(broker.bootstrap(), &topic);
    commit(&producer, &topic, &["one", "two"]);
    producer.begin_transaction().unwrap();
    send(&producer, &topic, "never committed");
    producer.abort_transaction(PATIENCE).unwrap();
    assert_eq!(committed(broker.bootstrap(), &topic), ["one", "two"]);

    if is_named(kafka::VARIABLE) {
        return;
    }
    let traces = Traces::of(broker.pid());
    broker.kill_9().unwrap();
    assert_eq!(broker.pid(), None);
    broker.restart().await.unwrap();
    let producer = transactional(broker.bootstrap(), &topic);
    commit(&producer, &topic, &["three"]);
    assert_eq!(committed(broker.bootstrap(), &topic), ["one", "two", "three"]);
    drop(broker);
    assert!(traces.are_gone());
}

async fn create_topic(bootstrap: &str, topic: &str) {
    let admin: AdminClient<DefaultClientContext> = config(bootstrap).create().unwrap();
    let topic = NewTopic::new(topic, 1, TopicReplication::Fixed(1));
    let created = admin.create_topics(&[topic], &AdminOptions::new()).await;
    created.unwrap().remove(0).unwrap();
}

fn transactional(bootstrap: &str, id: &str) -> BaseProducer {
    let producer: BaseProducer = config(bootstrap).set("transactional.id", id).create().unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    producer
}

fn commit(producer: &BaseProducer, topic: &str, values: &[&str]) {
    producer.begin_transaction().unwrap();
    for value in values {
        send(producer, topic, value);
    }
    producer.commit_transaction(PATIENCE).unwrap();
}

fn send(producer: &BaseProducer, topic: &str, value: &str) {
    let record: BaseRecord<'_, str, str> = BaseRecord::to(topic).payload(value);
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(PATIENCE).unwrap();
}

fn committed(bootstrap: &str, topic: &str) -> Vec<String> {
    let consumer: BaseConsumer = config(bootstrap)
        .set("group.id", "reader")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    let mut all = TopicPartitionList::new();
    all.add_partition_offset(topic, 0, Offset::Beginning).unwrap();
    consumer.assign(&all).unwrap();
    let mut values = Vec::new();
    loop {
        match consumer.poll(PATIENCE).expect("no answer from the broker") {
            Ok(message) => {
                let value = message.payload().unwrap();
                values.push(String::from_utf8(value.to_vec()).unwrap());
            }
            Err(KafkaError::PartitionEOF(_)) => return values,
            Err(KafkaError::MessageConsumption(RDKafkaErrorCode::BrokerTransportFailure)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

fn config(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    config
}
