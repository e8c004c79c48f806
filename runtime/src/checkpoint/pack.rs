//! Files that the subtasks of a process share.
//!
//! What a checkpoint writes is many small pieces: of each subtask, each operator, each kind of state, each sink. An object
//! for each costs a request, and later another to delete it; a store takes about as long for a small one as for one of
//! some megabytes. So small pieces go into one object, by **group commit**: while one is written, what comes waits, and goes
//! together with the next. Nobody waits for somebody else's piece to come. A file goes when its first piece has waited for a
//! moment or when it is full, and no later than when the one before it is written; so there is nothing that could wait in
//! a circle, and whoever waits is answered.
//!
//! **One file, one fate.** If it could not be written, nobody's piece is there, and all are told the one cause. What nobody
//! waits for any more, since its subtask has ended, is left out.
//!
//! **Alone as ever.** A piece that is large, or that no other joins, is the file that it would be without all this, under its
//! own name.
//!
//! **Names.** A shared file lies in the folder that its pieces would lie in, and is called after the packer and a number. No
//! two packers share an id, and none uses a number twice: whatever becomes of a write, it hits no other file.
//!
//! **Lives.** An object stays for as long as somebody names any piece of it. So what is needed for long does not go
//! together with what soon is not ([`Life`]).

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, SemaphorePermit, oneshot},
};

use self::lane::{Lane, Piece};
use super::{
    manifest::FileRef,
    store::{ObjectPath, Store, StoreError},
};
use crate::{env, fault};

mod lane;

/// Pieces from this size on are files of their own.
const LARGE: u64 = 4 << 20;
/// No file has more bytes.
const FULL: u64 = 32 << 20;
const ROOM_UNIT: u64 = 64 << 10;
/// How long the first piece of a file waits for others: about as long as a barrier needs from one subtask to the next.
const LINGER: Duration = Duration::from_millis(10);

/// How long a piece will be needed, as far as its writer knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Until the state in it changes.
    Lasting,
    /// For one checkpoint, or until it is published.
    Passing,
}

/// Writes files of the subtasks of a process; clones are the same one.
#[derive(Debug, Clone)]
pub struct Packer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Arc<dyn Store>,
    io: Handle,
    /// No other packer has it.
    id: String,
    linger: Duration,
    /// Shared files that were begun.
    files: AtomicU64,
    lasting: Lane,
    passing: Lane,
    /// In units of [`ROOM_UNIT`]: how many there are, and those that are free.
    units: u32,
    room: Semaphore,
}

impl Packer {
    /// Writes on the runtime `io`. About so many bytes of memory are for what is being written, and no less than a full file
    /// has: what is small never waits for each other.
    pub fn new(store: Arc<dyn Store>, io: Handle, memory: u64) -> Self {
        Self::with_linger(store, io, memory, LINGER)
    }

    /// For tests: waits for no other piece than those that come while a file is written.
    #[cfg(any(test, feature = "test-util"))]
    pub fn eager(store: Arc<dyn Store>, io: Handle) -> Self {
        Self::with_linger(store, io, FULL, Duration::ZERO)
    }

    fn with_linger(store: Arc<dyn Store>, io: Handle, memory: u64, linger: Duration) -> Self {
        let (id, files) = (env::unique_id(), AtomicU64::new(0));
        let (lasting, passing) = (Lane::default(), Lane::default());
        let units = (memory.max(FULL) / ROOM_UNIT).min(u64::from(u32::MAX >> 3)) as u32;
        let room = Semaphore::new(units as usize);
        Self { inner: Arc::new(Inner { store, io, id, linger, files, lasting, passing, units, room }) }
    }

    /// Waits until there is room in memory for about so many bytes that are to be written, until what this gives is dropped.
    /// More than all there is has room alone.
    pub async fn room(&self, bytes: u64) -> Option<SemaphorePermit<'_>> {
        let units = bytes.div_ceil(ROOM_UNIT).min(u64::from(self.inner.units)) as u32;
        // The semaphore is never closed.
        self.inner.room.acquire_many(units).await.ok()
    }

    /// Writes `bytes`: as the object at `path`, which nobody else may use, or as a piece of a shared one. Says where they
    /// are. If it is dropped, they may be written all the same.
    pub async fn put(&self, life: Life, path: ObjectPath, bytes: Bytes) -> Result<FileRef, StoreError> {
        let file = FileRef::of(path, &bytes);
        if file.bytes >= LARGE {
            self.inner.store.put(&file.path, bytes).await?;
            return Ok(file);
        }
        let path = file.path.clone();
        let (written, answer) = oneshot::channel();
        self.line_up(life, Piece { file, bytes, since: env::monotonic(), written });
        // What was to write it has panicked, or its runtime ends.
        answer.await.unwrap_or_else(|_| Err(self.inner.unanswered(path)))
    }

    fn line_up(&self, life: Life, piece: Piece) {
        if !self.inner.lane(life).add(piece) {
            self.inner.io.spawn(Serving { inner: self.inner.clone(), life, is_over: false }.serve());
        }
    }
}

/// Writes file by file of a lane until nothing waits in it. If it is dropped before, by a panic or the end of the runtime, what
/// waits is told so.
struct Serving {
    inner: Arc<Inner>,
    life: Life,
    is_over: bool,
}

impl Serving {
    async fn serve(mut self) {
        while let Some(pieces) = self.inner.lane(self.life).next(self.inner.linger).await {
            self.inner.write(pieces).await;
        }
        self.is_over = true;
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if !self.is_over {
            self.inner.lane(self.life).give_up();
        }
    }
}

impl Inner {
    fn lane(&self, life: Life) -> &Lane {
        match life {
            Life::Lasting => &self.lasting,
            Life::Passing => &self.passing,
        }
    }

    async fn write(&self, mut pieces: Vec<Piece>) {
        pieces.retain(|piece| !piece.written.is_closed());
        let is_shared = pieces.len() > 1;
        let file = if is_shared { self.join(&mut pieces) } else { alone(&mut pieces) };
        let Some((path, bytes)) = file else { return };
        let outcome = self.store.put(&path, bytes).await.map_err(Arc::new);
        if is_shared {
            fault::reach("shared-file-uploaded");
        }
        for Piece { file, written, .. } in pieces {
            let answer = outcome.clone().map(|()| file).map_err(StoreError::Shared);
            // Who does not wait any more does not name it either.
            let _gone = written.send(answer);
        }
    }

    /// The shared file of some pieces, which are told their places in it.
    fn join(&self, pieces: &mut [Piece]) -> Option<(ObjectPath, Bytes)> {
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        let path = ObjectPath(format!("{}shared-{}-{number}", pieces.first()?.folder(), self.id));
        let mut whole = BytesMut::with_capacity(pieces.iter().map(|piece| piece.bytes.len()).sum());
        for piece in pieces {
            (piece.file.path, piece.file.offset) = (path.clone(), Some(whole.len() as u64));
            whole.extend_from_slice(&std::mem::take(&mut piece.bytes));
        }
        Some((path, whole.freeze()))
    }

    fn unanswered(&self, path: ObjectPath) -> StoreError {
        let location = self.store.location();
        StoreError::Failed { action: "write", path: path.0, location, cause: "nobody is there to write it".into() }
    }
}

fn alone(pieces: &mut [Piece]) -> Option<(ObjectPath, Bytes)> {
    pieces.first_mut().map(|piece| (piece.file.path.clone(), std::mem::take(&mut piece.bytes)))
}

#[cfg(test)]
mod tests;
