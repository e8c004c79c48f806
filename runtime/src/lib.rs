//! Tidegate's engine: exactly-once stream jobs.
//!
//! One record's way: a [`source`] reads it, a [`format`] decodes it to Arrow, a chain of [`operator`]s works on it,
//! the [`exchange`] brings it to the subtask of its key, a [`sink`] keeps it for its epoch; the [`checkpoint`] that
//! contains it is owned in the log by one conditional create, and then it is published. [`job`] turns the user's document
//! into a plan by way of [`sql`] and [`graph`]; the [`coordinator`] decides, the [`worker`] does; where they are different
//! processes, a [`link`] is between them. What a checkpoint holds can be asked by SQL ([`inspect`]).

pub mod checkpoint;
mod checksum;
pub mod cli;
pub mod coordinator;
pub mod element;
pub mod env;
pub mod exchange;
pub mod failure;
pub mod fault;
pub mod features;
pub mod format;
pub mod graph;
mod http;
pub mod ids;
pub mod inspect;
pub mod job;
#[cfg(feature = "kafka")]
mod kafka;
pub mod link;
#[cfg(any(test, feature = "test-util"))]
pub mod mangled;
pub mod memory;
pub mod metrics;
pub mod net;
pub mod operator;
#[cfg(any(test, feature = "test-util"))]
pub mod simulation;
pub mod sink;
pub mod source;
pub mod sql;
pub mod state;
pub mod tls;
pub mod words;
pub mod worker;

/// An error with its causes, as one line. A cause that an error says itself, as those of some libraries do, is not said again.
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    for cause in std::iter::successors(error.source(), |cause| cause.source()) {
        let cause = cause.to_string();
        if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use arrow::error::ArrowError;
    use datafusion_common::DataFusionError;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the row at offset 7 has failed")]
    struct Failed(#[source] DataFusionError);

    #[test]
    fn each_cause_is_said_once() {
        let error = Failed(DataFusionError::from(ArrowError::DivideByZero));
        assert_eq!(error_chain(&error), "the row at offset 7 has failed: Arrow error: Divide by zero error");
    }
}
