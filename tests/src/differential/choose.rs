//! What cases draw beside what the simulation does.

use crate::chance::Chance;

pub trait Draw {
    /// From `least` to `most`, both included.
    fn between(&mut self, least: i64, most: i64) -> i64;

    /// One of several, which are not none.
    fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T;

    /// Another order.
    fn shuffle<T>(&mut self, items: &mut [T]);
}

impl Draw for Chance {
    fn between(&mut self, least: i64, most: i64) -> i64 {
        least + (self.draw() % (most - least + 1) as u64) as i64
    }

    fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.within(0..choices.len() as u64) as usize]
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.within(0..last as u64 + 1) as usize);
        }
    }
}
