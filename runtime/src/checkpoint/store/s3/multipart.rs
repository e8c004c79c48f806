//! Large objects, in parts: several on their way at a time, each repeated by the SDK until it has arrived. The object
//! appears when the upload is completed, whole.
//!
//! Completing can't be repeated: after a lost answer the service no longer knows the upload. So each upload leaves a
//! name of its own in the object's metadata, and who finds it there has completed it.

use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use super::{Create, ObjectPath, PARALLEL, PART_BYTES, S3Store, StoreError, code, status};
use crate::env;

/// Metadata with the upload's name.
const UPLOAD: &str = "tidegate-upload";

/// One upload under way.
struct Upload<'a> {
    store: &'a S3Store,
    path: &'a ObjectPath,
    key: &'a str,
    /// What the service calls it.
    id: String,
    /// What we call it.
    name: String,
}

/// What the service lets an upload replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Replace {
    Anything,
    Nothing,
}

impl S3Store {
    pub(super) async fn put_in_parts(
        &self,
        path: &ObjectPath,
        key: &str,
        bytes: Bytes,
        replace: Replace,
    ) -> Result<Create, StoreError> {
        let name = env::unique_id();
        let begin = self.client.create_multipart_upload().bucket(&self.bucket).key(key).metadata(UPLOAD, &name);
        let begun = begin.send().await.map_err(|error| self.failed("begin to write", &path.0, &error))?;
        let id = begun.upload_id.ok_or_else(|| self.broken("begin to write", &path.0, "no upload id".into()))?;
        let upload = Upload { store: self, path, key, id, name };
        let outcome = match upload.parts(bytes).await {
            Ok(parts) => upload.complete(parts, replace).await,
            Err(error) => Err(error),
        };
        if !matches!(outcome, Ok(Create::Created)) {
            upload.abort().await;
        }
        outcome
    }
}

impl Upload<'_> {
    async fn parts(&self, bytes: Bytes) -> Result<Vec<CompletedPart>, StoreError> {
        let pieces = (0..bytes.len()).step_by(PART_BYTES).zip(1..);
        let sent = stream::iter(pieces.map(|(start, number)| {
            let piece = bytes.slice(start..bytes.len().min(start + PART_BYTES));
            self.part(number, piece)
        }));
        sent.buffered(PARALLEL).try_collect().await
    }

    async fn part(&self, number: i32, piece: Bytes) -> Result<CompletedPart, StoreError> {
        let Self { store, path, key, id, .. } = self;
        let request = store.patient.upload_part().bucket(&store.bucket).key(*key).upload_id(id);
        let sent = request.part_number(number).body(piece.into()).send().await;
        let sent = sent.map_err(|error| store.failed("write a part of", &path.0, &error))?;
        Ok(CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag).build())
    }

    async fn complete(&self, parts: Vec<CompletedPart>, replace: Replace) -> Result<Create, StoreError> {
        let Self { store, path, key, id, .. } = self;
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let request = store.patient.complete_multipart_upload().bucket(&store.bucket).key(*key).upload_id(id);
        let request = match replace {
            Replace::Anything => request,
            Replace::Nothing => request.if_none_match("*"),
        };
        match request.multipart_upload(parts).send().await {
            Ok(_) => Ok(Create::Created),
            // The SDK repeated a request that had taken place, perhaps; also where the answer is 412.
            Err(_) if self.is_there().await? => Ok(Create::Created),
            Err(error) if status(&error) == Some(412) => Ok(Create::Exists),
            Err(error) => Err(store.failed("complete", &path.0, &error)),
        }
    }

    /// Whether the object is what this upload made.
    async fn is_there(&self) -> Result<bool, StoreError> {
        let Self { store, path, key, name, .. } = self;
        match store.client.head_object().bucket(&store.bucket).key(*key).send().await {
            Ok(object) => Ok(object.metadata.is_some_and(|metadata| metadata.get(UPLOAD) == Some(name))),
            Err(error) if status(&error) == Some(404) => Ok(false),
            Err(error) => Err(store.failed("look at", &path.0, &error)),
        }
    }

    /// Best effort: a bucket's lifecycle rule for unfinished uploads is the net below.
    async fn abort(&self) {
        let Self { store, path, key, id, .. } = self;
        let abort = store.client.abort_multipart_upload().bucket(&store.bucket).key(*key).upload_id(id);
        match abort.send().await {
            Err(error) if code(&error) != Some("NoSuchUpload") => {
                let error = store.failed("abort", &path.0, &error);
                tracing::debug!(%path, %error, "unfinished upload stays behind");
            }
            _ => {}
        }
    }
}
