//! Reads the partitions of one subtask.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use rdkafka::{Offset, TopicPartitionList, error::KafkaResult};
use tokio::task::JoinHandle;

use super::{
    KafkaTopic,
    assign::made_anew,
    batch::BatchConsumer,
    discovery::{self, Found},
    gather::Gather,
    lag::{KafkaLag, Places},
    offsets,
    split::{Split, partition_of},
    stall::{Stall, TakesOver},
};
use crate::{
    env,
    ids::Epoch,
    kafka::{
        ANSWER_TIMEOUT, Trouble, blocking,
        event::{self, Meaning},
        failed_to,
    },
    source::{End, Fetched, ReaderContext, Remaining, SourceError, SourceReader, SplitState, lag::LagProbe},
};

/// How long the queue is left alone when nothing is heard of it.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How long the first record of a batch waits for others.
const LINGER: Duration = Duration::from_millis(5);

/// New partitions that are looked for more rarely are not waited for: the watermark would stay behind by as much.
const WAITS_AT_MOST: Duration = Duration::from_secs(10);

/// How often a topic is looked at whose partitions stay: whether it is still the same.
const LOOK_AT_TOPIC: Duration = Duration::from_secs(10);

/// Of somebody who does not go on until they are over.
const LOOKS: u32 = 4;
const LOOKS_WITHIN: Duration = Duration::from_secs(2);

/// Reads some partitions of a topic.
///
/// What was taken from librdkafka but not handed over lies in `gathered`, never in a future: a `fetch` that is dropped
/// half way has lost nothing, and the next one goes on with it.
pub(super) struct KafkaReader {
    topic: KafkaTopic,
    context: ReaderContext,
    pub(super) consumer: Arc<BatchConsumer>,
    splits: Vec<Split>,
    /// Where the splits are, for the lag.
    places: Arc<Places>,
    stall: Stall,
    gathered: Gather,
    /// When the first gathered record came, in [`env::monotonic`] time.
    since: Option<Duration>,
    /// A partition whose place is not there any more: where the reader stops.
    lost: Option<(i32, i64)>,
    next_discovery: Duration,
    looking: Option<JoinHandle<Result<Found, Trouble>>>,
    /// How many partitions the topic had at the last look, of all readers.
    partitions: usize,
    /// When all partitions were known, to all readers.
    known_at: Duration,
    /// Which topic it is that has the name, where the brokers know.
    topic_id: Option<String>,
    /// Where the partitions of a bounded run that had not come to their end were at the last look.
    stood: Vec<(i32, u64)>,
}

impl KafkaReader {
    pub(super) fn new(
        topic: KafkaTopic,
        context: ReaderContext,
        splits: Vec<Split>,
        known: KnownTopic,
    ) -> Result<Self, Trouble> {
        let consumer = topic.consumer()?;
        let reader = Self {
            context,
            gathered: Gather::new(Arc::clone(&consumer)),
            places: Arc::new(Places::new(Arc::clone(&consumer))),
            stall: Stall::default(),
            consumer,
            splits,
            since: None,
            lost: None,
            next_discovery: env::monotonic() + topic.discovery.unwrap_or(LOOK_AT_TOPIC),
            topic,
            looking: None,
            partitions: known.partitions as usize,
            known_at: known.asked_at,
            topic_id: known.id,
            stood: Vec::new(),
        };
        reader.places.set(&reader.splits);
        reader.read_from(reader.splits.iter().filter(|split| !split.is_at_end()))?;
        Ok(reader)
    }

    /// Goes on with another client, from the records that were handed over last, if the partitions still stand where it has
    /// more of them.
    fn go_on_with(&mut self, (consumer, mut stand): TakesOver) -> Result<(), Trouble> {
        stand.retain(|partition, taken| {
            self.splits.iter().any(|split| split.partition == *partition && split.taken() == *taken)
        });
        if stand.is_empty() {
            return Ok(());
        }
        let stand: Vec<String> =
            stand.into_iter().map(|(partition, taken)| format!("{partition} at offset {taken}")).collect();
        tracing::warn!(
            source = self.topic.name,
            topic = self.topic.topic,
            partitions = stand.join(", "),
            "the Kafka client reads partitions no more of which the brokers have more; a new client goes on"
        );
        self.places.set_consumer(Arc::clone(&consumer));
        self.gathered = Gather::new(Arc::clone(&consumer));
        self.consumer = consumer;
        self.since = None;
        self.splits.iter_mut().for_each(Split::rewind);
        self.read_from(self.splits.iter().filter(|split| !split.is_at_end()))
    }

