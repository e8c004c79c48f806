//! How the databases are set up.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, CompactionDecision, DBCompactionStyle, DBCompressionType, LogLevel,
    Options, ReadOptions, UniversalCompactOptions, WriteOptions,
};

use super::{engine::Engine, merging};
use crate::state::table::time_of;

/// Bytes of a file of entries, about.
pub(super) const FILE_BYTES: u64 = 64 << 20;
/// Of a key in a filter: one look in a hundred at a key that is not there reads a block in vain.
const FILTER_BITS: f64 = 10.0;
/// The share of a write buffer that its filter takes.
const FILTER_OF_A_BUFFER: f64 = 0.1;
const BLOCK_BYTES: usize = 8 << 10;
const PART_OF_INDEX_BYTES: usize = 4 << 10;
/// Sorted runs that are merged into one.
pub(super) const RUNS: i32 = 4;
const OPEN_FILES: i32 = 512;
/// Small merges go on beside a large one, which takes minutes: who writes would wait for them. Of these, a quarter writes files.
const THREADS: i32 = 4;
/// The list of a table's files grows with every change, and is uploaded with each checkpoint: beyond so many bytes a new one
/// takes its place, which says only what there is.
pub(super) const LIST_BYTES: usize = 64 << 10;
const LOG_BYTES: usize = 1 << 20;
const READ_AHEAD: usize = 2 << 20;

/// For a table whose entries may vanish when their time is before `oldest`.
pub(super) fn table(engine: &Engine, oldest: Arc<AtomicI64>) -> Options {
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks(engine));
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_write_buffer_manager(engine.buffers());
    options.set_write_buffer_size(engine.buffer_bytes());
    options.set_max_write_buffer_number(3);
    // Most keys that are looked up are new: a filter says so without a walk down the list of what was written last.
    options.set_memtable_prefix_bloom_ratio(FILTER_OF_A_BUFFER);
    options.set_memtable_whole_key_filtering(true);
    // Few large merges instead of many small ones: every file that a merge writes has to be uploaded, and a merge by
    // levels writes an entry ten times where this writes it twice.
    options.set_compaction_style(DBCompactionStyle::Universal);
    options.set_level_zero_file_num_compaction_trigger(RUNS);
    let mut universal = UniversalCompactOptions::default();
    universal.set_min_merge_width(RUNS);
    options.set_universal_compaction_options(&universal);
    options.set_target_file_size_base(FILE_BYTES);
    options.set_max_open_files(OPEN_FILES);
    options.set_max_background_jobs(THREADS);
    merging::set_up(&mut options);
    options.set_compaction_filter(c"oldest", move |_level, _key, value: &[u8]| {
        let oldest = oldest.load(Ordering::Relaxed);
        if oldest > i64::MIN && time_of(value).is_some_and(|time| time < oldest) {
            CompactionDecision::Remove
        } else {
            CompactionDecision::Keep
        }
    });
    options.set_max_manifest_file_size(LIST_BYTES);
    options.set_log_level(LogLevel::Warn);
    options.set_keep_log_file_num(1);
    options.set_max_log_file_size(LOG_BYTES);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options
}

/// Indexes and filters are in parts and in the cache, so that a table of any size fits the budget.
fn blocks(engine: &Engine) -> BlockBasedOptions {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(engine.cache());
    blocks.set_block_size(BLOCK_BYTES);
    blocks.set_format_version(6);
    blocks.set_bloom_filter(FILTER_BITS, false);
    blocks.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    blocks.set_partition_filters(true);
    blocks.set_metadata_block_size(PART_OF_INDEX_BYTES);
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_cache_index_and_filter_blocks_with_high_priority(true);
    blocks.set_pin_top_level_index_and_filter(true);
    blocks
}

/// The checkpoint is the durability.
pub(super) fn write() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.disable_wal(true);
    options
}

/// For a walk over many entries, from a key on and up to another: they are read once, and would drive out of the cache
/// what is read often.
pub(super) fn walk(from: Vec<u8>, to: Option<Vec<u8>>) -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_iterate_lower_bound(from);
    if let Some(to) = to {
        options.set_iterate_upper_bound(to);
    }
    options.fill_cache(false);
    options.set_readahead_size(READ_AHEAD);
    options
}
