//! How far sources are behind: what each reader knows, added up.
//!
//! Beside a reader runs a [`LagWatch`], which asks the system once a second where it ends. It does not go through the
//! reader, since a reader that is paused, or waits for the tasks behind it, is the one whose lag people want to see.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use prometheus_client::metrics::{family::Family, gauge::Gauge};
use tidegate_crds::api::SourceStatus;
use tokio::{runtime::Handle, task::JoinHandle};

use super::SourceError;
use crate::{
    env,
    metrics::{Named, named},
};

/// Pause between two questions.
const INTERVAL: Duration = Duration::from_secs(1);

/// Knows how far one reader is behind.
#[async_trait]
pub trait LagProbe: Send + Sync {
    /// Records that are there and have not been handed over.
    async fn lag(&self) -> Result<u64, SourceError>;
}

/// The lags of a job's sources.
#[derive(Debug, Default)]
pub struct Lags {
    state: Mutex<State>,
    gauge: Family<Named, Gauge>,
}

#[derive(Debug, Default)]
struct State {
    next_id: u64,
    readers: BTreeMap<u64, Reader>,
}

#[derive(Debug)]
struct Reader {
    source: String,
    /// How many readers the source has.
    of: usize,
    /// None while it is not known.
    lag: Option<u64>,
}

impl Lags {
    /// `gauge` shows what [`Lags::sources`] tells.
    pub fn new(gauge: Family<Named, Gauge>) -> Self {
        Self { state: Mutex::default(), gauge }
    }

    /// The sources all of whose readers know their lag.
    pub fn sources(&self) -> Vec<SourceStatus> {
        let state = self.lock();
        let names: BTreeSet<&String> = state.readers.values().map(|reader| &reader.source).collect();
        names
            .into_iter()
            .filter_map(|name| Some(SourceStatus { name: name.clone(), lag: state.total(name)? }))
            .collect()
    }

    fn enter(&self, source: &str, of: usize) -> u64 {
        let mut state = self.lock();
        let id = state.next_id;
        state.next_id += 1;
        state.readers.insert(id, Reader { source: source.to_owned(), of, lag: None });
        id
    }

    /// A reader that has left says nothing more.
    fn tell(&self, id: u64, lag: Option<u64>) {
        let mut state = self.lock();
        let Some(reader) = state.readers.get_mut(&id) else { return };
        reader.lag = lag;
        let source = reader.source.clone();
        self.show(&state, &source);
    }

    fn leave(&self, id: u64) {
        let mut state = self.lock();
        if let Some(reader) = state.readers.remove(&id) {
            self.show(&state, &reader.source);
        }
    }

    fn show(&self, state: &State, source: &str) {
        match state.total(source) {
            Some(lag) => {
                self.gauge.get_or_create(&named(source)).set(lag as i64);
            }
            None => {
                self.gauge.remove(&named(source));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change leaves the state whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The lag of a source, if all of its readers have told theirs.
    fn total(&self, source: &str) -> Option<u64> {
        let readers = || self.readers.values().filter(|reader| reader.source == source);
        let complete = readers().next().is_some_and(|first| readers().count() == first.of);
        if complete { readers().map(|reader| reader.lag).sum() } else { None }
    }
}

/// Asks a reader's probe again and again. Ends, and takes back what it has told, when dropped.
#[derive(Debug)]
pub struct LagWatch {
    lags: Arc<Lags>,
    id: u64,
    task: JoinHandle<()>,
}

impl LagWatch {
    /// `of` is how many readers the source has.
    pub fn start(lags: &Arc<Lags>, source: &str, of: u32, probe: Arc<dyn LagProbe>, io: &Handle) -> Self {
        let id = lags.enter(source, of as usize);
        let told = lags.clone();
        let task = io.spawn(async move {
            loop {
                let lag = match probe.lag().await {
                    Ok(lag) => Some(lag),
                    Err(error) => {
                        tracing::debug!(error = crate::error_chain(&error), "the lag is not known");
                        None
                    }
                };
                told.tell(id, lag);
                env::sleep(INTERVAL).await;
            }
        });
        Self { lags: lags.clone(), id, task }
    }
}

impl Drop for LagWatch {
    fn drop(&mut self) {
        self.task.abort();
        self.lags.leave(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(lags: &Lags) -> Vec<(String, u64)> {
        lags.sources().into_iter().map(|source| (source.name, source.lag)).collect()
    }

    #[test]
    fn a_source_is_as_far_behind_as_all_its_readers_and_unknown_while_one_is() {
        let lags = Lags::default();
        let first = lags.enter("orders", 2);
        lags.tell(first, Some(3));
        assert_eq!(shown(&lags), [], "the second reader is still to come");
        let second = lags.enter("orders", 2);
        let other = lags.enter("rates", 1);
        lags.tell(second, Some(4));
        lags.tell(other, Some(0));
        assert_eq!(shown(&lags), [("orders".into(), 7), ("rates".into(), 0)]);
        assert_eq!(lags.gauge.get_or_create(&named("orders")).get(), 7);

        lags.tell(second, None);
        assert_eq!(shown(&lags), [("rates".into(), 0)], "the brokers do not answer");
        lags.tell(second, Some(1));
        assert_eq!(shown(&lags), [("orders".into(), 4), ("rates".into(), 0)]);

        lags.leave(first);
        lags.tell(first, Some(9));
        assert_eq!(shown(&lags), [("rates".into(), 0)], "who has left says nothing more");
    }
}
