//! The one generator that all chance comes from.

use std::{env, time::SystemTime};

use std::ops::Range;

/// `SplitMix64` (S. Vigna).
#[derive(Debug, Clone)]
pub struct Chance(u64);

/// Gives a run the seed of an earlier one.
const SEED: &str = "TIDEGATE_TEST_SEED";

impl Chance {
    /// Of a seed of this run's own, which is printed, or of the one that `TIDEGATE_TEST_SEED` has.
    pub fn drawn() -> Self {
        let given = env::var(SEED).ok().map(|seed| seed.parse().expect("a number as the seed"));
        let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time").as_nanos() as u64;
        let seed = given.unwrap_or_else(now);
        println!("the same chance again: {SEED}={seed}");
        Self::new(seed)
    }

    pub fn new(seed: u64) -> Self {
        let mut chance = Self(seed);
        // Neighbouring seeds begin far apart.
        chance.0 = chance.draw();
        chance
    }

    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of `range`, which is not empty.
    pub fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.draw() % (range.end - range.start)
    }

    /// True so many times in a thousand.
    pub fn happens(&mut self, per_mille: u64) -> bool {
        self.draw() % 1000 < per_mille
    }

    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.within(0..choices.len() as u64) as usize]
    }
}
