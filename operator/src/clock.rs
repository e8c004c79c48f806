//! The operator's doors to time.

use std::{
    sync::OnceLock,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Seconds since 1970, UTC.
#[allow(clippy::disallowed_methods)] // this is the door
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Runs to its end, and says how long that took.
pub async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let started = monotonic();
    let result = work.await;
    (result, monotonic().saturating_sub(started))
}

/// Time that never goes back, from an arbitrary start.
#[allow(clippy::disallowed_methods)] // this is the door
pub fn monotonic() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

/// What comes of it, if it does in time.
pub async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(limit, work).await.ok()
}

/// Waits.
#[allow(clippy::disallowed_methods)] // this is the door
pub async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// A number from 0 to 1 that differs from call to call: for pauses that should not fall together.
pub fn jitter() -> f64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let random = RandomState::new().build_hasher().finish();
    (random >> 11) as f64 / (1_u64 << 53) as f64
}
