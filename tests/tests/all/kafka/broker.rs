//! The broker, and what a test does with it behind Tidegate's back.

use std::{
    future::Future,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    producer::{BaseProducer, BaseRecord, Producer},
    types::RDKafkaErrorCode,
};
use tidegate_tests::counterparts::Kafka;
use tokio::sync::OnceCell;

pub(crate) const PATIENCE: Duration = Duration::from_mins(5);

/// Address of the broker that all tests share.
pub(crate) async fn bootstrap() -> &'static str {
    static BROKER: OnceCell<Kafka> = OnceCell::const_new();
    BROKER.get_or_init(|| async { Kafka::start().await.unwrap() }).await.bootstrap()
}

/// A name that no other test has.
pub(crate) fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) async fn config() -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap().await);
    config
}

pub(crate) async fn admin() -> AdminClient<DefaultClientContext> {
    config().await.create().unwrap()
}

/// A new topic; its name.
pub(crate) async fn topic(name: &str, partitions: i32, settings: &[(&str, &str)]) -> String {
    let name = unique(name);
    make(&name, partitions, settings).await;
    name
}

pub(crate) async fn make(name: &str, partitions: i32, settings: &[(&str, &str)]) {
    let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    for (setting, value) in settings {
        topic = topic.set(setting, value);
    }
    let made = admin().await.create_topics(&[topic], &AdminOptions::new()).await;
    made.unwrap().remove(0).unwrap();
    // That it was made says the controller; the broker hears of it later.
    let consumer: BaseConsumer = config().await.create().unwrap();
    eventually("the broker knows the topic", || async {
        let metadata = consumer.fetch_metadata(Some(name), PATIENCE).unwrap();
        let led = metadata.topics()[0].partitions().iter().filter(|one| one.leader() >= 0).count();
        led == partitions as usize
    })
    .await;
}

/// Writes records outside of any transaction.
pub(crate) async fn produce(topic: &str, partition: i32, values: impl IntoIterator<Item = String>) {
    let producer: BaseProducer = config().await.create().unwrap();
    send(&producer, topic, partition, values);
}

/// A producer with this transactional id, after `init_transactions`.
pub(crate) async fn transactional(id: &str, timeout: Duration) -> BaseProducer {
    let mut config = config().await;
    config.set("transactional.id", id).set("transaction.timeout.ms", timeout.as_millis().to_string());
    let producer: BaseProducer = config.create().unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    producer
}

pub(crate) fn send(producer: &BaseProducer, topic: &str, partition: i32, values: impl IntoIterator<Item = String>) {
    for value in values {
        send_keyed(producer, topic, partition, None, Some(&value));
    }
    producer.flush(PATIENCE).unwrap();
}

pub(crate) fn send_keyed(producer: &BaseProducer, topic: &str, partition: i32, key: Option<&str>, value: Option<&str>) {
    loop {
        let mut record: BaseRecord<'_, str, str> = BaseRecord::to(topic).partition(partition);
        if let Some(value) = value {
            record = record.payload(value);
        }
        if let Some(key) = key {
            record = record.key(key);
        }
        match producer.send(record) {
            Ok(()) => return,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                producer.poll(Duration::from_millis(10));
            }
            Err((error, _)) => panic!("{error}"),
        }
    }
}

/// Key and value of all committed records of a topic.
pub(crate) async fn committed(topic: &str, partitions: i32) -> Vec<(Option<String>, String)> {
    let consumer: BaseConsumer = config()
        .await
        .set("group.id", "reader")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    let mut all = TopicPartitionList::new();
    for partition in 0..partitions {
        all.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&all).unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (mut records, mut ends) = (Vec::new(), 0);
    while ends < partitions {
        match consumer.poll(PATIENCE).expect("no answer from the broker") {
            Ok(message) => records.push((message.key().map(text), text(message.payload().unwrap_or_default()))),
            Err(KafkaError::PartitionEOF(_)) => ends += 1,
            Err(KafkaError::MessageConsumption(RDKafkaErrorCode::BrokerTransportFailure)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    records
}

/// Waits until every transaction in the partitions is decided: until a `read_committed` reader's ends are these.
pub(crate) async fn settled(topic: &str, ends: &[i64]) {
    let consumer: BaseConsumer = config().await.set("isolation.level", "read_committed").create().unwrap();
    eventually("markers of all transactions", || async {
        let end = |partition| consumer.fetch_watermarks(topic, partition, PATIENCE).unwrap().1;
        (0..).zip(ends).all(|(partition, wanted)| end(partition) == *wanted)
    })
    .await;
}

/// Waits for something to become true.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
