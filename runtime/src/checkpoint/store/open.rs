//! From the document's storage to a store.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use tidegate_crds::{LocalStorage, StorageSpec};

use super::{HdfsStore, LocalStore, S3Store, Store, StoreError};

/// The store of one job: its objects lie below `<bucket>/<prefix>/<job>/`, `<url>/<job>/` or `<path>/<job>/`. `job` is
/// the job's id.
pub async fn open(spec: &StorageSpec, job: &str) -> Result<Arc<dyn Store>, StoreError> {
    match (&spec.s3, &spec.hdfs, &spec.local) {
        (Some(s3), None, None) => Ok(Arc::new(S3Store::open(s3, job).await?)),
        (None, Some(hdfs), None) => Ok(Arc::new(HdfsStore::open(hdfs, job)?)),
        (None, None, Some(local)) => Ok(Arc::new(LocalStore::open(folder(local, job)).await?)),
        _ => Err(StoreError::Refused {
            location: location(spec, job),
            message: "spec.checkpoint.storage needs exactly one of `s3`, `hdfs` and `local`".to_owned(),
        }),
    }
}

/// Where [`open`] will find the store, for people. Asks nobody.
pub fn location(spec: &StorageSpec, job: &str) -> String {
    match (&spec.s3, &spec.hdfs, &spec.local) {
        (Some(s3), ..) => S3Store::location_of(s3, job),
        (None, Some(hdfs), _) => HdfsStore::location_of(hdfs, job),
        (None, None, Some(local)) => folder(local, job).display().to_string(),
        (None, None, None) => format!("of job `{job}`"),
    }
}

fn folder(local: &LocalStorage, job: &str) -> PathBuf {
    Path::new(&local.path).join(job)
}
