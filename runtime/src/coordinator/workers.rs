//! The workers of a job, as its coordinator knows them.
//!
//! They come by the [`Door`], from this process or over [`crate::link`], and are known until they are lost. What they say
//! arrives in one queue, in order.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tidegate_crds::api::WorkerStatus;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::{
    env,
    ids::Attempt,
    worker::{
        protocol::{Action, Hello, News, Notice, Order},
        supervisor::Worker,
    },
};

/// A worker whose subtasks have not ended so long after they were to is given up: whatever they still do is of an attempt
/// that can own nothing more, or of a run that does not count.
pub const LONGEST_END: Duration = Duration::from_secs(20);

/// A worker, for as long as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct WorkerId(pub u32);

/// Gives orders, and hears what comes of them.
#[derive(Debug)]
pub struct Workers {
    known: BTreeMap<WorkerId, Known>,
    heard: UnboundedReceiver<(WorkerId, Heard)>,
    /// Heard and not told yet.
    changes: VecDeque<Change>,
}

#[derive(Debug)]
struct Known {
    hello: Hello,
    /// Dropped, it ends the worker's stream.
    orders: UnboundedSender<Order>,
}

/// What came in by the door.
#[derive(Debug)]
enum Heard {
    Joined { hello: Hello, orders: UnboundedSender<Order> },
    Said(Notice),
    Lost { cause: String },
}

/// What has changed.
#[derive(Debug)]
pub enum Change {
    Joined,
    Said(WorkerId, Notice),
    Lost { worker: WorkerId, name: String, cause: String },
}

/// Where workers come in.
#[derive(Debug, Clone)]
pub struct Door {
    next: Arc<AtomicU32>,
    heard: UnboundedSender<(WorkerId, Heard)>,
}

/// A worker's own place; it is lost when the place is dropped.
#[derive(Debug)]
pub struct Desk {
    id: WorkerId,
    heard: UnboundedSender<(WorkerId, Heard)>,
    cause: String,
}

impl Door {
    /// Lets a worker in; `orders` gets what it is to do.
    pub fn join(&self, hello: Hello, orders: UnboundedSender<Order>) -> Desk {
        let id = WorkerId(self.next.fetch_add(1, Ordering::Relaxed));
        // Nobody listens any more when the job has ended; this holds for all that is said below.
        let _ended = self.heard.send((id, Heard::Joined { hello, orders }));
        Desk { id, heard: self.heard.clone(), cause: "it has ended".to_owned() }
    }

    /// Keeps a worker in this process; one that panics is lost, and another takes its place.
    pub fn keep_local(self, worker: Worker, hello: Hello) {
        let io = worker.io.clone();
        io.spawn(async move {
            while !self.heard.is_closed() {
                let ((orders, ordered), (notice, mut notices)) = (unbounded_channel(), unbounded_channel());
                let running = worker.io.spawn(worker.clone().run(ordered, notice));
                let desk = self.join(hello.clone(), orders);
                while let Some(notice) = notices.recv().await {
                    desk.said(notice);
                }
                if let Err(panic) = running.await {
                    desk.lost(panic.to_string());
                }
            }
        });
    }
}

impl Desk {
    pub fn said(&self, notice: Notice) {
        let _ended = self.heard.send((self.id, Heard::Said(notice)));
    }

    /// Leaves, with the cause.
    pub fn lost(mut self, cause: String) {
        self.cause = cause;
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _ended = self.heard.send((self.id, Heard::Lost { cause: std::mem::take(&mut self.cause) }));
    }
}

impl Workers {
    pub fn new() -> (Self, Door) {
        let (heard, hears) = unbounded_channel();
        (Self { known: BTreeMap::new(), heard: hears, changes: VecDeque::new() }, Door { next: Arc::default(), heard })
    }

    pub fn count(&self) -> usize {
        self.known.len()
    }

