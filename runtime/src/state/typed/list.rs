//! State of an operator that belongs to no key: lists of items, one list a subtask.
//!
//! When the parallelism changes, the lists of the former subtasks are handed out anew, one of three ways. Each subtask
//! computes its own share of all former lists; together the shares are what they were.

use crate::ids::SubtaskIndex;

/// Every item goes to one subtask, as evenly as may be: what is worked off by anyone, such as the partitions of a topic.
pub fn split<T: Clone>(former: &[Vec<T>], subtask: SubtaskIndex, parallelism: u32) -> Vec<T> {
    let (own, all) = (subtask.0 as usize, parallelism as usize);
    former.iter().flatten().skip(own).step_by(all.max(1)).cloned().collect()
}

/// Every subtask gets every item, and takes what concerns it.
pub fn union<T: Clone>(former: &[Vec<T>]) -> Vec<T> {
    former.iter().flatten().cloned().collect()
}

/// Broadcast state: all former lists were alike, and every subtask goes on with one of them.
pub fn broadcast<T: Clone>(former: &[Vec<T>], subtask: SubtaskIndex) -> Vec<T> {
    let any = (subtask.0 as usize).checked_rem(former.len());
    any.and_then(|index| former.get(index)).cloned().unwrap_or_default()
}
