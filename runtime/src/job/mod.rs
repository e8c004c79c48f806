//! From the user's document to a plan that can run. The only place that sees the raw spec.

pub mod secrets;