    fn read_from<'a>(&self, splits: impl Iterator<Item = &'a Split>) -> Result<(), Trouble> {
        let begins: Vec<_> = splits.map(|split| (split.partition, split.begin())).collect();
        let list = offset_list(&self.topic.topic, begins.iter().map(|(partition, (offset, _))| (*partition, *offset)))
            .map_err(failed_to("name the partitions to read"))?;
        if list.count() == 0 {
            return Ok(());
        }
        let epochs = begins.into_iter().filter_map(|(partition, (_, epoch))| Some((partition, epoch?))).collect();
        self.consumer.assign(&list, &epochs).map_err(failed_to("begin reading"))
    }

    /// Takes what waits in the queue.
    fn take(&mut self) -> Result<(), Trouble> {
        let events = self.gathered.take(&mut self.splits);
        if self.since.is_none() && !self.gathered.is_empty() {
            self.since = Some(env::monotonic());
        }
        for event in events {
            match event::meaning(event.code) {
                Meaning::EndOfPartition => {}
                Meaning::Passing => tracing::warn!(
                    source = self.topic.name,
                    partition = event.partition,
                    error = %event.code,
                    "kafka reports an error that passes: {}", event.text
                ),
                Meaning::Lost => self.lost = Some((event.partition, event.offset)),
                Meaning::Final => {
                    return Err(Trouble::failed(
                        format!("read partition {} of topic `{}`", event.partition, self.topic.topic),
                        format!("{}: {}", event.code, event.text),
                    ));
                }
            }
        }
        match self.consumer.client().and_then(|client| client.context().watch.newest_if(event::is_final)) {
            Some(ailment) => Err(Trouble::failed(format!("read topic `{}`", self.topic.topic), ailment.reason)),
            None => Ok(()),
        }
    }

    /// Why the place of a partition is gone.
    async fn explain(&self, partition: i32, offset: i64) -> Trouble {
        let (consumer, topic) = (Arc::clone(&self.consumer), self.topic.topic.clone());
        let wanted = self
            .splits
            .iter()
            .find(|split| split.partition == partition)
            .map_or(u64::try_from(offset).unwrap_or_default(), Split::taken);
        let explained = blocking("look up offsets", move || {
            let client = consumer.client().ok_or_else(|| Trouble::failed("look up offsets", "the client is closed"))?;
            let (low, high) = client
                .fetch_watermarks(&topic, partition, ANSWER_TIMEOUT)
                .map_err(failed_to(format!("look up what is left of partition {partition} behind offset {wanted}")))?;
            Ok(offsets::lost(&topic, partition, wanted, low.max(0) as u64, high.max(0) as u64))
        });
        match explained.await {
            Ok(message) => Trouble::Refused(message),
            Err(trouble) => trouble,
        }
    }

    /// What there is to return now.
    fn ready(&mut self) -> Option<Fetched> {
        let at_end = self.topic.bounded && self.splits.iter().all(Split::is_at_end);
        let waited = self.since.is_some_and(|since| env::monotonic() >= since + LINGER);
        let is_due = at_end || waited || self.gathered.is_full();
        if !self.gathered.is_empty() && !is_due {
            return None;
        }
        for split in &mut self.splits {
            split.hand_over();
        }
        let records = self.gathered.hand_over(&mut self.splits);
        self.places.set(&self.splits);
        self.since = None;
        match records {
            Some(records) => Some(Fetched::Records(Box::new(records))),
            None if at_end => Some(Fetched::Exhausted),
            None => None,
        }
    }

    /// Starts to look at the topic when it is time.
    fn look_around(&mut self) {
        if self.looking.is_none() && env::monotonic() >= self.next_discovery {
            self.next_discovery = env::monotonic() + self.topic.discovery.unwrap_or(LOOK_AT_TOPIC);
            let (consumer, topic) = (Arc::clone(&self.consumer), self.topic.topic.clone());
            let known = self.topic.discovery.map(|_| self.splits.iter().map(|split| split.partition).collect());
            let context = self.context;
            // Who had no answer waits for one each time, and partitions would be found later.
            let asks_id = self.topic_id.is_some();
            let look = move || discovery::look(&consumer, &topic, context, known.as_ref(), asks_id);
            self.looking = Some(tokio::task::spawn_blocking(look));
        }
    }

    /// What there is to tell of a look for new partitions.
    fn found(
        &mut self,
        found: Result<Result<Found, Trouble>, tokio::task::JoinError>,
    ) -> Result<Option<Fetched>, Trouble> {
        self.looking = None;
        let Found { new, partitions, topic_id, asked_at } = match found {
            Ok(Ok(found)) => found,
            Ok(Err(trouble)) => {
                let error = crate::error_chain(&trouble.of_source(&self.topic.name));
                tracing::warn!(error, "failed to look at the topic; the next look is in its turn");
                return Ok(None);
            }
            Err(error) => return Err(Trouble::failed("look for new partitions", error)),
        };
        if let (Some(known), Some(found)) = (&self.topic_id, topic_id)
            && *known != found
        {
            return Err(Trouble::Refused(made_anew(&self.topic.topic, known, &found)));
        }
        self.tell_of_open_transactions();
        // One of another reader counts as known with the next look: by then that reader has looked, too.
        if partitions == std::mem::replace(&mut self.partitions, partitions) && new.is_empty() {
            self.known_at = asked_at;
            return Ok(self.splits_known_at().map(|_| Fetched::SplitsKnown));
        }
        if new.is_empty() {
            return Ok(None);
        }
        let splits: Vec<Split> = new.into_iter().map(|(partition, first)| Split::new(partition, first, None)).collect();
        self.read_from(splits.iter())?;
        for split in &splits {
            tracing::info!(
                source = self.topic.name,
                partition = split.partition,
                offset = split.next(),
                "new partition"
            );
        }
        self.splits.extend(splits);
        self.gathered.index(&self.splits);
        Ok(Some(Fetched::SplitsChanged))
    }

    /// A bounded run that does not come to its end waits for somebody.
    fn tell_of_open_transactions(&mut self) {
        if !self.topic.bounded {
            return;
        }
        let ahead = self.splits.iter().filter(|split| !split.is_at_end());
        let stands: Vec<_> = ahead.map(|split| (split.partition, split.next())).collect();
        if !stands.is_empty() && stands == self.stood {
            let waits: Vec<String> =
                stands.iter().map(|(partition, offset)| format!("{partition} at offset {offset}")).collect();
            tracing::warn!(
                source = self.topic.name,
                topic = self.topic.topic,
                partitions = waits.join(", "),
                "waits for partitions that have not come to the end of this run: where a transaction is open, reading \
                 goes on when it is committed, aborted, or timed out by the brokers"
            );
        }
        self.stood = stands;
    }

    async fn next(&mut self) -> Result<Fetched, Trouble> {
        loop {
            self.take()?;
            if let Some((partition, offset)) = self.lost {
                return Err(self.explain(partition, offset).await);
            }
            self.stall.on_asked(env::monotonic(), &self.topic, &self.consumer, &self.splits);
            match self.stall.found().await {
                Ok(None) => {}
                Ok(Some(takes_over)) => self.go_on_with(takes_over)?,
                Err(trouble) => {
                    let error = crate::error_chain(&trouble.of_source(&self.topic.name));
                    tracing::warn!(
                        error,
                        "failed to look at partitions that stand still; the next look is in its turn"
                    );
                }
            }
            self.look_around();
            // Also while there is always something to read.
            if self.looking.as_ref().is_some_and(JoinHandle::is_finished) {
                let found = looked(&mut self.looking).await;
                if let Some(fetched) = self.found(found)? {
                    return Ok(fetched);
                }
            }
            if let Some(fetched) = self.ready() {
                return Ok(fetched);
            }
            if self.gathered.has_more() {
                // Records past a bounded run's end filled the take and were left out; the client wakes nobody for the rest.
                tokio::task::yield_now().await;
                continue;
            }
            let now = env::monotonic();
            let wake = self.since.map(|since| since + LINGER);
            let look = self.looking.is_none().then_some(self.next_discovery);
            // The client wakes us when its queue was empty and no longer is. Should it ever not, we look ourselves.
            let until = [wake, look].into_iter().flatten().map(|at| at.saturating_sub(now)).min();
            let until = until.map_or(LOOK_AGAIN, |until| until.min(LOOK_AGAIN));
            let Some(client) = self.consumer.client() else {
                return Err(Trouble::failed("read", "the client is closed"));
            };
            let found = tokio::select! {
                biased;
                () = client.context().wake.notified() => None,
                found = looked(&mut self.looking) => Some(found),
                () = env::sleep(until) => None,
            };
            if let Some(found) = found
                && let Some(fetched) = self.found(found)?
            {
                return Ok(fetched);
            }
        }
    }
}

