//! For tests: a store in memory that takes as long as they want.

use std::{
    ops::Range,
    sync::atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Semaphore;

use super::{Create, Listed, ObjectPath, Store, StoreError, memory::MemoryStore};

/// Puts objects only when it is let, and panics where a path tells it to.
#[derive(Debug)]
pub struct Gated {
    pub inner: MemoryStore,
    /// One for each object.
    pub let_through: Semaphore,
    /// Objects that wait to be let through, and the most that ever did.
    pub under_way: AtomicUsize,
    pub most: AtomicUsize,
}

impl Default for Gated {
    fn default() -> Self {
        let (under_way, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { inner: MemoryStore::new(), let_through: Semaphore::new(0), under_way, most }
    }
}

#[async_trait]
impl Store for Gated {
    async fn create(&self, path: &ObjectPath, bytes: Bytes) -> Result<Create, StoreError> {
        self.inner.create(path, bytes).await
    }

    async fn put(&self, path: &ObjectPath, bytes: Bytes) -> Result<(), StoreError> {
        let under_way = 1 + self.under_way.fetch_add(1, Ordering::Relaxed);
        self.most.fetch_max(under_way, Ordering::Relaxed);
        self.let_through.acquire().await.unwrap().forget();
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        assert!(!path.0.contains("panic"), "as it was told to");
        self.inner.put(path, bytes).await
    }

    async fn get(&self, path: &ObjectPath) -> Result<Option<Bytes>, StoreError> {
        self.inner.get(path).await
    }

    async fn get_range(&self, path: &ObjectPath, range: Range<u64>) -> Result<Option<Bytes>, StoreError> {
        self.inner.get_range(path, range).await
    }

    async fn list(&self, prefix: &str, after: Option<&ObjectPath>) -> Result<Vec<Listed>, StoreError> {
        self.inner.list(prefix, after).await
    }

    async fn list_folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.inner.list_folders(prefix).await
    }

    async fn delete(&self, path: &ObjectPath) -> Result<(), StoreError> {
        self.inner.delete(path).await
    }

    fn location(&self) -> String {
        self.inner.location()
    }
}
