//! From an address that a person writes to a store.

use std::{path::Path, sync::Arc};

use thiserror::Error;
use tidegate_crds::{HdfsStorage, LocalStorage, S3Storage, StorageSpec, api::FailureReason};

use super::{LocalStore, Store, StoreError, open};
use crate::failure::Reason;
#[cfg(any(test, feature = "test-util"))]
use crate::simulation;

#[derive(Debug, Error)]
pub enum AddressError {
    #[error("found `{address}`; accepted is s3://bucket/folder, hdfs://host:port/folder, or a folder of this machine")]
    Unreadable { address: String },
    #[error("there is no folder {address}")]
    NoFolder { address: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Reason for AddressError {
    fn reason(&self) -> FailureReason {
        match self {
            Self::Unreadable { .. } => FailureReason::DocumentInvalid,
            Self::NoFolder { .. } => FailureReason::StateUnfit,
            Self::Store(error) => error.reason(),
        }
    }
}

/// The store whose root is a folder: `s3://bucket/prefix/job`, `hdfs://host:port/folder/job`, or one of this machine. A
/// bucket or an HDFS is reached as `like` says, if that is of the same kind, else as the environment does.
pub async fn open_at(address: &str, like: &StorageSpec) -> Result<Arc<dyn Store>, AddressError> {
    #[cfg(any(test, feature = "test-util"))]
    if let Some(store) = simulation::ask(|doors| doors.store(address)) {
        return Ok(store);
    }
    let (spec, folder) = parse(address, like)?;
    if let Some(local) = &spec.local {
        return Ok(Arc::new(LocalStore::existing(Path::new(&local.path).join(folder))));
    }
    Ok(open(&spec, &folder).await?)
}

/// Storage settings, and the folder below them.
fn parse(address: &str, like: &StorageSpec) -> Result<(StorageSpec, String), AddressError> {
    let unreadable = || AddressError::Unreadable { address: address.to_owned() };
    if let Some(place) = address.strip_prefix("s3://") {
        let (bucket, path) = place.trim_end_matches('/').split_once('/').ok_or_else(unreadable)?;
        let (prefix, folder) = path.rsplit_once('/').unwrap_or(("", path));
        let like = like.s3.clone().unwrap_or_else(from_environment);
        let s3 = S3Storage { bucket: bucket.to_owned(), prefix: prefix.to_owned(), ..like };
        return Ok((StorageSpec { s3: Some(s3), ..StorageSpec::default() }, folder.to_owned()));
    }
    if address.starts_with("hdfs://") {
        let (url, folder) = address.trim_end_matches('/').rsplit_once('/').ok_or_else(unreadable)?;
        let like = like.hdfs.clone().unwrap_or_default();
        let hdfs = HdfsStorage { url: url.to_owned(), ..like };
        return Ok((StorageSpec { hdfs: Some(hdfs), ..StorageSpec::default() }, folder.to_owned()));
    }
    if address.contains("://") {
        return Err(unreadable());
    }
    let path = Path::new(address);
    let (Some(parent), Some(folder)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Err(unreadable());
    };
    if !path.is_dir() {
        return Err(AddressError::NoFolder { address: address.to_owned() });
    }
    let local = LocalStorage { path: parent.to_string_lossy().into_owned() };
    Ok((StorageSpec { local: Some(local), ..StorageSpec::default() }, folder.to_owned()))
}

fn from_environment() -> S3Storage {
    S3Storage {
        bucket: String::new(),
        prefix: String::new(),
        endpoint: std::env::var("AWS_ENDPOINT_URL").ok(),
        region: None,
        path_style: None,
        access_key_id: None,
        secret_access_key: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_keeps_endpoint_and_credentials_of_the_storage_it_is_like() {
        let own = S3Storage { endpoint: Some("http://minio:9000".into()), ..from_environment() };
        let like = StorageSpec { s3: Some(own), ..StorageSpec::default() };
        let (spec, folder) = parse("s3://other/a/b/savepoints/first/", &like).unwrap();
        let s3 = spec.s3.unwrap();
        assert_eq!((s3.bucket.as_str(), s3.prefix.as_str(), folder.as_str()), ("other", "a/b/savepoints", "first"));
        assert_eq!(s3.endpoint.as_deref(), Some("http://minio:9000"));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for address in ["", "/", "s3://bucket", "hdfs://", "gs://bucket/folder", "/no/such/folder"] {
            assert!(parse(address, &StorageSpec::default()).is_err(), "{address}");
        }
    }
}
