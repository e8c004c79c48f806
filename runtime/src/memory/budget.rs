//! What state keeps in memory, counted, and who has to give way.
//!
//! Everybody who keeps state holds a [`Share`] and says how much it is. As long as all together are within the budget
//! nobody has to care. When they are not, those with more than an even share have to give some back: so one that needs
//! much may use what the others leave, and one that needs little is never asked.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Bytes for the state of one process. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Budget {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    bytes: u64,
    used: AtomicU64,
    shares: AtomicU64,
}

impl Budget {
    pub fn new(bytes: u64) -> Self {
        Self { inner: Arc::new(Inner { bytes, used: AtomicU64::new(0), shares: AtomicU64::new(0) }) }
    }

    /// A share that uses nothing yet.
    pub fn share(&self) -> Share {
        self.inner.shares.fetch_add(1, Ordering::Relaxed);
        Share { budget: self.clone(), used: 0 }
    }

    /// How many bytes are used.
    pub fn used(&self) -> u64 {
        self.inner.used.load(Ordering::Relaxed)
    }

    /// How many bytes there are for all.
    pub fn bytes(&self) -> u64 {
        self.inner.bytes
    }

    /// The bytes that each share would have if all had the same.
    pub fn even(&self) -> u64 {
        self.inner.bytes / self.inner.shares.load(Ordering::Relaxed).max(1)
    }
}

/// What one operator's subtask keeps in memory.
#[derive(Debug)]
pub struct Share {
    budget: Budget,
    used: u64,
}

impl Share {
    /// Notes that its owner keeps so many bytes now.
    pub fn set(&mut self, bytes: u64) {
        let used = &self.budget.inner.used;
        if bytes > self.used {
            used.fetch_add(bytes - self.used, Ordering::Relaxed);
        } else {
            used.fetch_sub(self.used - bytes, Ordering::Relaxed);
        }
        self.used = bytes;
    }

    /// See [`Budget::even`].
    pub fn even(&self) -> u64 {
        self.budget.even()
    }

    /// Whether its owner has to give some back.
    pub fn is_over(&self) -> bool {
        let inner = &self.budget.inner;
        inner.used.load(Ordering::Relaxed) > inner.bytes && self.used > self.even()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
        self.budget.inner.shares.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_more_than_an_even_share_gives_way_when_all_have_too_much() {
        let budget = Budget::new(100);
        let (mut large, mut small) = (budget.share(), budget.share());
        large.set(90);
        small.set(10);
        assert!(!large.is_over() && !small.is_over(), "what the others leave may be used");
        small.set(20);
        assert!(large.is_over() && !small.is_over());
        large.set(60);
        assert!(!large.is_over());
        drop(small);
        large.set(100);
        assert!(!large.is_over() && budget.even() == 100, "a share that is gone uses nothing");
    }
}
