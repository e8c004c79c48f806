//! What the protocol rests on, each as one rule that can be left out; RFC 0001 gives the reasons.

use super::properties::{IN_ORDER, NO_GAP, ON_CHAIN, ONE_CHAIN};

/// A rule that a run may leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Who claims ends the last attempt before it begins its own.
    Seal,
    /// A create without an answer is not known to be done before it was seen.
    ReadBack,
    /// An attempt counts on from the epoch that it goes on from.
    Numbers,
    /// Rows go out when their epoch is owned.
    OwnFirst,
    /// A manifest names all that waits to be published.
    CarryPending,
    /// A share names the chunks of epochs before it that are undecided or were given up.
    CarryUndecided,
    /// A chunk keeps the number of its first cut.
    KeepNumbers,
    /// Checkpoints complete in the order of their epochs.
    CompleteInOrder,
    /// What was owned before is published before the attempt runs.
    Settle,
    /// An epoch is noted as published when it is.
    NotePublished,
    /// The epochs of an attempt are published one after the other.
    InOrder,
    /// The broker refuses the commit of a producer whose id was taken.
    Fence,
    /// A chunk that the marker covers is not written again.
    Marker,
    /// The marker is read when the id is taken, not before.
    ReadAfterInit,
    /// After a commit without an answer the marker is read again.
    LookAgain,
}

/// Every rule, and the damage that is done without it.
pub const MUTATIONS: [(Rule, &str); 15] = [
    (Rule::Seal, ON_CHAIN),
    (Rule::ReadBack, ON_CHAIN),
    (Rule::Numbers, ON_CHAIN),
    (Rule::OwnFirst, ON_CHAIN),
    (Rule::CarryPending, NO_GAP),
    (Rule::CarryUndecided, NO_GAP),
    (Rule::KeepNumbers, IN_ORDER),
    (Rule::CompleteInOrder, ONE_CHAIN),
    (Rule::Settle, NO_GAP),
    (Rule::NotePublished, NO_GAP),
    (Rule::InOrder, NO_GAP),
    (Rule::Fence, IN_ORDER),
    (Rule::Marker, IN_ORDER),
    (Rule::ReadAfterInit, IN_ORDER),
    (Rule::LookAgain, IN_ORDER),
];
