//! Which subtasks run where.

use std::collections::BTreeMap;

use super::workers::WorkerId;
use crate::ids::SubtaskIndex;

/// Spreads subtasks evenly over workers, as far as their slots go; a worker's subtasks follow each other. Fails with the
/// number of slots there are, if they are too few.
pub fn place(workers: &[(WorkerId, u32)], parallelism: u32) -> Result<BTreeMap<WorkerId, Vec<SubtaskIndex>>, u32> {
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
    let mut next = 0;
    let placed = workers.iter().zip(shares).filter(|(_, share)| *share > 0).map(|((worker, _), share)| {
        let first = next;
        next += share;
        (*worker, (first..next).map(SubtaskIndex).collect())
    });
    Ok(placed.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(slots: &[u32], parallelism: u32) -> Result<Vec<Vec<u32>>, u32> {
        let workers: Vec<(WorkerId, u32)> = (0..).map(WorkerId).zip(slots.iter().copied()).collect();
        let placed = place(&workers, parallelism)?;
        Ok(placed.into_values().map(|subtasks| subtasks.into_iter().map(|subtask| subtask.0).collect()).collect())
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
