//! What waits to be written together.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};

use super::{FULL, LARGE};
use crate::{
    checkpoint::{manifest::FileRef, store::StoreError},
    env,
};

/// Pieces that may go together; one file of them is written at a time.
#[derive(Debug, Default)]
pub(super) struct Lane {
    waiting: Mutex<Waiting>,
    /// There may be enough for a full file.
    full: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    /// As they came.
    pieces: VecDeque<Piece>,
    bytes: u64,
    /// Somebody sees to it that they are written.
    is_served: bool,
}

#[derive(Debug)]
pub(super) struct Piece {
    /// What it is as a file of its own.
    pub file: FileRef,
    pub bytes: Bytes,
    /// When it came.
    pub since: Duration,
    pub written: oneshot::Sender<Result<FileRef, StoreError>>,
}

impl Piece {
    /// The folder that it would be in, up to its last `/`.
    pub fn folder(&self) -> &str {
        let path = self.file.path.0.as_str();
        path.rfind('/').and_then(|end| path.get(..=end)).unwrap_or_default()
    }
}

impl Lane {
    /// Whether somebody sees to it that the piece is written: if not, whoever asks has to.
    pub fn add(&self, piece: Piece) -> bool {
        let mut waiting = self.lock();
        waiting.bytes += piece.file.bytes;
        waiting.pieces.push_back(piece);
        if waiting.is_full() {
            self.full.notify_one();
        }
        std::mem::replace(&mut waiting.is_served, true)
    }

    /// Waits until the next file is to go, and gives what goes into it. `None` if nothing waits: who serves need not any
    /// more.
    pub async fn next(&self, linger: Duration) -> Option<Vec<Piece>> {
        loop {
            let left = {
                let mut waiting = self.lock();
                let Some(first) = waiting.pieces.front() else {
                    waiting.is_served = false;
                    return None;
                };
                let left = (first.since + linger).saturating_sub(env::monotonic());
                if left.is_zero() || waiting.is_full() {
                    return Some(waiting.take());
                }
                left
            };
            // In time or not, it is looked again.
            let _full = env::within(left, self.full.notified()).await;
        }
    }

    /// Nobody serves any more. What waits is told so, by being dropped.
    pub fn give_up(&self) {
        *self.lock() = Waiting::default();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing in between can panic: it is usable, whatever happens.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Perhaps no other piece would fit.
    fn is_full(&self) -> bool {
        self.bytes > FULL - LARGE
    }

    /// The pieces of one file: the first, and those of its folder, as many as fit.
    fn take(&mut self) -> Vec<Piece> {
        let pieces = std::mem::take(&mut self.pieces);
        let folder = pieces.front().map(|first| first.folder().to_owned());
        let (mut taken, mut bytes) = (Vec::new(), 0);
        for piece in pieces {
            if folder.as_deref() == Some(piece.folder()) && bytes + piece.file.bytes <= FULL {
                bytes += piece.file.bytes;
                taken.push(piece);
            } else {
                self.pieces.push_back(piece);
            }
        }
        self.bytes -= bytes;
        taken
    }
}