#[async_trait(?Send)]
impl SourceReader for KafkaReader {
    async fn fetch(&mut self) -> Result<Fetched, SourceError> {
        let fetched = self.next().await;
        fetched.map_err(|trouble| trouble.of_source(&self.topic.name))
    }

    fn positions(&self) -> Vec<SplitState> {
        self.splits.iter().map(|split| split.state(&self.topic.topic, self.topic_id.as_deref())).collect()
    }

    fn end(&self, split: usize) -> End {
        self.splits.get(split).map_or(End::Reached, Split::end)
    }

    fn splits_known_at(&self) -> Option<Duration> {
        self.topic.discovery.filter(|interval| *interval <= WAITS_AT_MOST).map(|_| self.known_at)
    }

    async fn look_for_splits(&mut self) -> Result<bool, SourceError> {
        if self.splits_known_at().is_none() {
            return Ok(false);
        }
        let (begun, mut changed) = (env::monotonic(), false);
        let looks = async {
            // One may be under way that was asked before, and what one finds the next confirms.
            for _ in 0..LOOKS {
                self.next_discovery = env::monotonic();
                self.look_around();
                let found = looked(&mut self.looking).await;
                changed |= matches!(self.found(found)?, Some(Fetched::SplitsChanged));
                if self.known_at >= begun {
                    break;
                }
            }
            Ok(())
        };
        let looked = env::within(LOOKS_WITHIN, looks).await;
        looked.unwrap_or(Ok(())).map_err(|trouble: Trouble| trouble.of_source(&self.topic.name))?;
        Ok(changed)
    }

