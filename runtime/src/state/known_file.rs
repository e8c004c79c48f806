//! A file on the local disk whose bytes are known.
//!
//! This process wrote it or read it through, so it knows the checksum of what was in it. It need not read it again to know
//! that it still is: a file that was written to since, or that another one has taken the place of, differs in its inode,
//! its size or the time of its last change.

use std::{
    fs::{self, Metadata},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::local::{LocalError, Scratch};

/// A file, and the folder that it is in: that stays for as long as this does.
#[derive(Debug, Clone)]
pub struct KnownFile {
    path: PathBuf,
    identity: Identity,
    _folder: Arc<Scratch>,
}

/// What tells whether a file is the one that it was. All names of one file share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
    bytes: u64,
    /// Of the last change of its bytes: seconds since 1970, and nanoseconds.
    changed: (i64, i64),
}

impl Identity {
    /// Of a file whose bytes are known now.
    pub fn of(path: &Path) -> Result<Self, LocalError> {
        fs::metadata(path).map(|found| Self::from(&found)).map_err(LocalError::at("look at", path))
    }
}

impl From<&Metadata> for Identity {
    fn from(found: &Metadata) -> Self {
        let changed = (found.mtime(), found.mtime_nsec());
        Self { device: found.dev(), inode: found.ino(), bytes: found.size(), changed }
    }
}

impl KnownFile {
    /// The file at `path` in `folder`, if it is the one of this identity.
    pub fn new(path: PathBuf, folder: Arc<Scratch>, identity: Identity) -> Self {
        Self { path, identity, _folder: folder }
    }

    /// Gives the file a second name. False, and nothing is done, if it is not the file any more that it was.
    pub fn link(&self, to: &Path) -> Result<bool, LocalError> {
        if fs::hard_link(&self.path, to).is_err() {
            // It is gone, with whatever took it away; there is another place to have it from.
            return Ok(false);
        }
        // Asked of the new name, which nobody else knows yet.
        if Identity::of(to)? == self.identity {
            return Ok(true);
        }
        fs::remove_file(to).map_err(LocalError::at("delete", to))?;
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::local::LocalFolder;

    type Spoil = fn(&Path);

    #[test]
    fn a_file_is_known_until_it_is_changed_replaced_or_gone() {
        let parent = tempfile::tempdir().unwrap();
        let local = LocalFolder::create(parent.path()).unwrap();
        let (folder, to) = (Arc::new(local.scratch("known").unwrap()), local.scratch("links").unwrap());
        let known = |name: &str| {
            let path = folder.path().join(name);
            fs::write(&path, name).unwrap();
            KnownFile::new(path.clone(), folder.clone(), Identity::of(&path).unwrap())
        };
        let spoils: [(&str, Spoil, bool); 4] = [
            ("untouched", |_| {}, true),
            ("longer", |path| fs::write(path, "other bytes").unwrap(), false),
            (
                "replaced",
                |path| {
                    fs::write(path.with_extension("new"), "replaced").unwrap();
                    fs::rename(path.with_extension("new"), path).unwrap();
                },
                false,
            ),
            ("gone", |path| fs::remove_file(path).unwrap(), false),
        ];
        for (name, spoil, is_known) in spoils {
            let file = known(name);
            spoil(&folder.path().join(name));
            let link = to.path().join(name);
            assert_eq!(file.link(&link).unwrap(), is_known, "{name}");
            assert_eq!(link.exists(), is_known, "{name}");
        }
        let kept = known("kept");
        drop(folder);
        assert!(kept.link(&to.path().join("kept")).unwrap(), "its folder stays while somebody knows it");
    }
}
