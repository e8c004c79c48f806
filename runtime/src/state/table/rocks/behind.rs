//! A table's own line of work: what the owner hands over is written in that order, while the owner goes on.
//!
//! What was handed over before the table is frozen is in it, and what comes later is not, so the owner need not wait at a
//! barrier. It waits where it is ahead by more than a few steps, so that what is under way stays bounded.

use std::sync::{
    Arc, OnceLock,
    mpsc::{RecvError, TryRecvError},
};

use tokio::sync::oneshot;

use super::{Encode, Freezing, RocksTable};
use crate::{env::Line, state::table::TableError};

/// Steps of one table. Dropped, those that were handed over are done all the same. After one that failed none is: the table
/// is not what the owner thinks it is. Whoever waits for one of these hears why.
pub struct Behind {
    table: RocksTable,
    line: Line<TableError>,
    under_way: usize,
    failure: FirstFailure,
}

/// Why no step is done any more.
#[derive(Debug, Clone, Default)]
pub(super) struct FirstFailure(Arc<OnceLock<Arc<TableError>>>);

impl FirstFailure {
    /// Of a step that was handed over, and not done.
    pub(super) fn cause(&self) -> TableError {
        self.0.get().map_or(TableError::Unwritten, |first| TableError::Earlier(first.clone()))
    }

    fn is(&self, error: TableError) -> TableError {
        TableError::Earlier(self.0.get_or_init(|| Arc::new(error)).clone())
    }
}

impl Behind {
    pub fn start(table: RocksTable) -> Result<Self, TableError> {
        let line = Line::start("table").map_err(TableError::Thread)?;
        Ok(Self { table, line, under_way: 0, failure: FirstFailure::default() })
    }

    /// Hands over a step.
    pub fn step(&mut self, step: impl FnOnce(&RocksTable) -> Result<(), TableError> + Send + 'static) {
        self.under_way += 1;
        let (table, failure) = (self.table.clone(), self.failure.clone());
        self.line.hand_over(move || {
            table.keep_merged();
            step(&table).map_err(|error| failure.is(error))
        });
    }

    /// Freezes the table as it is after the steps so far.
    pub fn freeze(&mut self, encode: Encode) -> Freezing {
        let (reply, frozen) = oneshot::channel();
        self.step(move |table| {
            // A table that can't be frozen fails this checkpoint; it is still whole. Nobody may wait for it any more.
            let _not_waited_for = reply.send(table.freeze(encode));
            Ok(())
        });
        Freezing { frozen, failure: self.failure.clone() }
    }

    /// How many steps have been done since the last call, after waiting until at most `most` are left.
    pub fn settle(&mut self, most: usize) -> Result<usize, TableError> {
        let mut settled = 0;
        while self.under_way > 0 {
            let done = if self.under_way > most {
                self.line.wait().map_err(|RecvError| self.failure.cause())?
            } else {
                match self.line.look() {
                    Ok(done) => done,
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return Err(self.failure.cause()),
                }
            };
            done?;
            self.under_way -= 1;
            settled += 1;
        }
        Ok(settled)
    }
}
