//! Many keys at once.
//!
//! What is in the cache is there in a microsecond or two, and more threads than processors would not find it earlier. What is on
//! the disk takes a hundred, and a disk that is asked for one block after the other is idle most of the time. So the first
//! keys of a batch tell where the others are, and if that is the disk, it is asked for many at the same time.

use std::time::Duration;

use rocksdb::{DBPinnableSlice, DEFAULT_COLUMN_FAMILY_NAME};

use super::table::{RocksTable, at};
use crate::{env, state::table::TableError};

/// Keys by which it is known how long the others take.
const FIRST: usize = 64;
/// Where these take longer, they are not in the cache.
pub(super) const CACHED: Duration = Duration::from_millis(1);
/// Threads that wait for the disk at the same time, with so many keys each at least.
const AT_ONCE: usize = 16;
const LEAST_EACH: usize = 32;

/// What the table has of keys, in their order.
type Values<'a> = Vec<Option<DBPinnableSlice<'a>>>;

impl RocksTable {
    /// Looks keys up, and says what each has. All are in the cache if the first of them take less than `cached`.
    pub(super) fn look_up(
        &self,
        keys: &[&[u8]],
        cached: Duration,
        found: &mut dyn FnMut(usize, Option<&[u8]>) -> Result<(), TableError>,
    ) -> Result<(), TableError> {
        let (first, rest) = keys.split_at(keys.len().min(FIRST));
        let begun = env::monotonic();
        let mut values = vec![self.values(first)];
        if env::monotonic().saturating_sub(begun) < cached {
            values.push(self.values(rest));
        } else {
            let each = rest.len().div_ceil(AT_ONCE).max(LEAST_EACH);
            let shares = rest.chunks(each).map(|share| || self.values(share));
            values.extend(env::side_by_side("look up", shares).map_err(TableError::Thread)?);
        }
        let mut index = 0;
        for values in values {
            for value in values? {
                found(index, value.as_deref())?;
                index += 1;
            }
        }
        Ok(())
    }

    fn values(&self, keys: &[&[u8]]) -> Result<Values<'_>, TableError> {
        let Some(entries) = self.db().cf_handle(DEFAULT_COLUMN_FAMILY_NAME) else {
            return Err(TableError::Damaged("the table has no entries at all".to_owned()));
        };
        let values = self.db().batched_multi_get_cf(entries, keys.iter().copied(), keys.is_sorted());
        values.into_iter().map(|value| value.map_err(at("read", self.folder()))).collect()
    }
}
