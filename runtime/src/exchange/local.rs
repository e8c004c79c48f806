//! Channels inside a process: batches move by pointer, and a sender waits when too many bytes are under way.

use std::sync::Arc;

pub use super::inbox::Disconnected;
use super::{
    gate::Gate,
    inbox::{Inbox, Taken, cost},
    urge::Urge,
};
use crate::element::Element;

/// The sending end of a channel.
pub struct Sender {
    inbox: Arc<Inbox>,
    channel: usize,
}

impl Sender {
    /// Sends, waiting while the channel is full.
    pub async fn send(&self, element: Element) -> Result<(), Disconnected> {
        let bytes = cost(&element);
        self.inbox.room(self.channel, bytes).await?;
        self.inbox.push(self.channel, element, bytes)
    }

    /// As [`Sender::send`], until the sending task is urged: then it waits no more.
    pub async fn send_unless_urged(&self, element: Element, urge: &Urge) -> Result<(), Disconnected> {
        let bytes = cost(&element);
        tokio::select! {
            biased;
            room = self.inbox.room(self.channel, bytes) => room?,
            () = urge.called() => {}
        }
        self.inbox.push(self.channel, element, bytes)
    }

    /// What is sent comes from another worker, where more of it waits.
    pub fn comes_from_afar(&self) {
        self.inbox.comes_from_afar(self.channel);
    }

    /// Sends what no full channel may hold up: barriers, and the end.
    pub fn push(&self, element: Element) -> Result<(), Disconnected> {
        let bytes = cost(&element);
        self.inbox.push(self.channel, element, bytes)
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.inbox.left();
    }
}

/// Channels from `senders` subtasks into one.
pub fn channels(senders: usize, exactly_once: bool) -> (Vec<Sender>, Gate) {
    let inbox = Inbox::new(senders);
    let sender = |channel| Sender { inbox: inbox.clone(), channel };
    ((0..senders).map(sender).collect(), Gate::new(inbox.clone(), senders, exactly_once))
}

/// A channel that leaves this process: what is sent on it is taken from the outbox, and carried on.
pub fn outbox() -> (Sender, Outbox) {
    let inbox = Inbox::new(1);
    (Sender { inbox: inbox.clone(), channel: 0 }, Outbox(inbox))
}

/// The taking end of a channel that leaves this process.
pub struct Outbox(Arc<Inbox>);

impl Outbox {
    /// Waits for the next element. `None`: the sender is gone. Cancel safe.
    pub async fn next(&mut self) -> Option<Element> {
        loop {
            match self.0.take() {
                Taken::Item(item) => {
                    self.0.free(&item);
                    return Some(item.element);
                }
                Taken::Gone => return None,
                Taken::Nothing => self.0.arrived().await,
            }
        }
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.0.close();
    }
}
