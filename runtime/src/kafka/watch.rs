//! What a client says of itself while it works.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::{
    ClientContext,
    config::RDKafkaLogLevel,
    consumer::ConsumerContext,
    error::{KafkaError, RDKafkaErrorCode},
};

/// Takes librdkafka's log to `tracing` and keeps the newest error of its connections.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    newest: Mutex<Option<Ailment>>,
}

/// An error that no call was waiting for.
#[derive(Debug, Clone)]
pub(crate) struct Ailment {
    pub(crate) code: RDKafkaErrorCode,
    pub(crate) reason: String,
}

impl Ailment {
    /// The broker turned us away: trying again with the same credentials does not help.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(
            self.code,
            RDKafkaErrorCode::Authentication
                | RDKafkaErrorCode::SaslAuthenticationFailed
                | RDKafkaErrorCode::UnsupportedSASLMechanism
                | RDKafkaErrorCode::ClusterAuthorizationFailed
        )
    }
}

impl Watch {
    fn lock(&self) -> MutexGuard<'_, Option<Ailment>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest error; a refusal is not overwritten by the disconnect that follows it.
    pub(crate) fn newest(&self) -> Option<Ailment> {
        self.lock().clone()
    }

    /// The newest error, if it is such a one.
    pub(crate) fn newest_if(&self, is_such: impl FnOnce(&Ailment) -> bool) -> Option<Ailment> {
        self.lock().as_ref().filter(|ailment| is_such(ailment)).cloned()
    }

    pub(crate) fn saw(&self, code: RDKafkaErrorCode, reason: &str) {
        if code == RDKafkaErrorCode::PartitionEOF {
            // Asked for, and told to the reader as well.
            return;
        }
        tracing::warn!(?code, reason, "kafka client reports an error; it goes on trying");
        let mut newest = self.lock();
        if !newest.as_ref().is_some_and(Ailment::is_refusal) && code != RDKafkaErrorCode::AllBrokersDown {
            *newest = Some(Ailment { code, reason: reason.to_owned() });
        }
    }
}

/// librdkafka heals itself, so its errors are warnings here; what stops the job comes out of a call.
pub(crate) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(facility, "librdkafka: {message}");
        }
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => tracing::warn!(facility, "librdkafka: {message}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => tracing::debug!(facility, "librdkafka: {message}"),
        RDKafkaLogLevel::Debug => tracing::trace!(facility, "librdkafka: {message}"),
    }
}

impl ClientContext for Watch {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.saw(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown), reason);
    }
}

impl ConsumerContext for Watch {}
