//! State of operators, as immutable parts.
//!
//! What an operator learns in an epoch it adds as a *part*: one batch of rows that never changes. A part is uploaded
//! with the first checkpoint that contains it and only named by the later ones, so a checkpoint costs what changed, not
//! what there is. The operator's thread does no more at a barrier than to list its parts; encoding and uploading ([`file`])
//! happen elsewhere, and so does the merging of small parts that nobody reads here. What nobody reads begins to be uploaded
//! ahead of its barrier, as soon as there is enough of it ([`WriteAhead`]).
//!
//! What should not be in memory at all is in a [`table`] on the [`local`] disk, if the job asks for that ([`Backend`]).
//! Parts that operators read leave memory for that disk when there is too little of it ([`spilled`]).

mod adapt;
mod backend;
pub mod changes;
mod chunk;
mod departed;
mod error;
pub mod file;
pub mod known_file;
pub mod local;
mod part;
pub mod spilled;
pub mod table;
pub mod typed;
mod write_ahead;

pub use adapt::{FormerNames, Lacking, Misfit, adapt, convert, widen};
pub use backend::Backend;
pub use chunk::ChunkRows;
pub use departed::Departed;
pub use error::StateError;
pub use part::{Claim, Look, Rows, StatePart, StateSnapshot, bytes_of, retain_distinct};
pub use write_ahead::WriteAhead;
