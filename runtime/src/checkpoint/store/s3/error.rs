//! What the service's errors mean.

use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};

use super::{S3Store, Store, StoreError};
use crate::error_chain;

pub(super) fn status<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

pub(super) fn code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Option<&str> {
    error.as_service_error().and_then(ProvideErrorMetadata::code)
}

/// Another request for the same object was under way: neither of the two is decided, ask again.
pub(super) fn undecided<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    matches!(code(error), Some("ConditionalRequestConflict" | "OperationAborted"))
}

impl S3Store {
    pub(super) fn failed<E>(&self, action: &'static str, path: &str, error: &SdkError<E, HttpResponse>) -> StoreError
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let refuse = |message: String| StoreError::Refused { location: self.location(), message };
        match code(error) {
            Some("NoSuchBucket") => refuse(format!("there is no bucket `{}`; create it, or name another", self.bucket)),
            // The second is how versitygw says it.
            Some("InvalidAccessKeyId" | "XAdminUserNotFound") => {
                refuse("the service does not know the access key".to_owned())
            }
            Some("SignatureDoesNotMatch") => refuse("the secret key is not the one of the access key".to_owned()),
            found => {
                let text = match (found, error.as_service_error().and_then(ProvideErrorMetadata::message)) {
                    (Some(code), message) => {
                        let status = status(error).unwrap_or_default();
                        format!("the service answered {status} {code}: {}", message.unwrap_or("no message"))
                    }
                    _ => match &self.endpoint {
                        Some(endpoint) => format!("no answer from {endpoint}: {}", error_chain(error)),
                        None => error_chain(error),
                    },
                };
                self.broken(action, path, text.into())
            }
        }
    }

    pub(super) fn broken(
        &self,
        action: &'static str,
        path: &str,
        cause: Box<dyn std::error::Error + Send + Sync>,
    ) -> StoreError {
        StoreError::Failed { action, path: path.to_owned(), location: self.location(), cause }
    }
}
