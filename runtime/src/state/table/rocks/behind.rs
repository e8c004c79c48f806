//! A table's own thread: it writes what the owner hands over, in that order, while the owner goes on.
//!
//! What was handed over before the table is frozen is in it, and what comes later is not, so the owner need not wait at a
//! barrier. It waits where it is ahead by more than a few steps, so that what is under way stays bounded.

use std::{
    sync::mpsc::{Receiver, RecvError, Sender, TryRecvError, channel},
    time::Duration,
};

use tokio::sync::oneshot;

use super::{Encode, Freezing, RocksTable};
use crate::{env, state::table::TableError};

/// Files that are not merged yet, above which the thread waits for merges.
const MOST_UNMERGED: u64 = 24;
const LOOK_EVERY: Duration = Duration::from_millis(5);

type Step = Box<dyn FnOnce(&RocksTable) -> Result<(), TableError> + Send>;

/// Steps of one table. Dropped, the thread ends after those that were handed over.
pub struct Behind {
    steps: Sender<Step>,
    done: Receiver<Result<(), TableError>>,
    under_way: usize,
}

impl Behind {
    pub fn start(table: RocksTable) -> Result<Self, TableError> {
        let (steps, work) = channel::<Step>();
        let (told, done) = channel();
        env::spawn_thread("table", move || {
            for step in work {
                while table.unmerged() > MOST_UNMERGED && !table.has_failed() {
                    env::pause(LOOK_EVERY);
                }
                let result = step(&table);
                let has_failed = result.is_err();
                // The owner is gone after its last barrier, and the checkpoint waits for the steps that are left.
                let _owner_gone = told.send(result);
                // After a step that failed the table is not what the owner thinks it is.
                if has_failed {
                    break;
                }
            }
        })
        .map_err(TableError::Thread)?;
        Ok(Self { steps, done, under_way: 0 })
    }

    /// Hands over a step.
    pub fn step(&mut self, step: impl FnOnce(&RocksTable) -> Result<(), TableError> + Send + 'static) {
        self.under_way += 1;
        // Where the thread has ended, [`Behind::settle`] says why.
        let _ended = self.steps.send(Box::new(step));
    }

    /// Freezes the table as it is after the steps so far.
    pub fn freeze(&mut self, encode: Encode) -> Freezing {
        let (reply, frozen) = oneshot::channel();
        self.step(move |table| {
            // A table that can't be frozen fails this checkpoint; it is still whole. Nobody may wait for it any more.
            let _not_waited_for = reply.send(table.freeze(encode));
            Ok(())
        });
        Freezing(frozen)
    }

    /// How many steps have been done since the last call, after waiting until at most `most` are left.
    pub fn settle(&mut self, most: usize) -> Result<usize, TableError> {
        let mut settled = 0;
        while self.under_way > 0 {
            let done = if self.under_way > most {
                self.done.recv().map_err(|RecvError| TableError::Unwritten)?
            } else {
                match self.done.try_recv() {
                    Ok(done) => done,
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return Err(TableError::Unwritten),
                }
            };
            done?;
            self.under_way -= 1;
            settled += 1;
        }
        Ok(settled)
    }
}
