//! One HTTP request to another coordinator, over a connection of its own.

use axum::{
    body::{Body, Bytes, to_bytes},
    http::{Method, Request, StatusCode, header},
};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use thiserror::Error;

use crate::net;

/// A status with a long history of checkpoints has some kilobytes.
const LONGEST_ANSWER: usize = 16 << 20;

#[derive(Debug, Error)]
pub enum CallError {
    #[error("failed to connect")]
    Connect(#[from] std::io::Error),
    #[error("failed to exchange request and answer")]
    Http(#[from] hyper::Error),
    #[error("`{0}` is no address")]
    Address(String, #[source] axum::http::Error),
    #[error("failed to read the answer")]
    Body(#[from] axum::Error),
    #[error("the answer is {0}")]
    Status(StatusCode),
    #[error("the answer can't be read")]
    Json(#[from] serde_json::Error),
    #[error("no answer in time")]
    Late,
}

/// Asks `host:port`; gives the body of an answer that is a success.
pub async fn call(method: Method, address: &str, path: &str, body: Vec<u8>) -> Result<Bytes, CallError> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, address)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body))
        .map_err(|error| CallError::Address(address.to_owned(), error))?;
    let stream = TokioIo::new(net::connect(address).await?);
    let (mut sender, connection) = http1::handshake(stream).await?;
    let answered = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = to_bytes(Body::new(answer.into_body()), LONGEST_ANSWER).await?;
        if status.is_success() { Ok(body) } else { Err(CallError::Status(status)) }
    };
    tokio::select! {
        biased;
        answer = answered => answer,
        // It ends by itself only when it breaks, or is closed without an answer.
        Err(error) = connection => Err(error.into()),
    }
}
