//! One chunk, one producer, one transaction.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rdkafka::{
    ClientContext, Message,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
    message::DeliveryResult,
    producer::{BaseProducer, BaseRecord, Producer, ProducerContext},
};

use super::{marker::Mark, rows::Records};
use crate::{
    env, fault,
    kafka::{Cluster, Trouble, Watch, failed_to},
    sink::Chunk,
};

/// What the user may set otherwise: keys go to the partition that Java's clients would choose, so that topics written by
/// both can be joined.
pub(super) const DEFAULTS: [(&str, &str); 3] =
    [("partitioner", "murmur2_random"), ("linger.ms", "5"), ("queue.buffering.max.kbytes", "65536")];

/// How long a coordinator may take to end an earlier transaction.
const INIT_TIMEOUT: Duration = Duration::from_secs(30);

/// Where a chunk goes.
pub(super) struct Target<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) topic: &'a str,
    pub(super) key: &'a [String],
    pub(super) progress: &'a str,
    /// Of one transaction.
    pub(super) timeout: Duration,
}

/// A producer whose id no one else uses from now on.
pub(super) struct Transaction<'a> {
    target: &'a Target<'a>,
    producer: BaseProducer<Receipts>,
    deadline: Duration,
}

impl<'a> Transaction<'a> {
    /// Fences whoever had the id, and ends what they left open. Blocks.
    pub(super) fn init(target: &'a Target<'a>, id: &str) -> Result<Self, Trouble> {
        let timeout = target.timeout.as_millis().to_string();
        let fixed = [
            ("transactional.id", id),
            ("transaction.timeout.ms", timeout.as_str()),
            ("enable.idempotence", "true"),
            // A progress topic that was deleted is not made anew by a write, without its markers and with the brokers'
            // settings.
            ("allow.auto.create.topics", "false"),
            // A transaction needs to hear of failures only.
            ("delivery.report.only.error", "true"),
        ];
        let producer: BaseProducer<Receipts> = target.cluster.connect_with(&DEFAULTS, &fixed, Receipts::default())?;
        producer.init_transactions(INIT_TIMEOUT).map_err(|error| refused_init(target, id, error))?;
        Ok(Self { target, producer, deadline: Duration::ZERO })
    }

    /// Rows and marker, committed. An error says nothing of whether they are there. Blocks.
    pub(super) fn write(mut self, chunk: &Chunk, partition: i32, marker_key: &str) -> Result<(), Trouble> {
        self.deadline = env::monotonic() + self.target.timeout;
        self.producer.begin_transaction().map_err(failed_to("begin a transaction"))?;
        let sent = self.rows(chunk).and_then(|()| self.marker(chunk, partition, marker_key));
        if let Err(error) = sent {
            self.abort();
            return Err(error);
        }
        fault::reach("kafka-transaction-open");
        if let Err(error) = self.producer.commit_transaction(self.left()) {
            if matches!(&error, KafkaError::Transaction(error) if error.txn_requires_abort()) {
                self.abort();
            }
            return Err(Trouble::failed("commit a transaction", error));
        }
        fault::reach("kafka-transaction-committed");
        Ok(())
    }

    fn rows(&self, chunk: &Chunk) -> Result<(), Trouble> {
        for batch in &chunk.rows {
            let records =
                Records::new(batch, self.target.key).map_err(|error| Trouble::failed("write rows as JSON", error))?;
            for (key, value) in records.iter() {
                let mut record = BaseRecord::<[u8], [u8]>::to(self.target.topic).payload(value);
                if let Some(key) = key {
                    record = record.key(key);
                }
                self.send(record)?;
            }
        }
        self.flush()
    }

    /// Last, so that the progress topic's stable end is held back as shortly as can be.
    fn marker(&self, chunk: &Chunk, partition: i32, key: &str) -> Result<(), Trouble> {
        let value = serde_json::to_vec(&Mark::of(&chunk.id, &chunk.checksum))
            .map_err(|error| Trouble::failed("write a marker", error))?;
        let record = BaseRecord::<[u8], [u8]>::to(self.target.progress);
        self.send(record.partition(partition).key(key.as_bytes()).payload(&value))?;
        self.flush()
    }

    /// Waits while librdkafka's buffer is full.
    fn send(&self, mut record: BaseRecord<'_, [u8], [u8]>) -> Result<(), Trouble> {
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) if !self.left().is_zero() => {
                    record = again;
                    self.producer.poll(Duration::from_millis(5));
                    self.producer.context().check()?;
                }
                Err((error, _)) => return Err(Trouble::failed("send a record", error)),
            }
        }
    }

    fn flush(&self) -> Result<(), Trouble> {
        let flushed = self.producer.flush(self.left());
        self.producer.context().check()?;
        flushed.map_err(failed_to("deliver the records of a transaction"))
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_sub(env::monotonic())
    }

    /// As a courtesy to readers; the next `init` would end it too.
    fn abort(&self) {
        if let Err(error) = self.producer.abort_transaction(Duration::from_secs(10)) {
            tracing::debug!(%error, "failed to abort a transaction; the next producer or the broker ends it");
        }
    }
}

fn refused_init(target: &Target<'_>, id: &str, error: KafkaError) -> Trouble {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::InvalidTransactionTimeout) => Trouble::Refused(format!(
            "kafka.transactionTimeout: found {} ms, and the brokers at `{}` accept less; lower it, or raise the brokers' \
             `transaction.max.timeout.ms`",
            target.timeout.as_millis(),
            target.cluster.brokers
        )),
        Some(RDKafkaErrorCode::TransactionalIdAuthorizationFailed) => Trouble::Refused(format!(
            "the brokers at `{}` do not let this user use the transactional id `{id}`; grant it Write and Describe on \
             transactional ids that begin with `tidegate-`",
            target.cluster.brokers
        )),
        _ => Trouble::failed(format!("get the transactional id `{id}`"), error),
    }
}

/// Keeps the first delivery that failed, and why.
#[derive(Default)]
pub(super) struct Receipts {
    watch: Watch,
    failed: Mutex<Option<(KafkaError, String)>>,
    /// librdkafka gives up all records of a transaction in trouble ("purged"), and tells the trouble in its log only.
    trouble: Mutex<Option<String>>,
}

impl Receipts {
    fn check(&self) -> Result<(), Trouble> {
        let Some((error, place)) = self.failed.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return Ok(());
        };
        let action = format!("deliver a record to {place}");
        match &*self.trouble.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(trouble) => Err(Trouble::failed(action, format!("{error}: {trouble}"))),
            None => Err(Trouble::failed(action, error)),
        }
    }
}

impl ClientContext for Receipts {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if facility == "TXNERR" {
            let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
            trouble.get_or_insert_with(|| message.to_owned());
        }
        self.watch.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.watch.error(error, reason);
    }
}

impl ProducerContext for Receipts {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, record)) = result {
            let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            failed.get_or_insert_with(|| (error.clone(), format!("{}-{}", record.topic(), record.partition())));
        }
    }
}
