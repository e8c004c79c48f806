//! Paths are checked where they become names in somebody's file system or bucket.

use super::{ObjectPath, StoreError};

/// Refuses a path that is not made of plain segments: an empty one, `..`, or a character that a store may treat in its
/// own way.
pub(super) fn check<'a>(path: &'a ObjectPath, location: &str) -> Result<&'a str, StoreError> {
    let plain = |segment: &str| {
        !segment.is_empty()
            && segment != "."
            && segment != ".."
            && segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    };
    if path.0.split('/').all(plain) {
        Ok(&path.0)
    } else {
        Err(StoreError::Refused {
            location: location.to_owned(),
            message: format!(
                "`{path}` is not an object path; accepted are segments of A-Z a-z 0-9 . _ - joined by `/`"
            ),
        })
    }
}

/// The names directly below `prefix` of objects that lie deeper, in order and once each. `paths` are in order.
#[cfg(any(test, feature = "test-util"))]
pub(super) fn folders<'a>(paths: impl Iterator<Item = &'a str>, prefix: &str) -> Vec<String> {
    let mut folders: Vec<String> = Vec::new();
    for path in paths {
        let Some((folder, _)) = path.strip_prefix(prefix).and_then(|rest| rest.split_once('/')) else { continue };
        if folders.last().is_none_or(|last| last != folder) {
            folders.push(folder.to_owned());
        }
    }
    folders.sort();
    folders.dedup();
    folders
}
