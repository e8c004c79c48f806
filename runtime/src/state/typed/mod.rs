//! Typed state: what an operator that works row by row remembers, over a [`Table`](super::table::Table).
//!
//! An operator opens a [`Session`] for each batch: it says first which keys the batch has, so that what they have is looked
//! up at once ([`Session::prefetch`]); then it works, and what it changes is written at once, at the end
//! ([`Session::finish`]). In between, it reads its own writes.
//!
//! - Of one key: [`ValueState`], [`ListState`], [`MapState`], [`ReducingState`], [`AggregatingState`]. Each has a name that
//!   no other of the operator has.
//! - [`Timers`]: keys that want to be called when event time or processing time has come so far.
//! - Of the whole operator, not of a key: [`list`] state, which is split or copied when the parallelism changes, and
//!   broadcast state, the same in every subtask.
//!
//! With a time to live, an entry is forgotten when nobody has written it for so long; see [`Session::new`].

mod codec;
mod keyed;
pub mod list;
mod session;
#[cfg(test)]
mod tests;
mod timers;

pub use self::{
    codec::Bytes,
    keyed::{Aggregate, AggregatingState, ListState, MapState, ReducingState, ValueState},
    session::{Key, Session},
    timers::{Clock, Timer, Timers},
};
