//! The HTTP API: status, checkpoints, savepoints, metrics, health, and ways to stop and to rescale the job.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, FromRequest, Path, State, rejection::BytesRejection},
    http::{Method, StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use serde::de::DeserializeOwned;
use tidegate_crds::{
    Call, Endpoint,
    api::{
        CheckpointDetails, CheckpointHistory, JobStatus, Phase, RescaleRequest, SavepointHistory, SavepointRequest,
        SavepointStatus, StopRequest,
    },
    said,
};
use tokio::sync::{mpsc::UnboundedSender, oneshot};

use super::shared::Shared;
use crate::{env, http, metrics::Metrics, net::Listener};

/// Bytes of a request's body, at most.
const LONGEST_BODY: usize = 64 << 10;
/// In which the whole of it has to come.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// What the API speaks for.
#[derive(Clone)]
struct Served {
    shared: Arc<Shared>,
    requests: UnboundedSender<Request>,
}

/// What the coordinator is asked for.
#[derive(Debug)]
pub enum Request {
    Stop(StopRequest),
    /// A stop that drains: only a job that runs, or is about to after a rescale, can.
    Drain {
        request: StopRequest,
        answer: oneshot::Sender<Result<(), Refused>>,
    },
    /// A checkpoint now, whatever the interval.
    Checkpoint,
    /// A savepoint now; then the job may end.
    Savepoint {
        name: String,
        then: Option<StopRequest>,
        answer: oneshot::Sender<Result<SavepointStatus, Refused>>,
    },
    DeleteSavepoint {
        name: String,
        answer: oneshot::Sender<Result<(), Refused>>,
    },
    /// Another parallelism.
    Rescale {
        parallelism: u32,
        answer: oneshot::Sender<Result<(), Refused>>,
    },
}

impl Request {
    /// Answers that it is not done. Who asked may have gone.
    pub fn refuse(self, refused: Refused) {
        match self {
            Self::Stop(_) | Self::Checkpoint => {}
            Self::Savepoint { answer, .. } => _ = answer.send(Err(refused)),
            Self::Drain { answer, .. } | Self::DeleteSavepoint { answer, .. } | Self::Rescale { answer, .. } => {
                _ = answer.send(Err(refused));
            }
        }
    }
}

/// Why something that was asked for is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    status: StatusCode,
    message: String,
}

impl Refused {
    /// The request can never be met as it is.
    pub fn invalid(message: String) -> Self {
        Self { status: StatusCode::BAD_REQUEST, message }
    }

    /// Not as the job is now.
    pub fn conflict(message: String) -> Self {
        Self { status: StatusCode::CONFLICT, message }
    }

    /// Not in this phase: only a job that runs can.
    pub fn only_while_running(phase: Phase) -> Self {
        Self::conflict(format!("the job is {phase:?}; it can do this while it runs"))
    }

    pub fn not_found(message: String) -> Self {
        Self { status: StatusCode::NOT_FOUND, message }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.status, self.message + "\n").into_response()
    }
}

/// Serves until the process ends; `requests` gets what is asked for. Returns the address it listens on.
pub async fn serve(
    listen: SocketAddr,
    shared: Arc<Shared>,
    requests: UnboundedSender<Request>,
) -> std::io::Result<SocketAddr> {
    let listener = Listener::bind(listen).await?;
    let address = listener.address()?;
    http::serve(listener, router(shared, requests));
    Ok(address)
}

/// All that is served.
pub fn router(shared: Arc<Shared>, requests: UnboundedSender<Request>) -> Router {
    let served = Endpoint::ALL.iter().fold(Router::new(), |router, Endpoint { call, path, .. }| match call {
        Call::Status => router.route(path, get(status)),
        Call::Checkpoints => router.route(path, get(checkpoints)),
        Call::Checkpoint => router.route(path, get(details)),
        Call::TakeCheckpoint => router.route(path, post(take_checkpoint)),
        Call::Savepoints => router.route(path, get(savepoints)),
        Call::Savepoint => router.route(path, get(savepoint)),
        Call::TakeSavepoint => router.route(path, post(take_savepoint)),
        Call::DeleteSavepoint => router.route(path, delete(delete_savepoint)),
        Call::Rescale => router.route(path, post(rescale)),
        Call::Stop => router.route(path, post(stop_job)),
        Call::Metrics => router.route(path, get(metrics)),
        Call::Live => router.route(path, get(live)),
        Call::Ready => router.route(path, get(ready)),
    });
    let served = served.layer(DefaultBodyLimit::max(LONGEST_BODY));
    served.fallback(unknown).method_not_allowed_fallback(not_allowed).with_state(Served { shared, requests })
}

