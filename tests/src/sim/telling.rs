//! The engine's log of a run that is told, in virtual time.

use std::fmt;

use tracing::subscriber::DefaultGuard;
use tracing_subscriber::{
    EnvFilter,
    fmt::{format::Writer, time::FormatTime},
};

use super::world::Shared;

struct VirtualTime(Shared);

impl FormatTime for VirtualTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let now = self.0.lock().now;
        write!(writer, "{:>4}.{:06}", now / 1_000_000, now % 1_000_000)
    }
}

/// Shows what this thread logs, until the guard is dropped; `TIDEGATE_LOG` says how much.
pub fn tell(world: Shared) -> DefaultGuard {
    let filter = EnvFilter::try_from_env("TIDEGATE_LOG").unwrap_or_else(|_| EnvFilter::new("tidegate=debug"));
    let subscriber = tracing_subscriber::fmt()
        .with_timer(VirtualTime(world))
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .finish();
    tracing::subscriber::set_default(subscriber)
}
