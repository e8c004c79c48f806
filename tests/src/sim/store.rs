//! The object store: outlives everybody, creates conditionally, and answers when it can.
//!
//! A request travels, takes place at one moment, and its answer travels back. Who died meanwhile may have written all the
//! same; who got no answer does not know, and a write may land a minute late.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{AddAssign, Bound, Range},
};

use async_trait::async_trait;
use bytes::Bytes;
use tidegate::checkpoint::{
    manifest::{DATA, Manifest, StateKind, parse_folder},
    record::{Body, LOG, Record, hint_path},
    savepoint,
    store::{Create, Listed, ObjectPath, Store, StoreError},
};
use tokio::sync::oneshot;

use super::{
    faults::Moment,
    met::Kind,
    world::{INSPECTOR, Pid, Shared, System, World},
};

/// What is done to a file of a checkpoint, in the words of errors.
const WRITE: &str = "write";

#[derive(Debug, Default)]
pub struct Objects(BTreeMap<String, Bytes>);

/// How often files with entries of tables went where.
#[derive(Debug, Default, Clone, Copy)]
pub struct TableFiles {
    /// Named by some manifest.
    pub uploaded: u64,
    /// Fetched by a process that goes on from a checkpoint.
    pub fetched: u64,
    /// Deleted, since no checkpoint that is kept names them.
    pub deleted: u64,
}

impl AddAssign for TableFiles {
    fn add_assign(&mut self, other: Self) {
        self.uploaded += other.uploaded;
        self.fetched += other.fetched;
        self.deleted += other.deleted;
    }
}

/// The store from a root on, as a process reaches it.
#[derive(Debug, Clone)]
pub struct StoreAt {
    pub world: Shared,
    pub pid: Pid,
    /// What the paths of its objects begin with.
    pub root: String,
}

/// What addresses begin with.
pub const SCHEME: &str = "sim://";

impl Objects {
    pub fn get(&self, path: &str) -> Option<&Bytes> {
        self.0.get(path)
    }

    /// All below `prefix`, by path.
    pub fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a Bytes)> {
        self.0.iter().filter(move |(path, _)| path.starts_with(prefix)).map(|(path, bytes)| (path.as_str(), bytes))
    }

    /// Paths are told without the root.
    fn list(&self, root: &str, prefix: &str, after: Option<&str>) -> Vec<Listed> {
        let wanted = format!("{root}{prefix}");
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let objects = self.0.range::<str, _>((from, Bound::Unbounded)).filter(|(path, _)| path.starts_with(&wanted));
        objects
            .map(|(path, bytes)| Listed { path: ObjectPath(path[root.len()..].to_owned()), bytes: bytes.len() as u64 })
            .collect()
    }
}

impl World {
    fn create(&mut self, root: &str, name: &str, bytes: Bytes) -> Create {
        let path = format!("{root}{name}");
        if self.objects.0.contains_key(&path) {
            self.note(format_args!("create {path}: exists"));
            return Create::Exists;
        }
        let digest = self.digests.of(&bytes);
        self.note(format_args!("create {path} {digest:x}"));
        if name.starts_with(LOG)
            && let Ok(record) = Record::from_bytes(&bytes)
        {
            self.recorded(root, &record.body);
        }
        if name.ends_with(savepoint::FILE)
            && let Ok(manifest) = serde_json::from_slice::<Manifest>(&bytes)
        {
            let folder = path.trim_end_matches(savepoint::FILE).trim_end_matches('/');
            self.savepoints.push((format!("{SCHEME}{folder}"), manifest.epoch));
        }
        self.objects.0.insert(path, bytes);
        Create::Created
    }