async fn not_allowed(method: Method, uri: Uri) -> Refused {
    Refused { status: StatusCode::METHOD_NOT_ALLOWED, ..unknown(method, uri).await }
}

async fn unknown(method: Method, uri: Uri) -> Refused {
    let accepted: Vec<String> = Endpoint::ALL.iter().map(|call| format!("{} {}", call.method, call.path)).collect();
    Refused::not_found(format!("found {method} {}; accepted are {}", uri.path(), accepted.join(", ")))
}

async fn status(State(served): State<Served>) -> Json<JobStatus> {
    Json(served.shared.status())
}

async fn checkpoints(State(served): State<Served>) -> Json<CheckpointHistory> {
    Json(served.shared.history())
}

async fn details(State(served): State<Served>, Path(epoch): Path<String>) -> Result<Json<CheckpointDetails>, Refused> {
    let unknown = || Refused::not_found(format!("this process has no checkpoint of epoch `{epoch}` in its history"));
    epoch.parse().ok().and_then(|epoch| served.shared.details(epoch)).map(Json).ok_or_else(unknown)
}

/// The history tells what came of it.
async fn take_checkpoint(State(served): State<Served>) -> Result<(StatusCode, Json<JobStatus>), Refused> {
    let status = served.shared.status();
    let runs = status.phase == Phase::Running;
    // Nobody listens any more when the job has ended.
    if runs && served.requests.send(Request::Checkpoint).is_ok() {
        return Ok((StatusCode::ACCEPTED, Json(status)));
    }
    Err(Refused::only_while_running(status.phase))
}

/// May be asked any number of times, at any time: a job that has ended stays as it is.
async fn stop_job(State(served): State<Served>, Sent(body): Sent) -> Result<(StatusCode, Json<JobStatus>), Refused> {
    let accepted = r#"{"purpose": "Suspend" or "Cancel", "finalCheckpoint": true (the default) or false, "savepoint": a name, "drain": true or false (the default)}"#;
    let request: StopRequest = parse(&body, accepted)?;
    if !request.final_checkpoint && (request.drain || request.savepoint.is_some()) {
        let message = "`drain` and `savepoint` need the last checkpoint; leave `finalCheckpoint` out".to_owned();
        return Err(Refused::invalid(message));
    }
    tracing::info!(?request, "asked to stop over HTTP");
    match request.savepoint.clone() {
        Some(name) => {
            served.ask(|answer| Request::Savepoint { name, then: Some(request), answer }).await?;
        }
        None if request.drain && !served.shared.status().phase.has_ended() => {
            served.put(|answer| Request::Drain { request, answer }).await?;
        }
        None => {
            // Nobody listens any more when the job has ended.
            let _ended = served.requests.send(Request::Stop(request));
        }
    }
    Ok((StatusCode::ACCEPTED, Json(served.shared.status())))
}

async fn savepoints(State(served): State<Served>) -> Json<SavepointHistory> {
    Json(served.shared.savepoints())
}

async fn savepoint(State(served): State<Served>, Path(name): Path<String>) -> Result<Json<SavepointStatus>, Refused> {
    let unknown = || Refused::not_found(format!("this process was not asked for a savepoint `{name}`"));
    served.shared.savepoint(&name).map(Json).ok_or_else(unknown)
}

