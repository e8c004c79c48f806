//! Where partitions without a checkpoint begin, as the document says it.

use chrono::DateTime;
use tidegate_crds::{KafkaSource, StartFrom};

/// `startFrom` with what belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    Earliest,
    Latest,
    /// The group's committed offset; the earliest record where there is none.
    GroupOffsets,
    /// The first record at or after this time, in milliseconds since 1970.
    Timestamp(i64),
}

impl Start {
    /// The error is for the user.
    pub(super) fn new(spec: &KafkaSource) -> Result<Self, String> {
        Ok(match spec.start_from {
            StartFrom::Earliest => Self::Earliest,
            StartFrom::Latest => Self::Latest,
            StartFrom::GroupOffsets => Self::GroupOffsets,
            StartFrom::Timestamp => {
                let text = spec.start_timestamp.as_deref().unwrap_or_default();
                let time = DateTime::parse_from_rfc3339(text).map_err(|error| {
                    format!(
                        "kafka.startTimestamp: found `{text}`: {error}; accepted is an RFC 3339 instant such as \
                         2026-01-01T00:00:00Z"
                    )
                })?;
                Self::Timestamp(time.timestamp_millis())
            }
        })
    }
}
