//! Which subtasks run where.

use std::collections::BTreeMap;

use super::workers::WorkerId;
use crate::ids::SubtaskIndex;

/// Subtasks by worker.
pub type Places = BTreeMap<WorkerId, Vec<SubtaskIndex>>;

/// Where subtasks were in the attempt before: a worker still has what it needs of their state.
#[derive(Debug, Default)]
pub struct Former {
    pub parallelism: u32,
    pub places: Places,
}

impl Former {
    /// Who had the key groups in the middle of those that the subtask has now.
    fn home(&self, SubtaskIndex(subtask): SubtaskIndex, parallelism: u32) -> Option<WorkerId> {
        let middle = (2 * u64::from(subtask) + 1) * u64::from(self.parallelism) / (2 * u64::from(parallelism));
        let had =
            |(_, subtasks): &(&WorkerId, &Vec<SubtaskIndex>)| subtasks.iter().any(|had| u64::from(had.0) == middle);
        self.places.iter().find(had).map(|(worker, _)| *worker)
    }
}

/// Spreads subtasks evenly over workers, as far as their slots go. A subtask stays where it was if that worker has its
/// share of them yet; the others follow each other. Fails with the number of slots there are, if they are too few.
pub fn place(workers: &[(WorkerId, u32)], parallelism: u32, former: &Former) -> Result<Places, u32> {
    let slots = workers.iter().map(|(_, slots)| slots).sum();
    if slots < parallelism {
        return Err(slots);
    }
    let mut shares = vec![0; workers.len()];
    for _ in 0..parallelism {
        let free = workers.iter().zip(&mut shares).filter(|((_, slots), share)| **share < *slots);
        if let Some((_, share)) = free.min_by_key(|(_, share)| **share) {
            *share += 1;
        }
    }
    let (mut placed, mut homeless) = (vec![Vec::new(); workers.len()], Vec::new());
    for subtask in (0..parallelism).map(SubtaskIndex) {
        let home = former.home(subtask, parallelism);
        let mut places = workers.iter().zip(&shares).zip(&mut placed);
        match places.find(|(((worker, _), _), _)| Some(*worker) == home) {
            Some(((_, share), own)) if own.len() < *share as usize => own.push(subtask),
            _ => homeless.push(subtask),
        }
    }
    let mut homeless = homeless.into_iter();
    for (own, share) in placed.iter_mut().zip(shares) {
        let free = (share as usize).saturating_sub(own.len());
        own.extend(homeless.by_ref().take(free));
        own.sort_unstable();
    }
    let placed = workers.iter().map(|(worker, _)| *worker).zip(placed);
    Ok(placed.filter(|(_, own)| !own.is_empty()).collect())
}

/// Gives more subtasks to workers that have some, without moving any: each to the worker with a free slot that has fewest.
/// Fails with the number of slots there are, if they are too few.
pub fn place_beside(workers: &[(WorkerId, u32)], places: &Places, more: &[SubtaskIndex]) -> Result<Places, u32> {
    let mut placed = places.clone();
    for subtask in more {
        let had = |worker: &WorkerId| placed.get(worker).map_or(0, |own: &Vec<SubtaskIndex>| own.len() as u32);
        let free = workers.iter().filter(|(worker, slots)| had(worker) < *slots);
        let Some((worker, _)) = free.min_by_key(|(worker, _)| had(worker)) else {
            return Err(workers.iter().map(|(_, slots)| slots).sum());
        };
        let own = placed.entry(*worker).or_default();
        own.push(*subtask);
        own.sort_unstable();
    }
    Ok(placed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(slots: &[u32], parallelism: u32) -> Result<Vec<Vec<u32>>, u32> {
        let workers: Vec<(WorkerId, u32)> = (0..).map(WorkerId).zip(slots.iter().copied()).collect();
        let placed = place(&workers, parallelism, &Former::default())?;
        Ok(placed.into_values().map(|subtasks| subtasks.into_iter().map(|subtask| subtask.0).collect()).collect())
    }

    fn places(places: &[(u32, &[u32])]) -> Places {
        let subtasks = |subtasks: &[u32]| subtasks.iter().copied().map(SubtaskIndex).collect();
        places.iter().map(|(worker, own)| (WorkerId(*worker), subtasks(own))).collect()
    }

    #[test]
    fn a_subtask_stays_with_the_worker_that_has_its_state() {
        let former = Former { parallelism: 4, places: places(&[(0, &[0, 1]), (1, &[2]), (2, &[3])]) };
        let cases: [(&[(u32, u32)], u32, &[(u32, &[u32])]); 5] = [
            // One is lost: the others keep what they have.
            (&[(0, 2), (1, 2)], 4, &[(0, &[0, 1]), (1, &[2, 3])]),
            (&[(1, 2), (2, 2)], 4, &[(1, &[0, 2]), (2, &[1, 3])]),
            // One is new: nobody has more than its share.
            (&[(3, 2), (0, 2), (1, 2), (2, 2)], 4, &[(0, &[0]), (1, &[2]), (2, &[3]), (3, &[1])]),
            // With another parallelism, where most of the key groups were.
            (&[(0, 2), (1, 2), (2, 2)], 2, &[(0, &[0]), (1, &[1])]),
            (&[(0, 4), (1, 2), (2, 2)], 8, &[(0, &[0, 1, 2, 3]), (1, &[4, 5]), (2, &[6, 7])]),
        ];
        for (workers, parallelism, wanted) in cases {
            let workers: Vec<(WorkerId, u32)> = workers.iter().map(|(id, slots)| (WorkerId(*id), *slots)).collect();
            assert_eq!(place(&workers, parallelism, &former), Ok(places(wanted)), "{workers:?}, {parallelism}");
        }
    }

    #[test]
    fn subtasks_are_spread_evenly_as_far_as_slots_go() {
        assert_eq!(shares(&[2, 2, 2], 4), Ok(vec![vec![0, 1], vec![2], vec![3]]));
        assert_eq!(shares(&[1, 8], 4), Ok(vec![vec![0], vec![1, 2, 3]]));
        assert_eq!(shares(&[4], 4), Ok(vec![vec![0, 1, 2, 3]]));
    }

    #[test]
    fn a_worker_that_is_not_needed_stands_by() {
        assert_eq!(shares(&[2, 2, 2], 2), Ok(vec![vec![0], vec![1]]));
    }

    #[test]
    fn the_subtasks_of_a_lost_worker_go_to_free_slots_and_no_other_moves() {
        let left = places(&[(0, &[0, 2, 4]), (1, &[1])]);
        let cases: [(&[(u32, u32)], Result<Places, u32>); 4] = [
            (&[(0, 4), (1, 4)], Ok(places(&[(0, &[0, 2, 4]), (1, &[1, 3, 5])]))),
            (&[(0, 4), (1, 2)], Ok(places(&[(0, &[0, 2, 4, 5]), (1, &[1, 3])]))),
            (&[(0, 4), (1, 2), (7, 2)], Ok(places(&[(0, &[0, 2, 4]), (1, &[1, 5]), (7, &[3])]))),
            (&[(0, 3), (1, 2)], Err(5)),
        ];
        for (workers, expected) in cases {
            let workers: Vec<(WorkerId, u32)> = workers.iter().map(|(id, slots)| (WorkerId(*id), *slots)).collect();
            assert_eq!(place_beside(&workers, &left, &[SubtaskIndex(3), SubtaskIndex(5)]), expected, "{workers:?}");
        }
    }

    #[test]
    fn too_few_slots_are_counted() {
        assert_eq!(shares(&[1, 2], 4), Err(3));
        assert_eq!(shares(&[], 1), Err(0));
    }
}
