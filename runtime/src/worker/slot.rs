//! Slots: threads that run subtasks.
//!
//! A subtask that fails tells why before its channels go: whoever finds one of them broken, and asks, finds that told.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use tidegate_crds::api::{Failure, FailureReason};
use tokio::{
    runtime::Builder,
    sync::{oneshot, watch},
    task::LocalSet,
};

use super::{
    keyed_task::Task,
    protocol::TaskId,
    report::{Report, Reports},
};
use crate::{
    env,
    failure::{Reason, words_of},
    fault,
};

/// A subtask that is ready to run; made on any thread, run on its slot's.
pub struct Subtask {
    pub id: TaskId,
    pub name: String,
    pub task: Box<dyn Task>,
}

impl Subtask {
    pub fn new(id: TaskId, name: String, task: impl Task + 'static) -> Self {
        Self { id, name, task: Box::new(task) }
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
    let mut tasks = tokio::task::JoinSet::new();
    for subtask in subtasks {
        tasks.spawn_local(watched(subtask, reports.clone()));
    }
    until_stopped(stopped).await;
    tasks.shutdown().await;
    let _nobody_waits = end.send(());
}

/// Runs a subtask and reports how it ended, a panic included.
async fn watched(Subtask { id, name, mut task }: Subtask, reports: Reports) {
    let by_itself = |message: String| Failure { reason: FailureReason::TaskFailed, message };
    let report = tokio::select! {
        biased;
        () = fault::strike(&name) => Report::Failed(of(&name, by_itself("struck by a test".to_owned()))),
        ended = AssertUnwindSafe(task.run()).catch_unwind() => match ended {
            Ok(Ok(())) => Report::Ended(id),
            Ok(Err(error)) if error.follows() => Report::Broken(of(&name, error.failure())),
            Ok(Err(error)) => Report::Failed(of(&name, error.failure())),
            Err(panic) => Report::Failed(of(&name, by_itself(format!("it has panicked: {}", words_of(panic.as_ref()))))),
        },
    };
    reports.send(report);
    drop(task);
}

fn of(task: &str, failure: Failure) -> Failure {
    Failure { message: format!("{task}: {}", failure.message), ..failure }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::future::LocalBoxFuture;
    use tokio::sync::{Notify, mpsc::unbounded_channel};

    use super::*;
    use crate::{
        ids::{Run, SubtaskIndex},
        worker::keyed_task::TaskError,
    };

    /// Fails at once, one way or the other; notes that it is gone.
    struct Fails {
        panics: bool,
        gone: Arc<Notify>,
    }

    impl Task for Fails {
        fn run(&mut self) -> LocalBoxFuture<'_, Result<(), TaskError>> {
            let panics = self.panics;
            let fails = async move {
                assert!(!panics, "number {}", 7);
                Err(TaskError::Orphaned)
            };
            fails.boxed_local()
        }
    }

    impl Drop for Fails {
        fn drop(&mut self) {
            self.gone.notify_one();
        }
    }

    #[tokio::test]
    async fn a_subtask_tells_why_it_fails_before_its_channels_go() {
        for panics in [true, false] {
            let (reports, mut told) = unbounded_channel();
            let gone = Arc::<Notify>::default();
            let id = TaskId { task: 0, subtask: SubtaskIndex(0) };
            let subtask = Subtask::new(id, "sales[0]".to_owned(), Fails { panics, gone: gone.clone() });
            let slots = Slots::start(vec![vec![subtask]], &Reports::new(Run(1), reports)).unwrap();
            gone.notified().await;
            match told.try_recv().expect("it is told by now") {
                (_, Report::Failed(failure)) if panics => {
                    assert!(failure.message.contains("it has panicked: number 7"));
                }
                (_, Report::Broken(failure)) if !panics => assert!(failure.message.starts_with("sales[0]: the tasks")),
                (_, other) => panic!("{other:?}"),
            }
            slots.stop().await;
        }
    }
}
