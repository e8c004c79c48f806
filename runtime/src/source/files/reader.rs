//! One subtask's files, one after the other.

use std::{fs::File, io, os::unix::fs::FileExt, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;

use super::{failed, lines::Block, refused};
use crate::{
    checksum::xxh3,
    ids::Epoch,
    source::{End, Fetched, Provenance, SourceError, SourceReader, SplitState},
};

const BLOCK_BYTES: usize = 1 << 20;
const LONGEST_LINE: usize = 64 << 20;
const BATCH_ROWS: usize = 8192;

pub(super) struct Reader {
    name: String,
    splits: Vec<SplitState>,
    /// All before this one are read.
    first: usize,
    /// Index of the split being read, its file, and what was read ahead of `next`.
    current: Option<(usize, Arc<File>, Block)>,
}

impl Reader {
    /// Looks at every file that is not read to its end: still there, not shorter, with a line beginning where we left.
    pub(super) fn open(name: String, splits: Vec<SplitState>) -> Result<Self, SourceError> {
        for state in splits.iter().filter(|state| !done(state)) {
            let file = open(&name, state)?;
            let length =
                file.metadata().map_err(|error| failed(&name, format!("look at `{}`", state.split), error))?.len();
            let end = state.end.unwrap_or_default();
            if length < end {
                return Err(refused(
                    &name,
                    format!(
                        "file `{}` has {length} bytes and had {end} when the job first started; a file that shrank can't \
                         be resumed: restore it, or start a new job",
                        state.split
                    ),
                ));
            }
            let fits = is_as_it_was(&file, state);
            if !fits.map_err(|error| failed(&name, format!("read `{}`", state.split), error))? {
                return Err(refused(
                    &name,
                    format!(
                        "file `{}` is another one than the checkpoint left at byte {}; a file that was written anew can't \
                         be resumed: restore it, or start a new job",
                        state.split, state.next
                    ),
                ));
            }
        }
        Ok(Self { name, splits, first: 0, current: None })
    }

    /// The split to read now, opened; `None` at the end of all.
    fn current(&mut self) -> Result<Option<&mut (usize, Arc<File>, Block)>, SourceError> {
        while self.splits.get(self.first).is_some_and(done) {
            self.first += 1;
        }
        let index = self.first;
        let Some(state) = self.splits.get(index) else { return Ok(None) };
        if self.current.as_ref().is_none_or(|(open, ..)| *open != index) {
            let file = Arc::new(open(&self.name, state)?);
            self.current = Some((index, file, Block { start: state.next, bytes: Bytes::new() }));
        }
        Ok(self.current.as_mut())
    }
}

/// Whether a line begins at the position, behind what was read before it.
fn is_as_it_was(file: &File, state: &SplitState) -> io::Result<bool> {
    let known = state.provenance.as_ref().and_then(|provenance| provenance.before.as_ref());
    let length = known.map_or(1, |known| known.bytes).min(state.next);
    let mut before = vec![0; length as usize];
    file.read_exact_at(&mut before, state.next - length)?;
    Ok(before.last().is_none_or(|last| *last == b'\n') && known.is_none_or(|known| known.xxh3 == xxh3(&before)))
}

fn done(state: &SplitState) -> bool {
    state.end() == End::Reached
}

fn open(source: &str, state: &SplitState) -> Result<File, SourceError> {
    File::open(&state.split).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => refused(
            source,
            format!(
                "file `{}` is gone, and was read to byte {} only; restore it, or start a new job",
                state.split, state.next
            ),
        ),
        _ => failed(source, format!("open `{}`", state.split), error),
    })
}

#[async_trait(?Send)]
impl SourceReader for Reader {
    async fn fetch(&mut self) -> Result<Fetched, SourceError> {
        let mut want = BLOCK_BYTES;
        loop {
            let name = self.name.clone();
            let Some((index, file, block)) = self.current()? else { return Ok(Fetched::Exhausted) };
            let (index, file) = (*index, Arc::clone(file));
            let block_end = block.start + block.bytes.len() as u64;
            let Some(end) = self.splits.get(index).and_then(|state| state.end) else { return Ok(Fetched::Exhausted) };
            let Some((_, _, block)) = &mut self.current else { return Ok(Fetched::Exhausted) };
            if let Some((lines, next)) = block.take(BATCH_ROWS, block_end >= end, index) {
                if let Some(state) = self.splits.get_mut(index) {
                    state.next = next;
                    state.provenance = Some(Provenance { before: Some(lines.before()), ..Provenance::default() });
                }
                return Ok(Fetched::Records(Box::new(lines)));
            }
            // No whole line: read on, from the beginning of the line that was cut off.
            let start = block.start;
            if block.bytes.len() >= LONGEST_LINE {
                let path = self.splits.get(index).map(|state| state.split.clone()).unwrap_or_default();
                let message =
                    format!("file `{path}` has a line of more than 64 MiB at byte {start}; is it JSON lines?");
                return Err(refused(&name, message));
            }
            want = want.max(block.bytes.len() * 2).min(LONGEST_LINE + 1);
            let length = (end - start).min(want as u64) as usize;
            let read = tokio::task::spawn_blocking(move || {
                let mut bytes = vec![0; length];
                file.read_exact_at(&mut bytes, start).map(|()| bytes)
            });
            // Nothing has changed up to here, so a dropped future has read nothing.
            match read.await.map_err(io::Error::other).and_then(|result| result) {
                Ok(bytes) => block.bytes = Bytes::from(bytes),
                Err(error) => {
                    let path = self.splits.get(index).map(|state| state.split.clone()).unwrap_or_default();
                    return Err(match error.kind() {
                        io::ErrorKind::UnexpectedEof => {
                            refused(&name, format!("file `{path}` shrank while it was read"))
                        }
                        _ => failed(&name, format!("read `{path}`"), error),
                    });
                }
            }
        }
    }

    fn positions(&self) -> Vec<SplitState> {
        self.splits.clone()
    }

    fn end(&self, split: usize) -> End {
        self.splits.get(split).map_or(End::Reached, SplitState::end)
    }

    fn checkpoint_completed(&mut self, _epoch: Epoch, _positions: &[SplitState]) -> Result<(), SourceError> {
        Ok(())
    }
}
