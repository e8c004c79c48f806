//! When files are merged.
//!
//! RocksDB merges on threads of its own, whenever it finds files enough; who writes faster than that waits. Where there are
//! no such threads (in a simulation, where nothing happens beside the turns), who writes merges.

use std::time::Duration;

use rocksdb::{Options, properties};

use super::{options::RUNS, table::RocksTable};
use crate::env;

/// Files that are not merged yet, above which who writes waits for merges.
const MOST_UNMERGED: u64 = 24;
const LOOK_EVERY: Duration = Duration::from_millis(5);

pub(super) fn set_up(options: &mut Options) {
    options.set_disable_auto_compactions(!env::may_work_beside());
}

impl RocksTable {
    /// Before something is written: sees to it that a key is not to be looked for in ever more files.
    pub(super) fn keep_merged(&self) {
        if env::may_work_beside() {
            while self.unmerged() > MOST_UNMERGED && !self.has_failed() {
                env::pause(LOOK_EVERY);
            }
        } else if self.db().live_files().is_ok_and(|files| files.len() > RUNS as usize) {
            self.merge();
        }
    }

    /// Merges all files into one, now. If that fails, what is written next says why.
    pub(super) fn merge(&self) {
        self.db().compact_range::<&[u8], &[u8]>(None, None);
    }

    /// Files that are not merged yet: each of them is looked at for a key.
    fn unmerged(&self) -> u64 {
        let files = properties::num_files_at_level(0);
        self.db().property_int_value(&files).ok().flatten().unwrap_or(0)
    }

    /// Whether files can't be merged any more; what is written next says why.
    fn has_failed(&self) -> bool {
        self.db().property_int_value(properties::BACKGROUND_ERRORS).ok().flatten().is_none_or(|errors| errors > 0)
    }
}
