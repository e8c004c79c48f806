//! What the process is told by its operating system.

use tidegate_crds::api::{StopPurpose, StopRequest};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc::UnboundedSender, watch},
    task::spawn_blocking,
};

use crate::coordinator::api::Request;

/// From now on SIGTERM suspends the job and Ctrl-C cancels it, both with a last checkpoint. What is returned turns true
/// with the first of them.
pub(super) fn listen(requests: UnboundedSender<Request>) -> std::io::Result<watch::Receiver<bool>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (seen, signalled) = watch::channel(false);
    tokio::spawn(async move {
        loop {
            let purpose = tokio::select! {
                _ = terminate.recv() => StopPurpose::Suspend,
                _ = interrupt.recv() => StopPurpose::Cancel,
            };
            tracing::info!(?purpose, "asked to stop by a signal");
            // Nobody listens any more when the job has ended, or the process does.
            let _ended = requests.send(Request::Stop(StopRequest::new(purpose, true)));
            seen.send_replace(true);
        }
    });
    Ok(signalled)
}

/// What `plan` gives, or `None` once there is a signal: a thread that plans hears none, and the process ends without it.
pub(super) async fn unless_signalled<T: Send + 'static>(
    signalled: &mut watch::Receiver<bool>,
    plan: impl FnOnce() -> T + Send + 'static,
) -> Result<Option<T>, String> {
    tokio::select! {
        biased;
        Ok(_) = signalled.wait_for(|signalled| *signalled) => Ok(None),
        planned = spawn_blocking(plan) => planned.map(Some).map_err(|error| format!("failed to plan the job: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_signal_ends_the_planning_of_a_job() {
        let (signal, mut signalled) = watch::channel(false);
        assert_eq!(unless_signalled(&mut signalled, || 5).await, Ok(Some(5)));
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let planning = unless_signalled(&mut signalled, move || ended.recv().is_ok());
        let signals = async { signal.send_replace(true) };
        let (planned, _) = tokio::time::timeout(Duration::from_mins(1), async { tokio::join!(planning, signals) })
            .await
            .expect("a signal is heard while the job is planned");
        assert_eq!(planned, Ok(None));
        drop(end);
    }
}
