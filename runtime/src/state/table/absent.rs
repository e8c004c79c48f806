//! In the place of [`rocks`](super::rocks) in a program that is built without the feature `rocksdb`: there are no tables on
//! the local disk.
//!
//! The types have no values, so whoever has one has nothing to do, and the compiler knows it. The only way to a table is an
//! [`Engine`], and [`Engine::new`] says that there is none.

#![allow(clippy::unused_async)] // they stand for functions that wait

use std::{convert::Infallible, ops::Range, path::PathBuf, sync::Arc};

use tokio::sync::{OwnedMutexGuard, SemaphorePermit};

use super::{Changes, Table, TableError, Visit};
use crate::{
    checkpoint::manifest::TableFile,
    features::{Feature, NotBuilt},
    state::{
        StatePart,
        known_file::Identity,
        local::{LocalError, LocalFolder, Scratch},
    },
};

pub type Encode = fn(&Changes) -> Result<Arc<StatePart>, TableError>;

#[derive(Clone)]
pub struct Engine(Infallible);
pub struct Reserved(Infallible);
pub struct Behind(Infallible);
#[derive(Clone)]
pub struct RocksTable(Infallible);
#[derive(Debug, Clone)]
pub struct Downloaded(Infallible);
#[derive(Debug)]
pub struct Uploaded(Infallible);
#[derive(Debug)]
pub struct FrozenTable(Infallible);
#[derive(Debug)]
pub struct Freezing(Infallible);
pub struct Rows(Infallible);

/// Of a table that there is none of.
#[derive(Debug)]
pub struct LocalFile {
    pub name: String,
    pub path: PathBuf,
    pub bytes: u64,
    pub never_changes: bool,
}

impl Engine {
    pub const PIECE: u64 = 16 << 20;

    pub fn new(_folder: LocalFolder, _budget: u64) -> Result<Self, TableError> {
        Err(NotBuilt(Feature::RocksDb).into())
    }

    pub fn folder(&self) -> &LocalFolder {
        match self.0 {}
    }

    pub fn scratch(&self, _name: &str) -> Result<Scratch, LocalError> {
        match self.0 {}
    }

    pub async fn transfer(&self) -> Option<SemaphorePermit<'_>> {
        match self.0 {}
    }

    pub fn reserve(&self, _bytes: u64) -> Option<Reserved> {
        match self.0 {}
    }

    pub fn unwritten_bytes(&self) -> usize {
        match self.0 {}
    }
}

impl Behind {
    pub fn start(table: RocksTable) -> Result<Self, TableError> {
        match table.0 {}
    }

    pub fn step(&mut self, _step: impl FnOnce(&RocksTable) -> Result<(), TableError> + Send + 'static) {
        match self.0 {}
    }

    pub fn freeze(&mut self, _encode: Encode) -> Freezing {
        match self.0 {}
    }

    pub fn settle(&mut self, _most: usize) -> Result<usize, TableError> {
        match self.0 {}
    }
}

impl RocksTable {
    pub fn create(engine: &Engine, _name: &str) -> Result<Self, TableError> {
        match engine.0 {}
    }

    pub fn restore(
        engine: &Engine,
        _name: &str,
        _groups: Range<u32>,
        _former: &[Downloaded],
        _oldest: i64,
    ) -> Result<Self, TableError> {
        match engine.0 {}
    }

    pub fn take_in(&self, _hand_over: impl FnOnce(&mut Visit<'_>) -> Result<(), TableError>) -> Result<(), TableError> {
        match self.0 {}
    }

    pub fn count(&self) -> u64 {
        match self.0 {}
    }
}

impl Table for RocksTable {
    fn get_many(
        &self,
        _keys: &[&[u8]],
        _found: &mut dyn FnMut(usize, Option<&[u8]>) -> Result<(), TableError>,
    ) -> Result<(), TableError> {
        match self.0 {}
    }

    fn write(&mut self, _changes: &Changes) -> Result<(), TableError> {
        match self.0 {}
    }

    fn scan_prefix(&self, _prefix: &[u8], _visit: &mut Visit<'_>) -> Result<(), TableError> {
        match self.0 {}
    }

    fn scan_groups(&self, _groups: Range<u32>, _visit: &mut Visit<'_>) -> Result<(), TableError> {
        match self.0 {}
    }

    fn forget(&mut self, _oldest: i64) -> Result<(), TableError> {
        match self.0 {}
    }
}

impl Downloaded {
    pub fn new(_folder: Arc<Scratch>, _files: Vec<TableFile>, _groups: Range<u32>) -> Result<Self, TableError> {
        Err(NotBuilt(Feature::RocksDb).into())
    }

    pub fn groups(&self) -> Range<u32> {
        match self.0 {}
    }

    pub fn bytes(&self) -> u64 {
        match self.0 {}
    }

    pub fn scan_groups(&self, _engine: &Engine, _groups: Range<u32>, _visit: &mut Visit<'_>) -> Result<(), TableError> {
        match self.0 {}
    }
}

impl Uploaded {
    pub fn get(&self, _name: &str) -> Option<(TableFile, Identity)> {
        match self.0 {}
    }

    pub async fn turn(&self, _name: &str) -> OwnedMutexGuard<()> {
        match self.0 {}
    }

    pub fn add(&self, _file: TableFile, _identity: Identity) {
        match self.0 {}
    }
}

impl Freezing {
    pub async fn frozen(self) -> Result<FrozenTable, TableError> {
        match self.0 {}
    }
}

impl FrozenTable {
    pub fn files(&self) -> Result<Vec<LocalFile>, TableError> {
        match self.0 {}
    }

    pub fn uploaded(&self) -> &Uploaded {
        match self.0 {}
    }

    pub fn engine(&self) -> &Engine {
        match self.0 {}
    }

    pub fn folder(&self) -> &Arc<Scratch> {
        match self.0 {}
    }

    pub fn rows(self) -> Result<Rows, TableError> {
        match self.0 {}
    }
}

impl Rows {
    pub fn next(&mut self, _most: usize) -> Result<Option<Arc<StatePart>>, TableError> {
        match self.0 {}
    }
}
