//! The loop of a task that reads a source.
//!
//! Between two reads it does what it is told: cuts an epoch, pauses, goes on. So a barrier always lies between batches,
//! and the positions that the reader names at that moment are exactly what has been put out.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arrow::array::RecordBatch;
use futures::{FutureExt, future::LocalBoxFuture};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::mpsc::UnboundedReceiver;

use super::{
    chain::{Chain, FrozenLink},
    edge::Edge,
    keyed_task::{Task, TaskError, Waited, cut, send},
    protocol::Control,
    report::{Report, Reports},
    restore::SourceColumns,
    snapshot::Snapshotter,
};
use crate::{
    element::Barrier,
    env,
    exchange::urge::Urge,
    fault,
    format::intake::Intake,
    ids::{Epoch, EventTime, OperatorId},
    operator::Frozen,
    source::{
        Fetched, Run, SourceError, SourceReader, SplitState,
        lag::LagWatch,
        watermark::{Progress, Watermarks},
    },
    state::StateSnapshot,
};

pub struct SourceTask {
    pub id: OperatorId,
    /// Of the source, for whoever goes on with other ones.
    pub columns: SourceColumns,
    pub reader: Box<dyn SourceReader>,
    /// Turns what the reader fetched into rows.
    pub intake: Intake,
    pub watermarks: Watermarks,
    /// Splits as the checkpoint had them.
    pub restored: Vec<SplitState>,
    pub chain: Chain,
    pub edges: Vec<Edge>,
    /// What makes the task hurry to its control.
    pub urge: Arc<Urge>,
    pub snapshotter: Snapshotter,
    pub control: UnboundedReceiver<Control>,
    pub reports: Reports,
    pub records: Counter,
    /// Positions of epochs that have been cut and not yet completed.
    pub positions: BTreeMap<Epoch, Vec<SplitState>>,
    /// Tells how far the reader is behind, for as long as the task lives.
    pub lag: Option<LagWatch>,
}

/// What the loop waits for, and got.
enum Next {
    Told(Option<Control>),
    Fetched(Result<Fetched, SourceError>),
    Tick,
}

impl Task for SourceTask {
    fn run(&mut self) -> LocalBoxFuture<'_, Result<(), TaskError>> {
        self.run_to_end().boxed_local()
    }
}

impl SourceTask {
    /// Runs until the last barrier.
    async fn run_to_end(&mut self) -> Result<(), TaskError> {
        self.watermarks.assign(&self.reader.positions(), &self.restored, env::monotonic());
        // Says so at once when it has no splits, or goes on with the checkpoint's watermark.
        self.advance()?;
        send(&mut self.chain, &self.edges, &self.urge).await?;
        let (mut paused, mut drained, mut exhausted) = (false, false, false);
        let mut looked_at = env::monotonic();
        let mut cut_at = self.records.get();
        loop {
            let asks = !paused && !exhausted && fault::may_read(self.records.get() - cut_at);
            if asks {
                self.watermarks.ask(env::monotonic());
            }
            // Counted from the last look, and not from the last thing that happened: something always does.
            let tick = self.watermarks.look().map(|look| (looked_at + look).saturating_sub(env::monotonic()));
            let next = tokio::select! {
                biased;
                told = self.control.recv() => Next::Told(told),
                fetched = self.reader.fetch(), if asks => Next::Fetched(fetched),
                () = idle(tick), if asks => Next::Tick,
            };
            if asks {
                self.watermarks.wait(env::monotonic());
                self.watermarks.leave();
            }
            match next {
                // The worker is gone: the job is being torn down.
                Next::Told(None) => return Ok(()),
                Next::Told(Some(Control::Pause)) => {
                    paused = true;
                    if !exhausted {
                        // Whoever else reads this must not go on without what comes here meanwhile.
                        self.watermarks.pause(env::monotonic());
                        self.advance()?;
                    }
                }
                Next::Told(Some(Control::Resume)) => paused = false,
                Next::Told(Some(Control::Drain)) => {
                    (paused, drained) = (true, true);
                    self.chain.watermark(EventTime::MAX)?;
                }
                Next::Told(Some(Control::Completed(epoch))) => self.completed(epoch)?,
                Next::Told(Some(Control::Trigger(barrier))) => {
                    if barrier.last && !drained && !exhausted {
                        self.confirm().await?;
                    }
                    self.cut(barrier)?;
                    cut_at = self.records.get();
                    if barrier.last {
                        self.edges.iter().try_for_each(Edge::end)?;
                        // Stays to hear that the last checkpoint has completed.
                        (paused, exhausted) = (true, true);
                    }
                }
                Next::Fetched(fetched) => exhausted = self.take(fetched?)?,
                Next::Tick => {
                    looked_at = env::monotonic();
                    self.advance()?;
                }
            }
            send(&mut self.chain, &self.edges, &self.urge).await?;
        }
    }

