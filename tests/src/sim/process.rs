//! A process: a runtime that gets the thread when something concerns it.

use std::{
    future::Future,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use tidegate::simulation::{self, Doors};
use tokio::{
    runtime::{Builder, LocalOptions, LocalRuntime},
    task::{JoinError, JoinHandle},
};

use super::doors::Inside;

pub struct Process {
    pub inside: Inside,
    runtime: LocalRuntime,
    doors: Rc<dyn Doors>,
    idle: Arc<Idle>,
    main: JoinHandle<String>,
}

/// Told by the runtime when no task of it can go on, and by a process that has died in its turn.
#[derive(Debug, Default)]
pub struct Idle {
    is_idle: AtomicBool,
    is_dead: AtomicBool,
    waits: Mutex<Option<Waker>>,
}

impl Process {
    /// Begins to run `main`, which ends with its last word.
    pub fn start(inside: Inside, main: impl Future<Output = String> + 'static) -> Self {
        let idle = inside.idle.clone();
        let told = idle.clone();
        let runtime = Builder::new_current_thread()
            // Nothing of a process waits for real time; libraries look whether they could.
            .enable_time()
            // So that a crash can come after any poll of any task.
            .event_interval(1)
            .on_thread_park(move || told.tell())
            .build_local(LocalOptions::default())
            .expect("a runtime without drivers");
        let doors: Rc<dyn Doors> = Rc::new(inside.clone());
        let main = {
            let _turn = simulation::enter(doors.clone());
            runtime.spawn_local(main)
        };
        Self { inside, runtime, doors, idle, main }
    }

    /// Lets all tasks run until none can go on. Gives the last word of a process that has ended.
    pub fn run(&mut self) -> Option<Result<String, JoinError>> {
        let _turn = simulation::enter(self.doors.clone());
        self.runtime.block_on(UntilIdle(&self.idle));
        self.main.is_finished().then(|| self.runtime.block_on(&mut self.main))
    }

    /// Lets so many more polls of its tasks take place.
    pub fn stagger(&mut self, polls: u64) {
        let _turn = simulation::enter(self.doors.clone());
        self.runtime.block_on(Polls { left: polls, idle: &self.idle });
    }

    /// Dies where it stands. The world must know already that it does not live.
    pub fn die(self) {
        let _turn = simulation::enter(self.doors.clone());
        drop(self.main);
        drop(self.runtime);
    }
}

impl Idle {
    fn tell(&self) {
        self.is_idle.store(true, Ordering::Relaxed);
        self.wake();
    }

    /// No task goes on any more: when the one that says so has ended, so has the turn.
    pub fn die(&self) {
        self.is_dead.store(true, Ordering::Relaxed);
        self.wake();
    }

    fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::Relaxed)
    }

    fn wake(&self) {
        if let Some(waits) = self.waits.lock().unwrap_or_else(PoisonError::into_inner).take() {
            waits.wake();
        }
    }
}

struct UntilIdle<'a>(&'a Idle);

impl Future for UntilIdle<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.0.is_idle.swap(false, Ordering::Relaxed) || self.0.is_dead() {
            return Poll::Ready(());
        }
        *self.0.waits.lock().unwrap_or_else(PoisonError::into_inner) = Some(context.waker().clone());
        Poll::Pending
    }
}

/// Ready when so many tasks have been polled.
struct Polls<'a> {
    left: u64,
    idle: &'a Idle,
}

impl Future for Polls<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.left == 0 || self.idle.is_dead() {
            return Poll::Ready(());
        }
        self.left -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
