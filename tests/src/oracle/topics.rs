//! Orders on their way into a topic.

use std::{
    ops::Range,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    error::{KafkaError, RDKafkaErrorCode},
    metadata::MetadataTopic,
    producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer},
};
use tidegate::source::generator::Order;

use super::Workload;

impl Workload {
    /// Makes a topic, and waits until the broker knows it: that it was made says the controller.
    pub async fn create_topic(bootstrap: &str, topic: &str, partitions: i32) {
        let admin: AdminClient<DefaultClientContext> = config(bootstrap).create().expect("an admin client");
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let made = admin
            .create_topics([&new], &AdminOptions::new().request_timeout(Some(KNOWN_WITHIN)))
            .await
            .expect("an answer");
        for result in made {
            result.expect("a new topic");
        }
        Self::wait_until_known(admin, topic, partitions).await;
    }

    /// Gives a topic so many partitions in all, and waits until the broker knows them.
    pub async fn grow_topic(bootstrap: &str, topic: &str, partitions: i32) {
        let admin: AdminClient<DefaultClientContext> = config(bootstrap).create().expect("an admin client");
        let more = NewPartitions::new(topic, partitions as usize);
        let made = admin.create_partitions(&[more], &AdminOptions::new()).await.expect("an answer");
        for result in made {
            result.expect("new partitions");
        }
        Self::wait_until_known(admin, topic, partitions).await;
    }

    async fn wait_until_known(admin: AdminClient<DefaultClientContext>, topic: &str, partitions: i32) {
        let topic = topic.to_owned();
        let known = move || {
            let deadline = Instant::now() + KNOWN_WITHIN;
            loop {
                let metadata = admin.inner().fetch_metadata(Some(&topic), KNOWN_WITHIN).expect("metadata");
                let led = |topic: &MetadataTopic| topic.partitions().iter().filter(|one| one.leader() >= 0).count();
                if metadata.topics().iter().map(led).sum::<usize>() == partitions as usize {
                    return;
                }
                assert!(Instant::now() < deadline, "the broker does not know `{topic}`");
                std::thread::sleep(Duration::from_millis(20));
            }
        };
        tokio::task::spawn_blocking(known).await.expect("an answer");
    }

    /// Writes the orders, as JSON of about 90 bytes with a field that no job reads, order *i* to partition *i* modulo `partitions`.
    pub fn produce(&self, bootstrap: &str, topic: &str, partitions: u64) {
        let producer = producer(bootstrap);
        for index in 0..self.count {
            send(&producer, topic, (index % partitions) as i32, &self.orders.order(index));
        }
        producer.flush(DELIVERED_WITHIN).expect("all orders delivered");
    }

    /// As [`Workload::produce`], some of the orders, to some of the partitions in turn.
    pub fn produce_some(&self, bootstrap: &str, topic: &str, orders: Range<u64>, partitions: Range<u64>) {
        let producer = producer(bootstrap);
        for index in orders {
            let partition = partitions.start + index % (partitions.end - partitions.start);
            send(&producer, topic, partition as i32, &self.orders.order(index));
        }
        producer.flush(DELIVERED_WITHIN).expect("all orders delivered");
    }

    /// One more order for each partition, so much later than the workload's that every window before it closes.
    pub fn close(&self, bootstrap: &str, topic: &str, partitions: u64) {
        let producer = producer(bootstrap);
        self.send_closing(&producer, topic, partitions);
        producer.flush(DELIVERED_WITHIN).expect("all orders delivered");
    }

    fn send_closing(&self, producer: &OrderProducer, topic: &str, partitions: u64) {
        let last = self.orders.order(self.count);
        for partition in 0..partitions {
            let closing = Order { number: u64::MAX - partition, ts_ms: last.ts_ms + HOUR_MS, ..last };
            send(producer, topic, partition as i32, &closing);
        }
    }

    /// As [`Workload::produce`], `rate` orders a second and without an end, until `stop`; then one more order for each
    /// partition, so much later that every window before it closes. Gives the orders that were written, without those.
    #[must_use]
    pub fn flow(&self, bootstrap: &str, topic: &str, partitions: u64, rate: u64, stop: &AtomicBool) -> Self {
        let (producer, began) = (producer(bootstrap), Instant::now());
        let mut count = 0;
        while !stop.load(Ordering::Relaxed) || count == 0 {
            let due = (began.elapsed().as_secs_f64() * rate as f64) as u64;
            for index in count..due {
                send(&producer, topic, (index % partitions) as i32, &self.orders.order(index));
            }
            count = due.max(count);
            std::thread::sleep(Duration::from_millis(20));
        }
        let written = Self { count, ..self.clone() };
        written.send_closing(&producer, topic, partitions);
        producer.flush(DELIVERED_WITHIN).expect("all orders delivered");
        written
    }
}

type OrderProducer = ThreadedProducer<DefaultProducerContext>;

const KNOWN_WITHIN: Duration = Duration::from_mins(5);
const DELIVERED_WITHIN: Duration = Duration::from_mins(10);
const HOUR_MS: i64 = 3_600_000;

fn producer(bootstrap: &str) -> OrderProducer {
    config(bootstrap)
        .set("linger.ms", "20")
        .set("batch.num.messages", "10000")
        .set("queue.buffering.max.messages", "1000000")
        .create()
        .expect("a producer")
}

fn send(producer: &OrderProducer, topic: &str, partition: i32, order: &Order) {
    let value = format!(
        r#"{{"order_id":"{}","store_id":{},"amount":{}.{:02},"currency":"EUR","ts":{}}}"#,
        order.id(),
        order.store_id,
        order.cents / 100,
        order.cents % 100,
        order.ts_ms
    );
    let mut record = BaseRecord::<(), str>::to(topic).payload(&value).partition(partition);
    while let Err((error, again)) = producer.send(record) {
        let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
        assert_eq!(error, full, "an order could not be sent");
        producer.poll(Duration::from_millis(10));
        record = again;
    }
}

fn config(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    config
}
