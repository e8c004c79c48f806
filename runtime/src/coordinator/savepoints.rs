//! Savepoints and rescales: what the job is asked for while it runs, beside its own checkpoints.
//!
//! Each is looked at first, off the loop, and answered: the name is free, the sinks can take so many writers. Only then
//! the machine hears of it. A savepoint is a checkpoint whose files are held until its epoch is published and they are
//! copied; a rescale is a last checkpoint, and a claim of the same job with another number of subtasks.

use std::{sync::Arc, time::Duration};

use tidegate_crds::{
    RestoreMode,
    api::{Phase, SavepointPhase, SavepointStatus, StopPurpose, StopRequest},
};
use tokio::sync::oneshot::Sender;

use super::{
    api::{Refused, Request},
    attempt::Current,
    cancelled::Cancelled,
    driver::{Loop, Message},
    event::{Event, Last, Stop},
    machine::STOP_GRACE_MS,
};
use crate::{
    checkpoint::{
        claim, collect,
        copy::Copied,
        origin::Origin,
        savepoint::{self, SavepointError},
        store::Store,
    },
    env, error_chain,
    ids::Epoch,
};

/// What was looked at, and can be begun.
pub(super) enum Wish {
    Savepoint { name: String, then: Option<StopRequest>, answer: Sender<Result<SavepointStatus, Refused>> },
    Rescale { parallelism: u32, answer: Sender<Result<(), Refused>> },
}

impl Loop {
    /// What it has to be told, if that needs no look first.
    pub(super) fn asked(&mut self, request: Request) -> Option<Event> {
        match request {
            Request::Stop(request) => return Some(self.stop(&request)),
            Request::Drain { request, answer } => {
                let can_drain = self.can_drain();
                let event = can_drain.is_ok().then(|| self.stop(&request));
                reply(answer, can_drain);
                return event;
            }
            Request::Checkpoint => return Some(Event::CheckpointAsked),
            Request::Savepoint { name, then, answer } => match self.can_save() {
                Ok(()) => self.look_at_name(name, then, answer),
                Err(refused) => reply(answer, Err(refused)),
            },
            Request::DeleteSavepoint { name, answer } => match self.can_delete(&name) {
                Ok(()) => self.delete_savepoint(name, answer),
                Err(refused) => reply(answer, Err(refused)),
            },
            Request::Rescale { parallelism, answer } => match self.can_rescale(parallelism) {
                Ok(()) => self.look_at_sinks(parallelism, answer),
                Err(refused) => reply(answer, Err(refused)),
            },
        }
        None
    }

    pub(super) fn stop(&mut self, request: &StopRequest) -> Event {
        if request.purpose == StopPurpose::Cancel && self.cancelled == Cancelled::No {
            self.cancelled = Cancelled::Yes;
        }
        self.wanted.ask(request);
        let last = Last { savepoint: request.savepoint.is_some(), drain: request.drain };
        Event::Stop(if request.final_checkpoint { Stop::Checkpoint(last) } else { Stop::AtOnce })
    }

    fn can_drain(&self) -> Result<(), Refused> {
        if self.machine.can_drain() {
            return Ok(());
        }
        let phase = self.machine.phase();
        Err(Refused::conflict(format!(
            "the job is {phase:?}; it can drain when it runs, and stop without that at any time"
        )))
    }

    fn can_save(&self) -> Result<(), Refused> {
        if self.machine.phase() != Phase::Running {
            return Err(Refused::only_while_running(self.machine.phase()));
        }
        match self.job.shared.savepoint_in_progress() {
            Some(name) => {
                Err(Refused::conflict(format!("the savepoint `{name}` is in progress; one is taken at a time")))
            }
            None => Ok(()),
        }
    }

    fn can_delete(&self, name: &str) -> Result<(), Refused> {
        savepoint::check_name(name).map_err(|error| Refused::invalid(error.to_string()))?;
        self.can_save()?;
        if self.job.shared.savepoint_deletion_begins(name) {
            return Ok(());
        }
        Err(Refused::conflict(format!("the savepoint `{name}` is being deleted")))
    }

