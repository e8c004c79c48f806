//! The place of a cluster among those that may run on this machine at a time.
//!
//! A place is a network and a locked file. The file names the folder of the cluster that had the place last: where that
//! is still there, somebody killed the keepers too, and the next cluster clears it away.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::super::{Error, cache};
use super::addresses::{Addresses, FIRST};
use super::machine;

/// More clusters than anybody's memory holds.
const COUNT: u8 = 8;
/// How the names of clusters' folders begin. No other folder is ever cleared away.
pub(super) const PREFIX: &str = "tidegate-cluster-";
const ROUTES: &str = "/proc/net/route";

/// A place that is ours until this is dropped, or our process ends.
#[derive(Debug)]
pub(super) struct Slot {
    pub addresses: Addresses,
    path: PathBuf,
    file: File,
}

impl Slot {
    /// Takes a free place and clears it of what may be left there.
    pub fn claim() -> Result<Self, Error> {
        Self::claim_in(&cache::root()?.join("clusters"))
    }

    fn claim_in(folder: &Path) -> Result<Self, Error> {
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        for addresses in (FIRST..FIRST + COUNT).map(Addresses) {
            let path = folder.join(addresses.0.to_string());
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .read(true)
                .write(true)
                .open(&path)
                .map_err(Error::io("open", &path))?;
            if file.try_lock().is_err() {
                continue;
            }
            let mut slot = Self { addresses, path, file };
            slot.clear()?;
            let routes = fs::read_to_string(ROUTES).map_err(Error::io("read", ROUTES))?;
            if !addresses.are_taken(&routes) {
                return Ok(slot);
            }
        }
        Err(Error::NoPlace { tried: COUNT, first: FIRST })
    }

    /// Names the folder of the cluster that begins here, for whoever may have to clear it away.
    pub fn occupy(&mut self, cluster: &Path) -> Result<(), Error> {
        let written = self
            .file
            .rewind()
            .and_then(|()| self.file.set_len(0))
            .and_then(|()| self.file.write_all(cluster.as_os_str().as_encoded_bytes()));
        written.map_err(Error::io("write", &self.path))
    }

    fn clear(&mut self) -> Result<(), Error> {
        let mut last = String::new();
        self.file.read_to_string(&mut last).map_err(Error::io("read", &self.path))?;
        let last = Path::new(&last);
        let named = last.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(PREFIX.as_bytes()));
        let (true, Ok(machines)) = (named, fs::read_dir(last)) else {
            return Ok(()); // it is gone, or nobody was here before
        };
        for machine in machines {
            machine::clear(&machine.map_err(Error::io("list", last))?.path())?;
        }
        // Its last machine took it along, unless it had none yet.
        match fs::remove_dir(last) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", last)(error)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_one_cluster_at_a_time_and_is_cleared_of_the_last_one() {
        let (files, temporary) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let cluster = temporary.path().join("tidegate-cluster-last");
        fs::create_dir_all(cluster.join("control-plane/etcd")).unwrap();

        let mut first = Slot::claim_in(files.path()).unwrap();
        first.occupy(&cluster).unwrap();
        let second = Slot::claim_in(files.path()).unwrap();
        assert_ne!(second.addresses, first.addresses);
        assert!(cluster.exists());

        let addresses = first.addresses;
        drop(first);
        let again = Slot::claim_in(files.path()).unwrap();
        assert_eq!(again.addresses, addresses);
        assert!(!cluster.exists());
    }
}
