//! Operators: what happens to rows between source and sink.
//!
//! An operator is synchronous and single-threaded: it is handed a batch or a watermark and puts out what follows from
//! it. At a barrier it freezes, which means to list what it remembers ([`StateSnapshot`]), nothing more. Restored from
//! such lists, of all subtasks that held some of its key groups, it goes on as if it had never stopped.

use std::{ops::Range, sync::Arc};

use arrow::{array::RecordBatch, error::ArrowError};
use datafusion_common::DataFusionError;
use thiserror::Error;
use tidegate_crds::api::FailureReason;

use crate::{
    checkpoint::manifest::PartRef,
    failure::Reason,
    ids::{EventTime, OperatorId},
    sink::{FlushFuture, SinkError},
    state::{
        ChunkRows, StateError, StatePart, StateSnapshot,
        file::{FileError, LocalRows},
        table::rocks::Downloaded,
    },
    words,
};

pub mod build;
pub mod deduplicate;
#[cfg(test)]
mod fleet;
pub mod float;
pub mod key_range;
pub mod map;
pub mod rowtime;
pub mod sink;
pub mod window;

pub use key_range::KeyRange;

/// Where an operator puts what it makes.
#[derive(Debug, Default)]
pub struct Output {
    pub elements: Vec<Emitted>,
}

#[derive(Debug)]
pub enum Emitted {
    Batch(RecordBatch),
    /// Rows for the operator's side output, such as late records.
    Side(RecordBatch),
    Watermark(EventTime),
    /// Nothing comes for now; operators pass it on without being asked.
    Idle,
}

impl Output {
    pub fn batch(&mut self, batch: RecordBatch) {
        if batch.num_rows() > 0 {
            self.elements.push(Emitted::Batch(batch));
        }
    }

    pub fn side(&mut self, batch: RecordBatch) {
        if batch.num_rows() > 0 {
            self.elements.push(Emitted::Side(batch));
        }
    }

    pub fn watermark(&mut self, watermark: EventTime) {
        self.elements.push(Emitted::Watermark(watermark));
    }
}

/// One subtask of an operator.
pub trait Operator: Send {
    fn on_batch(&mut self, batch: RecordBatch, out: &mut Output) -> Result<(), OperatorError>;

    /// Whether there is more to put out than should be in memory at a time: then nothing else is called but
    /// [`Operator::go_on`], until it says that this was all.
    fn on_watermark(&mut self, watermark: EventTime, out: &mut Output) -> Result<bool, OperatorError> {
        out.watermark(watermark);
        Ok(false)
    }

    /// Puts out some more of it, and says whether there is still more.
    fn go_on(&mut self, _: &mut Output) -> Result<bool, OperatorError> {
        Ok(false)
    }

    /// What it takes the time to be: rows up to then are late. For an operator that does not judge rows by time, any.
    fn watermark(&self) -> EventTime {
        EventTime::MIN
    }

    /// From now on it takes the time to be this.
    fn set_watermark(&mut self, _: EventTime) {}

    /// Rows that were in flight to a former subtask whose watermark was the one given: that one judges them, and not what the
    /// operator has learned from others.
    fn on_restored(&mut self, batch: RecordBatch, as_of: EventTime, out: &mut Output) -> Result<(), OperatorError> {
        let now = self.watermark();
        self.set_watermark(as_of);
        let done = self.on_batch(batch, out);
        self.set_watermark(now);
        done
    }

    /// The epoch ends here. What is returned must not change any more.
    fn freeze(&mut self) -> Result<Frozen, OperatorError> {
        Ok(Frozen::default())
    }
}

/// What an operator hands over at a barrier.
#[derive(Default)]
pub struct Frozen {
    /// What it remembers; `None` for an operator without state.
    pub state: Option<StateSnapshot>,
    /// Rows that its sink has to publish with this epoch, cut into chunks.
    pub chunks: Vec<Arc<ChunkRows>>,
    /// What has to be waited for before the barrier is acknowledged.
    pub flush: Option<FlushFuture>,
}

