//! Requests to the job's HTTP API.

use std::sync::{Arc, OnceLock};

use axum::{
    body::{Body, to_bytes},
    http::{Method, Request, StatusCode},
};
use tidegate_crds::{StreamJob, api::Phase};
use tokio::{
    runtime::{Builder, Runtime},
    sync::mpsc::unbounded_channel,
};
use tonic::codegen::Service;

use super::{assert_plain, outcome};
use crate::{
    checkpoint::savepoint::check_name,
    coordinator::{
        api::{self, Refused, router},
        shared::Shared,
    },
    job::JobPlan,
    metrics::Metrics,
};

/// Those that take something from who asks.
const ROUTES: [(Method, &str); 7] = [
    (Method::POST, "/v1/stop"),
    (Method::POST, "/v1/savepoints"),
    (Method::POST, "/v1/rescale"),
    (Method::POST, "/v1/checkpoints"),
    (Method::GET, "/v1/checkpoints/"),
    (Method::GET, "/v1/savepoints/"),
    (Method::DELETE, "/v1/savepoints/"),
];

const JOB: &str = r#"{
    "apiVersion": "tidegate.dev/v1alpha1", "kind": "StreamJob", "metadata": { "name": "sales" },
    "spec": {
        "sources": [{ "name": "orders", "generator": {} }],
        "sql": "INSERT INTO out SELECT amount FROM orders",
        "sinks": [{ "name": "out", "print": {} }],
        "checkpoint": { "storage": { "local": { "path": "/nowhere" } } }
    }
}"#;

/// The first byte chooses the route; the rest is the body, and, where the path ends in a name, that too. The job runs, and
/// says no to what it can't do.
pub fn request(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let (method, path) = &ROUTES[usize::from(*first) % ROUTES.len()];
    let name: String =
        if path.ends_with('/') { rest.iter().map(|b| format!("%{b:02x}")).collect() } else { String::new() };
    let request = Request::builder().method(method).uri(format!("{path}{name}"));
    // A path can be too long for a request.
    let Ok(request) = request.body(Body::from(rest.to_vec())) else { return };
    let Some(shared) = shared() else { unreachable!("the job is no job") };
    let Some(timers) = timers() else { unreachable!("no timers") };
    let _entered = timers.enter();
    let (requests, mut requested) = unbounded_channel();
    let mut router = router(shared, requests);
    let asked = async {
        let Ok(answer) = router.call(request).await;
        drop(router);
        answer
    };
    let answering = async {
        while let Some(request) = requested.recv().await {
            answer(request);
        }
    };
    let (answer, ()) = outcome(futures::future::join(asked, answering));
    let status = answer.status();
    let Ok(body) = outcome(to_bytes(answer.into_body(), 1 << 20)) else { unreachable!("an answer of 1 MiB") };
    let message = String::from_utf8_lossy(&body);
    match status {
        StatusCode::OK | StatusCode::ACCEPTED | StatusCode::NO_CONTENT => {}
        StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::CONFLICT | StatusCode::PAYLOAD_TOO_LARGE => {
            assert_plain(&String::from_utf8_lossy(rest), &message);
        }
        other => unreachable!("{method} {path}: {other}: {message}"),
    }
}

/// As the job does: a name that can't be one is refused, another one is not known.
fn answer(request: api::Request) {
    let named = |name: &str| match check_name(name) {
        Ok(()) => Refused::not_found(format!("there is no savepoint `{name}`")),
        Err(error) => Refused::invalid(error.to_string()),
    };
    // Who has asked may be gone.
    match request {
        api::Request::Stop(_) | api::Request::Checkpoint => {}
        api::Request::Savepoint { name, answer, .. } => _ = answer.send(Err(named(&name))),
        api::Request::DeleteSavepoint { name, answer } => _ = answer.send(Err(named(&name))),
        api::Request::Drain { answer, .. } | api::Request::Rescale { answer, .. } => _ = answer.send(Ok(())),
    }
}

/// A body has so long to come.
fn timers() -> Option<&'static Runtime> {
    static TIMERS: OnceLock<Option<Runtime>> = OnceLock::new();
    TIMERS.get_or_init(|| Builder::new_current_thread().enable_time().build().ok()).as_ref()
}

fn shared() -> Option<Arc<Shared>> {
    static SHARED: OnceLock<Option<Arc<Shared>>> = OnceLock::new();
    let begin = || {
        let plan = JobPlan::new(&StreamJob::from_yaml(JOB).ok()?, Arc::new(Metrics::new())).ok()?;
        let shared = Shared::new(&plan, 1, "/nowhere".to_owned());
        shared.update(|status| status.phase = Phase::Running);
        Some(shared)
    };
    SHARED.get_or_init(begin).clone()
}