    /// What a reader gets of an object: sometimes not what was written. Of the hint, which has no checksum, some of the
    /// bytes; of all else, others, too.
    fn bring(&mut self, name: &str, bytes: Bytes) -> Bytes {
        if bytes.is_empty() || !self.chance.happens(self.flawed_reads) {
            return bytes;
        }
        let place = self.chance.within(0..bytes.len() as u64) as usize;
        if name != hint_path().0 && !savepoint::is_given_up(&bytes) && self.chance.happens(500) {
            self.met.note(Kind::FlippedRead);
            self.note(format_args!("read {name}: byte {place} is another"));
            let mut flipped = bytes.to_vec();
            flipped[place] ^= 1 << self.chance.within(0..8);
            return flipped.into();
        }
        self.met.note(Kind::TruncatedRead);
        self.note(format_args!("read {name}: {place} bytes"));
        bytes.slice(..place)
    }

    fn recorded(&mut self, root: &str, record: &Body) {
        let moment = match record {
            Body::AttemptStarted { revision, .. } => {
                let newest = self.revisions.entry(root.to_owned()).or_default();
                *newest = revision.0.max(*newest);
                if !self.put_out.contains_key(root) {
                    self.put_out.insert(root.to_owned(), self.counts());
                }
                self.pending.remove(root);
                Moment::Begun
            }
            Body::Sealed { .. } | Body::Released { .. } | Body::Deleted {} => Moment::Sealed,
            Body::EpochCommitted { epoch, .. } => {
                let pending = self.pending.entry(root.to_owned()).or_default();
                *pending = pending.split_off(&epoch.next().0);
                Moment::Committed
            }
            Body::CheckpointCompleted { checkpoint, .. } => {
                if !self.owned.entry(root.to_owned()).or_default().insert(checkpoint.epoch.0) {
                    self.violate(format!("epoch {} is owned twice", checkpoint.epoch));
                }
                let pending = self.pending.entry(root.to_owned()).or_default();
                pending.insert(checkpoint.epoch.0);
                if pending.len() >= self.max_pending {
                    self.paused_at.insert(root.to_owned(), self.now);
                }
                if let Some((attempt, epoch)) = parse_folder(&checkpoint.manifest) {
                    self.overlapping += u64::from(
                        self.written.get(&(root.to_owned(), attempt.0)).is_some_and(|newest| *newest > epoch.0),
                    );
                }
                Moment::Owned
            }
        };
        self.moments.push(moment);
    }

    /// How many rows each sink has.
    fn counts(&self) -> BTreeMap<String, usize> {
        let sinks = self.table.rows.iter().chain(&self.broker.rows);
        sinks.map(|(sink, rows)| (sink.clone(), rows.len())).collect()
    }
}

/// How many subtasks' rows in flight a manifest names: each has a file, or a piece of one.
fn rows_in_flight(manifest: &[u8]) -> u64 {
    let Ok(manifest) = serde_json::from_slice::<Manifest>(manifest) else { return 0 };
    let exchanges = manifest.operators.iter().filter(|operator| operator.kind == StateKind::InFlight);
    exchanges.flat_map(|exchange| &exchange.subtasks).filter(|subtask| !subtask.parts.is_empty()).count() as u64
}

impl StoreAt {
    /// The one whose root is at an address.
    pub fn at(world: Shared, pid: Pid, address: &str) -> Self {
        let folder = address.trim_start_matches(SCHEME).trim_end_matches('/');
        Self { world, pid, root: format!("{folder}/") }
    }

    async fn ask<T: Send + 'static>(
        &self,
        action: &'static str,
        path: &str,
        serve: impl FnOnce(&mut World) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let answered: oneshot::Receiver<Option<T>> = {
            let mut world = self.world.lock();
            let longest = if action == WRITE { world.slow_writes } else { 0 };
            let fate = world.fate(self.pid, System::Store);
            world.carry(fate, longest, self.pid, &format!("{action} {path}"), serve)
        };
        answered.await.ok().flatten().ok_or_else(|| StoreError::Failed {
            action,
            path: path.to_owned(),
            location: self.location(),
            cause: "no answer".into(),
        })
    }
}

