//! Errors of both sides, before they carry a source's or a sink's name.

use rdkafka::error::KafkaError;

use crate::{job::secrets::MissingSecret, sink::SinkError, source::SourceError};

/// What went wrong; see [`SourceError`] and [`SinkError`] for the difference.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// For the user: what was found, what is accepted, where.
    Refused(String),
    /// As above, and it may pass: nobody answers.
    Unreachable(String),
    Secret(MissingSecret),
    /// It may work when tried again. `action` completes "failed to …".
    Failed {
        action: String,
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Trouble {
    pub(crate) fn failed(
        action: impl Into<String>,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Failed { action: action.into(), cause: cause.into() }
    }

    pub(crate) fn of_source(self, name: &str) -> SourceError {
        let source_name = name.to_owned();
        match self {
            Self::Refused(message) => SourceError::Refused { source_name, message },
            Self::Unreachable(message) => SourceError::Unreachable { source_name, message },
            Self::Secret(missing) => SourceError::Secret { source_name, missing },
            Self::Failed { action, cause } => SourceError::Failed { source_name, action, cause },
        }
    }

    pub(crate) fn of_sink(self, name: &str) -> SinkError {
        let sink = name.to_owned();
        match self {
            Self::Refused(message) => SinkError::Refused { sink, message },
            Self::Unreachable(message) => SinkError::Unreachable { sink, message },
            Self::Secret(missing) => SinkError::Secret { sink, missing },
            Self::Failed { action, cause } => SinkError::Failed { sink, action, cause },
        }
    }
}

/// Runs `work`, which may block, away from the tasks.
pub(crate) async fn blocking<T, F>(action: &str, work: F) -> Result<T, Trouble>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, Trouble> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(stopped) => Err(Trouble::failed(action, stopped)),
    }
}

/// Shorthand for `map_err` on librdkafka's results.
pub(crate) fn failed_to(action: impl Into<String>) -> impl FnOnce(KafkaError) -> Trouble {
    move |cause| Trouble::failed(action, cause)
}
