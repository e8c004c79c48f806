//! How a process serves HTTP: to so many at once, and to nobody who keeps silent.
//!
//! A client that leaves its connections open would take the file descriptors that the job reads and writes with.

use std::{pin::pin, sync::Arc, time::Duration};

use axum::Router;
use futures::StreamExt;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::sync::Semaphore;

use crate::{
    env,
    net::{Listener, Stream},
};

/// Who comes when there are so many connections waits until one of them is closed.
const MOST_CONNECTIONS: usize = 128;
/// A connection on which no request has begun and come to the end of its head for so long is closed.
const SILENCE: Duration = Duration::from_secs(10);

/// Answers by `router` until the process ends.
pub fn serve(listener: Listener, router: Router) {
    serve_at_once(listener, router, MOST_CONNECTIONS, SILENCE);
}

fn serve_at_once(listener: Listener, router: Router, most: usize, silence: Duration) {
    let server = server(silence);
    let seats = Arc::new(Semaphore::new(most));
    tokio::spawn(async move {
        let mut incoming = pin!(listener.incoming());
        // The semaphore is never closed, and there are always more that may come.
        while let Ok(seat) = seats.clone().acquire_owned().await
            && let Some(Ok(stream)) = incoming.next().await
        {
            let (server, router) = (server.clone(), router.clone());
            tokio::spawn(async move {
                answer(&server, stream, router).await;
                drop(seat);
            });
        }
    });
}

fn server(silence: Duration) -> http1::Builder {
    let mut server = http1::Builder::new();
    // A simulation has no timers but its own.
    if env::may_work_beside() {
        server.timer(TokioTimer::new()).header_read_timeout(silence);
    }
    server
}

async fn answer(server: &http1::Builder, stream: Stream, router: Router) {
    let service = TowerToHyperService::new(router);
    if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "an HTTP connection has ended");
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::routing::get;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: test\r\n\r\n";

    async fn started(most: usize, silence: Duration) -> SocketAddr {
        let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.address().unwrap();
        serve_at_once(listener, Router::new().route("/", get(|| async { "here" })), most, silence);
        address
    }

    async fn asked(connection: &mut TcpStream) -> String {
        connection.write_all(REQUEST).await.unwrap();
        let mut answer = String::new();
        while !answer.ends_with("here") {
            let mut some = [0; 1024];
            let read = connection.read(&mut some).await.unwrap();
            assert!(read > 0, "closed after {answer}");
            answer.push_str(std::str::from_utf8(&some[..read]).unwrap());
        }
        answer
    }

    #[tokio::test]
    async fn connections_that_are_left_open_are_closed_and_let_others_in() {
        let address = started(2, Duration::from_millis(50)).await;
        let mut half_asked = TcpStream::connect(address).await.unwrap();
        half_asked.write_all(&REQUEST[..10]).await.unwrap();
        let silent = TcpStream::connect(address).await.unwrap();
        // All seats are taken: this one is let in when one of the others is closed.
        let mut third = TcpStream::connect(address).await.unwrap();
        assert!(asked(&mut third).await.starts_with("HTTP/1.1 200"));
        for mut closed in [half_asked, silent, third] {
            let mut rest = Vec::new();
            closed.read_to_end(&mut rest).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_connection_is_asked_again_and_again() {
        let address = started(1, Duration::from_mins(10)).await;
        let mut connection = TcpStream::connect(address).await.unwrap();
        for _ in 0..3 {
            asked(&mut connection).await;
        }
    }
}
