//! From the document's storage to a store.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use tidegate_crds::{LocalStorage, StorageSpec};

#[cfg(feature = "hdfs")]
use super::HdfsStore;
#[cfg(feature = "s3")]
use super::S3Store;
use super::{LocalStore, Store, StoreError};
use crate::features::Feature;

/// The store of one job: its objects lie below `<bucket>/<prefix>/<job>/`, `<url>/<job>/` or `<path>/<job>/`. `job` is
/// the job's id.
pub async fn open(spec: &StorageSpec, job: &str) -> Result<Arc<dyn Store>, StoreError> {
    let refused = |message: String| StoreError::Refused { location: location(spec, job), message };
    if spec.s3.is_some() {
        Feature::S3.check().map_err(|missing| refused(missing.to_string()))?;
    }
    if spec.hdfs.is_some() {
        Feature::Hdfs.check().map_err(|missing| refused(missing.to_string()))?;
    }
    match (&spec.s3, &spec.hdfs, &spec.local) {
        #[cfg(feature = "s3")]
        (Some(s3), None, None) => Ok(Arc::new(S3Store::open(s3, job).await?)),
        #[cfg(feature = "hdfs")]
        (None, Some(hdfs), None) => Ok(Arc::new(HdfsStore::open(hdfs, job)?)),
        (None, None, Some(local)) => Ok(Arc::new(LocalStore::open(folder(local, job)).await?)),
        _ => Err(refused("spec.checkpoint.storage needs exactly one of `s3`, `hdfs` and `local`".to_owned())),
    }
}

/// Where [`open`] will find the store, for people. Asks nobody.
pub fn location(spec: &StorageSpec, job: &str) -> String {
    match (&spec.s3, &spec.hdfs, &spec.local) {
        (Some(s3), ..) => s3.location(job),
        (None, Some(hdfs), _) => hdfs.location(job),
        (None, None, Some(local)) => folder(local, job).display().to_string(),
        (None, None, None) => format!("of job `{job}`"),
    }
}

fn folder(local: &LocalStorage, job: &str) -> PathBuf {
    Path::new(&local.path).join(job)
}
