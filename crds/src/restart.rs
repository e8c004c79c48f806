//! What happens after a failure: how often and how soon the job is tried again.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::HumanDuration;

/// Restart strategy; at most one of the four is set. Names and meaning as in Flink.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("[has(self.fixedDelay), has(self.exponentialDelay), has(self.failureRate), has(self.none)].filter(set, set).size() <= 1")
        .message("at most one of fixedDelay, exponentialDelay, failureRate, none is accepted")
)]
#[serde(
    rename_all = "camelCase",
    deny_unknown_fields,
    expecting = "a strategy with its settings, such as { none: {} } or { fixedDelay: { attempts: 3 } }"
)]
pub struct RestartSpec {
    /// A fixed number of attempts with the same pause between them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed_delay: Option<FixedDelay>,
    /// A pause that grows with each failure and is forgotten after a healthy while. The default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exponential_delay: Option<ExponentialDelay>,
    /// Restart until there were too many failures in an interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_rate: Option<FailureRate>,
    /// The first failure ends the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub none: Option<NoRestart>,
    /// How many times in a row the same failure may come at the same place, a record or a bug that no restart gets past: then
    /// the job has failed, whatever the strategy. Without it 10, and with `fixedDelay`, which has an end of its own, any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub same_failures: Option<u32>,
}

/// `none: {}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoRestart {}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FixedDelay {
    /// How many restarts there are before the job has failed.
    #[serde(default = "attempts")]
    pub attempts: u32,
    /// Pause before each.
    #[serde(default = "second")]
    pub delay: HumanDuration,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ExponentialDelay {
    /// Pause before the first restart.
    pub initial: HumanDuration,
    /// Longest pause.
    pub max: HumanDuration,
    /// Factor from one pause to the next.
    pub multiplier: f64,
    /// Share of the pause by which it varies, 0 to 1.
    pub jitter: f64,
    /// Healthy time after which the pause is the first one again.
    pub reset_after: HumanDuration,
}

impl Default for ExponentialDelay {
    fn default() -> Self {
        Self {
            initial: HumanDuration::from_secs(1),
            max: HumanDuration::from_secs(60),
            multiplier: 2.0,
            jitter: 0.1,
            reset_after: HumanDuration::from_secs(600),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FailureRate {
    /// Failures in one interval that are still restarted.
    #[serde(default = "attempts")]
    pub max_failures: u32,
    /// The interval that they are counted in.
    #[serde(default = "minute")]
    pub interval: HumanDuration,
    /// Pause before each restart.
    #[serde(default = "second")]
    pub delay: HumanDuration,
}

fn attempts() -> u32 {
    3
}

fn second() -> HumanDuration {
    HumanDuration::from_secs(1)
}

fn minute() -> HumanDuration {
    HumanDuration::from_secs(60)
}
