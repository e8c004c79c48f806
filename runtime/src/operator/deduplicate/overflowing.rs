//! What was seen, in memory as long as it fits there, and then on the local disk.
//!
//! The way to the disk is taken once, at the moment when memory is short; a later attempt begins in memory again if what
//! the checkpoint has fits.

use super::{
    in_memory::InMemory,
    in_table::InTable,
    keys::Counting,
    seen::{FormerKeys, Noted, Remembers, Seen, Sights},
};
use crate::{
    memory::Share,
    operator::KeyRange,
    state::{Backend, StateError, WriteAhead, table::rocks::Downloaded},
};

/// Bytes of a key in memory: the table is between seven sixteenths and seven eighths full, and grows by doubling.
const BYTES_OF_A_KEY: u64 = 40;

pub struct Overflowing {
    range: KeyRange,
    backend: Backend,
    /// Of the folder on the disk.
    name: String,
    share: Share,
    place: Place,
}

enum Place {
    Memory(InMemory),
    Table(InTable),
}

impl Overflowing {
    /// Nothing is seen yet. What it writes on the disk is in a folder whose name begins with `name`.
    pub fn new(range: KeyRange, ahead: WriteAhead, backend: &Backend, name: String) -> Self {
        let place = Place::Memory(InMemory::new(range, ahead, backend.clone()));
        Self { range, backend: backend.clone(), name, share: backend.budget().share(), place }
    }

    fn table(&self) -> Result<InTable, StateError> {
        Ok(InTable::new(self.range, self.backend.engine()?, self.name.clone())?)
    }

    fn seen(&mut self) -> &mut dyn Seen {
        match &mut self.place {
            Place::Memory(memory) => memory,
            Place::Table(table) => table,
        }
    }

    /// Goes to the disk if there is too little memory.
    fn keep_bounded(&mut self) -> Result<(), StateError> {
        let Place::Memory(memory) = &self.place else { return Ok(()) };
        self.share.set(memory.size());
        if self.share.is_over() {
            tracing::info!(name = self.name, bytes = memory.size(), "memory is short: keys go to the local disk");
            let mut table = self.table()?;
            table.fill(memory.sights())?;
            self.place = Place::Table(table);
            self.share.set(0);
        }
        Ok(())
    }
}

impl Seen for Overflowing {
    fn note(&mut self, sights: &Sights<'_>, noted: &mut Vec<Noted>) -> Result<(), StateError> {
        self.seen().note(sights, noted)?;
        self.keep_bounded()
    }

    fn forget(&mut self, oldest: i64) -> Result<(), StateError> {
        self.seen().forget(oldest)
    }

    fn freeze(&mut self) -> Result<Remembers, StateError> {
        self.seen().freeze()
    }

    fn restore(&mut self, former: FormerKeys) -> Result<(), StateError> {
        let mut rows = 0;
        let counting = Counting::new(self.range, &former)?;
        for part in &former.parts {
            rows += counting.of(&part.batch()?).count() as u64;
        }
        let tables: u64 = former.tables.iter().map(Downloaded::bytes).sum();
        // Taken before it is filled: the other subtasks of the process are restored at the same time.
        self.share.set(rows * BYTES_OF_A_KEY + 2 * tables);
        if self.share.is_over() {
            self.share.set(0);
            self.place = Place::Table(self.table()?);
        }
        self.seen().restore(former)?;
        self.keep_bounded()
    }
}
