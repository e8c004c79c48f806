//! From the user's document to a plan that can run. The only place that sees the raw spec.
//!
//! [`JobPlan::new`] checks what can be checked without asking anybody: the SQL against the sources' columns, sinks against
//! the queries that feed them, secrets. [`JobPlan::preflight`] asks the systems: brokers, tables, files. What has passed
//! both can be started.

mod connect;
mod needs;
mod plan;
pub mod secrets;

pub use plan::{JobError, JobPlan, SinkTarget, SourceTable};
