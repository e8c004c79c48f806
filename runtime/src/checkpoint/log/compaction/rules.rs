//! What RFC 0014 rests on, each as one rule that can be left out.

/// A rule that a run may leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The heads of segments stay as long as their attempt.
    KeepHeads,
    /// A record goes when the second head behind it is there, not the next one.
    SecondHead,
    /// What a reader goes back to stays.
    KeepCheckpoint,
    /// The first record of a block's head stays for ever.
    KeepBlocks,
    /// An attempt goes when the second block behind its own has begun, not the next one.
    SecondBlock,
    /// Who has read looks at the witnesses of what it found.
    LookAfterRead,
    /// Who has appended looks at the attempt's witness.
    LookAfterAppend,
    /// So does one who has begun an attempt.
    LookAfterBegin,
}