    /// Those who are there: who they are, and how many slots they have, by name.
    pub fn slots(&self) -> Vec<(WorkerId, u32)> {
        let mut known: Vec<(&WorkerId, &Known)> = self.known.iter().collect();
        known.sort_by_key(|(_, known)| &known.hello.name);
        known.into_iter().map(|(id, known)| (*id, known.hello.slots)).collect()
    }

    /// `host:port` of a worker's exchange.
    pub fn exchange(&self, worker: WorkerId) -> Option<String> {
        self.known.get(&worker).map(|known| known.hello.exchange.clone())
    }

    /// As the status shows them; `subtasks` tells what runs where.
    pub fn statuses(&self, subtasks: impl Fn(WorkerId) -> Vec<u32>) -> Vec<WorkerStatus> {
        let status = |(id, known): (&WorkerId, &Known)| WorkerStatus {
            name: known.hello.name.clone(),
            slots: known.hello.slots,
            subtasks: subtasks(*id),
        };
        let mut statuses: Vec<WorkerStatus> = self.known.iter().map(status).collect();
        statuses.sort_by(|a, b| a.name.cmp(&b.name));
        statuses
    }

    pub fn order(&self, worker: WorkerId, attempt: Attempt, action: Action) {
        if let Some(known) = self.known.get(&worker) {
            // One who is gone is told of by the door.
            let _gone = known.orders.send(Order { attempt, action });
        }
    }

    /// Ends an attempt, and waits until its subtasks are gone.
    pub async fn cancel(&mut self, attempt: Attempt, workers: BTreeSet<WorkerId>) {
        let mut left = workers;
        left.retain(|worker| self.known.contains_key(worker));
        for worker in &left {
            self.order(*worker, attempt, Action::Cancel);
        }
        let all_gone = async {
            while !left.is_empty() {
                match self.next().await {
                    Change::Said(worker, Notice { attempt: of, news: News::Cancelled, .. }) if of == attempt => {
                        left.remove(&worker);
                    }
                    Change::Lost { worker, .. } => {
                        left.remove(&worker);
                    }
                    Change::Joined | Change::Said(..) => {}
                }
            }
        };
        if env::within(LONGEST_END, all_gone).await.is_none() {
            for worker in left {
                if let Some(known) = self.known.remove(&worker) {
                    tracing::warn!(worker = known.hello.name, "its subtasks do not end: the worker is given up");
                }
            }
        }
    }

    /// Takes a worker for lost; whatever it still does, nobody hears of it.
    pub fn give_up(&mut self, worker: WorkerId, cause: &str) {
        self.lose(worker, cause.to_owned());
    }

    /// What happens next. Cancel safe.
    pub async fn next(&mut self) -> Change {
        loop {
            if let Some(change) = self.changes.pop_front() {
                return change;
            }
            match self.heard.recv().await {
                Some((worker, heard)) => self.take_in(worker, heard),
                // The door is gone, and all who came by it.
                None => return std::future::pending().await,
            }
        }
    }

    fn take_in(&mut self, worker: WorkerId, heard: Heard) {
        match heard {
            Heard::Joined { hello, orders } => {
                let before = self.known.iter().find(|(_, known)| known.hello.name == hello.name);
                if let Some(before) = before.map(|(id, _)| *id) {
                    self.lose(before, "another of its name has joined".to_owned());
                }
                tracing::info!(worker = hello.name, slots = hello.slots, "a worker has joined");
                self.known.insert(worker, Known { hello, orders });
                self.changes.push_back(Change::Joined);
            }
            Heard::Said(notice) if self.known.contains_key(&worker) => {
                self.changes.push_back(Change::Said(worker, notice));
            }
            Heard::Said(_) => {}
            Heard::Lost { cause } => self.lose(worker, cause),
        }
    }

    fn lose(&mut self, worker: WorkerId, cause: String) {
        if let Some(known) = self.known.remove(&worker) {
            let name = known.hello.name;
            tracing::warn!(worker = name, cause, "a worker is lost");
            self.changes.push_back(Change::Lost { worker, name, cause });
        }
    }
}
