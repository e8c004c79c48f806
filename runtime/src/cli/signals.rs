//! What the process is told by its operating system.

use tidegate_crds::api::{StopPurpose, StopRequest};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc::UnboundedSender, watch},
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
