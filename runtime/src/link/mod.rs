//! Between a coordinator and a worker in another process: one gRPC stream that the worker opens.
//!
//! `tidegate.Workers/Join` takes [`ToCoordinator`] and gives [`ToWorker`], as JSON, in pieces
//! ([`codec`]). The first message is the
//! worker's [`Hello`]. Both ends speak at least every fifth of the time after which silence counts as loss; a stream that
//! breaks or falls silent is a worker lost to its coordinator ([`reception`]) and a coordinator lost to its worker, which
//! ends its subtasks and joins again ([`join`]).

pub mod codec;
pub mod join;
pub mod reception;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::worker::protocol::{Hello, Notice, Order};

const SERVICE: &str = "tidegate.Workers";
const JOIN: &str = "/tidegate.Workers/Join";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum ToCoordinator {
    Hello(Hello),
    Notice(Notice),
    Alive,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum ToWorker {
    Order(Order),
    /// Said when there is nothing else to say, and when `runs` has changed.
    Alive {
        /// The job runs, so a worker has what it is to have.
        runs: bool,
    },
}

/// How often an end that has nothing to say speaks.
fn pace(silence: Duration) -> Duration {
    silence / 5
}
