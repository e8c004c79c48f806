//! The world as one process sees it.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use tidegate::{
    checkpoint::store::Store,
    simulation::{Connection, Doors, Listening},
};
use tokio::sync::oneshot;

use super::{
    disk, net,
    places::Death,
    process::Idle,
    store::StoreAt,
    world::{Host, Micros, Pid, Shared},
};

/// 2026-01-01: where wall clocks begin.
pub const START_MS: u64 = 1_767_225_600_000;

#[derive(Debug, Clone)]
pub struct Inside {
    pub world: Shared,
    pub host: Host,
    pub pid: Pid,
    /// When the process began.
    pub born: Micros,
    pub pace: Pace,
    /// Its local disk, a folder of the run's.
    pub disk: PathBuf,
    pub idle: Arc<Idle>,
}

/// How fast rows get on in a process.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How long a batch keeps a task busy.
    pub labour: Duration,
    /// How much a channel takes.
    pub channel_bytes: usize,
    /// Rows that a chunk for a sink takes: what is more is written ahead of its barrier.
    pub chunk_rows: usize,
    /// Keys that are handed over to a table on the local disk at once.
    pub unwritten_keys: usize,
    /// The longest until a step is done that is done beside a task.
    pub beside: Duration,
}

impl Doors for Inside {
    fn wall_clock_ms(&self) -> u64 {
        let world = self.world.lock();
        let ahead = world.clocks.get(&self.host).copied().unwrap_or_default();
        (START_MS + world.now / 1000).saturating_add_signed(ahead)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.world.lock().now - self.born)
    }

    fn random(&self) -> u64 {
        self.world.lock().chance.draw()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.world.clone().sleep(self.pid, duration).boxed()
    }

    fn labour(&self) -> Duration {
        self.pace.labour
    }

    fn strike(&self, subtask: &str) -> BoxFuture<'static, ()> {
        let (strike, struck) = oneshot::channel();
        self.world.lock().strikes.insert((self.pid, subtask.to_owned()), strike);
        async {
            if struck.await.is_err() {
                std::future::pending::<()>().await;
            }
        }
        .boxed()
    }

    fn reach(&self, place: &'static str) {
        {
            let mut world = self.world.lock();
            let Some(crash) = world.reach(self.pid, place) else { return };
            // What unwinds drops what it holds, which no killed process does.
            world.death = Some(Death { crash, disk_is_away: disk::take(&self.disk) });
        }
        self.idle.die();
        std::panic::resume_unwind(Box::new(place));
    }

    fn chunk_rows(&self) -> usize {
        self.pace.chunk_rows
    }

    fn unwritten_keys(&self) -> usize {
        self.pace.unwritten_keys
    }

    fn beside(&self) -> Duration {
        let longest = self.pace.beside.as_micros() as Micros;
        Duration::from_micros(self.world.lock().chance.within(0..longest + 1))
    }

    fn channel_bytes(&self) -> usize {
        self.pace.channel_bytes
    }

    fn store(&self, address: &str) -> Arc<dyn Store> {
        Arc::new(StoreAt::at(self.world.clone(), self.pid, address))
    }

    fn listen(&self, address: SocketAddr) -> io::Result<Box<dyn Listening>> {
        Ok(Box::new(net::listen(self, address)?))
    }

    fn connect(&self, address: &str) -> BoxFuture<'static, io::Result<Box<dyn Connection>>> {
        let connected = net::connect(self.clone(), address.to_owned());
        async { Ok(Box::new(connected.await?) as Box<dyn Connection>) }.boxed()
    }
}
