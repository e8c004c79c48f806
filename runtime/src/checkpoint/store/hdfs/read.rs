//! Reading files: in pieces, several at a time, each of the length it must have.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream};

use super::{Failure, HdfsStore, PIECE_BYTES};

/// Pieces on their way at the same time.
const PARALLEL: usize = 4;

impl HdfsStore {
    /// The bytes of `range` as far as the file has them; `None` if there is no file.
    pub(super) async fn read_file(&self, file: &str, range: Range<u64>) -> Result<Option<Bytes>, Failure> {
        let session = self.way.session()?;
        let reader = match session.ask(session.client.read(file)).await {
            Ok(reader) => reader,
            Err(failure) if failure.is_absent() => return Ok(None),
            Err(failure) => return Err(failure),
        };
        // The library panics where a range leaves the file.
        let end = reader.file_length().min(usize::try_from(range.end).unwrap_or(usize::MAX));
        let start = end.min(usize::try_from(range.start).unwrap_or(usize::MAX));
        let read_piece = async |from: usize| {
            let expected = PIECE_BYTES.min(end - from);
            let piece = session.transfer(reader.read_range(from, expected)).await?;
            if piece.len() == expected {
                Ok(piece)
            } else {
                Err(Failure::Short { found: piece.len() as u64, expected: expected as u64 })
            }
        };
        if end - start <= PIECE_BYTES {
            return if start == end { Ok(Some(Bytes::new())) } else { read_piece(start).await.map(Some) };
        }
        let mut pieces = stream::iter((start..end).step_by(PIECE_BYTES)).map(read_piece).buffered(PARALLEL);
        let mut whole = BytesMut::with_capacity(end - start);
        while let Some(piece) = pieces.try_next().await? {
            whole.extend_from_slice(&piece);
        }
        Ok(Some(whole.freeze()))
    }
}
