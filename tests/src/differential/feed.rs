//! A source whose records are those of a case: they come in virtual time, and read again they are the same.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tidegate::{
    env,
    ids::Epoch,
    source::{End, Fetched, Positions, RawRecords, ReaderContext, Run, Source, SourceError, SourceReader, SplitState},
};

use super::{case::Case, cut::split_name};
use crate::sim::Shared;

/// Called when a reader is opened.
pub type Opened = Arc<dyn Fn() + Send + Sync>;

/// How often a reader looks whether what is kept back may be read.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

#[derive(Clone)]
pub struct Feed {
    pub case: Arc<Case>,
    pub source: String,
    /// Nothing is kept back any more: the job may come to its end.
    pub is_last: Arc<AtomicBool>,
    /// Whose time it is: a process that is started again does not begin anew.
    pub world: Shared,
    pub opened: Opened,
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Feed").field(&self.source).finish()
    }
}

#[async_trait]
impl Source for Feed {
    async fn preflight(&self) -> Result<(), SourceError> {
        Ok(())
    }

    fn fits(&self, _: &[SplitState]) -> Result<(), SourceError> {
        Ok(())
    }

    async fn find_splits(&self, _: Option<&[SplitState]>) -> Result<Vec<SplitState>, SourceError> {
        let splits = self.case.source(&self.source).splits.iter().enumerate();
        let split = |(index, records): (usize, &Vec<_>)| SplitState {
            split: split_name(index),
            end: Some(records.len() as u64),
            ..SplitState::default()
        };
        Ok(splits.map(split).collect())
    }

    async fn reader(&self, context: ReaderContext, from: Positions) -> Result<Box<dyn SourceReader>, SourceError> {
        (self.opened)();
        let all = from.into_splits();
        let own = |split: &SplitState| {
            let index: usize = split.split[1..].parse().expect("a split of the case");
            (index as u32 % context.parallelism == context.subtask.0).then_some(index)
        };
        let mut splits: Vec<(usize, SplitState)> = all
            .into_iter()
            .filter_map(|split| own(&split).map(|index| (index, SplitState { newest: None, ..split })))
            .collect();
        splits.sort_by_key(|(index, _)| *index);
        Ok(Box::new(Reader { feed: self.clone(), splits, turn: 0 }))
    }
}

struct Reader {
    feed: Feed,
    splits: Vec<(usize, SplitState)>,
    /// How often it has read: whose turn it is follows.
    turn: usize,
}

/// Records of some splits.
struct Lines {
    lines: Vec<(u64, Arc<str>)>,
    runs: Vec<Run>,
}

impl RawRecords for Lines {
    fn len(&self) -> usize {
        self.lines.len()
    }

    fn payload(&self, index: usize) -> Option<&[u8]> {
        self.lines.get(index).map(|(_, line)| line.as_bytes())
    }

    fn position(&self, index: usize) -> u64 {
        self.lines.get(index).map_or(0, |(position, _)| *position)
    }

    fn runs(&self) -> &[Run] {
        &self.runs
    }
}

impl Reader {
    /// How many records of a split may be read for now.
    fn open(&self, index: usize) -> u64 {
        let source = self.feed.case.source(&self.feed.source);
        let all = source.splits[index].len() as u64;
        let keeps_back = source.keeps_back[index] && !self.feed.is_last.load(Ordering::Relaxed);
        if keeps_back { all - 1 } else { all }
    }

    fn now(&self) -> Duration {
        Duration::from_micros(self.feed.world.lock().now)
    }

    /// When the next record of a split is there: they come evenly.
    fn due(&self, index: usize, next: u64) -> Duration {
        let source = self.feed.case.source(&self.feed.source);
        let lasts = self.feed.case.setting.lasts;
        Duration::from_micros(lasts * next / source.splits[index].len() as u64)
    }
}

#[async_trait(?Send)]
impl SourceReader for Reader {
    async fn fetch(&mut self) -> Result<Fetched, SourceError> {
        if self.splits.iter().all(|(_, split)| Some(split.next) == split.end) {
            return Ok(Fetched::Exhausted);
        }
        loop {
            let open = self.splits.iter().filter(|(index, split)| split.next < self.open(*index));
            let due = open.map(|(index, split)| self.due(*index, split.next)).min();
            match due.map(|due| due.saturating_sub(self.now())) {
                Some(Duration::ZERO) => break tokio::task::yield_now().await,
                Some(wait) => env::sleep(wait).await,
                None => env::sleep(LOOK_AGAIN).await,
            }
        }
        // All waiting is done before anything is read, so a dropped future has read nothing.
        let now = self.now();
        let source = self.feed.case.source(&self.feed.source);
        let (mut lines, mut runs) = (Vec::new(), Vec::new());
        let count = self.splits.len();
        for step in 0..count {
            let place = (self.turn + step) % count;
            let (index, next) = (self.splits[place].0, self.splits[place].1.next);
            let room = source.batch.saturating_sub(lines.len()) as u64;
            let most = self.open(index).min(next + room);
            let end = (next..most).find(|position| self.due(index, *position) > now).unwrap_or(most.max(next));
            if end > next {
                let begin = lines.len();
                let records = &source.splits[index][next as usize..end as usize];
                lines.extend(
                    (next..end).zip(records).map(|(position, record)| (position, Arc::from(record.json.as_str()))),
                );
                runs.push(Run { split: place, records: begin..lines.len() });
                self.splits[place].1.next = end;
            }
        }
        self.turn += 1;
        Ok(Fetched::Records(Box::new(Lines { lines, runs })))
    }

    fn positions(&self) -> Vec<SplitState> {
        self.splits.iter().map(|(_, split)| split.clone()).collect()
    }

    fn end(&self, split: usize) -> End {
        self.splits[split].1.end()
    }

    fn checkpoint_completed(&mut self, _: Epoch, _: &[SplitState]) -> Result<(), SourceError> {
        Ok(())
    }
}
