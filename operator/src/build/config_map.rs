//! The job file.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};

/// Name of the file in the volume.
pub const JOB_FILE: &str = "job.json";

/// A pod of an older version may start again while a newer one is on its way, so each version has a file of its own that
/// nobody changes.
pub fn build(metadata: ObjectMeta, job_file: String) -> ConfigMap {
    ConfigMap {
        metadata,
        data: Some(BTreeMap::from([(JOB_FILE.to_owned(), job_file)])),
        immutable: Some(true),
        ..ConfigMap::default()
    }
}
