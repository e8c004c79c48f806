//! What the kernel says that a process has used.

/// Clock ticks a second, as Linux counts for user space on every architecture.
const TICKS: f64 = 100.0;

#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// Of all threads, in user space and in the kernel.
    pub cpu_seconds: f64,
    /// Largest resident set so far, in MB of a million bytes.
    pub peak_mb: f64,
    /// The process has ended and waits to be asked how.
    pub ended: bool,
}

impl Usage {
    /// Takes in what was seen later. Both figures only grow; a process that has ended no longer tells its memory.
    pub fn later(&mut self, now: Self) {
        self.cpu_seconds = self.cpu_seconds.max(now.cpu_seconds);
        self.peak_mb = self.peak_mb.max(now.peak_mb);
        self.ended = now.ended;
    }
}

/// What process `id` has used so far. A process that has ended still tells its processor time, not its memory.
pub fn of(id: u32) -> Usage {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{id}/{file}")).unwrap_or_default();
    let stat = read("stat");
    // The name, in brackets, may hold anything; the fields after it are numbered from 3 in proc(5).
    let fields: Vec<&str> = stat.rsplit_once(") ").map(|(_, rest)| rest.split(' ').collect()).unwrap_or_default();
    let ticks = |number: usize| fields.get(number - 3).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    let status = read("status");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak_kib = peak.and_then(|peak| peak.split_whitespace().next()?.parse::<f64>().ok());
    Usage {
        cpu_seconds: (ticks(14) + ticks(15)) / TICKS,
        peak_mb: peak_kib.unwrap_or(0.0) * 1024.0 / 1e6,
        ended: fields.first().is_none_or(|state| *state == "Z"),
    }
}
