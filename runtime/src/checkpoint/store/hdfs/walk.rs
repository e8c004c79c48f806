//! Listing and deleting. A folder is there only as long as there is a file below it, as far as others can tell.

use futures::{StreamExt, TryStreamExt, stream};
use hdfs_native::client::FileStatus;

use super::{Failure, HdfsStore, Listed, ObjectPath, TEMPORARY};

/// Folders looked into at the same time.
const PARALLEL: usize = 8;

/// What is in a folder of the store.
struct Entry {
    name: String,
    status: FileStatus,
}

impl HdfsStore {
    /// All files below `prefix`, in no order.
    pub(super) async fn files_below(&self, prefix: &str) -> Result<Vec<Listed>, Failure> {
        let mut found = Vec::new();
        let mut folders = vec![prefix.to_owned()];
        while !folders.is_empty() {
            let level = std::mem::take(&mut folders);
            let mut listings = stream::iter(level)
                .map(async |folder| Ok::<_, Failure>((self.entries(&folder).await?, folder)))
                .buffer_unordered(PARALLEL);
            while let Some((entries, folder)) = listings.try_next().await? {
                for Entry { name, status } in entries {
                    if status.isdir {
                        folders.push(format!("{folder}{name}/"));
                    } else {
                        let path = ObjectPath(format!("{folder}{name}"));
                        found.push(Listed { path, bytes: status.length as u64 });
                    }
                }
            }
        }
        Ok(found)
    }

    /// The names of the folders in `prefix` that have a file somewhere below them, in order.
    pub(super) async fn folders_with_files(&self, prefix: &str) -> Result<Vec<String>, Failure> {
        let folders = self.entries(prefix).await?.into_iter().filter(|entry| entry.status.isdir);
        let inhabited = stream::iter(folders).map(async |folder| {
            let any = self.any_file(format!("{prefix}{}/", folder.name)).await?;
            Ok::<_, Failure>(any.then_some(folder.name))
        });
        let mut names: Vec<String> =
            inhabited.buffer_unordered(PARALLEL).try_filter_map(async |name| Ok(name)).try_collect().await?;
        names.sort();
        Ok(names)
    }

    /// Deletes the file if it is there, and then the folders that it leaves empty.
    pub(super) async fn delete_file(&self, file: &str) -> Result<(), Failure> {
        self.remove(file).await?;
        let mut folder = file;
        while let Some((parent, _)) = folder.rsplit_once('/').filter(|(parent, _)| parent.len() > self.root.len()) {
            match self.remove(parent).await {
                Ok(()) => folder = parent,
                Err(failure) if failure.is_not_empty() => break,
                Err(failure) => return Err(failure),
            }
        }
        Ok(())
    }

    /// Removes a file or an empty folder; no failure if there is none.
    pub(super) async fn remove(&self, path: &str) -> Result<(), Failure> {
        self.persist(async || {
            let session = self.way.session()?;
            session.ask(session.client.delete(path, false)).await.map(drop)
        })
        .await
    }

    async fn any_file(&self, folder: String) -> Result<bool, Failure> {
        let mut folders = vec![folder];
        while let Some(folder) = folders.pop() {
            for entry in self.entries(&folder).await? {
                if !entry.status.isdir {
                    return Ok(true);
                }
                folders.push(format!("{folder}{}/", entry.name));
            }
        }
        Ok(false)
    }

    /// What is directly in a folder, which is nothing where there is no folder.
    async fn entries(&self, folder: &str) -> Result<Vec<Entry>, Failure> {
        let path = format!("{}/{folder}", self.root);
        let listed = self.persist(|| self.statuses(&path)).await?;
        let entries = listed.into_iter().filter_map(|status| {
            let name = status.path.rsplit('/').next()?.to_owned();
            (name != TEMPORARY || !folder.is_empty()).then_some(Entry { name, status })
        });
        Ok(entries.collect())
    }

    pub(super) async fn statuses(&self, folder: &str) -> Result<Vec<FileStatus>, Failure> {
        let session = self.way.session()?;
        match session.ask(session.client.list_status(folder.trim_end_matches('/'), false)).await {
            Err(failure) if failure.is_absent() => Ok(Vec::new()),
            outcome => outcome,
        }
    }
}
