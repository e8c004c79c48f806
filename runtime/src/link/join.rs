//! The worker's end: joins its coordinator, again and again.

use std::time::Duration;

use futures::{StreamExt, stream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tonic::{Request, client::Grpc, codegen::http::uri::PathAndQuery, transport::Endpoint};

use super::{
    JOIN, ToCoordinator, ToWorker,
    codec::{Incoming, Lost, Piece, Pieces, pieces},
    pace,
};
use crate::{
    env,
    net::Connector,
    worker::{
        api::Readiness,
        protocol::{Hello, Notice},
        supervisor::Worker,
    },
};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A worker that looks for its coordinator.
pub struct Joining {
    pub worker: Worker,
    pub hello: Hello,
    pub coordinator: Endpoint,
    /// A coordinator that says nothing for so long is lost.
    pub silence: Duration,
    pub readiness: Readiness,
}

impl Joining {
    /// Works for whoever coordinates the job, for as long as the process lives.
    pub async fn run(self) {
        let mut pause = FIRST_PAUSE;
        let mut told = String::new();
        loop {
            match self.join().await {
                Ok(answers) => {
                    tracing::info!("joined the coordinator");
                    let joined_at = env::monotonic();
                    let cause = self.work(answers).await;
                    tracing::warn!(cause, "the coordinator is lost; the subtasks have ended, joining again");
                    told.clear();
                    // Two workers of one name would take each other's place without a pause.
                    if env::monotonic().saturating_sub(joined_at) > LONGEST_PAUSE {
                        pause = FIRST_PAUSE;
                    } else {
                        env::sleep(pause).await;
                        pause = (pause * 2).min(LONGEST_PAUSE);
                    }
                }
                Err(cause) => {
                    if cause != told {
                        tracing::warn!(cause, "failed to join the coordinator, trying again");
                        told = cause;
                    }
                    env::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    async fn join(&self) -> Result<Link, String> {
        let connected = env::within(self.silence, self.coordinator.connect_with_connector(Connector)).await;
        let connection =
            connected.ok_or_else(|| "no connection in time".to_owned())?.map_err(|error| crate::error_chain(&error))?;
        let mut client = Grpc::new(connection);
        client.ready().await.map_err(|error| crate::error_chain(&error))?;
        let (notices, noticed) = unbounded_channel();
        let said = said(self.hello.clone(), noticed, pace(self.silence));
        let joined = client.streaming(Request::new(said), PathAndQuery::from_static(JOIN), Pieces);
        let answers = env::within(self.silence, joined)
            .await
            .ok_or_else(|| "no answer in time".to_owned())?
            .map_err(|status| status.message().to_owned())?;
        Ok(Link { answers: Incoming::new(answers.into_inner(), self.silence), notices })
    }

    /// Does as ordered until the coordinator is lost; gives the cause.
    async fn work(&self, link: Link) -> String {
        let Link { mut answers, notices } = link;
        let (orders, ordered) = unbounded_channel();
        let ended = tokio::spawn(self.worker.clone().run(ordered, notices));
        let cause = loop {
            match answers.next().await {
                Err(Lost::Silent(silence)) => break format!("it has said nothing for {} s", silence.as_secs_f64()),
                Err(Lost::Broken(status)) => break format!("the stream has broken: {}", status.message()),
                Ok(None) => break "it has ended the stream".to_owned(),
                Ok(Some(ToWorker::Alive { runs })) => self.readiness.set(runs),
                Ok(Some(ToWorker::Order(order))) => {
                    if orders.send(order).is_err() {
                        break "the worker itself has failed".to_owned();
                    }
                }
            }
        };
        self.readiness.set(false);
        drop((orders, answers));
        if let Err(panic) = ended.await {
            tracing::error!(%panic, "the worker has failed");
        }
        cause
    }
}

/// The stream, opened.
struct Link {
    answers: Incoming<ToWorker>,
    notices: tokio::sync::mpsc::UnboundedSender<Notice>,
}

/// The worker's name, then its notices; when there are none, a sign of life now and then.
fn said(
    hello: Hello,
    notices: UnboundedReceiver<Notice>,
    pace: Duration,
) -> impl stream::Stream<Item = Piece> + Send + 'static {
    let messages = stream::unfold((Some(hello), notices), move |(hello, mut notices)| async move {
        let message = match hello {
            Some(hello) => ToCoordinator::Hello(hello),
            None => match env::within(pace, notices.recv()).await {
                Some(notice) => ToCoordinator::Notice(notice?),
                None => ToCoordinator::Alive,
            },
        };
        Some((message, (None, notices)))
    });
    messages.flat_map(|message| stream::iter(pieces(&message)))
}

#[cfg(test)]
mod tests;
