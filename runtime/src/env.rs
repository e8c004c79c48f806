//! The only doors to time, randomness and threads.
//!
//! Everything else takes them from here, so that a simulation can put its own behind them and a clippy ban can say that
//! nobody goes around.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Milliseconds since 1970, UTC: for people, and for nothing that safety rests on.
#[allow(clippy::disallowed_methods)] // this is the door
pub fn wall_clock_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// Time that never goes back, from an arbitrary start: for intervals and timeouts.
#[allow(clippy::disallowed_methods)] // this is the door
pub fn monotonic() -> Duration {
    use std::{sync::OnceLock, time::Instant};
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

/// Waits.
#[allow(clippy::disallowed_methods)] // this is the door
pub async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// A name that no other call, process or machine gives: for records whose author must be told apart later.
pub fn unique_id() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    format!("{:016x}{:04x}", random(), COUNTER.fetch_add(1, Ordering::Relaxed) & 0xffff)
}

/// 64 bits from the operating system's randomness.
pub fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
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

/// Waits for work, at most so long.
#[allow(clippy::disallowed_methods)] // this is the door
pub async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(limit, work).await.ok()
}
