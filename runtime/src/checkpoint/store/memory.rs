//! A store in memory, for tests: honest in what it promises, and able to fail in the ways a network does. Each request
//! lets other tasks go first, so that processes which share it get in each other's way.

use std::{
    collections::BTreeMap,
    ops::{Bound, Range},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::task::yield_now;

use super::{Create, Listed, ObjectPath, Store, StoreError, path};

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The request never arrives.
    Before,
    /// The request takes place and its answer is lost.
    After,
    /// The request fails now, and takes place when [`MemoryStore::land`] is called.
    Late,
}

/// Which request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Create,
    Put,
    Get,
    List,
    Delete,
}

/// Clones share the objects, as processes share a bucket.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    objects: BTreeMap<String, Bytes>,
    rules: Vec<Rule>,
    late: Vec<Write>,
}

#[derive(Debug)]
struct Rule {
    action: Action,
    path_contains: String,
    fault: Fault,
    times: u32,
}

#[derive(Debug)]
enum Write {
    Create(String, Bytes),
    Put(String, Bytes),
    Delete(String),
}

impl Inner {
    fn apply(&mut self, write: Write) -> Create {
        match write {
            Write::Create(path, _) if self.objects.contains_key(&path) => return Create::Exists,
            Write::Create(path, bytes) | Write::Put(path, bytes) => {
                self.objects.insert(path, bytes);
            }
            Write::Delete(path) => {
                self.objects.remove(&path);
            }
        }
        Create::Created
    }
}

impl MemoryStore {
    pub fn new() -> Self {
        Self::default()
    }

    /// The next `times` requests of this kind whose path contains `path_contains` go wrong in this way. Rules are tried
    /// in the order they were made.
    pub fn fail(&self, action: Action, path_contains: &str, fault: Fault, times: u32) {
        self.lock().rules.push(Rule { action, path_contains: path_contains.to_owned(), fault, times });
    }

    /// No more faults; what was late stays late.
    pub fn heal(&self) {
        self.lock().rules.clear();
    }

    /// Lets all late requests take place, in the order they were made.
    pub fn land(&self) {
        let mut inner = self.lock();
        for write in std::mem::take(&mut inner.late) {
            inner.apply(write);
        }
    }

    /// Whether some request is late.
    pub fn is_late(&self) -> bool {
        !self.lock().late.is_empty()
    }

    /// All paths, in order.
    pub fn paths(&self) -> Vec<String> {
        self.lock().objects.keys().cloned().collect()
    }

    /// What is there.
    pub fn peek(&self, path: &str) -> Option<Bytes> {
        self.lock().objects.get(path).cloned()
    }

    /// Loses an object.
    pub fn remove(&self, path: &str) {
        self.lock().objects.remove(path);
    }

    /// Puts bytes where no engine would: a damaged object.
    pub fn plant(&self, path: &str, bytes: impl Into<Bytes>) {
        self.lock().objects.insert(path.to_owned(), bytes.into());
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fault(inner: &mut Inner, action: Action, path: &str) -> Option<Fault> {
        let rule = inner
            .rules
            .iter_mut()
            .find(|rule| rule.action == action && rule.times > 0 && path.contains(&rule.path_contains))?;
        rule.times -= 1;
        Some(rule.fault)
    }

    fn write(&self, action: Action, name: &'static str, path: &ObjectPath, write: Write) -> Result<Create, StoreError> {
        path::check(path, &self.location())?;
        let mut inner = self.lock();
        match Self::fault(&mut inner, action, &path.0) {
            None => return Ok(inner.apply(write)),
            Some(Fault::Before) => {}
            Some(Fault::After) => {
                inner.apply(write);
            }
            Some(Fault::Late) => inner.late.push(write),
        }
        Err(self.injected(name, &path.0))
    }

    fn read<T>(
        &self,
        action: Action,
        name: &'static str,
        path: &str,
        read: impl FnOnce(&BTreeMap<String, Bytes>) -> T,
    ) -> Result<T, StoreError> {
        let mut inner = self.lock();
        match Self::fault(&mut inner, action, path) {
            None => Ok(read(&inner.objects)),
            Some(_) => Err(self.injected(name, path)),
        }
    }

    fn injected(&self, action: &'static str, path: &str) -> StoreError {
        StoreError::Failed { action, path: path.to_owned(), location: self.location(), cause: "injected fault".into() }
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn create(&self, path: &ObjectPath, bytes: Bytes) -> Result<Create, StoreError> {
        yield_now().await;
        self.write(Action::Create, "create", path, Write::Create(path.0.clone(), bytes))
    }

    async fn put(&self, path: &ObjectPath, bytes: Bytes) -> Result<(), StoreError> {
        yield_now().await;
        self.write(Action::Put, "write", path, Write::Put(path.0.clone(), bytes)).map(drop)
    }

    async fn get(&self, path: &ObjectPath) -> Result<Option<Bytes>, StoreError> {
        yield_now().await;
        self.read(Action::Get, "read", &path.0, |objects| objects.get(&path.0).cloned())
    }

    async fn get_range(&self, path: &ObjectPath, range: Range<u64>) -> Result<Option<Bytes>, StoreError> {
        yield_now().await;
        self.read(Action::Get, "read", &path.0, |objects| {
            objects.get(&path.0).map(|bytes| {
                let end = bytes.len().min(range.end as usize);
                bytes.slice((range.start as usize).min(end)..end)
            })
        })
    }

    async fn list(&self, prefix: &str, after: Option<&ObjectPath>) -> Result<Vec<Listed>, StoreError> {
        yield_now().await;
        self.read(Action::List, "list", prefix, |objects| {
            let from = after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.0.clone()));
            objects
                .range((from, Bound::Unbounded))
                .filter(|(path, _)| path.starts_with(prefix))
                .map(|(path, bytes)| Listed { path: ObjectPath(path.clone()), bytes: bytes.len() as u64 })
                .collect()
        })
    }

    async fn list_folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        yield_now().await;
        self.read(Action::List, "list", prefix, |objects| path::folders(objects.keys().map(String::as_str), prefix))
    }

    async fn delete(&self, path: &ObjectPath) -> Result<(), StoreError> {
        yield_now().await;
        self.write(Action::Delete, "delete", path, Write::Delete(path.0.clone())).map(drop)
    }

    fn location(&self) -> String {
        "memory".to_owned()
    }
}
