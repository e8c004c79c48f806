//! What a simulation puts behind the doors: [`crate::env`] for time and randomness, [`crate::net`] for the network.
//!
//! A simulation runs the processes of a job on one thread, in turns. While one has its turn it is the one that
//! [`enter`]ed, and whatever its code asks a door is answered by its [`Doors`]. Threads know nothing of each other: two
//! simulations, and tests beside them, may run at the same time.

use std::{cell::RefCell, io, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::checkpoint::store::Store;

/// The world, as one process sees it.
pub trait Doors {
    /// This process's, which may be wrong and may jump.
    fn wall_clock_ms(&self) -> u64;

    fn monotonic(&self) -> Duration;

    fn random(&self) -> u64;

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;

    /// How long a batch keeps a task busy that reads from an exchange.
    fn labour(&self) -> Duration;

    /// Comes when the subtask of this name, in this process, is to fail.
    fn strike(&self, subtask: &str) -> BoxFuture<'static, ()>;

    /// The process is at this place of [`crate::fault::PLACES`]. Where it is to die there this unwinds, and no task of it
    /// gets a turn any more.
    fn reach(&self, place: &'static str);

    /// Most rows of one chunk for a sink.
    fn chunk_rows(&self) -> usize;

    /// Most keys that are handed over to a table on the local disk at once.
    fn unwritten_keys(&self) -> usize;

    /// How long it takes until a step is done that is done beside a task.
    fn beside(&self) -> Duration;

    /// How much a channel takes before its sender waits.
    fn channel_bytes(&self) -> usize;

    /// The checkpoint storage at an address that a person writes.
    fn store(&self, address: &str) -> Arc<dyn Store>;

    fn listen(&self, address: SocketAddr) -> io::Result<Box<dyn Listening>>;

    /// To `host:port`.
    fn connect(&self, address: &str) -> BoxFuture<'static, io::Result<Box<dyn Connection>>>;
}

/// A port that is listened on.
pub trait Listening: Send + Sync {
    fn address(&self) -> SocketAddr;

    fn accept(&mut self) -> BoxFuture<'_, io::Result<Box<dyn Connection>>>;
}

/// One end of a connection.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

thread_local! {
    static INSIDE: RefCell<Option<Rc<dyn Doors>>> = const { RefCell::new(None) };
}

/// A process has its turn until this is dropped.
#[must_use]
pub struct Turn(Option<Rc<dyn Doors>>);

impl Drop for Turn {
    fn drop(&mut self) {
        INSIDE.set(self.0.take());
    }
}

pub fn enter(doors: Rc<dyn Doors>) -> Turn {
    Turn(INSIDE.replace(Some(doors)))
}

/// Whether this thread runs a simulated process.
pub fn is_inside() -> bool {
    INSIDE.with_borrow(Option::is_some)
}

/// What the process's doors answer; nothing outside a simulation.
pub(crate) fn ask<T>(question: impl FnOnce(&dyn Doors) -> T) -> Option<T> {
    let doors = INSIDE.with_borrow(Option::clone);
    doors.map(|doors| question(doors.as_ref()))
}
