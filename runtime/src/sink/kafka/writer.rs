//! The sink with `AtLeastOnce` or `None` delivery.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use async_trait::async_trait;
use rdkafka::{
    ClientContext, Message,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
    message::DeliveryResult,
    producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer},
};
use tidegate_crds::{Delivery, KafkaSink};
use tokio::sync::Notify;

use super::{preflight, rows::Records, transaction::DEFAULTS};
use crate::{
    env,
    kafka::{Cluster, Trouble, Watch, blocking},
    sink::{DirectSink, DirectWriter, FlushFuture, SinkError},
};

/// How long a write may wait for room in the client's buffer.
const FULL_TIMEOUT: Duration = Duration::from_mins(2);
/// How long a writer that is dropped waits for rows still on their way.
const LAST_TIMEOUT: Duration = Duration::from_secs(5);

/// A topic that is written through.
#[derive(Debug)]
pub struct KafkaDirectSink {
    name: String,
    spec: KafkaSink,
    delivery: Delivery,
}

impl KafkaDirectSink {
    /// `name` is the sink's; `delivery` is `AtLeastOnce` or `None`.
    pub fn new(name: &str, spec: &KafkaSink, delivery: Delivery) -> Self {
        Self { name: name.to_owned(), spec: spec.clone(), delivery }
    }
}

#[async_trait]
impl DirectSink for KafkaDirectSink {
    async fn preflight(&self, schema: &SchemaRef) -> Result<(), SinkError> {
        let (spec, schema) = (self.spec.clone(), Arc::clone(schema));
        blocking("look at the topic", move || preflight::check(&cluster(&spec)?, &spec.topic, &spec.key, &schema))
            .await
            .map_err(|trouble| trouble.of_sink(&self.name))
    }

    fn open(&self) -> Result<Box<dyn DirectWriter>, SinkError> {
        Ok(Box::new(KafkaWriter::new(&self.name, &self.spec, self.delivery)?))
    }
}

/// Writes rows through.
pub struct KafkaWriter {
    name: String,
    topic: String,
    key: Vec<String>,
    waits: bool,
    producer: ThreadedProducer<Receipts>,
    /// Rows since the last flush.
    current: Arc<Lot>,
    /// Rows of earlier flushes that are not all delivered, oldest first.
    earlier: Vec<Arc<Lot>>,
}

/// Rows between two flushes.
#[derive(Default)]
pub(super) struct Lot {
    on_their_way: AtomicUsize,
}

#[derive(Default)]
struct Receipts {
    watch: Watch,
    shared: Arc<Shared>,
}

/// What a flush looks at; it may outlive the writer.
#[derive(Default)]
struct Shared {
    /// The first delivery that failed. It stays: rows are missing from then on.
    failed: Mutex<Option<(KafkaError, String)>>,
    changed: Notify,
}

impl Shared {
    fn check(&self, name: &str) -> Result<(), SinkError> {
        match &*self.failed.lock().unwrap_or_else(PoisonError::into_inner) {
            Some((error, place)) => {
                Err(Trouble::failed(format!("deliver a record to {place}"), error.clone()).of_sink(name))
            }
            None => Ok(()),
        }
    }
}

impl KafkaWriter {
    /// `name` is the sink's; `delivery` is `AtLeastOnce` or `None`. Looks up secrets and checks properties; asks no broker.
    pub fn new(name: &str, spec: &KafkaSink, delivery: Delivery) -> Result<Self, SinkError> {
        Self::plan(name, spec, delivery).map_err(|trouble| trouble.of_sink(name))
    }

