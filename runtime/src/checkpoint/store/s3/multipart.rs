//! Large objects, in parts. The object appears when the upload is completed, whole.

use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use super::{ObjectPath, PART_BYTES, S3Store, StoreError};

/// Parts on their way at the same time.
const PARALLEL: usize = 4;

impl S3Store {
    pub(super) async fn put_in_parts(&self, path: &ObjectPath, key: String, bytes: Bytes) -> Result<(), StoreError> {
        let started = self.client.create_multipart_upload().bucket(&self.bucket).key(&key).send().await;
        let started = started.map_err(|error| self.failed("begin to write", &path.0, &error))?;
        let upload = started.upload_id.unwrap_or_default();
        let result = self.parts(path, &key, &upload, bytes).await;
        if result.is_err() {
            // Best effort: a bucket's lifecycle rule for unfinished uploads is the net below.
            let abort = self.client.abort_multipart_upload().bucket(&self.bucket).key(&key).upload_id(&upload);
            if let Err(error) = abort.send().await {
                tracing::debug!(%path, error = %self.failed("abort", &path.0, &error), "unfinished upload stays behind");
            }
        }
        result
    }

    async fn parts(&self, path: &ObjectPath, key: &str, upload: &str, bytes: Bytes) -> Result<(), StoreError> {
        let pieces = (0..bytes.len()).step_by(PART_BYTES).zip(1..);
        let parts: Vec<CompletedPart> = stream::iter(pieces.map(|(start, number)| {
            let piece = bytes.slice(start..bytes.len().min(start + PART_BYTES));
            async move {
                let request = self.patient.upload_part().bucket(&self.bucket).key(key).upload_id(upload);
                let sent = request.part_number(number).body(piece.into()).send().await;
                let sent = sent.map_err(|error| self.failed("write a part of", &path.0, &error))?;
                Ok::<_, StoreError>(CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag).build())
            }
        }))
        .buffered(PARALLEL)
        .try_collect()
        .await?;
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let complete = self.patient.complete_multipart_upload().bucket(&self.bucket).key(key).upload_id(upload);
        let done = complete.multipart_upload(parts).send().await;
        done.map(drop).map_err(|error| self.failed("complete", &path.0, &error))
    }
}
