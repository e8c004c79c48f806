//! Where sources begin that no checkpoint knows: as the first start found it.

use super::*;
use crate::{
    checkpoint::{manifest::DATA, store::Store},
    source::{Positions, ReaderContext, Source, SourceError, SourceReader, SplitState},
};

/// Orders of which more are gone at each look, as those before the latest record of a topic are.
#[derive(Debug)]
struct Latest {
    orders: Arc<dyn Source>,
    looks: AtomicU64,
    begins_by: Mutex<String>,
    /// Where readers were to begin.
    begun: Mutex<Vec<Positions>>,
}

impl Latest {
    /// In the place of the job's source.
    fn of(job: &mut Job) -> Arc<Self> {
        let table = &mut Arc::get_mut(&mut job.plan).unwrap().sources[0];
        let latest = Arc::new(Self {
            orders: table.source.clone(),
            looks: AtomicU64::new(0),
            begins_by: Mutex::new("Latest".to_owned()),
            begun: Mutex::default(),
        });
        table.source = latest.clone();
        latest
    }

    /// What a look finds, as the first, the second, and so on.
    async fn found(&self, look: u64) -> Vec<SplitState> {
        let all = self.orders.find_splits(None).await.unwrap();
        all.into_iter().map(|split| SplitState { next: split.next + 8000 * look, ..split }).collect()
    }

    fn begun(&self) -> Vec<Positions> {
        std::mem::take(&mut self.begun.lock().unwrap())
    }
}

#[async_trait]
impl Source for Latest {
    async fn preflight(&self) -> Result<(), SourceError> {
        Ok(())
    }

    fn fits(&self, splits: &[SplitState]) -> Result<(), SourceError> {
        self.orders.fits(splits)
    }

    async fn find_splits(&self, known: Option<&[SplitState]>) -> Result<Vec<SplitState>, SourceError> {
        match known {
            Some(known) => Ok(known.to_vec()),
            None => Ok(self.found(self.looks.fetch_add(1, SeqCst) + 1).await),
        }
    }

    fn begins_by(&self) -> Option<String> {
        Some(self.begins_by.lock().unwrap().clone())
    }

    async fn reader(&self, context: ReaderContext, from: Positions) -> Result<Box<dyn SourceReader>, SourceError> {
        self.begun.lock().unwrap().push(from.clone());
        self.orders.reader(context, from).await
    }
}

async fn kept(job: &Job) -> Vec<String> {
    let listed = job.store.list(&format!("{DATA}starts/"), None).await.unwrap();
    listed.into_iter().map(|object| object.path.0).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_begins_where_it_first_began_until_it_has_a_checkpoint() {
    let mut job = Job::new("");
    let latest = Latest::of(&mut job);
    let process = job.start();
    process.reads().await;
    let first = Positions::Found(latest.found(1).await);
    assert_eq!(latest.begun(), std::slice::from_ref(&first));

    // In the same process, and in another.
    job.sink.panics.store(true, SeqCst);
    let (answer, answered) = tokio::sync::oneshot::channel();
    process.requests.send(Request::Rescale { parallelism: 1, answer }).unwrap();
    assert!(answered.await.is_err());
    process.until("to restart", |status| status.restarts == 1).await;
    process.reads().await;
    process.kill().await;
    let process = job.start();
    process.reads().await;
    assert_eq!(latest.begun(), [first.clone(), first]);
    assert_eq!(kept(&job).await.len(), 1);

    // What is in a checkpoint goes on from there, and needs nothing else.
    process.requests.send(Request::Checkpoint).unwrap();
    process.until("a checkpoint", |status| status.last_checkpoint.is_some()).await;
    process.kill().await;
    let process = job.start();
    process.reads().await;
    let begun = latest.begun();
    assert!(matches!(&begun[..], [Positions::Restored(splits)] if splits.len() == 8), "{begun:?}");
    assert_eq!(latest.looks.load(SeqCst), 1);
    assert_eq!(kept(&job).await, [""; 0]);
    process.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_document_begins_there_too_unless_it_says_otherwise() {
    let mut job = Job::new("");
    let latest = Latest::of(&mut job);
    for (revision, begins_by, look) in [(1, "Latest", 1), (2, "Latest", 1), (3, "Timestamp", 2), (4, "Latest", 1)] {
        begins_by.clone_into(&mut latest.begins_by.lock().unwrap());
        let process = job.start_as(revision);
        process.reads().await;
        assert_eq!(latest.begun(), [Positions::Found(latest.found(look).await)], "revision {revision}");
        process.kill().await;
    }
    assert_eq!(latest.looks.load(SeqCst), 2);
}
