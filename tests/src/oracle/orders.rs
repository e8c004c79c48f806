//! Orders for a test, and their way into a topic.

use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer},
};
use serde_json::json;
use tidegate::source::generator::Orders;
use tidegate_crds::GeneratorSource;

/// Some orders, always the same for the same settings.
#[derive(Debug, Clone)]
pub struct Workload {
    pub orders: Orders,
    pub count: u64,
}

impl Workload {
    /// `count` orders of 100 stores over as many milliseconds, a tenth of them duplicates, a fifth out of order by up to
    /// five seconds.
    pub fn new(seed: u64, count: u64) -> Self {
        Self::with_stores(seed, count, 100)
    }

    /// As [`Workload::new`], with so many stores that nearly every order is a row of its own.
    pub fn wide(seed: u64, count: u64) -> Self {
        Self::with_stores(seed, count, 10_000_000)
    }

    /// As [`Workload::new`], with `stores` stores.
    pub fn with_stores(seed: u64, count: u64, stores: u64) -> Self {
        let settings = json!({ "seed": seed, "stores": stores, "duplicates": 0.1, "outOfOrder": 0.2 });
        let spec: GeneratorSource = serde_json::from_value(settings).expect("a generator");
        Self { orders: Orders::new(&spec).expect("valid settings"), count }
    }

    /// The orders of a document's generator, which must be bounded.
    pub fn of(spec: &GeneratorSource) -> Self {
        Self { orders: Orders::new(spec).expect("valid settings"), count: spec.count.expect("a count") }
    }

    /// Makes a topic.
    pub async fn create_topic(bootstrap: &str, topic: &str, partitions: i32) {
        let admin: AdminClient<DefaultClientContext> = config(bootstrap).create().expect("an admin client");
        let topic = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let made = admin.create_topics([&topic], &AdminOptions::new()).await.expect("an answer");
        for result in made {
            result.expect("a new topic");
        }
    }

    /// Writes the orders, as JSON of about 90 bytes with a field that no job reads, order *i* to partition *i* modulo `partitions`.
    pub fn produce(&self, bootstrap: &str, topic: &str, partitions: u64) {
        let producer: ThreadedProducer<DefaultProducerContext> = config(bootstrap)
            .set("linger.ms", "20")
            .set("batch.num.messages", "10000")
            .set("queue.buffering.max.messages", "1000000")
            .create()
            .expect("a producer");
        for index in 0..self.count {
            let order = self.orders.order(index);
            let value = format!(
                r#"{{"order_id":"{}","store_id":{},"amount":{}.{:02},"currency":"EUR","ts":{}}}"#,
                order.id(),
                order.store_id,
                order.cents / 100,
                order.cents % 100,
                order.ts_ms
            );
            let partition = (index % partitions) as i32;
            let mut record = BaseRecord::<(), str>::to(topic).payload(&value).partition(partition);
            while let Err((error, again)) = producer.send(record) {
                let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
                assert_eq!(error, full, "an order could not be sent");
                producer.poll(std::time::Duration::from_millis(10));
                record = again;
            }
        }
        producer.flush(std::time::Duration::from_mins(2)).expect("all orders delivered");
    }
}

fn config(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    config
}
