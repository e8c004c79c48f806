//! From the document to clients.

use std::time::Duration;

use aws_config::{BehaviorVersion, Region, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_s3::{
    Client,
    config::{Credentials, RequestChecksumCalculation, ResponseChecksumValidation},
};
use tidegate_crds::S3Storage;

use super::StoreError;
use crate::job::secrets;

const ATTEMPTS: u32 = 4;
/// Signed into requests to services that have no regions.
const ANY_REGION: &str = "us-east-1";

/// How long one try of a request may take. The SDK makes up to four.
#[derive(Debug, Clone, Copy)]
pub struct S3Patience {
    pub connect: Duration,
    /// Of a request without a large body.
    pub small: Duration,
    /// Of a request or an answer of up to 16 MiB.
    pub large: Duration,
}

impl Default for S3Patience {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), small: Duration::from_secs(10), large: Duration::from_mins(1) }
    }
}

/// Two clients over one pool of connections: one that gives up on an attempt early and one that waits for large bodies.
pub(super) async fn clients(
    spec: &S3Storage,
    keys: Option<(String, String)>,
    patience: S3Patience,
    location: &str,
) -> Result<(Client, Client), StoreError> {
    let mut loader = aws_config::defaults(BehaviorVersion::latest());
    if let Some(region) = spec.region.clone().or_else(|| spec.endpoint.is_some().then(|| ANY_REGION.to_owned())) {
        loader = loader.region(Region::new(region));
    }
    if let Some((id, secret)) = keys {
        loader = loader.credentials_provider(Credentials::new(id, secret, None, None, "StreamJob"));
    }
    if let Some(endpoint) = &spec.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    let shared = loader.load().await;
    if shared.region().is_none() {
        return Err(refused(
            location,
            "spec.checkpoint.storage.s3.region is not set, and neither is AWS_REGION".into(),
        ));
    }
    let config = aws_sdk_s3::config::Builder::from(&shared)
        .force_path_style(spec.path_style.unwrap_or(spec.endpoint.is_some()))
        // Ceph, Garage and older services refuse the checksums that the SDK would add on its own account.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        // Throttling (503 SlowDown), other 5xx, time-outs and broken connections: the SDK pauses, longer each time and
        // by chance, and no longer repeats when too many requests of this process failed.
        .retry_config(
            RetryConfig::standard().with_max_attempts(ATTEMPTS).with_initial_backoff(Duration::from_millis(100)),
        );
    let timeouts = |attempt: Duration| {
        TimeoutConfig::builder()
            .connect_timeout(patience.connect)
            .operation_attempt_timeout(attempt)
            .operation_timeout(attempt * ATTEMPTS)
            .build()
    };
    let patient = Client::from_conf(config.clone().timeout_config(timeouts(patience.large)).build());
    Ok((Client::from_conf(config.timeout_config(timeouts(patience.small)).build()), patient))
}

/// The key pair, where the document names one.
pub(super) fn keys(spec: &S3Storage, location: &str) -> Result<Option<(String, String)>, StoreError> {
    let resolve = |name: &str, secret| {
        secrets::resolve(&format!("spec.checkpoint.storage.s3.{name}"), secret)
            .map_err(|missing| StoreError::Secret { location: location.to_owned(), missing: Box::new(missing) })
    };
    match (&spec.access_key_id, &spec.secret_access_key) {
        (Some(id), Some(secret)) => Ok(Some((resolve("accessKeyId", id)?, resolve("secretAccessKey", secret)?))),
        (None, None) => Ok(None),
        _ => Err(refused(location, "accessKeyId and secretAccessKey are set together or not at all".into())),
    }
}

fn refused(location: &str, message: String) -> StoreError {
    StoreError::Refused { location: location.to_owned(), message }
}
