//! The sending end of a channel to another process.

use arrow_flight::{FlightData, flight_service_client::FlightServiceClient};
use futures::stream;
use tidegate_crds::ExchangeCompression;
use tokio::sync::mpsc;
use tonic::transport::Channel;

use super::{
    CONNECTION_WINDOW, ChannelError, ChannelId, LONGEST_MESSAGE, STREAM_WINDOW,
    frame::{Encoder, FrameError, metadata},
};
use crate::{element::Element, exchange::local::Outbox, net::Connector, tls::Security};

/// A connection to the worker whose exchange is at `host:port`; made when the first stream needs it.
pub fn connection(peer: &str, security: &Security) -> Result<Channel, tonic::transport::Error> {
    let endpoint = security.endpoint(peer)?;
    Ok(endpoint
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .connect_with_connector_lazy(Connector))
}

/// What leaves this process on one channel.
pub struct Leaving {
    pub id: ChannelId,
    /// Where the receiving worker's exchange is.
    pub peer: String,
    pub outbox: Outbox,
    pub compression: ExchangeCompression,
}

impl Leaving {
    /// Carries the channel's elements over, to its end.
    pub async fn carry(&mut self, connection: Channel) -> Result<(), ChannelError> {
        let (messages, sent) = mpsc::channel(1);
        let (id, peer) = (self.id, self.peer.clone());
        let carried = async {
            let mut client = FlightServiceClient::new(connection).max_encoding_message_size(LONGEST_MESSAGE);
            let answer = client.do_exchange(stream::unfold(sent, |mut sent: mpsc::Receiver<FlightData>| async {
                let message = sent.recv().await?;
                Some((message, sent))
            }));
            let unreachable = |status: tonic::Status| ChannelError::Unreachable {
                channel: id,
                peer: peer.clone(),
                cause: said(&status),
            };
            let mut answer = answer.await.map_err(unreachable)?.into_inner();
            let broken =
                |status: tonic::Status| ChannelError::Broken { channel: id, peer: peer.clone(), cause: said(&status) };
            // The other end says nothing; it ends the stream when it has all.
            while answer.message().await.map_err(broken)?.is_some() {}
            Ok(())
        };
        let fed = async {
            let fed = self.feed(messages).await;
            fed.map_err(|source| ChannelError::Frame { channel: id, source })
        };
        tokio::try_join!(carried, fed).map(|((), ())| ())
    }

    async fn feed(&mut self, messages: mpsc::Sender<FlightData>) -> Result<(), FrameError> {
        let mut encoder = Encoder::new(self.compression)?;
        let mut next = vec![metadata(&self.id)?];
        loop {
            for message in next {
                if messages.send(message).await.is_err() {
                    // The stream has broken, and says why.
                    return Ok(());
                }
            }
            let Some(element) = self.outbox.next().await else { return Ok(()) };
            next = encoder.encode(&element)?;
            if matches!(element, Element::End) {
                for message in next {
                    // As above.
                    let _broken = messages.send(message).await;
                }
                return Ok(());
            }
        }
    }
}

/// A status in words: the chain of its causes where it has one.
fn said(status: &tonic::Status) -> String {
    match std::error::Error::source(status) {
        Some(source) => crate::error_chain(source),
        None => status.message().to_owned(),
    }
}
