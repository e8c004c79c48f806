//! A topic of an Apache Kafka cluster; rows as JSON objects.
//!
//! # Exactly once
//!
//! A chunk is written by one short transaction, which also writes a *marker* `{epoch, index}` to a compacted progress
//! topic, under the key `<lineage>/<sink>/<slot>`, with the chunk's checksum. Rows and marker become visible together or
//! not at all. A chunk that
//! is published again is recognised by the marker, so a repeat writes nothing. Nothing stays open across a barrier.
//!
//! One publication, always with a fresh producer:
//!
//! 1. `init_transactions` with the slot's own id, `tidegate-<lineage>-<sink>-<slot>`;
//! 2. read the newest marker of the slot; the same or a later chunk: done;
//! 3. begin, rows, flush, marker, flush, commit.
//!
//! ## Why a chunk is never there twice
//!
//! Let *c* be the chunk, *s* its slot, and suppose that some earlier transaction *t* of *s* has written it (this
//! process or a dead one, outcome known or not). To show: step 2 of every later publication sees *t*'s marker.
//!
//! - **After `init` no earlier transaction of the slot changes any more.** The coordinator answers `init` only when the
//!   id's last transaction is complete: one that was open is aborted, one whose commit had begun is finished. The
//!   producer epoch is raised, so a zombie's produce or commit is refused (`_FENCED`). *t* is thus committed, for good,
//!   and its control records were appended to every partition it wrote to, with `acks=all`, before `init` answered.
//! - **So *t*'s marker lies below the high watermark taken after `init`.** Call that `H`. (After a change of leader the
//!   broker answers "not available" rather than a lower `H`, KIP-207.)
//! - **The read goes to `H`, and misses nothing below it.** A read-committed reader sees only what lies below the last
//!   stable offset `L`, the first record of the oldest open transaction *of anyone*; a foreign transaction that began
//!   before *t*'s marker was appended hides it. Reading "to the end" would then find no marker and write *c* again. So
//!   the reader first waits until `L >= H`, and only then reads, up to a record at or past `H - 1` or to the partition's
//!   end, which is at least `L`. If `L` does not get there in time the publication fails and is tried again; it never
//!   goes on without having read.
//! - **No other publication of the slot comes between the read and the commit**: it would have to `init`, which fences
//!   this one, and then this commit fails.
//!
//! ## Why the wait for `L` is short
//!
//! Slot *n* has partition *n* of the progress topic to itself, as far as this sink goes, so no slot waits for another,
//! not even for one that died with its transaction open; the mapping does not depend on the number of partitions, which
//! may grow. Only other jobs that share the progress topic can hold `L` back, and as the marker is the last record of a
//! transaction, they do so between their last flush and their commit. One that dies there is ended by its successor's
//! `init`, or by the broker after the transaction's timeout.
//!
//! ## Markers that the log does not know of
//!
//! A marker is ahead of the log when it names an epoch behind the newest that the log owns, or has another checksum than
//! the chunk of its place. With an intact log only a later attempt leaves such a marker, one that has gone on since: it has
//! published what this one has to publish, and *took the job before it published anything*. So the log is asked, after the
//! marker was read, whether a later attempt has begun. If so, the chunk is published, and a zombie is done. If not, the log
//! is not the one that the marker was written by: a bucket was restored from a backup, or a replica of it lags. The epochs
//! come again with other rows under the same ids; to take them for published would leave these out, so the sink refuses.
//! An attempt that has taken a job over looks at the markers of all slots before it publishes.
//!
//! ## What is not known
//!
//! A commit without an answer may have happened. `publish` then fails; the next call does all three steps again, and the
//! marker tells. `_FENCED` is treated alike: a transaction that took longer than `transactionTimeout` gets the same
//! answer as one whose slot has a new owner, and only the caller knows whether it still owns the epoch.
//!
//! # At least once, and none
//!
//! [`KafkaWriter`] writes rows through. With `AtLeastOnce` the producer is idempotent and a barrier waits for every row
//! before it; with `None` nothing waits. An error is kept and returned by the next call.

mod marker;
mod preflight;
mod progress;
mod publisher;
mod rows;
mod transaction;
mod writer;

#[cfg(test)]
pub(crate) use marker::{Finding, Mark};
pub use publisher::KafkaPublisher;
pub use writer::{KafkaDirectSink, KafkaWriter};
