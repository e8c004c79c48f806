//! Manifests: JSON that the log vouches for by its SHA-256, or, of a savepoint, its last field.

use super::assert_plain;
use crate::checkpoint::{manifest::Manifest, store::ObjectPath};

/// A manifest that is read can be asked for everything, and is written as it was read.
pub fn manifest(bytes: &[u8]) {
    let path = ObjectPath("savepoints/name/savepoint.json".to_owned());
    let mut manifest = match Manifest::decode(&path, bytes) {
        Ok(manifest) => manifest,
        Err(error) => {
            let message = error.to_string();
            assert!(message.contains(&path.0), "{message}");
            return assert_plain(&String::from_utf8_lossy(bytes), &message);
        }
    };
    let bytes = manifest.bytes();
    assert!(manifest.file_refs().all(|file| bytes >= file.bytes), "{manifest:?}");
    assert_eq!(manifest.files().count(), manifest.file_refs().count() + 1, "its files and itself");
    let subtasks = manifest.operators.iter_mut().flat_map(|operator| &mut operator.subtasks);
    let rows: u64 = subtasks
        .map(|subtask| {
            // How a number with a point is spelled is not the manifest's.
            subtask.value = serde_json::Value::Null;
            subtask.parts.iter().map(|part| part.rows).sum::<u64>()
        })
        .sum();
    assert!(rows.checked_add(manifest.chunks.iter().map(|chunk| chunk.rows).sum()).is_some(), "{manifest:?}");
    let again = manifest.encode().map(|(written, reference)| Manifest::decode(&reference.manifest, &written).ok());
    assert!(matches!(&again, Ok(Some(again)) if *again == manifest), "{manifest:?} is written as {again:?}");
    manifest.place_files(|file| Some(ObjectPath(format!("state/{}", file.xxh3))));
    let mut subtasks = manifest.operators.iter().flat_map(|operator| &operator.subtasks);
    assert!(subtasks.all(|subtask| subtask.files().all(|file| file.offset.is_none())), "{manifest:?}");
}
