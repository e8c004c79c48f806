//! The coordinator's end: workers join here.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream, stream::BoxStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    codegen::{Service, http},
    server::{Grpc, NamedService},
};

use super::{
    JOIN, SERVICE, ToCoordinator, ToWorker,
    codec::{Incoming, Lost, Piece, Pieces, pieces},
    pace,
};
use crate::{
    coordinator::{
        shared::Shared,
        workers::{Desk, Door},
    },
    env,
    net::Listener,
    tls::{ListenError, Security},
    worker::protocol::{Hello, Order},
};

/// Lets workers in.
#[derive(Clone)]
pub struct Reception {
    pub door: Door,
    /// The job's id: a worker of another job is sent away.
    pub job: String,
    /// Of the job's spec: so is a worker that has been given another one.
    pub digest: String,
    /// A worker that says nothing for so long is lost.
    pub silence: Duration,
    pub shared: Arc<Shared>,
}

impl Reception {
    /// Listens for workers until the process ends; gives the address.
    pub async fn serve(self, listen: SocketAddr, security: &Security) -> Result<SocketAddr, ListenError> {
        let listener = Listener::bind(listen).await?;
        let address = listener.address()?;
        let server = security.server()?.add_service(self).serve_with_incoming(listener.incoming());
        tokio::spawn(async move {
            if let Err(error) = server.await {
                tracing::error!(error = crate::error_chain(&error), "workers can join no more");
            }
        });
        Ok(address)
    }

    async fn join(self, request: Request<Streaming<Piece>>) -> Result<Response<Answers>, Status> {
        let mut stream = Incoming::new(request.into_inner(), self.silence);
        let hello = self.hello(&mut stream).await?;
        let (orders, ordered) = unbounded_channel();
        let desk = self.door.join(hello, orders);
        tokio::spawn(listen(stream, desk));
        Ok(Response::new(answers(ordered, self.shared, pace(self.silence))))
    }

    async fn hello(&self, stream: &mut Incoming<ToCoordinator>) -> Result<Hello, Status> {
        let hello = match stream.next().await {
            Ok(Some(ToCoordinator::Hello(hello))) => hello,
            Err(Lost::Broken(status)) => return Err(status),
            _ => return Err(Status::invalid_argument("the first message is not the worker's name")),
        };
        if hello.job != self.job {
            let Hello { name, job, .. } = hello;
            let message =
                format!("worker `{name}` has been given the job `{job}`, and its coordinator runs `{}`", self.job);
            return Err(Status::failed_precondition(message));
        }
        if hello.digest != self.digest {
            let message =
                format!("worker `{}` has been given another version of the job than its coordinator", hello.name);
            return Err(Status::failed_precondition(message));
        }
        Ok(hello)
    }
}

type Answers = BoxStream<'static, Result<Piece, Status>>;

/// Passes on what a worker says, until it leaves, is silent for too long, or its stream breaks.
async fn listen(mut stream: Incoming<ToCoordinator>, desk: Desk) {
    let cause = loop {
        match stream.next().await {
            Err(Lost::Silent(silence)) => break format!("it has said nothing for {} s", silence.as_secs_f64()),
            Err(Lost::Broken(status)) => break format!("its stream has broken: {}", status.message()),
            Ok(None) => break "it has left".to_owned(),
            Ok(Some(ToCoordinator::Notice(notice))) => desk.said(notice),
            Ok(Some(ToCoordinator::Alive | ToCoordinator::Hello(_))) => {}
        }
    };
    desk.lost(cause);
}

/// The coordinator's orders; when there are none, a sign of life now and then. Ends when the coordinator drops the worker.
fn answers(orders: UnboundedReceiver<Order>, shared: Arc<Shared>, pace: Duration) -> Answers {
    let next = move |(mut orders, told): (UnboundedReceiver<Order>, Option<bool>)| {
        let shared = shared.clone();
        async move {
            let ordered = if told == Some(shared.runs()) { env::within(pace, orders.recv()).await } else { None };
            Some(match ordered {
                Some(order) => (ToWorker::Order(order?), (orders, told)),
                None => {
                    let runs = shared.runs();
                    (ToWorker::Alive { runs }, (orders, Some(runs)))
                }
            })
        }
    };
    stream::unfold((orders, None), next).flat_map(|message| stream::iter(pieces(&message)).map(Ok)).boxed()
}

impl NamedService for Reception {
    const NAME: &'static str = SERVICE;
}

impl Service<http::Request<Body>> for Reception {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path() != JOIN {
            let unknown = Status::unimplemented(format!("accepted is {JOIN}")).into_http();
            return std::future::ready(Ok(unknown)).boxed();
        }
        let join = Join(self.clone());
        async move { Ok(Grpc::new(Pieces).streaming(join, request).await) }.boxed()
    }
}

/// One worker's request to join.
struct Join(Reception);

impl Service<Request<Streaming<Piece>>> for Join {
    type Response = Response<Answers>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Response<Answers>, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Streaming<Piece>>) -> Self::Future {
        self.0.clone().join(request).boxed()
    }
}