    fn can_rescale(&self, parallelism: u32) -> Result<(), Refused> {
        let most = self.job.plan.spec.max_parallelism;
        if parallelism == 0 || parallelism > most {
            return Err(Refused::invalid(format!(
                "found parallelism {parallelism}; accepted is 1 to {most}, maxParallelism"
            )));
        }
        let slots: u32 = self.job.workers.slots().iter().map(|(_, slots)| slots).sum();
        if slots < parallelism {
            return Err(Refused::conflict(format!("{parallelism} subtasks need a slot each, and there are {slots}")));
        }
        if self.machine.phase() != Phase::Running {
            return Err(Refused::only_while_running(self.machine.phase()));
        }
        Ok(())
    }

    fn look_at_name(
        &mut self,
        name: String,
        then: Option<StopRequest>,
        answer: Sender<Result<SavepointStatus, Refused>>,
    ) {
        let store = self.job.store.clone();
        self.spawn(async move {
            let found = savepoint::check_free(store.as_ref(), &name).await.map_err(|error| match &error {
                SavepointError::Name { .. } => Refused::invalid(error.to_string()),
                _ => Refused::conflict(error_chain(&error)),
            });
            Message::LookedAt(found, Wish::Savepoint { name, then, answer })
        });
    }

    fn look_at_sinks(&mut self, parallelism: u32, answer: Sender<Result<(), Refused>>) {
        let plan = self.job.plan.clone();
        self.spawn(async move {
            // The job runs: whatever a sink needs to tell a repeat is there, or is lost.
            let awaited = plan.sinks.keys().cloned().collect();
            let fit = plan.preflight(parallelism, &awaited, false).await;
            let found = fit.map_err(|error| Refused::conflict(error_chain(&error)));
            Message::LookedAt(found, Wish::Rescale { parallelism, answer })
        });
    }

    /// Begins what was looked at.
    pub(super) fn looked_at(&mut self, found: Result<(), Refused>, wish: Wish) -> Option<Event> {
        match wish {
            Wish::Savepoint { name, then, answer } => {
                // Another may have been begun meanwhile.
                if let Err(refused) = found.and_then(|()| self.can_save()) {
                    reply(answer, Err(refused));
                    return None;
                }
                tracing::info!(name, "taking a savepoint");
                let status = SavepointStatus {
                    path: format!("{}/{}", self.job.store.location(), savepoint::folder(&name).trim_end_matches('/')),
                    name,
                    phase: SavepointPhase::InProgress,
                    epoch: None,
                    bytes: None,
                    failure: None,
                };
                self.job.shared.savepoint_asked(status.clone());
                reply(answer, Ok(status));
                Some(then.map_or(Event::SavepointAsked, |stop| self.stop(&stop)))
            }
            Wish::Rescale { parallelism, answer } => {
                if let Err(refused) = found.and_then(|()| self.can_rescale(parallelism)) {
                    reply(answer, Err(refused));
                    return None;
                }
                reply(answer, Ok(()));
                // As the job is, or is about to be.
                let asked = self.job.identity.rescaled;
                if asked.or(self.current.as_ref().map(|current| current.parallelism)) == Some(parallelism) {
                    return None;
                }
                tracing::info!(parallelism, "rescaling");
                self.job.identity.rescaled = Some(parallelism);
                Some(Event::RescaleAsked)
            }
        }
    }

    /// The savepoint's checkpoint is under way: its files stay.
    pub(super) fn savepoint_begun(&mut self, epoch: Epoch) {
        if let Some(current) = &mut self.current {
            current.save(epoch);
        }
        self.job.shared.savepoint_changed(|status| status.epoch = Some(epoch.0));
    }

