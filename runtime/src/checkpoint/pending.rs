//! What is owned and not known to be published.
//!
//! Every manifest names it beside the chunks of its own epoch. So checkpoints go on while a sink is down, and who goes on
//! from a checkpoint finds in one place all that it has to publish first.

use std::collections::BTreeMap;

use super::manifest::ChunkRef;
use crate::ids::Epoch;

/// Chunks that wait to be published, by epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Pending(BTreeMap<Epoch, Vec<ChunkRef>>);

impl Pending {
    /// What a checkpoint leaves to who goes on from it: of the `chunks` of its manifest those behind `committed`, the
    /// newest epoch that the log knows to be published.
    pub fn inherited(chunks: &[ChunkRef], committed: Option<Epoch>) -> Self {
        let mut pending = Self::default();
        for chunk in chunks.iter().filter(|chunk| Some(chunk.id.epoch) > committed) {
            pending.0.entry(chunk.id.epoch).or_default().push(chunk.clone());
        }
        pending
    }

    /// The epoch is owned.
    pub fn owned(&mut self, epoch: Epoch, chunks: Vec<ChunkRef>) {
        self.0.insert(epoch, chunks);
    }

    /// Everything up to `epoch` is published.
    pub fn published(&mut self, epoch: Epoch) {
        self.0 = self.0.split_off(&epoch.next());
    }

    /// The chunks that a manifest names: all that waits, and those of its own epoch; by epoch.
    pub fn and(&self, own: impl IntoIterator<Item = ChunkRef>) -> Vec<ChunkRef> {
        let mut chunks: Vec<ChunkRef> = self.0.values().flatten().cloned().chain(own).collect();
        chunks.sort_by(|a, b| (a.id.epoch, &a.id).cmp(&(b.id.epoch, &b.id)));
        chunks
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// By epoch, the order to publish them in.
    pub fn into_epochs(self) -> impl ExactSizeIterator<Item = (Epoch, Vec<ChunkRef>)> {
        self.0.into_iter()
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
            let inherited = Pending::inherited(&manifest, committed.map(Epoch));
            assert_eq!(inherited.is_empty(), left.is_empty());
            assert_eq!(epochs(inherited), left, "committed: {committed:?}");
        }
    }
}
