//! What is owned and not known to be published.
//!
//! Every manifest names it beside what its own checkpoint adds. So checkpoints go on while a sink is down, and who goes on
//! from a checkpoint finds in one place all that it has to publish first.
//!
//! A subtask names in its share of a checkpoint every chunk that it does not know to be in a completed one: those of the
//! checkpoint's epoch, and of epochs before it that are undecided, or were given up. A chunk keeps the epoch in which it was
//! cut. So whether it is already owned is told by that alone: checkpoints complete in order, and each has all chunks of
//! epochs before it that no completed one has.

use std::collections::BTreeMap;

use super::{committed::Committed, manifest::ChunkRef};
use crate::ids::Epoch;

/// Chunks that wait to be published, by the epoch that owns them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Pending {
    waiting: BTreeMap<Epoch, Vec<ChunkRef>>,
    /// The newest epoch that is owned, and whatever was cut up to it.
    owned: Option<Epoch>,
}

impl Pending {
    /// What a checkpoint leaves to who goes on from it: of the `chunks` of its manifest those that the log does not know to
    /// be published.
    pub fn inherited(chunks: &[ChunkRef], committed: &Committed) -> Self {
        let mut pending = Self::default();
        for chunk in chunks.iter().filter(|chunk| !committed.has(&chunk.id)) {
            pending.waiting.entry(chunk.id.epoch).or_default().push(chunk.clone());
        }
        pending
    }

    /// The epoch is owned, with what its shares name; gives those chunks that were not owned before.
    pub fn owned(&mut self, epoch: Epoch, mut shares: Vec<ChunkRef>) -> &[ChunkRef] {
        shares.retain(|chunk| !self.has_owned(chunk));
        self.owned = Some(epoch);
        self.waiting.insert(epoch, shares);
        self.waiting.get(&epoch).map_or(&[], Vec::as_slice)
    }

    fn has_owned(&self, chunk: &ChunkRef) -> bool {
        Some(chunk.id.epoch) <= self.owned
    }

    /// Everything up to `epoch` is published.
    pub fn published(&mut self, epoch: Epoch) {
        self.waiting = self.waiting.split_off(&epoch.next());
    }

    /// A sink has everything up to `epoch`.
    pub fn published_to(&mut self, sink: &str, epoch: Epoch) {
        for (_, chunks) in self.waiting.range_mut(..=epoch) {
            chunks.retain(|chunk| chunk.id.sink != sink);
        }
    }

    /// The chunks that the next manifest names: all that waits, and what its shares add to what is owned; by epoch.
    pub fn and(&self, shares: impl IntoIterator<Item = ChunkRef>) -> Vec<ChunkRef> {
        let added = shares.into_iter().filter(|chunk| !self.has_owned(chunk));
        let mut chunks: Vec<ChunkRef> = self.waiting.values().flatten().cloned().chain(added).collect();
        chunks.sort_by(|a, b| (a.id.epoch, &a.id).cmp(&(b.id.epoch, &b.id)));
        chunks
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// By epoch, the order to publish them in.
    pub fn into_epochs(self) -> impl ExactSizeIterator<Item = (Epoch, Vec<ChunkRef>)> {
        self.waiting.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        checkpoint::{manifest::FileRef, store::ObjectPath},
        sink::ChunkId,
    };

    fn chunk(epoch: u64, index: u32) -> ChunkRef {
        let id = ChunkId { lineage: "l".into(), sink: "out".into(), slot: 0, epoch: Epoch(epoch), index };
        ChunkRef { rows: 1, file: FileRef::of(ObjectPath(id.to_string()), b"rows"), id }
    }

    fn epochs(pending: Pending) -> Vec<u64> {
        pending.into_epochs().map(|(epoch, _)| epoch.0).collect()
    }

    #[test]
    fn a_manifest_names_what_waits_and_its_heir_finds_it() {
        let mut pending = Pending::default();
        pending.owned(Epoch(4), vec![chunk(4, 0)]);
        pending.owned(Epoch(5), vec![chunk(5, 0), chunk(5, 1)]);
        pending.published(Epoch(4));
        let manifest = pending.and([chunk(6, 1), chunk(6, 0)]);
        assert_eq!(manifest, [chunk(5, 0), chunk(5, 1), chunk(6, 0), chunk(6, 1)]);

        for (committed, left) in [(None, vec![5, 6]), (Some(4), vec![5, 6]), (Some(5), vec![6]), (Some(6), vec![])] {
            let inherited = Pending::inherited(&manifest, &Committed::up_to(committed.map(Epoch)));
            assert_eq!(inherited.is_empty(), left.is_empty());
            assert_eq!(epochs(inherited), left, "committed: {committed:?}");
        }
    }

    #[test]
    fn what_one_sink_has_waits_for_the_other_only() {
        let to =
            |sink: &str, epoch| ChunkRef { id: ChunkId { sink: sink.into(), ..chunk(epoch, 0).id }, ..chunk(epoch, 0) };
        let mut pending = Pending::default();
        for epoch in 1..=3 {
            pending.owned(Epoch(epoch), vec![to("down", epoch), to("up", epoch)]);
        }
        pending.published_to("up", Epoch(2));
        let manifest = pending.and([]);
        assert_eq!(manifest, [to("down", 1), to("down", 2), to("down", 3), to("up", 3)]);
        let committed = Committed { all: Some(Epoch(1)), sinks: [("up".to_owned(), Epoch(3))].into() };
        assert_eq!(Pending::inherited(&manifest, &committed).and([]), [to("down", 2), to("down", 3)]);
    }

    #[test]
    fn a_chunk_of_an_undecided_epoch_is_owned_with_it_or_with_the_next_that_is() {
        // Shares of 2 and 3 were made before anybody knew what became of those before.
        let of_two = [chunk(1, 0), chunk(2, 0)];
        let of_three = [chunk(1, 0), chunk(2, 0), chunk(3, 0)];
        for (completed, named_by_two, named_by_three) in [
            // 1 completes: its chunk waits, or is published, and is no part of later ones.
            (true, vec![chunk(1, 0), chunk(2, 0)], vec![chunk(1, 0), chunk(2, 0), chunk(3, 0)]),
            // 1 is given up: its chunk goes with 2, as what it was.
            (false, vec![chunk(1, 0), chunk(2, 0)], vec![chunk(1, 0), chunk(2, 0), chunk(3, 0)]),
        ] {
            let mut pending = Pending::default();
            if completed {
                pending.owned(Epoch(1), vec![chunk(1, 0)]);
            }
            assert_eq!(pending.and(of_two.clone()), named_by_two);
            let added = pending.owned(Epoch(2), of_two.to_vec()).to_vec();
            assert_eq!(added, if completed { vec![chunk(2, 0)] } else { vec![chunk(1, 0), chunk(2, 0)] });
            assert_eq!(pending.and(of_three.clone()), named_by_three, "each once");
            pending.published(Epoch(2));
            assert_eq!(pending.and(of_three.clone()), [chunk(3, 0)], "what is published never comes back");
        }
    }
}
