//! gRPC messages that are JSON, in pieces.
//!
//! What a worker says of a checkpoint is as long as the list of its parts. A long message comes in several pieces, so no
//! limit of a message's size stands in its way, and each piece that comes is a sign of life: who needs long to say much is
//! not silent.

use std::{marker::PhantomData, time::Duration};

use bytes::{Buf, BufMut, Bytes};
use serde::{Serialize, de::DeserializeOwned};
use tonic::{
    Status, Streaming,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

use crate::env;

/// Bytes of a piece, at most; tonic takes four times as many.
const PIECE: usize = 1 << 20;
/// The longest message: far above any, and a bound on what a broken peer can ask for.
const LONGEST: usize = 1 << 30;
/// What a piece begins with.
const MORE_FOLLOWS: u8 = 0;
const LAST: u8 = 1;

/// A message, or a part of one.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    Of {
        is_last: bool,
        bytes: Bytes,
    },
    /// Of a message that can't be written, and why: ends the stream.
    Unwritable(String),
}

/// The pieces of a message, in order.
pub fn pieces<T: Serialize>(message: &T) -> Vec<Piece> {
    let bytes = match serde_json::to_vec(message) {
        Ok(bytes) => Bytes::from(bytes),
        Err(error) => return vec![Piece::Unwritable(error.to_string())],
    };
    let length = bytes.len();
    let piece = |from: usize| {
        let to = length.min(from + PIECE);
        Piece::Of { is_last: to == length, bytes: bytes.slice(from..to) }
    };
    (0..length.max(1)).step_by(PIECE).map(piece).collect()
}

/// Puts messages together again.
#[derive(Debug)]
pub struct Assembly<U> {
    so_far: Vec<u8>,
    of: PhantomData<fn() -> U>,
}

impl<U> Default for Assembly<U> {
    fn default() -> Self {
        Self { so_far: Vec::new(), of: PhantomData }
    }
}

impl<U: DeserializeOwned> Assembly<U> {
    /// Takes in the next piece; gives the message that it completes.
    pub fn add(&mut self, piece: Piece) -> Result<Option<U>, Status> {
        let (is_last, bytes) = match piece {
            Piece::Of { is_last, bytes } => (is_last, bytes),
            Piece::Unwritable(cause) => return Err(Status::internal(cause)),
        };
        if self.so_far.len() + bytes.len() > LONGEST {
            return Err(Status::resource_exhausted(format!("a message of more than {LONGEST} bytes")));
        }
        self.so_far.extend_from_slice(&bytes);
        if !is_last {
            return Ok(None);
        }
        let read = serde_json::from_slice(&std::mem::take(&mut self.so_far));
        read.map(Some).map_err(|error| Status::invalid_argument(format!("a message that can't be read: {error}")))
    }
}

/// Messages of the other end.
#[derive(Debug)]
pub struct Incoming<U> {
    pieces: Streaming<Piece>,
    assembly: Assembly<U>,
    silence: Duration,
}

/// Why nothing comes any more.
#[derive(Debug)]
pub enum Lost {
    Silent(Duration),
    Broken(Status),
}

impl<U: DeserializeOwned> Incoming<U> {
    /// An end from which nothing comes for so long is lost.
    pub fn new(pieces: Streaming<Piece>, silence: Duration) -> Self {
        Self { pieces, assembly: Assembly::default(), silence }
    }

    /// The next message; none when the other end has ended the stream.
    pub async fn next(&mut self) -> Result<Option<U>, Lost> {
        loop {
            let piece = env::within(self.silence, self.pieces.message()).await.ok_or(Lost::Silent(self.silence))?;
            let Some(piece) = piece.map_err(Lost::Broken)? else { return Ok(None) };
            if let Some(message) = self.assembly.add(piece).map_err(Lost::Broken)? {
                return Ok(Some(message));
            }
        }
    }
}

/// Pieces as they go over the wire: one byte that says whether more follow, then theirs.
#[derive(Debug, Default)]
pub struct Pieces;

impl Codec for Pieces {
    type Encode = Piece;
    type Decode = Piece;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Pieces {
    type Item = Piece;
    type Error = Status;

    fn encode(&mut self, piece: Piece, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        match piece {
            Piece::Of { is_last, bytes } => {
                buffer.put_u8(if is_last { LAST } else { MORE_FOLLOWS });
                buffer.put(bytes);
                Ok(())
            }
            Piece::Unwritable(cause) => Err(Status::internal(cause)),
        }
    }
}

impl Decoder for Pieces {
    type Item = Piece;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Piece>, Status> {
        read_piece(buffer).map(Some)
    }
}

/// A piece as it came over the wire.
pub fn read_piece(buffer: &mut impl Buf) -> Result<Piece, Status> {
    let is_last = match buffer.try_get_u8() {
        Ok(LAST) => true,
        Ok(MORE_FOLLOWS) => false,
        other => {
            let found = other.map_or_else(|_| "nothing".to_owned(), |first| first.to_string());
            let message = format!(
                "a message that begins with {found}; accepted is {MORE_FOLLOWS} or {LAST}: is the other end of this version?"
            );
            return Err(Status::invalid_argument(message));
        }
    };
    let bytes = buffer.copy_to_bytes(buffer.remaining());
    Ok(Piece::Of { is_last, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_any_length_is_put_together_from_its_pieces() {
        let mut assembly = Assembly::<Vec<String>>::default();
        for length in [0, 1, PIECE - 4, PIECE - 3, 5 * PIECE] {
            let message = vec!["x".repeat(length)];
            let pieces = pieces(&message);
            assert_eq!(pieces.len(), (length + 4).div_ceil(PIECE), "{length}");
            let mut taken: Vec<_> = pieces.into_iter().map(|piece| assembly.add(piece).unwrap()).collect();
            assert_eq!(taken.pop().flatten(), Some(message), "{length}");
            assert!(taken.iter().all(Option::is_none), "{length}");
        }
    }

    #[test]
    fn what_is_no_message_is_told() {
        let mut assembly = Assembly::<Vec<String>>::default();
        let piece = |bytes: &'static [u8]| Piece::Of { is_last: true, bytes: Bytes::from_static(bytes) };
        assert!(assembly.add(piece(b"{")).unwrap_err().message().contains("can't be read"));
        assert_eq!(assembly.add(piece(b"[]")).unwrap(), Some(Vec::new()), "nothing is left of the one before");
        let unwritable = assembly.add(Piece::Unwritable("a test".to_owned())).unwrap_err();
        assert_eq!(unwritable.message(), "a test");
    }
}
