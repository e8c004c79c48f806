//! Partitions that librdkafka reads no more, although the brokers have more of them.
//!
//! It forgets one when a broker comes back that does not know the leader of some partitions yet, and says so in its answer
//! to a fetch (KIP-951): librdkafka 2.12.1 counts such a partition among those whose new leader it heard, fills in nothing
//! for it (`rd_kafka_handle_Fetch_metadata_update`, confluentinc/librdkafka#5280), and takes number and leader epoch of a
//! partition out of memory that it has not written. What brokers say later of that partition is older than this epoch, and
//! ignored. None of this is an error, and nothing short of a new client mends it. So what stands still while the job asks
//! for more is compared with what the brokers have; where they have more, of which a new client hears as well, another
//! new one takes over, from the records that were handed over last, as after a restart.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::task::JoinHandle;

use super::{KafkaTopic, batch::BatchConsumer, lag::ends, split::Split};
use crate::kafka::Trouble;

/// For how long a job has asked, and got nothing of a partition, before the brokers are asked for its end. It doubles with
/// each new client that has not helped: an answer may take long, over a slow network, and a new client begins it anew.
const STANDS: Duration = Duration::from_millis(if cfg!(test) { 100 } else { 30_000 });
/// What counts, at most, between two times that the job asked: it may have had enough to do, or have been paused.
const COUNTS_AT_MOST: Duration = Duration::from_millis(200);

/// Places up to which records were taken, by partition.
pub(super) type Taken = BTreeMap<i32, u64>;

/// A new client, and the partitions of which there is more than was taken.
pub(super) type TakesOver = (Arc<BatchConsumer>, Taken);

/// Watches for partitions that stand still.
pub(super) struct Stall {
    /// Of `asked_for`: [`STANDS`], or more.
    stands: Duration,
    asked_at: Duration,
    asked_for: Duration,
    /// When `asked_for` began.
    taken: Taken,
    look: Option<JoinHandle<Result<Option<TakesOver>, Trouble>>>,
}

impl Default for Stall {
    fn default() -> Self {
        Self { stands: STANDS, asked_at: Duration::ZERO, asked_for: Duration::ZERO, taken: Taken::new(), look: None }
    }
}

impl Stall {
    /// The job asks for records at `now`. Begins to look at what has stood still for long.
    pub(super) fn on_asked(
        &mut self,
        now: Duration,
        topic: &KafkaTopic,
        consumer: &Arc<BatchConsumer>,
        splits: &[Split],
    ) {
        if self.look.is_some() {
            return;
        }
        let stand = self.stand(now, splits);
        if !stand.is_empty() {
            let (topic, consumer) = (topic.clone(), Arc::clone(consumer));
            self.look = Some(tokio::task::spawn_blocking(move || look(&topic, &consumer, stand)));
        }
    }

    /// What stood still for so long, told once.
    fn stand(&mut self, now: Duration, splits: &[Split]) -> Taken {
        self.asked_for += now.saturating_sub(self.asked_at).min(COUNTS_AT_MOST);
        self.asked_at = now;
        if self.asked_for < self.stands {
            return Taken::new();
        }
        self.asked_for = Duration::ZERO;
        let ahead = splits.iter().filter(|split| !split.is_at_end());
        let taken: Taken = ahead.map(|split| (split.partition, split.taken())).collect();
        let before = std::mem::replace(&mut self.taken, taken);
        let stand = |(partition, taken): &(i32, u64)| self.taken.get(partition) == Some(taken);
        before.into_iter().filter(stand).collect()
    }

    /// What a look that has ended found.
    pub(super) async fn found(&mut self) -> Result<Option<TakesOver>, Trouble> {
        let Some(look) = self.look.take_if(|look| look.is_finished()) else { return Ok(None) };
        let found =
            look.await.unwrap_or_else(|error| Err(Trouble::failed("look at partitions that stand still", error)));
        match &found {
            Ok(Some(_)) => self.stands = self.stands.saturating_mul(2),
            Ok(None) => self.stands = STANDS,
            Err(_) => {}
        }
        found
    }
}

/// Whether the brokers have more of these partitions. Blocks.
///
/// The reader's own client is asked first, for most partitions that stand still are at their end; but one that is wrong
/// about a partition may get no answer either.
fn look(topic: &KafkaTopic, consumer: &BatchConsumer, stand: Taken) -> Result<Option<TakesOver>, Trouble> {
    let stand = more(topic, consumer, &stand).unwrap_or(stand);
    if stand.is_empty() {
        return Ok(None);
    }
    let stand = more(topic, &*topic.consumer()?, &stand)?;
    if stand.is_empty() {
        return Ok(None);
    }
    // Not the one that has asked: see `KafkaTopic::consumer`.
    Ok(Some((topic.consumer()?, stand)))
}