    fn plan(name: &str, spec: &KafkaSink, delivery: Delivery) -> Result<Self, Trouble> {
        let waits = match delivery {
            Delivery::AtLeastOnce => true,
            Delivery::None => false,
            Delivery::ExactlyOnce | Delivery::Idempotent => {
                return Err(Trouble::Refused(format!(
                    "found delivery {delivery:?}; a Kafka topic that is written through takes AtLeastOnce or None"
                )));
            }
        };
        let fixed: &[(&str, &str)] =
            if waits { &[("enable.idempotence", "true"), ("acks", "all")] } else { &[("acks", "1")] };
        let producer = cluster(spec)?.connect_with(&DEFAULTS, fixed, Receipts::default())?;
        Ok(Self {
            name: name.to_owned(),
            topic: spec.topic.clone(),
            key: spec.key.clone(),
            waits,
            producer,
            current: Arc::default(),
            earlier: Vec::new(),
        })
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.producer.client().context().shared
    }

    fn send(&self, key: Option<&[u8]>, value: &[u8]) -> Result<(), Trouble> {
        let lot = Arc::clone(&self.current);
        lot.on_their_way.fetch_add(1, Ordering::AcqRel);
        let mut record = BaseRecord::<[u8], [u8], _>::with_opaque_to(&self.topic, lot).payload(value);
        if let Some(key) = key {
            record = record.key(key);
        }
        let deadline = env::monotonic() + FULL_TIMEOUT;
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again))
                    if env::monotonic() < deadline =>
                {
                    record = again;
                    self.producer.poll(Duration::from_millis(5));
                }
                Err((error, record)) => {
                    record.delivery_opaque.on_their_way.fetch_sub(1, Ordering::AcqRel);
                    return Err(Trouble::failed("send a record", error));
                }
            }
        }
    }
}

fn cluster(spec: &KafkaSink) -> Result<Cluster, Trouble> {
    Cluster::new("kafka", &spec.bootstrap_servers, spec.security.as_ref(), &spec.properties)
}

impl DirectWriter for KafkaWriter {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), SinkError> {
        self.shared().check(&self.name)?;
        let records = Records::new(batch, &self.key)
            .map_err(|error| Trouble::failed("write rows as JSON", error).of_sink(&self.name))?;
        records.iter().try_for_each(|(key, value)| self.send(key, value)).map_err(|trouble| trouble.of_sink(&self.name))
    }

    fn flush(&mut self) -> FlushFuture {
        let (name, shared) = (self.name.clone(), Arc::clone(self.shared()));
        if !self.waits {
            return Box::pin(async move { shared.check(&name) });
        }
        self.earlier.push(std::mem::take(&mut self.current));
        self.earlier.retain(|lot| lot.on_their_way.load(Ordering::Acquire) > 0);
        let lots = self.earlier.clone();
        Box::pin(async move {
            loop {
                // Before the look, so that a change after it is not missed.
                let changed = shared.changed.notified();
                shared.check(&name)?;
                if lots.iter().all(|lot| lot.on_their_way.load(Ordering::Acquire) == 0) {
                    return Ok(());
                }
                changed.await;
            }
        })
    }
}

impl Drop for KafkaWriter {
    fn drop(&mut self) {
        // A producer drops what it has not sent. Rows of a job that ends well are flushed before, except with `None`.
        if !self.waits
            && let Err(error) = self.producer.flush(LAST_TIMEOUT)
        {
            tracing::warn!(sink = self.name, %error, "failed to deliver the last rows");
        }
    }
}

impl ClientContext for Receipts {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.watch.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.watch.error(error, reason);
    }
}

impl ProducerContext for Receipts {
    type DeliveryOpaque = Arc<Lot>;

    fn delivery(&self, result: &DeliveryResult<'_>, lot: Arc<Lot>) {
        let mut wakes = false;
        if let Err((error, record)) = result {
            let mut failed = self.shared.failed.lock().unwrap_or_else(PoisonError::into_inner);
            failed.get_or_insert_with(|| (error.clone(), format!("{}-{}", record.topic(), record.partition())));
            wakes = true;
        }
        if lot.on_their_way.fetch_sub(1, Ordering::AcqRel) == 1 || wakes {
            self.shared.changed.notify_waiters();
        }
    }
}