    fn remaining(&self, split: usize) -> Option<Remaining> {
        let split = self.splits.get(split)?;
        self.places.remaining(split.partition, split.next())
    }

    fn lag_probe(&self) -> Option<Arc<dyn LagProbe>> {
        Some(Arc::new(KafkaLag {
            source: self.topic.name.clone(),
            topic: self.topic.topic.clone(),
            places: Arc::clone(&self.places),
        }))
    }

    fn checkpoint_completed(&mut self, epoch: Epoch, positions: &[SplitState]) -> Result<(), SourceError> {
        let mine = positions
            .iter()
            .filter_map(|state| Some((partition_of(&self.topic.topic, &state.split)?, state.next)))
            .filter(|(partition, _)| self.splits.iter().any(|split| split.partition == *partition));
        let committed = offset_list(&self.topic.topic, mine).and_then(|list| match list.count() {
            0 => Ok(()),
            _ => self.consumer.commit(&list),
        });
        if let Err(error) = committed {
            tracing::warn!(
                source = self.topic.name, %epoch, %error,
                "failed to commit offsets to the group; only lag monitors use them"
            );
        }
        Ok(())
    }
}

/// What was known of a topic when it was opened.
#[derive(Debug, Clone)]
pub(super) struct KnownTopic {
    pub(super) id: Option<String>,
    pub(super) partitions: u32,
    /// In the time of [`env::monotonic`].
    pub(super) asked_at: Duration,
}

fn offset_list(topic: &str, offsets: impl Iterator<Item = (i32, u64)>) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in offsets {
        list.add_partition_offset(topic, partition, Offset::Offset(offset as i64))?;
    }
    Ok(list)
}

async fn looked<T>(looking: &mut Option<JoinHandle<T>>) -> Result<T, tokio::task::JoinError> {
    match looking {
        Some(looking) => looking.await,
        None => std::future::pending().await,
    }
}
