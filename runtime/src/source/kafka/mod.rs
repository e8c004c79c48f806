//! Topics of an Apache Kafka cluster.
//!
//! A split is a partition, its position an offset. Partition `p` is read by subtask `p % parallelism`; nobody asks a
//! group coordinator who reads what, so a rebalance can't take a partition away between two barriers. The group serves
//! people: offsets are committed to it after a checkpoint, and lag monitors see them. The log is the truth.
//!
//! # The contract
//!
//! - **Only what is committed** is read (`isolation.level=read_committed`).
//! - **Every partition has a number from the start.** "Earliest", "latest", "the group's offset" and "at this time" are
//!   looked up once, when the reader is made, so that a checkpoint taken before the first record says where to go on.
//! - **The same records.** A checkpoint has the topic's id (KIP-516) and, of each partition, the newest record that was
//!   read with the epoch of its leader (KIP-320). A topic made anew under its name is an error, found at the start and
//!   within seconds while it is read; so is a partition that lost that record in an unclean election, which librdkafka
//!   asks the leader for at the start and whenever the leader changes. Checkpoints without them go on and learn them.
//! - **No silent jump.** An offset that the broker no longer has (retention passed the checkpoint, or the topic was made
//!   anew) is an error that names the partition, the offset and the range there is. librdkafka would go to the earliest
//!   or latest record instead; it is told not to (`auto.offset.reset=error`).
//! - **A bounded run ends.** Its end is where each partition ended at the first start, kept in the checkpoint: behind
//!   transactions that were open then, for whose end it waits. The last offsets before it may belong to transaction
//!   markers or to aborted records, which no consumer sees; so the end is also reached when librdkafka reports the
//!   partition's end at or past it.
//! - **New partitions** are looked for every `partitionDiscoveryInterval` and begin at their earliest record: they were
//!   made after the job began, so all they hold is new. A reader tells when it knew all partitions, its own and others',
//!   and the watermark goes no further than that ([`crate::source::unconfirmed`]). A bounded run has the partitions of its
//!   first start.
//!
//! # How records travel
//!
//! `batch` takes thousands of messages with one call and leaves their bytes where librdkafka put them; `gather` makes a
//! batch of them; `reader` waits for it without blocking its thread. `split` says what a message means for its
//! partition, `assign` which partitions a reader has. `offsets`, `discovery` and `lag` ask the brokers; `stall` finds
//! partitions that librdkafka has forgotten.

mod assign;
mod batch;
mod discovery;
mod gather;
#[cfg(test)]
mod grown;
mod lag;
mod offsets;
mod reader;
mod split;
mod stall;
mod start;
mod topic;
#[cfg(test)]
mod truncated;

pub use topic::KafkaTopic;
