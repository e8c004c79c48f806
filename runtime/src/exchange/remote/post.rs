//! The receiving end of channels from other processes.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse,
    PollInfo, PutResult, SchemaResult, Ticket,
    flight_service_server::{FlightService, FlightServiceServer},
};
use async_trait::async_trait;
use futures::{StreamExt, stream::BoxStream};
use tonic::{Request, Response, Status, Streaming};

use super::{
    CONNECTION_WINDOW, ChannelError, ChannelId, LONGEST_MESSAGE, STREAM_WINDOW,
    frame::{Decoder, FrameError},
};
use crate::{
    element::Element,
    exchange::local::Sender,
    ids::{Attempt, Run},
    net::Listener,
    tls::{ListenError, Security},
};

/// More channels than a worker ever has.
const MOST_STREAMS: u32 = 1 << 20;

/// Channels from other processes that have not been opened yet.
#[derive(Clone, Default)]
pub struct Post {
    boxes: Arc<Mutex<BTreeMap<ChannelId, Inbox>>>,
}

/// Where the elements of a channel go.
pub struct Inbox {
    pub sender: Sender,
    /// Hears why the channel has broken.
    pub broken: Box<dyn FnOnce(ChannelError) + Send>,
}

impl Post {
    /// Listens for other workers until the process ends; gives the address.
    pub async fn serve(&self, listen: SocketAddr, security: &Security) -> Result<SocketAddr, ListenError> {
        let listener = Listener::bind(listen).await?;
        let address = listener.address()?;
        let service = FlightServiceServer::new(self.clone()).max_decoding_message_size(LONGEST_MESSAGE);
        let server = security
            .server()?
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_concurrent_streams(MOST_STREAMS)
            .add_service(service)
            .serve_with_incoming(listener.incoming());
        tokio::spawn(async move {
            if let Err(error) = server.await {
                tracing::error!(error = crate::error_chain(&error), "the exchange has ended");
            }
        });
        Ok(address)
    }

    /// A channel that another process will open.
    pub fn expect(&self, id: ChannelId, inbox: Inbox) {
        self.lock().insert(id, inbox);
    }

    /// Channels of an attempt that has ended are no longer expected.
    pub fn forget(&self, attempt: Attempt) {
        self.lock().retain(|id, _| id.attempt != attempt);
    }

    /// Channels of a run that has ended are no longer expected.
    pub fn forget_run(&self, attempt: Attempt, run: Run) {
        self.lock().retain(|id, _| (id.attempt, id.run) != (attempt, run));
    }

    fn take(&self, id: &ChannelId) -> Option<Inbox> {
        self.lock().remove(id)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ChannelId, Inbox>> {
        // Each change leaves the map whole.
        self.boxes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hands a stream's elements on, to the end.
async fn deliver(id: ChannelId, mut stream: Streaming<FlightData>, inbox: Inbox) -> Result<(), Status> {
    let mut decoder = Decoder::default();
    let cause = loop {
        let element = match stream.message().await {
            Ok(Some(message)) => decoder.decode(&message),
            Ok(None) => break ChannelError::Interrupted { channel: id, cause: "it ended before its last word".into() },
            Err(status) => break ChannelError::Interrupted { channel: id, cause: status.to_string() },
        };
        match element {
            Ok(None) => {}
            Ok(Some(element)) => {
                let ended = matches!(element, Element::End);
                if inbox.sender.send(element).await.is_err() {
                    return Err(Status::cancelled("the receiving task has ended"));
                }
                if ended {
                    return Ok(());
                }
            }
            Err(source) => break ChannelError::Frame { channel: id, source },
        }
    };
    let status = Status::aborted(crate::error_chain(&cause));
    (inbox.broken)(cause);
    Err(status)
}

#[async_trait]
impl FlightService for Post {
    type DoExchangeStream = BoxStream<'static, Result<FlightData, Status>>;
    type HandshakeStream = BoxStream<'static, Result<HandshakeResponse, Status>>;
    type ListFlightsStream = BoxStream<'static, Result<FlightInfo, Status>>;
    type DoGetStream = BoxStream<'static, Result<FlightData, Status>>;
    type DoPutStream = BoxStream<'static, Result<PutResult, Status>>;
    type DoActionStream = BoxStream<'static, Result<arrow_flight::Result, Status>>;
    type ListActionsStream = BoxStream<'static, Result<ActionType, Status>>;

    async fn do_exchange(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        let mut stream = request.into_inner();
        let first = stream.message().await?.ok_or_else(|| Status::invalid_argument("the stream names no channel"))?;
        let id: ChannelId = serde_json::from_slice(&first.app_metadata)
            .map_err(FrameError::from)
            .map_err(|error| Status::invalid_argument(crate::error_chain(&error)))?;
        let inbox = self.take(&id).ok_or_else(|| Status::not_found(format!("{id} is not expected here")))?;
        let delivered = tokio::spawn(deliver(id, stream, inbox));
        let answer = futures::stream::once(delivered).filter_map(|delivered| async {
            match delivered {
                Ok(Ok(())) => None,
                Ok(Err(status)) => Some(Err(status)),
                Err(panic) => Some(Err(Status::internal(panic.to_string()))),
            }
        });
        Ok(Response::new(answer.boxed()))
    }

    async fn handshake(
        &self,
        _: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        Err(only_exchange())
    }

    async fn list_flights(&self, _: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        Err(only_exchange())
    }

    async fn get_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        Err(only_exchange())
    }

    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        Err(only_exchange())
    }

    async fn get_schema(&self, _: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        Err(only_exchange())
    }

    async fn do_get(&self, _: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        Err(only_exchange())
    }

    async fn do_put(&self, _: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        Err(only_exchange())
    }

    async fn do_action(&self, _: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        Err(only_exchange())
    }

    async fn list_actions(&self, _: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        Err(only_exchange())
    }
}

fn only_exchange() -> Status {
    Status::unimplemented("workers speak to each other by DoExchange only")
}