/// Those of which a client's brokers have more.
fn more(topic: &KafkaTopic, consumer: &BatchConsumer, stand: &Taken) -> Result<Taken, Trouble> {
    let partitions: Vec<i32> = stand.keys().copied().collect();
    let ends = ends(consumer, &topic.topic, &partitions)?;
    let has_more = |(partition, taken): &(&i32, &u64)| ends.get(partition).is_some_and(|end| end > taken);
    Ok(stand.iter().filter(has_more).map(|(partition, taken)| (*partition, *taken)).collect())
}

#[cfg(test)]
mod tests {
    use rdkafka::{
        ClientConfig, TopicPartitionList,
        mocking::MockCluster,
        producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer},
    };
    use tidegate_crds::KafkaSource;

    use super::*;
    use crate::{
        env,
        ids::SubtaskIndex,
        source::{
            Fetched, ReaderContext, SourceReader,
            kafka::reader::{KafkaReader, KnownTopic},
        },
    };

    const PATIENCE: Duration = Duration::from_mins(1);

    type Cluster = MockCluster<'static, DefaultProducerContext>;

    fn cluster() -> Cluster {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("orders", 2, 1).unwrap();
        cluster
    }

    fn topic(cluster: &Cluster) -> KafkaTopic {
        let fields = serde_json::json!({ "bootstrapServers": cluster.bootstrap_servers(), "topic": "orders" });
        let fields: KafkaSource = serde_json::from_value(fields).unwrap();
        KafkaTopic::new("job", "orders", &fields).unwrap()
    }

    /// To each of the two partitions.
    fn produce(cluster: &Cluster, count: u64) {
        let producer: BaseProducer =
            ClientConfig::new().set("bootstrap.servers", cluster.bootstrap_servers()).create().unwrap();
        for partition in 0..2 {
            for _ in 0..count {
                producer.send(BaseRecord::<(), str>::to("orders").partition(partition).payload("{}")).unwrap();
            }
        }
        producer.flush(PATIENCE).unwrap();
    }

    async fn read(reader: &mut KafkaReader, count: usize) {
        let mut read = 0;
        while read < count {
            if let Fetched::Records(records) = env::within(PATIENCE, reader.fetch()).await.expect("records").unwrap() {
                read += records.len();
            }
        }
        assert_eq!(read, count, "some came twice");
    }

    fn places(reader: &KafkaReader) -> Vec<u64> {
        reader.positions().into_iter().map(|state| state.next).collect()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_new_client_goes_on_with_a_partition_that_the_old_one_reads_no_more() {
        let (cluster, context) = (cluster(), ReaderContext { subtask: SubtaskIndex(0), parallelism: 1 });
        let known = KnownTopic { id: None, partitions: 2, asked_at: env::monotonic() };
        let splits = vec![Split::new(0, 0, None), Split::new(1, 0, None)];
        let mut reader = KafkaReader::new(topic(&cluster), context, splits, known).unwrap();
        produce(&cluster, 3);
        read(&mut reader, 6).await;
        let mut stalled = TopicPartitionList::new();
        stalled.add_partition("orders", 0);
        reader.consumer.pause(&stalled).unwrap();
        produce(&cluster, 5);
        read(&mut reader, 10).await;
        assert_eq!(places(&reader), [8, 8]);
        produce(&cluster, 1);
        read(&mut reader, 2).await;
        assert_eq!(places(&reader), [9, 9]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn only_a_partition_of_which_there_is_more_gets_a_new_client() {
        let cluster = cluster();
        produce(&cluster, 5);
        let topic = topic(&cluster);
        let found = move |taken: [(i32, u64); 2]| {
            let consumer = topic.consumer().unwrap();
            look(&topic, &consumer, Taken::from(taken)).unwrap().map(|(_, taken)| taken)
        };
        let found = tokio::task::spawn_blocking(move || (found([(0, 5), (1, 5)]), found([(0, 5), (1, 4)])));
        assert_eq!(found.await.unwrap(), (None, Some(Taken::from([(1, 4)]))));
    }

    #[test]
    fn only_time_in_which_the_job_asks_makes_a_partition_stand() {
        let at = |step: u32| COUNTS_AT_MOST / 4 * step;
        let mut splits = [Split::new(0, 7, None), Split::new(1, 7, None), Split::new(2, 7, Some(7))];
        let mut stall = Stall::default();
        let mut told = Vec::new();
        for step in 0..8 {
            told.push(stall.stand(at(step), &splits));
            assert!(splits[1].on_record(7 + u64::from(step)));
        }
        let stands = Taken::from([(0, 7)]);
        let none = Taken::new;
        // Each second step is one of `STANDS`; at the first there is nothing to compare with.
        assert_eq!(told, [none(), none(), none(), none(), stands.clone(), none(), stands, none()]);

        // After a new client that has not helped.
        let mut stall = Stall { stands: 2 * STANDS, ..Stall::default() };
        let told = (0..=12).filter(|step| !stall.stand(at(*step), &splits).is_empty());
        assert_eq!(told.collect::<Vec<_>>(), [8, 12]);

        let mut stall = Stall::default();
        assert_eq!(stall.stand(Duration::from_hours(1), &splits), none());
        assert_eq!(stall.stand(Duration::from_hours(1), &splits), none(), "no time has passed");
    }
}
