//! The network: connections with latency, windows, partitions and resets, between hosts named `10.0.0.<n>`.
//!
//! What is written to one end travels in order and arrives piece by piece. A partition holds what is under way back until
//! it is over, as TCP does; a host that loses its power says nothing more, and whoever writes to it hears a reset only
//! from its next life.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::Pin,
    task::{Context, Poll, Waker},
};

use bytes::{Buf, Bytes};
use futures::{FutureExt, future::BoxFuture};
use tidegate::simulation::{Connection, Listening};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::oneshot,
};

use super::{
    doors::Inside,
    met::Kind,
    world::{Host, MILLI, Micros, Pid, SECOND, Shared, World},
};

/// Bytes that may be under way to an end, or wait there.
const WINDOW: usize = 1 << 20;
/// After which a connection that is not answered is given up.
const CONNECT_PATIENCE: Micros = 20 * SECOND;

#[derive(Default)]
pub struct Net {
    ports: BTreeMap<(Host, u16), Port>,
    connections: BTreeMap<u64, [End; 2]>,
    made: u64,
    /// From which host nothing arrives at which other, until when.
    parted: BTreeMap<(Host, Host), Micros>,
    /// Added to each latency of a link, at most.
    slowed: BTreeMap<(Host, Host), Micros>,
}

struct Port {
    pid: Pid,
    waiting: VecDeque<EndId>,
    waker: Option<Waker>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct EndId {
    connection: u64,
    side: usize,
}

struct End {
    pid: Pid,
    host: Host,
    /// Under way to this end, in order; each has an arrival in the world's queue.
    wire: VecDeque<Piece>,
    last_due: Micros,
    /// Arrived and not read.
    inbox: VecDeque<Bytes>,
    /// Bytes in both.
    held: usize,
    ended: bool,
    reset: bool,
    /// Nobody holds this end any more.
    closed: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

enum Piece {
    Bytes(Bytes),
    Fin,
}

impl End {
    fn new(pid: Pid, host: Host) -> Self {
        Self {
            pid,
            host,
            wire: VecDeque::new(),
            last_due: 0,
            inbox: VecDeque::new(),
            held: 0,
            ended: false,
            reset: false,
            closed: false,
            reader: None,
            writer: None,
        }
    }

    fn wake(&mut self) {
        [self.reader.take(), self.writer.take()].into_iter().flatten().for_each(Waker::wake);
    }
}

impl EndId {
    fn other(self) -> Self {
        Self { side: 1 - self.side, ..self }
    }
}

fn link(a: Host, b: Host) -> (Host, Host) {
    (a.min(b), a.max(b))
}

pub fn address(host: Host, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, host.0)), port)
}

impl World {
    /// Nothing arrives at one host from the other until then.
    pub fn part(&mut self, from: Host, to: Host, until: Micros) {
        self.note(format_args!("nothing arrives from {from} at {to} until {}", until / SECOND));
        let parted = self.net.parted.entry((from, to)).or_default();
        *parted = until.max(*parted);
    }

    pub fn slow(&mut self, a: Host, b: Host, most: Micros) {
        self.note(format_args!("messages between {a} and {b} take up to {} ms", most / MILLI));
        self.net.slowed.insert(link(a, b), most);
    }

    pub fn heal_links(&mut self) {
        self.net.slowed.clear();
    }

    /// Breaks a connection that both ends hold, chosen by `draw`.
    pub fn break_one(&mut self, draw: u64) {
        let open: Vec<u64> = self.net.connections.keys().copied().collect();
        let Some(connection) = open.get(draw as usize % open.len().max(1)).copied() else { return };
        self.met.note(Kind::Broken);
        self.note(format_args!("connection {connection} breaks"));
        for side in 0..2 {
            let after = self.chance.within(0..20 * MILLI);
            self.reset_after(EndId { connection, side }, after);
        }
    }

    fn parted_until(&self, from: Host, to: Host) -> Option<Micros> {
        self.net.parted.get(&(from, to)).copied().filter(|until| *until > self.now)
    }

    /// Has something arrive at a host, as soon as the way is open.
    fn travel(
        &mut self,
        due: Micros,
        (from, to): (Host, Host),
        arrival: impl FnOnce(&mut Self) -> Option<Pid> + Send + 'static,
    ) {
        self.at(due, move |world| match world.parted_until(from, to) {
            Some(until) => {
                world.travel(until, (from, to), arrival);
                None
            }
            None => arrival(world),
        });
    }

    /// How much of what could be read or written is.
    fn transfer(&mut self, most: usize) -> usize {
        if most < 2 || !self.chance.happens(self.short_transfers) {
            return most;
        }
        self.met.note(Kind::ShortTransfer);
        self.chance.within(1..most as u64) as usize
    }