/// State of an operator as one of its former subtasks left it, rows included.
#[derive(Debug)]
pub struct RestoredState {
    /// The key groups that it had.
    pub groups: Range<u32>,
    pub value: serde_json::Value,
    pub parts: Vec<RestoredPart>,
    /// What it kept on its local disk.
    pub table: Option<Downloaded>,
}

#[derive(Debug)]
pub struct RestoredPart {
    pub reference: PartRef,
    rows: Rows,
}

/// Where the rows of a restored part are.
#[derive(Debug)]
enum Rows {
    Memory(RecordBatch),
    Local(Arc<LocalRows>),
}

impl RestoredPart {
    pub fn new(reference: PartRef, batch: RecordBatch) -> Self {
        Self { reference, rows: Rows::Memory(batch) }
    }

    /// A part that is read from the local disk when its turn comes.
    pub fn local(reference: PartRef, file: Arc<LocalRows>) -> Self {
        Self { reference, rows: Rows::Local(file) }
    }

    pub fn batch(&self) -> Result<RecordBatch, FileError> {
        match &self.rows {
            Rows::Memory(batch) => Ok(batch.clone()),
            Rows::Local(file) => file.batch(self.reference.batch),
        }
    }
}

#[derive(Debug, Error)]
pub enum OperatorError {
    #[error("operator `{operator}` failed: {cause}")]
    Engine { operator: OperatorId, cause: String },
    /// A row that something can't be computed of.
    #[error("operator `{operator}`: {what} can't be computed of the record {record}: {why}")]
    Row { operator: OperatorId, what: String, record: String, why: String },
    #[error("operator `{operator}`: its state failed")]
    State {
        operator: OperatorId,
        #[source]
        cause: StateError,
    },
    #[error("operator `{operator}`: its state can't be restored: {message}")]
    Restore { operator: OperatorId, message: String },
    #[error("`{operator}`: {message}; this is a fault of the program, please report it")]
    Fault { operator: OperatorId, message: String },
    #[error(transparent)]
    Sink(#[from] SinkError),
}

impl Reason for OperatorError {
    fn reason(&self) -> FailureReason {
        match self {
            Self::Engine { .. } | Self::Row { .. } | Self::Fault { .. } => FailureReason::TaskFailed,
            Self::State { cause, .. } => cause.reason(),
            Self::Restore { .. } => FailureReason::StateUnfit,
            Self::Sink(error) => error.reason(),
        }
    }
}

/// Gives errors of the engine's libraries the operator's name.
#[derive(Debug, Clone)]
pub struct Named(pub OperatorId);

impl Named {
    pub fn engine(&self, cause: DataFusionError) -> OperatorError {
        OperatorError::Engine { operator: self.0.clone(), cause: words::of(&cause) }
    }

    pub fn arrow(&self, cause: ArrowError) -> OperatorError {
        self.engine(DataFusionError::from(cause))
    }

    pub fn state(&self, cause: impl Into<StateError>) -> OperatorError {
        OperatorError::State { operator: self.0.clone(), cause: cause.into() }
    }

    /// What can't be, whatever the job and its state.
    pub fn fault(&self, message: impl Into<String>) -> OperatorError {
        OperatorError::Fault { operator: self.0.clone(), message: message.into() }
    }

    pub fn restore(&self, message: impl Into<String>) -> OperatorError {
        OperatorError::Restore { operator: self.0.clone(), message: message.into() }
    }

    /// Refuses a state whose keys were computed otherwise, though they are called the same. Earlier versions did not tell.
    pub fn same_keys(&self, found: Option<&[String]>, own: &[String]) -> Result<(), OperatorError> {
        match found {
            Some(found) if found != own => Err(self.restore(format!(
                "its keys were {}, and are {}; they can't change while there is state by them",
                found.join(", "),
                own.join(", ")
            ))),
            _ => Ok(()),
        }
    }
}

/// Parts as a snapshot lists them.
pub(crate) fn snapshot(value: serde_json::Value, parts: Vec<Arc<StatePart>>) -> Frozen {
    Frozen { state: Some(StateSnapshot { value, parts, table: None }), ..Frozen::default() }
}
