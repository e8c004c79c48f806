//! Deterministic orders: a source without a server, for demos, benchmarks and tests.
//!
//! Order *i* is a pure function of the seed and *i*, so any run, and any reference beside it, knows what was read. The
//! stream is cut into eight stripes, whatever the parallelism: stripe *k* has the orders *k*, *k* + 8, *k* + 16 …, and
//! subtask *s* reads the stripes whose number is *s* modulo the parallelism. A position is the index of a stripe's next
//! order, so a resume is exact, with another parallelism too.

mod orders;
mod reader;
#[cfg(test)]
mod tests;

use async_trait::async_trait;
use tidegate_crds::GeneratorSource;

pub use self::orders::{Order, Orders};
use self::reader::Reader;
use super::{Positions, ReaderContext, Source, SourceError, SourceReader, SplitState};

/// Stripes of every generator; a part of its contract, since checkpoints name them.
pub const STRIPES: u64 = 8;

/// Orders as a source.
#[derive(Debug, Clone)]
pub struct Generator {
    name: String,
    orders: Orders,
    count: Option<u64>,
    rate: Option<u64>,
}

impl Generator {
    /// `name` is the source's in the document.
    pub fn new(name: &str, spec: &GeneratorSource) -> Result<Self, SourceError> {
        let orders =
            Orders::new(spec).map_err(|message| SourceError::Refused { source_name: name.to_owned(), message })?;
        Ok(Self { name: name.to_owned(), orders, count: spec.count, rate: spec.rate })
    }
}

#[async_trait]
impl Source for Generator {
    async fn preflight(&self) -> Result<(), SourceError> {
        Ok(())
    }

    fn fits(&self, splits: &[SplitState]) -> Result<(), SourceError> {
        match splits.iter().find(|state| !(0..STRIPES).any(|stripe| state.split == stripe_name(stripe))) {
            None => Ok(()),
            Some(other) => Err(SourceError::Refused {
                source_name: self.name.clone(),
                message: format!(
                    "the checkpoint is of `{}`, which is no stripe of a generator; a source can't change its kind, name \
                     the source otherwise or begin with a new job name",
                    other.split
                ),
            }),
        }
    }

    fn is_at_end(&self, splits: &[SplitState]) -> bool {
        self.count.is_some_and(|count| splits.iter().all(|split| split.next >= count))
    }

    async fn find_splits(&self, _: Option<&[SplitState]>) -> Result<Vec<SplitState>, SourceError> {
        let stripe =
            |stripe| SplitState { split: stripe_name(stripe), next: stripe, end: self.count, ..SplitState::default() };
        Ok((0..STRIPES).map(stripe).collect())
    }

    async fn reader(&self, context: ReaderContext, from: Positions) -> Result<Box<dyn SourceReader>, SourceError> {
        self.fits(from.splits())?;
        Ok(Box::new(Reader::new(self, context, from.splits())?))
    }
}

/// Name of a stripe in a checkpoint.
fn stripe_name(stripe: u64) -> String {
    format!("stripe-{stripe}")
}