    fn latency(&mut self, a: Host, b: Host) -> Micros {
        let most = self.net.slowed.get(&link(a, b)).copied().unwrap_or(2 * MILLI);
        self.chance.within(200..200 + most)
    }

    fn end(&mut self, id: EndId) -> Option<&mut End> {
        self.net.connections.get_mut(&id.connection).and_then(|ends| ends.get_mut(id.side))
    }

    /// A process is gone: what it listened on and what it held. Its peers hear of it, unless it went `silently`.
    pub fn hang_up(&mut self, pid: Pid, silently: bool) {
        self.net.ports.retain(|_, port| port.pid != pid);
        let sides = |(connection, ends): (&u64, &[End; 2])| {
            let connection = *connection;
            (0..2).filter(|side| ends[*side].pid == pid).map(|side| EndId { connection, side }).collect::<Vec<_>>()
        };
        let ends: Vec<EndId> = self.net.connections.iter().flat_map(sides).collect();
        for id in ends {
            if let Some(end) = self.end(id) {
                end.closed = true;
                end.inbox.clear();
            }
            if !silently {
                let after = self.chance.within(0..5 * MILLI);
                self.reset_after(id.other(), after);
            }
        }
    }

    fn reset_after(&mut self, id: EndId, after: Micros) {
        self.after(after, move |world| {
            let end = world.end(id)?;
            if end.closed || end.reset {
                world.tidy(id.connection);
                return None;
            }
            end.reset = true;
            end.inbox.clear();
            end.wake();
            let pid = end.pid;
            world.note(format_args!("connection {} is reset at {}", id.connection, id.side));
            Some(pid)
        });
    }

    /// Forgets a connection that nobody can use any more.
    fn tidy(&mut self, connection: u64) {
        let is_over = |end: &End| end.closed && end.wire.is_empty();
        if self.net.connections.get(&connection).is_some_and(|ends| ends.iter().all(is_over)) {
            self.net.connections.remove(&connection);
        }
    }

    /// Sends a piece on its way to an end.
    fn send(&mut self, to: EndId, piece: Piece) {
        let hosts = [self.end(to).map(|end| end.host), self.end(to.other()).map(|end| end.host)];
        let [Some(there), Some(here)] = hosts else { return };
        let due = self.now + self.latency(here, there);
        let Some(end) = self.end(to) else { return };
        if let Piece::Bytes(bytes) = &piece {
            end.held += bytes.len();
        }
        end.wire.push_back(piece);
        end.last_due = due.max(end.last_due);
        let due = end.last_due;
        self.at(due, move |world| world.arrive(to));
    }

    fn arrive(&mut self, id: EndId) -> Option<Pid> {
        let (pid, host, closed) = self.end(id).map(|end| (end.pid, end.host, end.closed))?;
        let from = self.end(id.other())?.host;
        if let Some(until) = self.parted_until(from, host) {
            self.at(until, move |world| world.arrive(id));
            return None;
        }
        let end = self.net.connections.get_mut(&id.connection)?.get_mut(id.side)?;
        let piece = end.wire.pop_front()?;
        if closed || end.reset {
            if let Piece::Bytes(bytes) = &piece {
                end.held -= bytes.len();
            }
            // A host without power answers nothing.
            if self.lives.contains_key(&host) {
                let after = self.latency(host, from);
                self.reset_after(id.other(), after);
            }
            self.tidy(id.connection);
            return None;
        }
        match piece {
            Piece::Bytes(bytes) => end.inbox.push_back(bytes),
            Piece::Fin => end.ended = true,
        }
        if let Some(reader) = end.reader.take() {
            reader.wake();
        }
        self.note(format_args!("{from} -> {host} on {}", id.connection));
        Some(pid)
    }

    /// Somebody knocks; `answer` hears what came of it.
    fn knock(
        &mut self,
        inside: Inside,
        to: (Host, u16),
        answer: oneshot::Sender<Result<u64, io::ErrorKind>>,
    ) -> Option<Pid> {
        if let Some(until) = self.parted_until(inside.host, to.0) {
            self.at(until, move |world| world.knock(inside, to, answer));
            return None;
        }
        let back = self.latency(to.0, inside.host);
        let pid = inside.pid;
        let connection = self.net.made + 1;
        let told = match self.net.ports.get_mut(&to) {
            Some(port) => {
                self.net.made = connection;
                let (server, waker) = (port.pid, port.waker.take());
                port.waiting.push_back(EndId { connection, side: 1 });
                let ends = [End::new(pid, inside.host), End::new(server, to.0)];
                self.net.connections.insert(connection, ends);
                if let Some(waker) = waker {
                    waker.wake();
                }
                let host = inside.host;
                self.note(format_args!("{host} connects to {}:{} by {connection}", to.0, to.1));
                let back = self.now.saturating_add(back);
                self.travel(back, (to.0, host), move |world| {
                    if answer.send(Ok(connection)).is_ok() {
                        return Some(pid);
                    }
                    // Who asked has given up: nobody holds that end.
                    world.close(EndId { connection, side: 0 });
                    None
                });
                return Some(server);
            }
            // Nobody is there to refuse.
            None if !self.lives.contains_key(&to.0) => (CONNECT_PATIENCE, io::ErrorKind::TimedOut),
            None => (back, io::ErrorKind::ConnectionRefused),
        };
        self.after(told.0, move |_| answer.send(Err(told.1)).is_ok().then_some(pid));
        None
    }

