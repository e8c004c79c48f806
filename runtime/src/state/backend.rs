//! Where the state of a process lives.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use tidegate_crds::StateBackend;

use super::{
    local::{self, LocalError, LocalFolder},
    table::{TableError, rocks::Engine},
};
use crate::memory::{Budget, MemoryLimit};

/// What the job asks for, and what this process has for it. Clones are the same one.
#[derive(Clone)]
pub struct Backend {
    kind: StateBackend,
    place: Arc<Place>,
}

struct Place {
    /// Below which the local folder is made.
    parent: PathBuf,
    memory: MemoryLimit,
    /// What operators may keep in memory.
    budget: Budget,
    /// Made when it is first needed: a job that fits into memory touches no disk.
    folder: Mutex<Option<LocalFolder>>,
    engine: Mutex<Option<Engine>>,
}

impl Backend {
    pub fn new(kind: StateBackend, parent: PathBuf, memory: MemoryLimit) -> Self {
        let budget = Budget::new(memory.for_operators(kind));
        let (folder, engine) = (Mutex::default(), Mutex::default());
        Self { kind, place: Arc::new(Place { parent, memory, budget, folder, engine }) }
    }

    pub fn kind(&self) -> StateBackend {
        self.kind
    }

    pub fn memory(&self) -> MemoryLimit {
        self.place.memory
    }

    /// What operators may keep of their state in memory, all of the process together.
    pub fn budget(&self) -> &Budget {
        &self.place.budget
    }

    /// This process's folder on the local disk.
    pub fn folder(&self) -> Result<LocalFolder, LocalError> {
        let mut folder = self.place.folder.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = &*folder {
            return Ok(folder.clone());
        }
        let created = LocalFolder::create(&self.place.parent)?;
        tracing::info!(folder = %created.path().display(), "state on the local disk");
        Ok(folder.insert(created).clone())
    }

    /// At the start of a process: deletes the folders of those that were killed, and, when what this gives is dropped, the
    /// process's own, whatever is still under way.
    pub fn until_the_end(&self) -> End {
        local::sweep(&self.place.parent);
        End(self.clone())
    }

    /// The tables on the local disk. A job in memory needs them for a checkpoint that has some.
    pub fn engine(&self) -> Result<Engine, TableError> {
        let mut engine = self.place.engine.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = &*engine {
            return Ok(engine.clone());
        }
        let memory = self.place.memory.for_tables(self.kind);
        tracing::info!(memory, "tables on the local disk");
        Ok(engine.insert(Engine::new(self.folder()?, memory)?).clone())
    }
}

/// The end of a process; see [`Backend::until_the_end`].
#[must_use]
pub struct End(Backend);

impl Drop for End {
    fn drop(&mut self) {
        let folder = self.0.place.folder.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = &*folder {
            folder.remove();
        }
    }
}
