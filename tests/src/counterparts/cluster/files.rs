//! Files of a machine.

use std::fs;
use std::path::Path;

use super::super::Error;

/// Writes a file, in folders that need not be there yet.
pub(super) fn write(path: &Path, text: impl AsRef<[u8]>) -> Result<(), Error> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    }
    fs::write(path, text).map_err(Error::io("write", path))
}
