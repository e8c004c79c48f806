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
    fn too_few_slots_are_counted() {
        assert_eq!(shares(&[1, 2], 4), Err(3));
        assert_eq!(shares(&[], 1), Err(0));
    }
}
