//! Reading objects: large ones in ranges, several at a time.
//!
//! The SDK repeats a request up to the answer's head; an answer whose body breaks off, stalls or is shorter than it must
//! be is asked for again here. How long it must be follows from the object's length, which every answer to a range tells.

use std::{ops::Range, time::Duration};

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream};

use super::{Backoff, ObjectPath, PARALLEL, PART_BYTES, S3Store, StoreError, code, status};
use crate::{env, error_chain};

/// How often a read is begun again when its body is not what it must be.
const MORE_TRIES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Some bytes of an object.
struct Piece {
    bytes: Bytes,
    /// Of the whole object.
    length: u64,
    /// Changes with the object.
    tag: Option<String>,
}

impl S3Store {
    /// The bytes of `range`, which is not empty, as far as the object has them; `None` if there is no object.
    pub(super) async fn read(&self, path: &ObjectPath, range: Range<u64>) -> Result<Option<Bytes>, StoreError> {
        let key = self.key(path)?;
        let mut backoff = Backoff::new(MORE_TRIES, FIRST_PAUSE);
        loop {
            let Some(first) = self.piece(path, &key, first_piece(&range)).await? else { return Ok(None) };
            let end = range.end.min(first.length);
            let begun = range.start + first.bytes.len() as u64;
            if begun >= end {
                return Ok(Some(first.bytes));
            }
            if let Some(whole) = self.rest(path, &key, &first, begun..end).await? {
                return Ok(Some(whole));
            }
            if !backoff.again().await {
                return Err(self.broken("read", &path.0, "it was replaced each time while it was read".into()));
            }
        }
    }

    /// `first` and what follows it; `None` if the object was replaced in the meantime.
    async fn rest(
        &self,
        path: &ObjectPath,
        key: &str,
        first: &Piece,
        rest: Range<u64>,
    ) -> Result<Option<Bytes>, StoreError> {
        let mut whole = BytesMut::with_capacity(first.bytes.len() + (rest.end - rest.start) as usize);
        whole.extend_from_slice(&first.bytes);
        let mut pieces = stream::iter(rest.clone().step_by(PART_BYTES))
            .map(|start| self.piece(path, key, start..rest.end.min(start + PART_BYTES as u64)))
            .buffered(PARALLEL);
        while let Some(piece) = pieces.try_next().await? {
            match piece {
                Some(piece) if piece.tag == first.tag && piece.length == first.length => {
                    whole.extend_from_slice(&piece.bytes);
                }
                _ => return Ok(None),
            }
        }
        Ok(Some(whole.freeze()))
    }

    async fn piece(&self, path: &ObjectPath, key: &str, range: Range<u64>) -> Result<Option<Piece>, StoreError> {
        let mut backoff = Backoff::new(MORE_TRIES, FIRST_PAUSE);
        loop {
            let request = self.client.get_object().bucket(&self.bucket).key(key);
            let request = request.range(format!("bytes={}-{}", range.start, range.end - 1));
            let answer = match request.send().await {
                Ok(answer) => answer,
                Err(error) if code(&error) == Some("NoSuchKey") => return Ok(None),
                Err(error) if status(&error) == Some(404) && code(&error) != Some("NoSuchBucket") => return Ok(None),
                // The object ends before the range begins.
                Err(error) if status(&error) == Some(416) => {
                    return Ok(Some(Piece { bytes: Bytes::new(), length: range.start, tag: None }));
                }
                Err(error) => return Err(self.failed("read", &path.0, &error)),
            };
            match self.body(answer, &range).await {
                Ok(piece) => return Ok(Some(piece)),
                Err(cause) if backoff.again().await => tracing::debug!(%path, cause, "reading again"),
                Err(cause) => return Err(self.broken("read", &path.0, cause.into())),
            }
        }
    }

    /// The answer's body, if it is what was asked for; else what is wrong with it.
    async fn body(&self, answer: GetObjectOutput, range: &Range<u64>) -> Result<Piece, String> {
        let told =
            answer.content_range.as_deref().and_then(length_told).or(answer.content_length.map(i64::unsigned_abs));
        let length = told.ok_or("the answer does not tell the object's length")?;
        let ranged = answer.content_range.is_some();
        let bytes = match env::within(self.patience.large, answer.body.collect()).await {
            Some(Ok(body)) => body.into_bytes(),
            Some(Err(error)) => return Err(error_chain(&error)),
            None => return Err(format!("the answer did not end within {:?}", self.patience.large)),
        };
        let end = range.end.min(length);
        let expected = if ranged { end.saturating_sub(range.start) } else { length };
        if bytes.len() as u64 != expected {
            return Err(format!("{} bytes came of {expected}", bytes.len()));
        }
        // A service without ranges answers with the whole object.
        let bytes = if ranged { bytes } else { bytes.slice(range.start.min(end) as usize..end as usize) };
        Ok(Piece { bytes, length, tag: answer.e_tag })
    }
}

fn first_piece(range: &Range<u64>) -> Range<u64> {
    range.start..range.end.min(range.start.saturating_add(PART_BYTES as u64))
}

/// The object's length in `bytes 0-9/100`.
fn length_told(content_range: &str) -> Option<u64> {
    content_range.rsplit_once('/')?.1.parse().ok()
}
