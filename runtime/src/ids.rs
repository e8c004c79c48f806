//! Counters and names that must not be mixed up, each a type of its own.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// The largest is followed by itself: nobody counts so far, but damaged bytes may name it.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

counter!(
    /// Number of a checkpoint. Grows over the whole life of a job, over attempts and restores; the first is 1.
    Epoch(u64)
);
counter!(
    /// Number of a claim of the job: each owner has its own, the first is 1.
    Attempt(u64)
);
counter!(
    /// Place of a record in an attempt's log; the first is 0.
    Seq(u64)
);
counter!(
    /// Version of the job's spec; a coordinator never takes a job from a higher one.
    Revision(u64)
);
counter!(
    /// Which of the parallel instances of an operator, from 0.
    SubtaskIndex(u32)
);
counter!(
    /// Subtasks that restart together, from 0: see [`crate::worker::regions`].
    RegionId(u32)
);
counter!(
    /// One deployment of a region within an attempt. Grows over all regions of the attempt; the first is 1.
    Run(u64)
);

/// Name of an operator in the stream graph, made of names in the document and the SQL, never of positions. A label: state
/// finds its operator by how that is written (see [`crate::checkpoint::manifest::WrittenAs`]).
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OperatorId(pub String);

impl fmt::Display for OperatorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An instant of event time: milliseconds since 1970, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventTime(pub i64);

impl EventTime {
    /// Before every event.
    pub const MIN: Self = Self(i64::MIN);
    /// After every event: the end of a bounded stream.
    pub const MAX: Self = Self(i64::MAX);
}