    /// The savepoint's checkpoint is published: copies it.
    pub(super) fn save(&mut self) {
        let (store, name) = (self.job.store.clone(), self.job.shared.savepoint_in_progress());
        let (Some(manifest), Some(name)) = (self.current.as_ref().and_then(Current::saving), name) else {
            return;
        };
        self.spawn(async move {
            let written = savepoint::write(&store, &name, &manifest).await;
            if written.is_err()
                && let Err(error) = savepoint::give_up(store.as_ref(), &name).await
            {
                tracing::warn!(name, %error, "half a savepoint is left; the next start of the job deletes it");
            }
            Message::Saved(written)
        });
    }

    pub(super) fn saved(&mut self, written: Result<Copied, SavepointError>) -> Event {
        match written {
            Ok(Copied { files, bytes }) => {
                tracing::info!(files, bytes, "the savepoint is complete");
                self.job.shared.savepoint_changed(|status| {
                    status.phase = SavepointPhase::Completed;
                    status.bytes = Some(bytes);
                });
                self.let_checkpoint_go();
            }
            Err(error) => self.savepoint_failed(error_chain(&error)),
        }
        Event::SavepointEnded
    }

    pub(super) fn savepoint_failed(&mut self, cause: String) {
        tracing::warn!(cause, "the savepoint has failed");
        if self.cancelled == Cancelled::Yes {
            self.cancelled = Cancelled::Unsaved;
        }
        self.job.shared.savepoint_changed(|status| {
            status.phase = SavepointPhase::Failed;
            status.failure = Some(cause);
        });
        self.let_checkpoint_go();
    }

    fn let_checkpoint_go(&mut self) {
        if let Some(current) = &mut self.current {
            self.job.io.spawn(collect::delete(self.job.store.clone(), current.saved()));
        }
    }

    fn delete_savepoint(&self, name: String, answer: Sender<Result<(), Refused>>) {
        let (store, shared): (Arc<dyn Store>, _) = (self.job.store.clone(), self.job.shared.clone());
        self.job.io.spawn(async move {
            let deleted = savepoint::delete(store.as_ref(), &name).await;
            shared.savepoint_deletion_ended(&name, deleted.is_ok());
            let deleted = match deleted {
                Ok(true) => Ok(()),
                Ok(false) => Err(Refused::not_found(format!("there is no savepoint `{name}`"))),
                Err(error) => Err(Refused::conflict(error_chain(&error))),
            };
            reply(answer, deleted);
        });
    }

    /// The job has a checkpoint of its own: what it claimed to begin with is not needed any more.
    pub(super) fn delete_claimed_origin(&mut self) {
        let claims = self.job.plan.spec.restore_from.as_ref().filter(|from| from.mode == RestoreMode::Claim);
        let (Some(from), Some(current)) = (claims, &mut self.current) else { return };
        if !current.takes_claim() {
            return;
        }
        let (path, like) = (from.path.clone(), self.job.plan.spec.checkpoint.storage.clone());
        let store = self.job.store.clone();
        // An attempt that ended too early has left it to the next.
        let deleting = self.job.io.spawn(async move {
            let deleted = match claim::began_with(store.as_ref()).await {
                Ok(Some(copy)) => Origin::delete_claimed(&path, &like, &copy.manifest).await,
                Ok(None) => Ok(false),
                Err(error) => Err(error.into()),
            };
            match deleted {
                Ok(true) => tracing::info!(path, "the savepoint that the job began with is deleted"),
                Ok(false) => {}
                Err(error) => {
                    let error = error_chain(&error);
                    tracing::warn!(path, error, "the savepoint that the job began with is not deleted yet");
                }
            }
        });
        self.deletes_origin = Some(deleting);
    }

    /// Before the process ends, what it deletes is to be gone.
    pub(super) async fn finish_deleting_origin(&mut self) {
        let Some(deleting) = self.deletes_origin.take() else { return };
        if env::within(Duration::from_millis(STOP_GRACE_MS), deleting).await.is_none() {
            tracing::warn!("the savepoint that the job began with is not deleted yet; the next start goes on with it");
        }
    }
}

/// Who asked may have gone.
fn reply<T>(answer: Sender<Result<T, Refused>>, said: Result<T, Refused>) {
    let _gone = answer.send(said);
}
