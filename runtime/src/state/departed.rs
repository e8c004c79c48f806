//! Parts that an operator needs no more, whose rows somebody still keeps in memory: a checkpoint that is being uploaded, or
//! the newest one, for a quick restart.

use std::sync::{Arc, Weak};

use super::StatePart;

/// Of one operator's subtask.
#[derive(Debug, Default)]
pub struct Departed {
    parts: Vec<(Weak<StatePart>, u64)>,
}

impl Departed {
    /// The operator lets go of a part that takes so many bytes.
    pub fn add(&mut self, part: &Arc<StatePart>, bytes: u64) {
        if bytes > 0 && Arc::strong_count(part) > 1 {
            self.parts.push((Arc::downgrade(part), bytes));
        }
    }

    /// Bytes that they still take.
    pub fn bytes(&mut self) -> u64 {
        self.parts.retain(|(part, _)| part.strong_count() > 0);
        self.parts.iter().map(|(_, bytes)| bytes).sum()
    }

    /// Memory is short: rows that the checkpoint storage has leave it. After a failure they are fetched from there.
    pub fn release(&mut self) {
        self.parts.retain(|(part, _)| {
            let Some(part) = part.upgrade() else { return false };
            part.let_go();
            part.at_hand().is_some()
        });
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, RecordBatch};

    use super::*;
    use crate::{
        checkpoint::{
            manifest::{FileRef, PartRef},
            store::ObjectPath,
        },
        ids::Epoch,
    };

    fn part() -> Arc<StatePart> {
        let column = Arc::new(Int64Array::from(vec![1, 2, 3]));
        StatePart::new("rows", 0, RecordBatch::try_from_iter([("n", column as _)]).unwrap())
    }

    #[test]
    fn what_somebody_keeps_is_counted_and_leaves_memory_once_the_storage_has_it() {
        let mut departed = Departed::default();
        departed.add(&part(), 10);
        assert_eq!(departed.bytes(), 0, "nobody else has it");
        let (uploading, durable) = (part(), part());
        for kept in [&uploading, &durable] {
            departed.add(&kept.clone(), 10);
        }
        let file = FileRef::of(ObjectPath("file".to_owned()), b"rows");
        let place = PartRef { kind: "rows".into(), tag: 0, rows: 3, file, batch: 0 };
        durable.claim().unwrap().is_at(place, Epoch(1));
        assert_eq!(departed.bytes(), 20);
        departed.release();
        assert_eq!(departed.bytes(), 10);
        assert!(durable.at_hand().is_none() && durable.durable().is_some());
        assert!(uploading.at_hand().is_some(), "its rows are nowhere else");
        drop(uploading);
        assert_eq!(departed.bytes(), 0);
    }
}
