//! Writing files: whole under a name that nobody looks for, then renamed.

use std::time::Duration;

use bytes::Bytes;
use hdfs_native::{HdfsError, WriteOptions};

use super::{Backoff, Create, FIRST_PAUSE, Failure, HdfsStore, MORE_TRIES, TEMPORARY, connect::Session};
use crate::env;

/// A temporary file that is older was left by a process that is gone.
const ABANDONED: Duration = Duration::from_hours(24);
/// How long readers are waited for: about 20 s in all, several heartbeats of a `DataNode`.
const MORE_LOOKS: u32 = 13;
const FIRST_LOOK: Duration = Duration::from_millis(5);
/// Readable for all, writable for its owner: what Hadoop's own client makes folders with.
const FOLDER_MODE: u32 = 0o755;

impl HdfsStore {
    /// Gives `bytes` the name `file` unless it is taken.
    pub(super) async fn create_file(&self, file: &str, bytes: Bytes) -> Result<Create, Failure> {
        self.swept.get_or_init(|| self.sweep()).await;
        let temporary = self.persist(|| self.write_temporary(bytes.clone())).await?;
        let outcome = self.name(&temporary, file).await;
        if !matches!(outcome, Ok(Create::Created)) {
            self.discard(&temporary).await;
        }
        outcome
    }

    /// Gives `bytes` the name `file`, in place of what has it.
    pub(super) async fn replace_file(&self, file: &str, bytes: Bytes) -> Result<(), Failure> {
        self.swept.get_or_init(|| self.sweep()).await;
        // Tried again from the beginning: a second rename after one whose answer was lost would find nothing to rename.
        self.persist(async || {
            let temporary = self.write_temporary(bytes.clone()).await?;
            let renamed = self.rename(&temporary, file, true).await;
            if renamed.is_err() {
                self.discard(&temporary).await;
            }
            renamed
        })
        .await
    }

    /// Renames without replacing, until the outcome is known.
    async fn name(&self, temporary: &str, file: &str) -> Result<Create, Failure> {
        let mut backoff = Backoff::new(MORE_TRIES, FIRST_PAUSE);
        let mut answer_was_lost = false;
        loop {
            match self.rename(temporary, file, false).await {
                Ok(()) => return Ok(Create::Created),
                Err(failure) if failure.is_taken() => return Ok(Create::Exists),
                // An earlier try took place, if the file is there: nobody else removes temporary files of our age.
                Err(Failure::Swept) if answer_was_lost && self.exists(file).await? => return Ok(Create::Exists),
                Err(failure) if failure.may_pass() && backoff.again().await => answer_was_lost = true,
                Err(failure) => return Err(failure),
            }
        }
    }

    /// One rename, for which the target's folder is made if it has to be.
    async fn rename(&self, temporary: &str, file: &str, replace: bool) -> Result<(), Failure> {
        let session = self.way.session()?;
        for _ in 0..=MORE_TRIES {
            match session.ask(session.client.rename(temporary, file, replace)).await {
                Err(failure) if failure.is_absent() => {}
                outcome => return outcome,
            }
            // Either is absent, the temporary file or the folder to move it to; a delete may take that away once more.
            if !self.exists(temporary).await? {
                return Err(Failure::Swept);
            }
            let folder = file.rsplit_once('/').map_or("/", |(folder, _)| folder);
            session.ask(session.client.mkdirs(folder, FOLDER_MODE, true)).await?;
        }
        Err(HdfsError::OperationFailed("the folder is removed again and again".to_owned()).into())
    }

    async fn exists(&self, file: &str) -> Result<bool, Failure> {
        self.persist(async || {
            let session = self.way.session()?;
            match session.ask(session.client.get_file_info(file)).await {
                Ok(_) => Ok(true),
                Err(failure) if failure.is_absent() => Ok(false),
                Err(failure) => Err(failure),
            }
        })
        .await
    }

    /// A closed file of these bytes, under a name that no other write has.
    async fn write_temporary(&self, bytes: Bytes) -> Result<String, Failure> {
        let session = self.way.session()?;
        let temporary = format!("{}/{TEMPORARY}/{}", self.root, env::unique_id());
        match write(&session, &temporary, bytes).await {
            Ok(()) => Ok(temporary),
            Err(failure) => {
                self.discard(&temporary).await;
                Err(failure)
            }
        }
    }

    /// Removes a temporary file that has no use any more; what stays is for [`HdfsStore::sweep`].
    async fn discard(&self, temporary: &str) {
        let Ok(session) = self.way.session() else { return };
        if let Err(failure) = session.ask(session.client.delete(temporary, false)).await {
            tracing::debug!(%failure, temporary, "temporary file stays behind");
        }
    }

    /// Removes what writers left that are gone. Whoever can't goes on: it is only space.
    async fn sweep(&self) {
        let folder = format!("{}/{TEMPORARY}", self.root);
        let listed = match self.statuses(&folder).await {
            Ok(listed) => listed,
            Err(failure) => {
                tracing::debug!(%failure, folder, "temporary files were not looked through");
                return;
            }
        };
        let now = Duration::from_millis(env::wall_clock_ms());
        for status in listed {
            if now.saturating_sub(Duration::from_millis(status.modification_time)) > ABANDONED {
                self.discard(&status.path).await;
            }
        }
    }
}

/// Writes a file, and waits until it can be read as a whole.
async fn write(session: &Session, file: &str, mut bytes: Bytes) -> Result<(), Failure> {
    let expected = bytes.len() as u64;
    let mut writer = session.ask(session.client.create(file, WriteOptions::default())).await?;
    if !bytes.is_empty() {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(super::PIECE_BYTES));
            session.transfer(writer.write_bytes(piece)).await?;
        }
        session.transfer(writer.hsync()).await.map_err(|failure| match failure {
            Failure::Hdfs(HdfsError::OperationFailed(_)) => Failure::Unfit(
                "the folder is erasure-coded, and such files can't be made durable before they are closed; set it to \
                 replication (`hdfs ec -setPolicy -replicate -path …`) or name another"
                    .to_owned(),
            ),
            other => other,
        })?;
    }
    session.transfer(writer.close()).await?;
    wait_until_readable(session, file, expected).await
}

/// Waits until readers find all `expected` bytes of a closed file.
///
/// A `NameNode` with `dfs.namenode.file.close.num-committed-allowed` above 0 closes a file whose last block no `DataNode`
/// has reported yet. Until one has, `getBlockLocations` tells the length without that block, although `getFileInfo` counts
/// it: who reads then finds 0 bytes.
async fn wait_until_readable(session: &Session, file: &str, expected: u64) -> Result<(), Failure> {
    let mut backoff = Backoff::new(MORE_LOOKS, FIRST_LOOK);
    loop {
        let found = session.ask(session.client.read(file)).await?.file_length() as u64;
        if found == expected {
            return Ok(());
        }
        if found > expected || !backoff.again().await {
            return Err(Failure::Short { found, expected });
        }
    }
}
