//! Keys that were seen last, each in the one slot that its hash says: a key that comes often is looked up nowhere else.

use super::seen::Sight;

const SLOT_BITS: u32 = 16;

pub struct Recent {
    slots: Vec<Sight>,
}

/// By the highest bits, as the table does: of the lowest, which make the key group, a subtask sees only some.
fn slot(hash: u128) -> usize {
    (hash >> (u128::BITS - SLOT_BITS)) as usize
}

impl Recent {
    /// Nothing was seen: what is in the first slot belongs into the last one, and all others' into the first.
    pub fn new() -> Self {
        let mut slots = vec![Sight::new(0, i64::MAX); 1 << SLOT_BITS];
        if let Some(first) = slots.first_mut() {
            *first = Sight::new(u128::MAX, i64::MAX);
        }
        Self { slots }
    }

    pub fn get(&self, hash: u128) -> Option<i64> {
        let sight = self.slots.get(slot(hash))?;
        (sight.hash() == hash).then_some(sight.time())
    }

    pub fn put(&mut self, hash: u128, time: i64) {
        if let Some(sight) = self.slots.get_mut(slot(hash)) {
            *sight = Sight::new(hash, time);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_until_another_takes_its_slot() {
        let mut recent = Recent::new();
        for hash in [0, 1, u128::MAX, u128::MAX / 2] {
            assert_eq!(recent.get(hash), None, "{hash:x}");
            recent.put(hash, 7);
            assert_eq!(recent.get(hash), Some(7), "{hash:x}");
        }
        recent.put(3, 8);
        assert_eq!((recent.get(1), recent.get(3)), (None, Some(8)));
    }
}
