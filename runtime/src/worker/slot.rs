//! Slots: threads that run subtasks.

use std::future::Future;

use futures::future::LocalBoxFuture;
use tidegate_crds::api::{Failure, FailureReason};
use tokio::{
    runtime::Builder,
    sync::{oneshot, watch},
    task::{JoinSet, LocalSet},
};

use super::{
    keyed_task::TaskError,
    protocol::TaskId,
    report::{Report, Reports},
};
use crate::{env, failure::Reason, fault};

/// A subtask that is ready to run; made on any thread, run on its slot's.
pub struct Subtask {
    pub id: TaskId,
    pub name: String,
    pub run: Box<dyn FnOnce() -> LocalBoxFuture<'static, Result<(), TaskError>> + Send>,
}

impl Subtask {
    pub fn new<F>(id: TaskId, name: String, run: impl FnOnce() -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<(), TaskError>> + 'static,
    {
        Self { id, name, run: Box::new(move || Box::pin(run())) }
    }
}

/// The threads of a run. Dropping it tears the tasks down.
#[derive(Debug)]
pub struct Slots {
    stop: watch::Sender<bool>,
    ended: Vec<oneshot::Receiver<()>>,
}

impl Slots {
    /// Starts one thread for each list of subtasks.
    pub fn start(slots: Vec<Vec<Subtask>>, reports: &Reports) -> std::io::Result<Self> {
        let (stop, stopped) = watch::channel(false);
        #[cfg(any(test, feature = "test-util"))]
        if crate::simulation::is_inside() {
            let (end, end_seen) = oneshot::channel();
            tokio::task::spawn_local(together(slots.into_iter().flatten().collect(), stopped, reports.clone(), end));
            return Ok(Self { stop, ended: vec![end_seen] });
        }
        let mut ended = Vec::new();
        for (index, subtasks) in slots.into_iter().enumerate() {
            let (end, end_seen) = oneshot::channel();
            let (stopped, reports) = (stopped.clone(), reports.clone());
            let runtime = Builder::new_current_thread().enable_all().build()?;
            env::spawn_thread(&format!("slot-{index}"), move || {
                let local = LocalSet::new();
                for subtask in subtasks {
                    local.spawn_local(watched(subtask, reports.clone()));
                }
                runtime.block_on(local.run_until(until_stopped(stopped)));
                drop(local);
                let _nobody_waits = end.send(());
            })?;
            ended.push(end_seen);
        }
        Ok(Self { stop, ended })
    }

    /// Drops all tasks where they stand, and waits until their threads are gone.
    pub async fn stop(self) {
        // No receiver left: the threads have ended already.
        let _all_gone = self.stop.send(true);
        for end in self.ended {
            let _gone = end.await;
        }
    }
}

async fn until_stopped(mut stopped: watch::Receiver<bool>) {
    // An error means that the `Slots` were dropped, which stops as well.
    let _dropped = stopped.wait_for(|stop| *stop).await;
}

/// Slots without threads of their own: in a simulation all processes share one.
#[cfg(any(test, feature = "test-util"))]
async fn together(subtasks: Vec<Subtask>, stopped: watch::Receiver<bool>, reports: Reports, end: oneshot::Sender<()>) {
    let mut tasks = JoinSet::new();
    for subtask in subtasks {
        tasks.spawn_local(watched(subtask, reports.clone()));
    }
    until_stopped(stopped).await;
    tasks.shutdown().await;
    let _nobody_waits = end.send(());
}

/// Runs a subtask and reports how it ended, a panic included.
async fn watched(subtask: Subtask, reports: Reports) {
    let task = subtask.id;
    // In a set, so that it is dropped with this future.
    let mut running = JoinSet::new();
    running.spawn_local((subtask.run)());
    let ended = tokio::select! {
        biased;
        () = fault::strike(&subtask.name) => {
            let message = "struck by a test".to_owned();
            return reports.send(failed(&subtask.name, Failure { reason: FailureReason::TaskFailed, message }));
        }
        ended = running.join_next() => ended,
    };
    let report = match ended {
        Some(Ok(Ok(()))) => Report::Ended(task),
        Some(Ok(Err(error))) => failed(&subtask.name, error.failure()),
        None => return,
        Some(Err(error)) if error.is_cancelled() => return,
        Some(Err(panic)) => {
            failed(&subtask.name, Failure { reason: FailureReason::TaskFailed, message: panic.to_string() })
        }
    };
    reports.send(report);
}

fn failed(task: &str, failure: Failure) -> Report {
    Report::Failed(Failure { message: format!("{task}: {}", failure.message), ..failure })
}