    /// The process lets go of an end.
    fn close(&mut self, id: EndId) {
        let Some(end) = self.end(id) else { return };
        if end.closed {
            return;
        }
        end.closed = true;
        let has_said_all = end.reset;
        if !has_said_all {
            self.send(id.other(), Piece::Fin);
        }
        self.tidy(id.connection);
    }
}

pub fn listen(inside: &Inside, wanted: SocketAddr) -> io::Result<Listener> {
    let key = (inside.host, wanted.port());
    let mut world = inside.world.lock();
    if world.net.ports.contains_key(&key) {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    world.net.ports.insert(key, Port { pid: inside.pid, waiting: VecDeque::new(), waker: None });
    Ok(Listener { world: inside.world.clone(), key })
}

pub async fn connect(inside: Inside, to: String) -> io::Result<Stream> {
    let address: SocketAddr =
        to.parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, format!("`{to}` is no address here")))?;
    let IpAddr::V4(ip) = address.ip() else { return Err(io::ErrorKind::Unsupported.into()) };
    let to = (Host(ip.octets()[3]), address.port());
    let world = inside.world.clone();
    let answered = {
        let (answer, answered) = oneshot::channel();
        let mut world = world.lock();
        let latency = world.latency(inside.host, to.0);
        world.after(latency, move |world| world.knock(inside, to, answer));
        answered
    };
    match answered.await {
        Ok(Ok(connection)) => Ok(Stream { world, id: EndId { connection, side: 0 } }),
        Ok(Err(kind)) => Err(kind.into()),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

pub struct Listener {
    world: Shared,
    key: (Host, u16),
}

impl Listening for Listener {
    fn address(&self) -> SocketAddr {
        address(self.key.0, self.key.1)
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<Box<dyn Connection>>> {
        let (world, key) = (self.world.clone(), self.key);
        std::future::poll_fn(move |context| {
            let mut locked = world.lock();
            let Some(port) = locked.net.ports.get_mut(&key) else {
                return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
            };
            match port.waiting.pop_front() {
                Some(id) => Poll::Ready(Ok(Box::new(Stream { world: world.clone(), id }) as Box<dyn Connection>)),
                None => {
                    port.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .boxed()
    }
}

/// One end, held by its process.
pub struct Stream {
    world: Shared,
    id: EndId,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.world.lock().close(self.id);
    }
}

fn reset<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut world = self.world.lock();
        let Some(end) = world.end(self.id) else { return reset() };
        if end.reset {
            return reset();
        }
        let most = end.inbox.front().map_or(0, Bytes::len).min(buffer.remaining());
        let taken = world.transfer(most);
        let Some(end) = world.end(self.id) else { return reset() };
        let Some(bytes) = end.inbox.front_mut() else {
            if end.ended {
                return Poll::Ready(Ok(()));
            }
            end.reader = Some(context.waker().clone());
            return Poll::Pending;
        };
        buffer.put_slice(&bytes[..taken]);
        bytes.advance(taken);
        if bytes.is_empty() {
            end.inbox.pop_front();
        }
        end.held -= taken;
        let other = self.id.other();
        if let Some(writer) = world.end(other).and_then(|peer| peer.writer.take()) {
            // The window opens a little later, as its news has to travel.
            let after = 500;
            world.after(after, move |world| {
                writer.wake();
                world.end(other).map(|end| end.pid)
            });
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut world = self.world.lock();
        let other = self.id.other();
        match world.end(self.id) {
            Some(end) if !end.reset => {}
            _ => return reset(),
        }
        let Some(peer) = world.end(other) else { return reset() };
        if peer.held >= WINDOW {
            if let Some(end) = world.end(self.id) {
                end.writer = Some(context.waker().clone());
            }
            return Poll::Pending;
        }
        let taken = world.transfer(bytes.len());
        world.send(other, Piece::Bytes(Bytes::copy_from_slice(&bytes[..taken])));
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut world = self.world.lock();
        if world.end(self.id).is_some_and(|end| !end.reset) {
            world.send(self.id.other(), Piece::Fin);
        }
        Poll::Ready(Ok(()))
    }
}
