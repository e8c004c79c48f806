//! Files of lines: a laptop's way in, and a backfill's.
//!
//! Which files there are, and how long each is, is looked at when the job starts without a checkpoint; the first checkpoint
//! keeps both, so the source is bounded and every later run reads the same bytes. A split is a file and a position is the byte at
//! which a line begins. A file that grew is read to its old end; one that shrank or was written anew is refused.
//!
//! Files are dealt to the subtasks in turn, by path. All of them are in every checkpoint, read or not, so a subtask has the
//! same ones after a restart, beside others that have read since before it.

mod lines;
mod reader;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, path::Path};

use async_trait::async_trait;
use tidegate_crds::nearest;

use self::reader::Reader;
use super::{Positions, ReaderContext, Source, SourceError, SourceReader, SplitState};
use crate::ids::SubtaskIndex;

/// Files as a source; a line is a record, blank lines are none.
#[derive(Debug)]
pub struct Files {
    name: String,
    path: String,
}

impl Files {
    /// `name` is the source's in the document.
    pub fn new(name: &str, spec: &tidegate_crds::FilesSource) -> Self {
        Self { name: name.to_owned(), path: spec.path.clone() }
    }

    fn look(&self) -> Result<Vec<SplitState>, SourceError> {
        let mut paths = Vec::new();
        if Path::new(&self.path).is_file() {
            paths.push(Path::new(&self.path).to_path_buf());
        } else {
            let matches = glob::glob(&self.path).map_err(|error| {
                refused(
                    &self.name,
                    format!("path `{}` is not a glob: {} at character {}", self.path, error.msg, error.pos),
                )
            })?;
            for found in matches {
                let path = found.map_err(|error| failed(&self.name, format!("list `{}`", self.path), error))?;
                if path.is_file() {
                    paths.push(path);
                }
            }
        }
        if paths.is_empty() {
            return Err(refused(
                &self.name,
                format!(
                    "no file matches path `{}`{}; accepted are a file, or a glob such as /data/orders/*.jsonl",
                    self.path,
                    neighbour(&self.path)
                ),
            ));
        }
        paths.sort();
        let split = |path: &std::path::PathBuf| {
            let Some(split) = path.to_str().map(str::to_owned) else {
                return Err(refused(&self.name, format!("the name of file {} is not UTF-8", path.display())));
            };
            let length =
                path.metadata().map_err(|error| failed(&self.name, format!("look at `{split}`"), error))?.len();
            Ok(SplitState { split, end: Some(length), ..SplitState::default() })
        };
        paths.iter().map(split).collect()
    }
}

impl Files {
    /// Files and lines that were not there when the job first started are left out: nobody should have to find out.
    fn say_what_is_not_read(&self, splits: &[SplitState]) {
        let Ok(there) = self.look() else { return };
        let known: HashMap<&str, Option<u64>> = splits.iter().map(|split| (split.split.as_str(), split.end)).collect();
        let is_left_out = |file: &&SplitState| known.get(file.split.as_str()).is_none_or(|end| file.end > *end);
        let left_out: Vec<&SplitState> = there.iter().filter(is_left_out).collect();
        if let Some(first) = left_out.first() {
            tracing::warn!(
                source = self.name,
                files = left_out.len(),
                first = first.split,
                "files that are new, or longer than when the job first started: what is new is not read; begin under another \
                 `jobId` to read it"
            );
        }
    }
}

#[async_trait]
impl Source for Files {
    async fn preflight(&self) -> Result<(), SourceError> {
        self.look().map(drop)
    }

    fn fits(&self, splits: &[SplitState]) -> Result<(), SourceError> {
        let is_ours =
            |split: &str| split == self.path || glob::Pattern::new(&self.path).is_ok_and(|glob| glob.matches(split));
        if let Some(other) = splits.iter().find(|state| !is_ours(&state.split)) {
            return Err(refused(
                &self.name,
                format!(
                    "the checkpoint reads file `{}`, and path is `{}` now; give the source another name to read other files",
                    other.split, self.path
                ),
            ));
        }
        Reader::open(self.name.clone(), splits.to_vec()).map(drop)
    }

    async fn find_splits(&self, _: Option<&[SplitState]>) -> Result<Vec<SplitState>, SourceError> {
        self.look()
    }

    async fn reader(&self, context: ReaderContext, from: Positions) -> Result<Box<dyn SourceReader>, SourceError> {
        let ReaderContext { subtask, parallelism } = context;
        if let Positions::Restored(splits) = &from
            && subtask == SubtaskIndex(0)
        {
            self.say_what_is_not_read(splits);
        }
        let mut all = from.into_splits();
        all.sort_by(|a, b| a.split.cmp(&b.split));
        let is_own = |index: &u32| index % parallelism.max(1) == subtask.0;
        let own = (0..).zip(all).filter(|(index, _)| is_own(index)).map(|(_, split)| split).collect();
        Ok(Box::new(Reader::open(self.name.clone(), own)?))
    }
}

/// A file in the same folder whose name is close.
fn neighbour(path: &str) -> String {
    let path = Path::new(path);
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return String::new();
    };
    let names: Vec<String> = std::fs::read_dir(folder)
        .map(|entries| entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
        .unwrap_or_default();
    nearest(name, names.iter().map(String::as_str))
}

fn refused(source: &str, message: String) -> SourceError {
    SourceError::Refused { source_name: source.to_owned(), message }
}

fn failed(source: &str, action: String, cause: impl std::error::Error + Send + Sync + 'static) -> SourceError {
    SourceError::Failed { source_name: source.to_owned(), action, cause: cause.into() }
}
