//! Grouped aggregation over tumbling windows, by epoch partials.
//!
//! Rows of the current epoch go into accumulators, one group for each (window, key). At a barrier, or when a window
//! closes, the accumulators are emptied into *partials*: for each window one immutable batch of keys and partial states
//! (DataFusion's own partial aggregation, `GroupsAccumulator::state`). Partials are merged (`merge_batch`) among
//! themselves when there are several of like size, and for the last time when the watermark passes the window's end. So
//! a barrier costs what the epoch touched, nothing is cloned, and what is uploaded is what changed.

mod accumulate;
mod evolve;
mod late;
mod operator;
#[cfg(test)]
mod tests;

pub use late::{LateEncoder, late_encoder, late_schema};
pub use operator::{LateRows, PARTIAL, Window};
