//! One subtask's stripes.

use std::{sync::Arc, time::Duration};

use arrow::array::{Decimal128Array, Int64Array, RecordBatch, StringBuilder, TimestampMillisecondArray};
use async_trait::async_trait;

use super::{Generator, Orders, STRIPES, stripe_name};
use crate::{
    env,
    ids::Epoch,
    source::{End, Fetched, ReaderContext, Run, SourceError, SourceReader, SplitState},
};

const BATCH_ROWS: u64 = 8192;
/// With a rate, a batch is what is due in so long.
const BATCHES_A_SECOND: u64 = 100;

pub(super) struct Reader {
    name: String,
    orders: Orders,
    stripes: Vec<SplitState>,
    /// Orders a second of this reader; as fast as possible when `None`.
    rate: Option<f64>,
    batch_rows: u64,
    started: Duration,
    emitted: u64,
}

impl Reader {
    pub(super) fn new(
        source: &Generator,
        context: ReaderContext,
        restored: &[SplitState],
    ) -> Result<Self, SourceError> {
        let owned = (0..STRIPES)
            .filter(|stripe| stripe % u64::from(context.parallelism.max(1)) == u64::from(context.subtask.0));
        let mut stripes = Vec::new();
        for stripe in owned {
            let split = stripe_name(stripe);
            let next = match restored.iter().find(|state| state.split == split) {
                Some(state) if state.next % STRIPES == stripe => state.next,
                Some(state) => {
                    return Err(SourceError::Refused {
                        source_name: source.name.clone(),
                        message: format!(
                            "the checkpoint has position {} for `{split}`, which has no such order",
                            state.next
                        ),
                    });
                }
                None => stripe,
            };
            stripes.push(SplitState { split, next, end: source.count, ..SplitState::default() });
        }
        let share = stripes.len() as f64 / STRIPES as f64;
        Ok(Self {
            name: source.name.clone(),
            orders: source.orders.clone(),
            rate: source.rate.map(|rate| (rate as f64 * share).max(f64::MIN_POSITIVE)),
            batch_rows: source
                .rate
                .map_or(BATCH_ROWS, |rate| ((rate as f64 * share) as u64 / BATCHES_A_SECOND).clamp(1, BATCH_ROWS)),
            stripes,
            started: env::monotonic(),
            emitted: 0,
        })
    }

    /// Up to a batch of orders, the stripes beside each other, so that event time advances in all of them.
    fn next_batch(&mut self) -> Result<Fetched, SourceError> {
        let mut left = self.batch_rows;
        let mut runs = Vec::with_capacity(self.stripes.len());
        let mut indexes: Vec<u64> = Vec::with_capacity(left as usize);
        let per_stripe = left.div_ceil((self.stripes.len() as u64).max(1));
        // Least advanced first, so that small batches go round.
        let mut turns: Vec<usize> = (0..self.stripes.len()).collect();
        turns.sort_by_key(|split| self.stripes.get(*split).map(|stripe| stripe.next));
        for split in turns {
            let Some(stripe) = self.stripes.get_mut(split) else { continue };
            let remaining = stripe.end.map_or(u64::MAX, |end| end.saturating_sub(stripe.next).div_ceil(STRIPES));
            let rows = per_stripe.min(left).min(remaining);
            if rows == 0 {
                continue;
            }
            let first = indexes.len();
            indexes.extend((0..rows).map(|row| stripe.next + row * STRIPES));
            runs.push(Run { split, records: first..indexes.len() });
            stripe.next += rows * STRIPES;
            left -= rows;
        }
        if indexes.is_empty() {
            return Ok(Fetched::Exhausted);
        }
        self.emitted += indexes.len() as u64;
        let batch = rows(&self.orders, &indexes).map_err(|cause| SourceError::Failed {
            source_name: self.name.clone(),
            action: "build a batch of orders".to_owned(),
            cause: cause.into(),
        })?;
        Ok(Fetched::Rows { batch, runs })
    }
}

fn rows(orders: &Orders, indexes: &[u64]) -> Result<RecordBatch, arrow::error::ArrowError> {
    use std::fmt::Write;
    let mut ids = StringBuilder::with_capacity(indexes.len(), indexes.len() * 12);
    let mut stores = Vec::with_capacity(indexes.len());
    let mut amounts = Vec::with_capacity(indexes.len());
    let mut times = Vec::with_capacity(indexes.len());
    for index in indexes {
        let order = orders.order(*index);
        // Writing to a builder does not fail.
        let _ = write!(ids, "o-{}", order.number);
        ids.append_value("");
        stores.push(order.store_id);
        amounts.push(i128::from(order.cents));
        times.push(order.ts_ms);
    }
    RecordBatch::try_new(
        Orders::schema(),
        vec![
            Arc::new(ids.finish()),
            Arc::new(Int64Array::from(stores)),
            Arc::new(Decimal128Array::from(amounts).with_precision_and_scale(12, 2)?),
            Arc::new(TimestampMillisecondArray::from(times).with_timezone("UTC")),
        ],
    )
}

#[async_trait(?Send)]
impl SourceReader for Reader {
    async fn fetch(&mut self) -> Result<Fetched, SourceError> {
        // All waiting is done before anything is read, so a dropped future has read nothing.
        match self.rate {
            Some(rate) => {
                let due = Duration::try_from_secs_f64(self.emitted as f64 / rate).unwrap_or(Duration::MAX);
                let wait = self.started.saturating_add(due).saturating_sub(env::monotonic());
                if !wait.is_zero() {
                    env::sleep(wait).await;
                }
            }
            None => tokio::task::yield_now().await,
        }
        self.next_batch()
    }

    fn positions(&self) -> Vec<SplitState> {
        self.stripes.clone()
    }

    fn end(&self, split: usize) -> End {
        self.stripes.get(split).map_or(End::Reached, SplitState::end)
    }

    fn checkpoint_completed(&mut self, _epoch: Epoch, _positions: &[SplitState]) -> Result<(), SourceError> {
        Ok(())
    }
}
