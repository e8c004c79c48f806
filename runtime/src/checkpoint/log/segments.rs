//! What of a log may be deleted, so that it does not grow for ever and still decides.
//!
//! Names decide: of several creates of one, one wins. A record that is deleted frees its name, and whoever was asleep may
//! create it again. So a few records stay, which tell that others may be gone: the places of an attempt are cut into
//! segments, and the first place of each, its *head*, stays as long as the attempt; attempts are cut into blocks, and the
//! first record of a block's head stays for ever. A record goes when the second head behind it is there, and an attempt
//! when the second block behind its own has begun. That head is its [witness](Spans::witness): **where the witness is not
//! in the log, the place was never deleted.** Whoever rests on a place looks at the witness afterwards.
//!
//! RFC 0014 has the reasons, and `compaction.rs` the proof.

use crate::ids::{Attempt, Seq};

/// Where a record is.
pub type Place = (Attempt, Seq);

/// How much goes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Spans {
    /// Places of an attempt in a segment.
    pub segment: u64,
    /// Attempts in a block.
    pub block: u64,
}

impl Spans {
    /// Part of the format: who counts by others takes what is deleted for what was never there.
    pub const FORMAT: Self = Self { segment: 1024, block: 1024 };

    /// How many records an owner writes behind its newest checkpoint at most, so that what a reader needs lies in two
    /// segments.
    pub const MOST_NOTES: u64 = 1000;

    /// The place that has a record before the one at `place` is deleted, as long as the attempt is there.
    pub fn witness(self, (attempt, seq): Place) -> Place {
        (attempt, Seq((seq.0 / self.segment + 2) * self.segment))
    }

    /// The place that has a record, for ever, before anything of the attempt is deleted as a whole.
    pub fn witness_of_attempt(self, attempt: Attempt) -> Place {
        (Attempt((attempt.0 / self.block + 2) * self.block), Seq(0))
    }

    /// Below this place of an attempt whose newest record is at `last`, and its newest checkpoint at `checkpoint`,
    /// everything but heads may be deleted.
    pub fn deletable_below(self, last: Seq, checkpoint: Option<Seq>) -> Seq {
        let by_heads = (last.0 / self.segment).saturating_sub(1) * self.segment;
        // Without a checkpoint all of it is read.
        Seq(checkpoint.map_or(0, |checkpoint| checkpoint.0.min(by_heads)))
    }

    /// Attempts below this one may be deleted, but for the first records of those that head a block.
    pub fn deletable_attempts_below(self, newest: Attempt) -> Attempt {
        Attempt((newest.0 / self.block).saturating_sub(1) * self.block)
    }

    pub fn is_head(self, seq: Seq) -> bool {
        seq.0.is_multiple_of(self.segment)
    }

    pub fn heads_block(self, attempt: Attempt) -> bool {
        attempt.0.is_multiple_of(self.block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPANS: Spans = Spans { segment: 4, block: 3 };

    #[test]
    fn what_may_be_deleted_has_its_witness_in_the_log() {
        for last in 0..40 {
            let below = SPANS.deletable_below(Seq(last), Some(Seq(last)));
            for seq in (0..below.0).map(Seq) {
                let (_, witness) = SPANS.witness((Attempt(1), seq));
                assert!(witness.0 <= last && SPANS.is_head(witness), "{seq} of {last}");
            }
            let (_, witness) = SPANS.witness((Attempt(1), below));
            assert!(witness.0 > last || below.0 == last, "{below} might go, and {last} is there");
        }
        for newest in (0..20).map(Attempt) {
            let below = SPANS.deletable_attempts_below(newest);
            for attempt in (0..below.0).map(Attempt) {
                let (witness, seq) = SPANS.witness_of_attempt(attempt);
                assert!(witness <= newest && SPANS.heads_block(witness) && seq == Seq(0), "{attempt} of {newest}");
            }
            assert!(SPANS.witness_of_attempt(below).0 > newest);
        }
    }

    #[test]
    fn nothing_goes_that_a_reader_needs() {
        assert_eq!(SPANS.deletable_below(Seq(100), None), Seq(0));
        assert_eq!(SPANS.deletable_below(Seq(100), Some(Seq(7))), Seq(7));
        assert_eq!(SPANS.deletable_below(Seq(100), Some(Seq(99))), Seq(96));
        assert_eq!(SPANS.deletable_below(Seq(7), Some(Seq(7))), Seq(0));
        assert_eq!(SPANS.deletable_below(Seq(8), Some(Seq(8))), Seq(4));
    }

    #[test]
    fn the_format_stays() {
        assert_eq!(Spans::FORMAT, Spans { segment: 1024, block: 1024 });
        assert_eq!(Spans::FORMAT.witness((Attempt(5), Seq(1500))), (Attempt(5), Seq(3072)));
        assert_eq!(Spans::FORMAT.witness_of_attempt(Attempt(1023)), (Attempt(2048), Seq(0)));
    }
}