#[async_trait]
impl Store for StoreAt {
    async fn create(&self, path: &ObjectPath, bytes: Bytes) -> Result<Create, StoreError> {
        let (root, name) = (self.root.clone(), path.0.clone());
        self.ask("create", &path.0, move |world| world.create(&root, &name, bytes)).await
    }

    async fn put(&self, path: &ObjectPath, bytes: Bytes) -> Result<(), StoreError> {
        let (root, name) = (self.root.clone(), path.0.clone());
        let put = move |world: &mut World| {
            let digest = world.digests.of(&bytes);
            world.note(format_args!("put {root}{name} {digest:x}"));
            if name.starts_with(DATA) && name.ends_with("manifest.json") {
                world.moments.push(Moment::ManifestWritten);
                world.in_flight += rows_in_flight(&bytes);
            }
            if let Some((attempt, epoch)) = parse_folder(&ObjectPath(name.clone())) {
                let newest = world.written.entry((root.clone(), attempt.0)).or_default();
                *newest = epoch.0.max(*newest);
            }
            // A hint may be wrong, and a savepoint that is deleted has a grave first; everything else is written once, however
            // often.
            let path = format!("{root}{name}");
            let is_grave = name.ends_with(savepoint::FILE) && savepoint::is_given_up(&bytes);
            if name != hint_path().0 && !is_grave && world.objects.0.get(&path).is_some_and(|before| *before != bytes) {
                world.violate(format!("{path} is overwritten with other bytes"));
            }
            world.objects.0.insert(path, bytes);
        };
        self.ask(WRITE, &path.0, put).await
    }

    async fn get(&self, path: &ObjectPath) -> Result<Option<Bytes>, StoreError> {
        let (root, name, pid) = (self.root.clone(), path.0.clone(), self.pid);
        let read = move |world: &mut World| {
            let found = world.objects.0.get(&format!("{root}{name}")).cloned();
            let is_of_table = found.is_some() && world.digests.tables.contains(&name);
            let is_inspected = world.host(pid) == Some(INSPECTOR);
            world.table_files.fetched += u64::from(is_of_table && !is_inspected);
            found.map(|bytes| if is_inspected { bytes } else { world.bring(&name, bytes) })
        };
        self.ask("read", &path.0, read).await
    }

    async fn get_range(&self, path: &ObjectPath, range: Range<u64>) -> Result<Option<Bytes>, StoreError> {
        let whole = self.get(path).await?;
        Ok(whole.map(|bytes| {
            let end = bytes.len().min(range.end as usize);
            bytes.slice((range.start as usize).min(end)..end)
        }))
    }

    async fn list(&self, prefix: &str, after: Option<&ObjectPath>) -> Result<Vec<Listed>, StoreError> {
        let (root, wanted) = (self.root.clone(), prefix.to_owned());
        let after = after.map(|path| format!("{root}{path}"));
        self.ask("list", prefix, move |world| world.objects.list(&root, &wanted, after.as_deref())).await
    }

    async fn list_folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let listed = self.list(prefix, None).await?;
        let folder = |object: &Listed| {
            let rest = object.path.0.strip_prefix(prefix)?;
            rest.split_once('/').map(|(folder, _)| folder.to_owned())
        };
        Ok(listed.iter().filter_map(folder).collect::<BTreeSet<_>>().into_iter().collect())
    }

    async fn delete(&self, path: &ObjectPath) -> Result<(), StoreError> {
        let (root, name) = (self.root.clone(), path.0.clone());
        let delete = move |world: &mut World| {
            world.note(format_args!("delete {root}{name}"));
            let was_there = world.objects.0.remove(&format!("{root}{name}")).is_some();
            world.table_files.deleted += u64::from(was_there && world.digests.tables.contains(&name));
        };
        self.ask("delete", &path.0, delete).await
    }

    fn location(&self) -> String {
        format!("{SCHEME}{}", self.root.trim_end_matches('/'))
    }
}
