//! Where the state of a process lives.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use tidegate_crds::StateBackend;

use super::{
    local::LocalFolder,
    table::{TableError, rocks::Engine},
};
use crate::memory::MemoryLimit;

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
    /// Made when it is first needed: a job in memory touches no disk.
    engine: Mutex<Option<Engine>>,
}

impl Backend {
    pub fn new(kind: StateBackend, parent: PathBuf, memory: MemoryLimit) -> Self {
        Self { kind, place: Arc::new(Place { parent, memory, engine: Mutex::default() }) }
    }

    pub fn kind(&self) -> StateBackend {
        self.kind
    }

    /// Deletes the local folder when what this gives is dropped, whatever is still under way.
    pub fn until_the_end(&self) -> End {
        End(self.clone())
    }

    /// The tables on the local disk. A job in memory needs them for a checkpoint that has some.
    pub fn engine(&self) -> Result<Engine, TableError> {
        let mut engine = self.place.engine.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = &*engine {
            return Ok(engine.clone());
        }
        let folder = LocalFolder::create(&self.place.parent)?;
        let budget = self.place.memory.for_tables();
        tracing::info!(folder = %folder.path().display(), memory = budget, "state on the local disk");
        Ok(engine.insert(Engine::new(folder, budget)).clone())
    }
}

/// The end of a process; see [`Backend::until_the_end`].
#[must_use]
pub struct End(Backend);

impl Drop for End {
    fn drop(&mut self) {
        let engine = self.0.place.engine.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = &*engine {
            engine.folder().remove();
        }
    }
}