async fn take_savepoint(
    State(served): State<Served>,
    Sent(body): Sent,
) -> Result<(StatusCode, Json<SavepointStatus>), Refused> {
    let SavepointRequest { name } = parse(&body, r#"{"name": "before-the-upgrade"}"#)?;
    let status = served.ask(|answer| Request::Savepoint { name, then: None, answer }).await?;
    Ok((StatusCode::ACCEPTED, Json(status)))
}

async fn delete_savepoint(State(served): State<Served>, Path(name): Path<String>) -> Result<StatusCode, Refused> {
    served.ask(|answer| Request::DeleteSavepoint { name, answer }).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn rescale(State(served): State<Served>, Sent(body): Sent) -> Result<(StatusCode, Json<JobStatus>), Refused> {
    let RescaleRequest { parallelism } = parse(&body, r#"{"parallelism": 3}"#)?;
    served.ask(|answer| Request::Rescale { parallelism, answer }).await?;
    Ok((StatusCode::ACCEPTED, Json(served.shared.status())))
}

/// The body of a request.
struct Sent(Bytes);

impl<S: Send + Sync> FromRequest<S> for Sent {
    type Rejection = Refused;

    async fn from_request(request: axum::extract::Request, state: &S) -> Result<Self, Refused> {
        Self::within(BODY_TIMEOUT, Bytes::from_request(request, state)).await
    }
}

impl Sent {
    async fn within(
        limit: Duration,
        body: impl Future<Output = Result<Bytes, BytesRejection>>,
    ) -> Result<Self, Refused> {
        let (status, message) = match env::within(limit, body).await {
            Some(Ok(body)) => return Ok(Self(body)),
            Some(Err(error)) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                (error.status(), format!("the body is too long; accepted are at most {LONGEST_BODY} bytes"))
            }
            Some(Err(error)) => (error.status(), "the body ended before it was complete".to_owned()),
            None => (StatusCode::REQUEST_TIMEOUT, format!("the body did not come within {limit:?}")),
        };
        Err(Refused { status, message })
    }
}

fn parse<T: DeserializeOwned>(body: &Bytes, accepted: &str) -> Result<T, Refused> {
    let refused = |error| Refused::invalid(format!("the body can't be read: {}; accepted is {accepted}", said(&error)));
    serde_json::from_slice(body).map_err(refused)
}

impl Served {
    /// Asks for something that only a job that runs can do, and that it looks at before it answers.
    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<Result<T, Refused>>) -> Request) -> Result<T, Refused> {
        let phase = self.shared.status().phase;
        if phase != Phase::Running {
            return Err(Refused::only_while_running(phase));
        }
        self.put(request).await
    }

    async fn put<T>(&self, request: impl FnOnce(oneshot::Sender<Result<T, Refused>>) -> Request) -> Result<T, Refused> {
        let (answer, answered) = oneshot::channel();
        // Nobody listens any more when the job has ended; then nobody answers either.
        let _ended = self.requests.send(request(answer));
        let interrupted =
            |_| Refused::conflict("the job was interrupted while it looked at this; ask again".to_owned());
        answered.await.map_err(interrupted)?
    }
}

async fn metrics(State(served): State<Served>) -> ([(&'static str, &'static str); 1], String) {
    ([("content-type", Metrics::CONTENT_TYPE)], served.shared.metrics.encode())
}

/// Not alive: the coordinator hangs, and a restart of the process helps.
async fn live(State(served): State<Served>) -> (StatusCode, &'static str) {
    if served.shared.is_alive() {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the coordinator hangs")
    }
}

/// Ready: the job owns its log and its tasks run.
async fn ready(State(served): State<Served>) -> (StatusCode, String) {
    match served.shared.status().phase {
        Phase::Running => (StatusCode::OK, "ok".to_owned()),
        phase => (StatusCode::SERVICE_UNAVAILABLE, format!("{phase:?}")),
    }
}

#[cfg(test)]
mod tests {
    use axum::{
        body::{Body, to_bytes},
        http::Request,
    };
    use futures::stream;
    use tower::ServiceExt;

    use super::*;

    /// What a call answers that takes such a body.
    async fn answer(body: Body) -> (StatusCode, String) {
        let take = |Sent(body): Sent| async move { format!("{} bytes", body.len()) };
        let router = Router::new().route("/", post(take)).layer(DefaultBodyLimit::max(LONGEST_BODY));
        let answer = router.oneshot(Request::post("/").body(body).unwrap()).await.unwrap();
        let status = answer.status();
        let words = to_bytes(answer.into_body(), LONGEST_BODY).await.unwrap();
        (status, String::from_utf8(words.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_body_that_can_not_be_taken_is_refused_in_our_words() {
        assert_eq!(answer(Body::from(vec![b' '; LONGEST_BODY])).await, (StatusCode::OK, "65536 bytes".to_owned()));
        let refused = "the body is too long; accepted are at most 65536 bytes\n";
        let too_long = answer(Body::from(vec![b' '; LONGEST_BODY + 1])).await;
        assert_eq!(too_long, (StatusCode::PAYLOAD_TOO_LARGE, refused.to_owned()));
        let broken = answer(Body::from_stream(stream::iter([Ok("{"), Err("gone")]))).await;
        assert_eq!(broken, (StatusCode::BAD_REQUEST, "the body ended before it was complete\n".to_owned()));
        let never = Sent::within(Duration::from_millis(5), std::future::pending()).await.map(|_| ());
        let message = "the body did not come within 5ms".to_owned();
        assert_eq!(never, Err(Refused { status: StatusCode::REQUEST_TIMEOUT, message }));
    }
}
