//! What a log knows to be published.
//!
//! Every sink publishes by itself, so while one is down others go on. What all of them have is one epoch. What a single
//! sink has beyond that is noted, too: a sink that knows repeats only for a while must not be sent epochs again for as long
//! as another is down. It is noted in steps, so that sinks that keep up add nothing to the log.

use std::collections::BTreeMap;

use crate::{ids::Epoch, sink::ChunkId};

/// A sink's progress is noted when it is so many epochs ahead of what the log has of it.
pub const STEP: u64 = 8;

/// What is published.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Committed {
    /// Every sink has everything up to this epoch.
    pub all: Option<Epoch>,
    /// What single sinks have beyond that.
    pub sinks: BTreeMap<String, Epoch>,
}

impl Committed {
    /// All sinks have everything up to `epoch`.
    pub fn up_to(epoch: Option<Epoch>) -> Self {
        Self { all: epoch, sinks: BTreeMap::new() }
    }

    /// Whether a chunk is known to be there.
    pub fn has(&self, id: &ChunkId) -> bool {
        Some(id.epoch) <= self.of(&id.sink)
    }

    /// The newest epoch that a sink is known to have.
    pub fn of(&self, sink: &str) -> Option<Epoch> {
        self.all.max(self.sinks.get(sink).copied())
    }

    /// All sinks have this epoch.
    pub fn publish(&mut self, epoch: Epoch) {
        self.all = self.all.max(Some(epoch));
        self.sinks.retain(|_, of| *of > epoch);
    }

    /// One sink has this epoch.
    pub fn publish_to(&mut self, sink: &str, epoch: Epoch) {
        if Some(epoch) > self.of(sink) {
            self.sinks.insert(sink.to_owned(), epoch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sink_has_what_all_have_and_what_it_has_itself() {
        let mut committed = Committed::default();
        committed.publish_to("fast", Epoch(9));
        committed.publish_to("fast", Epoch(8));
        committed.publish(Epoch(3));
        let chunk = |sink: &str, epoch| ChunkId {
            lineage: "l".into(),
            sink: sink.into(),
            slot: 0,
            epoch: Epoch(epoch),
            index: 0,
        };
        for (sink, epoch, has) in
            [("fast", 9, true), ("fast", 10, false), ("slow", 3, true), ("slow", 4, false), ("other", 3, true)]
        {
            assert_eq!(committed.has(&chunk(sink, epoch)), has, "{sink} {epoch}");
        }
        committed.publish(Epoch(9));
        assert_eq!(committed, Committed::up_to(Some(Epoch(9))), "what all have is not told twice");
    }
}
