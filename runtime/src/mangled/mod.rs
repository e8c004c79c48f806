//! What comes from outside and may be broken, handed to who reads it.
//!
//! Bytes of disks, of networks and of people come into the engine in few places. Each has an *entry* here: a function
//! that takes any bytes, hands them to the engine's own reader, and panics where that broke its promise:
//!
//! - it never panics itself;
//! - bytes that a checksum vouches for are what was written, or an error;
//! - a length in the bytes is believed no further than there are bytes;
//! - an error says what was found and where, in the words of whoever reads it: a library's own never get out.
//!
//! The tests beside take a good value, mangle it and feed it; `fuzz/` feeds the same entries for as long as one likes.

pub mod documents;
pub mod frames;
pub mod json;
pub mod link;
pub mod log;
#[cfg(test)]
mod mangling;
pub mod manifests;
pub mod requests;
pub mod sql;
pub mod state_files;
#[cfg(test)]
mod tests;

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use crate::words::INTERNAL;

/// Words of those who program with the engine's libraries, and of Rust, beside [`INTERNAL`].
const MORE: [&str; 8] = ["{ ", "0x", "::<", "src/", "panicked", "None", "dyn ", "Field"];

/// A word of `message` that speaks to nobody who has written the `given` text.
pub fn internal(given: &str, message: &str) -> Option<&'static str> {
    INTERNAL.iter().copied().chain(MORE).find(|word| message.contains(word) && !given.contains(word))
}

/// The message of an error says something, and nothing that was meant for others.
fn assert_plain(given: &str, message: &str) {
    assert!(!message.trim().is_empty(), "an error without words, of {given:?}");
    assert_eq!(internal(given, message), None, "{message}\nof {given:?}");
}

/// The outcome of what waits for nothing but itself.
fn outcome<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(outcome) = future.as_mut().poll(&mut context) {
            return outcome;
        }
    }
}

/// Cuts bytes into pieces: each is its length, in four bytes, and what follows.
fn pieces(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let (piece, rest) = rest.split_at(rest.len().min(u32::from_le_bytes(*length) as usize));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

/// What [`pieces`] cuts again.
pub fn joined(pieces: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in pieces {
        let piece = piece.as_ref();
        bytes.extend_from_slice(&(piece.len() as u32).to_le_bytes());
        bytes.extend_from_slice(piece);
    }
    bytes
}
