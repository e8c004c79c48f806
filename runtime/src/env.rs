//! The only doors to time, randomness and threads.
//!
//! Everything else takes them from here, so that a simulation can put its own behind them and a clippy ban can say that
//! nobody goes around.

use std::{
    panic::resume_unwind,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::task::{JoinError, JoinSet};

#[cfg(any(test, feature = "test-util"))]
use crate::simulation;

pub use self::line::Line;

mod line;

/// Milliseconds since 1970, UTC: for people, and for nothing that safety rests on.
#[allow(clippy::disallowed_methods)] // this is the door
pub fn wall_clock_ms() -> u64 {
    #[cfg(any(test, feature = "test-util"))]
    if let Some(now) = simulation::ask(|doors| doors.wall_clock_ms()) {
        return now;
    }
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// Time that never goes back, from an arbitrary start: for intervals and timeouts.
#[allow(clippy::disallowed_methods)] // this is the door
pub fn monotonic() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    #[cfg(any(test, feature = "test-util"))]
    if let Some(now) = simulation::ask(|doors| doors.monotonic()) {
        return now;
    }
    START.get_or_init(Instant::now).elapsed()
}

/// Waits.
#[allow(clippy::disallowed_methods)] // this is the door
pub async fn sleep(duration: Duration) {
    #[cfg(any(test, feature = "test-util"))]
    if let Some(over) = simulation::ask(|doors| doors.sleep(duration)) {
        return over.await;
    }
    tokio::time::sleep(duration).await;
}

/// Blocks this thread: not for slots, nor for the runtime's own.
#[allow(clippy::disallowed_methods)] // this is the door
pub fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

/// A name that no other call, process or machine gives: for records whose author must be told apart later.
pub fn unique_id() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    #[cfg(any(test, feature = "test-util"))]
    if let Some(drawn) = simulation::ask(|doors| doors.random()) {
        return format!("{drawn:016x}");
    }
    format!("{:016x}{:04x}", random(), COUNTER.fetch_add(1, Ordering::Relaxed) & 0xffff)
}

/// 64 bits from the operating system's randomness.
pub fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    #[cfg(any(test, feature = "test-util"))]
    if let Some(drawn) = simulation::ask(|doors| doors.random()) {
        return drawn;
    }
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u64(wall_clock_ms());
    hasher.write_u64(monotonic().as_nanos() as u64);
    hasher.finish()
}

/// A thread of its own for `work`.
#[allow(clippy::disallowed_methods)] // this is the door
pub fn spawn_thread<F>(name: &str, work: F) -> std::io::Result<std::thread::JoinHandle<()>>
where
    F: FnOnce() + Send + 'static,
{
    std::thread::Builder::new().name(name.to_owned()).spawn(work)
}

/// Has all of `work` done at the same time, by threads of their own, and waits for it: for what waits for a disk. What they
/// return is in the order of the work.
pub fn side_by_side<T: Send>(
    name: &str,
    work: impl Iterator<Item = impl FnOnce() -> T + Send>,
) -> std::io::Result<Vec<T>> {
    #[cfg(any(test, feature = "test-util"))]
    if simulation::is_inside() {
        return Ok(work.map(|work| work()).collect());
    }
    std::thread::scope(|scope| {
        let start = |work| std::thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, work);
        let threads = work.map(start).collect::<std::io::Result<Vec<_>>>()?;
        Ok(threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect())
    })
}

/// Waits for work, at most so long.
#[allow(clippy::disallowed_methods)] // this is the door
pub async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    #[cfg(any(test, feature = "test-util"))]
    if let Some(over) = simulation::ask(|doors| doors.sleep(limit)) {
        return tokio::select! {
            biased;
            done = work => Some(done),
            () = over => None,
        };
    }
    tokio::time::timeout(limit, work).await.ok()
}

/// Has `work` that keeps a thread busy done on one of the pool's.
pub fn spawn_busy<T: Send + 'static>(tasks: &mut JoinSet<T>, work: impl FnOnce() -> T + Send + 'static) {
    #[cfg(any(test, feature = "test-util"))]
    if simulation::is_inside() {
        tasks.spawn(async move { work() });
        return;
    }
    tasks.spawn_blocking(work);
}

/// As [`spawn_busy`], and waits for it. Fails if it panics.
pub async fn busy<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
    #[cfg(any(test, feature = "test-util"))]
    if simulation::is_inside() {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await
}

/// Whether libraries may have threads of their own, which work when they like. In a simulation whatever they would do has
/// to be asked for.
pub fn may_work_beside() -> bool {
    #[cfg(any(test, feature = "test-util"))]
    if simulation::is_inside() {
        return false;
    }
    true
}