    /// Takes in what was fetched; true when there is nothing more.
    fn take(&mut self, fetched: Fetched) -> Result<bool, TaskError> {
        match fetched {
            Fetched::Records(records) => {
                self.records.inc_by(records.len() as u64);
                let taken =
                    self.intake.decode(records.as_ref(), |split| self.watermarks.name(split), env::wall_clock_ms())?;
                if let Some(dead_letters) = taken.dead_letters {
                    self.chain.side(dead_letters)?;
                }
                self.put_out(taken.rows, &taken.runs)?;
            }
            Fetched::Rows { batch, runs } => {
                self.records.inc_by(batch.num_rows() as u64);
                let batch = self.intake.project(&batch)?;
                self.put_out(batch, &runs)?;
            }
            Fetched::SplitsChanged => {
                self.watermarks.assign(&self.reader.positions(), &self.restored, env::monotonic());
                // A source that had none is idle no more.
                self.advance()?;
            }
            Fetched::SplitsKnown => self.advance()?,
            Fetched::Exhausted => {
                self.chain.watermark(EventTime::MAX)?;
                self.reports.send(Report::Exhausted(self.snapshotter.task));
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn put_out(&mut self, batch: RecordBatch, runs: &[Run]) -> Result<(), TaskError> {
        if let Some(times) = self.intake.event_times(&batch)? {
            self.watermarks
                .observe(&times, runs, env::monotonic())
                .map_err(|cause| self.intake.failed("read event times", cause))?;
        }
        let batch = self.intake.wanted(batch)?;
        if batch.num_rows() > 0 {
            self.chain.batch(batch)?;
        }
        self.watermarks.update_ends(|split| self.reader.end(split));
        self.advance()
    }

    fn advance(&mut self) -> Result<(), TaskError> {
        if self.intake.has_event_time()
            && let Some(progress) =
                self.watermarks.advance(|split| self.reader.remaining(split), self.reader.splits_known_at())
        {
            match progress {
                Progress::Watermark(watermark) => self.chain.watermark(watermark)?,
                Progress::Idle => self.chain.idle()?,
            }
        }
        Ok(())
    }

    /// Time that waits for a look at the splits does not wait for the next run: who saw everything read and stops the job
    /// expects the windows that have ended.
    async fn confirm(&mut self) -> Result<(), TaskError> {
        if self.reader.look_for_splits().await? {
            self.watermarks.assign(&self.reader.positions(), &self.restored, env::monotonic());
        }
        self.advance()?;
        send(&mut self.chain, &self.edges, &self.urge).await
    }

    fn cut(&mut self, barrier: Barrier) -> Result<(), TaskError> {
        self.urge.met(barrier.epoch);
        let splits = self.watermarks.complete(self.reader.positions());
        let value = serde_json::json!({
            "splits": &splits,
            "columns": &self.columns.columns,
            "eventTime": &self.columns.event_time,
        });
        self.positions.insert(barrier.epoch, splits);
        let state = Some(StateSnapshot { value, ..StateSnapshot::default() });
        let own =
            FrozenLink { id: self.id.clone(), sink: None, ahead: None, frozen: Frozen { state, ..Frozen::default() } };
        cut(&mut self.chain, &self.edges, &self.snapshotter, barrier, Waited::default(), vec![own])
    }

    fn completed(&mut self, epoch: Epoch) -> Result<(), SourceError> {
        let later = self.positions.split_off(&epoch.next());
        let completed = std::mem::replace(&mut self.positions, later).remove(&epoch);
        completed.map_or(Ok(()), |positions| self.reader.checkpoint_completed(epoch, &positions))
    }
}

/// Waits until it is time to see whether a split has become idle; for ever where none can be.
async fn idle(wait: Option<Duration>) {
    match wait {
        Some(wait) => env::sleep(wait).await,
        None => std::future::pending().await,
    }
}
