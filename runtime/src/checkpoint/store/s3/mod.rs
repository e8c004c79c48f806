//! A bucket of an S3 service.
//!
//! `If-None-Match: *` on PUT makes a create conditional; the service decides, at once for all writers. The SDK repeats a
//! request whose answer was lost, so a create that took place may answer "exists" to its own author: the log's records
//! carry an id, and whoever gets that answer reads back (DESIGN §3, "unknown outcome").

mod connect;
mod error;
mod multipart;
mod read;

use std::{ops::Range, time::Duration};

use async_trait::async_trait;
use aws_sdk_s3::Client;
use bytes::Bytes;
use tidegate_crds::S3Storage;

pub use self::connect::S3Patience;
use self::{
    error::{code, status},
    multipart::Replace,
};
use super::{Create, Listed, ObjectPath, Store, StoreError, backoff::Backoff, path};

/// How often a create is tried again that the service could not decide, because of others at the same moment.
const CONFLICT_TRIES: u32 = 5;
const CONFLICT_PAUSE: Duration = Duration::from_millis(50);
/// Larger objects are written and read in parts of this size.
const PART_BYTES: usize = 16 << 20;
/// Parts of one object on their way at the same time: what a transfer needs of memory beside the object itself.
const PARALLEL: usize = 4;

/// Objects below `<prefix>/<job>/` of a bucket.
#[derive(Debug, Clone)]
pub struct S3Store {
    bucket: String,
    /// Ends in `/`.
    root: String,
    /// Where the service is, if that is said.
    endpoint: Option<String>,
    /// For small requests: gives up on an attempt early.
    client: Client,
    /// For bodies of many megabytes.
    patient: Client,
    patience: S3Patience,
}

impl S3Store {
    /// With the key pair that the document names, from the environment; without one the SDK looks in the usual places.
    /// Makes the clients; nothing is asked of the service yet.
    pub async fn open(spec: &S3Storage, job: &str) -> Result<Self, StoreError> {
        let keys = connect::keys(spec, &spec.location(job))?;
        Self::with_keys(spec, job, keys).await
    }

    /// With this access key and secret key.
    pub async fn with_keys(spec: &S3Storage, job: &str, keys: Option<(String, String)>) -> Result<Self, StoreError> {
        Self::with_patience(spec, job, keys, S3Patience::default()).await
    }

    /// As [`S3Store::with_keys`], and waits so long for answers.
    pub async fn with_patience(
        spec: &S3Storage,
        job: &str,
        keys: Option<(String, String)>,
        patience: S3Patience,
    ) -> Result<Self, StoreError> {
        let root = spec.root(job);
        let (client, patient) = connect::clients(spec, keys, patience, &spec.location(job)).await?;
        Ok(Self { bucket: spec.bucket.clone(), root, endpoint: spec.endpoint.clone(), client, patient, patience })
    }

    fn key(&self, path: &ObjectPath) -> Result<String, StoreError> {
        Ok(format!("{}{}", self.root, path::check(path, &self.location())?))
    }
}

#[async_trait]
impl Store for S3Store {
    async fn create(&self, path: &ObjectPath, bytes: Bytes) -> Result<Create, StoreError> {
        let key = self.key(path)?;
        if bytes.len() > PART_BYTES {
            return self.put_in_parts(path, &key, bytes, Replace::Nothing).await;
        }
        let mut backoff = Backoff::new(CONFLICT_TRIES, CONFLICT_PAUSE);
        loop {
            let request = self.client.put_object().bucket(&self.bucket).key(&key).if_none_match("*");
            match request.body(bytes.clone().into()).send().await {
                Ok(_) => return Ok(Create::Created),
                Err(error) if status(&error) == Some(412) => return Ok(Create::Exists),
                Err(error) if error::undecided(&error) && backoff.again().await => {}
                Err(error) => return Err(self.failed("create", &path.0, &error)),
            }
        }
    }

    async fn put(&self, path: &ObjectPath, bytes: Bytes) -> Result<(), StoreError> {
        let key = self.key(path)?;
        if bytes.len() > PART_BYTES {
            return self.put_in_parts(path, &key, bytes, Replace::Anything).await.map(drop);
        }
        let request = self.patient.put_object().bucket(&self.bucket).key(key).body(bytes.into());
        request.send().await.map(drop).map_err(|error| self.failed("write", &path.0, &error))
    }

    async fn get(&self, path: &ObjectPath) -> Result<Option<Bytes>, StoreError> {
        self.read(path, 0..u64::MAX).await
    }

    async fn get_range(&self, path: &ObjectPath, range: Range<u64>) -> Result<Option<Bytes>, StoreError> {
        if range.is_empty() {
            return Ok(self.read(path, 0..1).await?.map(|_| Bytes::new()));
        }
        self.read(path, range).await
    }

    async fn list(&self, prefix: &str, after: Option<&ObjectPath>) -> Result<Vec<Listed>, StoreError> {
        let request = self.client.list_objects_v2().bucket(&self.bucket).prefix(format!("{}{prefix}", self.root));
        let request = request.set_start_after(after.map(|after| format!("{}{after}", self.root)));
        let mut pages = request.into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            for object in page.map_err(|error| self.failed("list", prefix, &error))?.contents.unwrap_or_default() {
                // A service may show folders as objects whose names end in `/`.
                let path = object.key.as_deref().and_then(|key| key.strip_prefix(&self.root));
                if let Some(path) = path.filter(|path| !path.is_empty() && !path.ends_with('/')) {
                    let bytes = object.size.unwrap_or_default().unsigned_abs();
                    found.push(Listed { path: ObjectPath(path.to_owned()), bytes });
                }
            }
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    async fn list_folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let full = format!("{}{prefix}", self.root);
        let request = self.client.list_objects_v2().bucket(&self.bucket).prefix(&full).delimiter("/");
        let mut pages = request.into_paginator().send();
        let mut folders = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| self.failed("list", prefix, &error))?;
            for folder in page.common_prefixes.unwrap_or_default() {
                let name = folder.prefix.as_deref().and_then(|name| name.strip_prefix(&full)?.strip_suffix('/'));
                folders.extend(name.map(str::to_owned));
            }
        }
        folders.sort();
        Ok(folders)
    }

    async fn delete(&self, path: &ObjectPath) -> Result<(), StoreError> {
        let key = self.key(path)?;
        match self.client.delete_object().bucket(&self.bucket).key(key).send().await {
            Ok(_) => Ok(()),
            Err(error) if code(&error) == Some("NoSuchKey") => Ok(()),
            Err(error) => Err(self.failed("delete", &path.0, &error)),
        }
    }

    fn location(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.root.trim_end_matches('/'))
    }
}
