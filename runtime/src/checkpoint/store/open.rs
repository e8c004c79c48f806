//! From the document's storage to a store.

use std::{path::Path, sync::Arc};

use tidegate_crds::StorageSpec;

use super::{LocalStore, S3Store, Store, StoreError};

/// The store of one job: its objects lie below `<bucket>/<prefix>/<job>/` or `<path>/<job>/`.
pub async fn open(spec: &StorageSpec, job: &str) -> Result<Arc<dyn Store>, StoreError> {
    match (&spec.s3, &spec.local) {
        (Some(s3), None) => Ok(Arc::new(S3Store::open(s3, job).await?)),
        (None, Some(local)) => Ok(Arc::new(LocalStore::open(Path::new(&local.path).join(job)).await?)),
        _ => Err(StoreError::Refused {
            location: format!("of job `{job}`"),
            message: "spec.checkpoint.storage needs exactly one of `s3` and `local`".to_owned(),
        }),
    }
}
