//! A version that is of another job: it begins with a copy of what the job before has kept, which is given up then.
//!
//! The old job runs on until the new one reads, unless it has stopped or was killed before. What it puts out after the
//! epoch that was copied is nobody's: the new job reads the same records, and puts the same out itself.

use tidegate::{checkpoint::savepoint, coordinator::api::Request};
use tidegate_crds::{
    RestoreFrom, RestoreMode,
    api::{StopPurpose, StopRequest},
};
use tokio::sync::oneshot;

use super::{
    act::{By, Original},
    history::{HOSTS, History, Pending, SECOND, Step, lock},
    process::root_of,
};
use crate::sim::{Host, standing};

/// What names of savepoints begin with.
const SAVEPOINT: &str = "savepoint-for-";

/// What those begin with that are for a version.
fn name_of(stage: usize) -> String {
    format!("{SAVEPOINT}{stage}-")
}

impl Pending {
    /// Of a job that was killed, or could not publish before it ended, the newest checkpoints may be not yet published;
    /// then nobody may begin with them.
    pub fn may_come_too_early(&self, message: &str) -> bool {
        let is_newest = matches!(self.by, By::Copy(Original::OfRunning | Original::OfStopped | Original::OfKilled));
        is_newest && message.contains("are not known to be published")
    }
}

impl History {
    /// Whether the job that runs has what another one is to begin with, or can be asked for it: a checkpoint that the
    /// version that runs has taken, and that is published.
    pub fn has(&self, original: Original) -> bool {
        if matches!(original, Original::Savepoint { .. }) {
            return true;
        }
        let begun = lock(&self.begun);
        let began_with = begun.iter().find(|begun| begun.stage == self.current).map_or(0, |begun| begun.epoch);
        let root = root_of(self.stages[self.current].job);
        standing(&self.world.lock(), &root).is_ok_and(|standing| standing.is_open && standing.committed.0 > began_with)
    }

    /// Has `stage` be the first version of another job.
    pub fn copy(&mut self, stage: usize, original: Original, draw: u64) -> Result<(), String> {
        self.stages[stage].job = stage;
        self.stages[stage].restore_from = None;
        let now = self.now();
        match original {
            Original::Savepoint { .. } => {
                self.step(now, Step::AskForSavepoint);
                self.step(now, Step::Look);
            }
            Original::OfRunning => self.begin_with_newest(),
            Original::OfStopped | Original::OfKilled if self.host().is_none() => self.begin_with_newest(),
            Original::OfStopped => {
                self.ask(Request::Stop(StopRequest::new(StopPurpose::Suspend, true)), "its end")?;
            }
            Original::OfKilled => self.kill(draw % 40, 0),
        }
        Ok(())
    }

    /// Whether the old job has to run since it has not taken the savepoint yet that the new one is to begin with.
    pub fn awaits_savepoint(&self) -> bool {
        match self.pending {
            Some(Pending { stage, by: By::Copy(Original::Savepoint { .. }) }) => {
                self.stages[stage].restore_from.is_none()
            }
            _ => false,
        }
    }

    /// Asks for it, and again when nothing came of that.
    pub fn ask_for_savepoint(&mut self) -> Result<(), String> {
        let Some(Pending { stage, by: By::Copy(Original::Savepoint { ends, .. }) }) = self.pending else {
            return Ok(());
        };
        self.asked += 1;
        let name = format!("{}{}", name_of(stage), self.asked);
        let then =
            ends.then(|| StopRequest { savepoint: Some(name.clone()), ..StopRequest::new(StopPurpose::Suspend, true) });
        let later = self.now() + SECOND;
        self.step(later, Step::AskForSavepoint);
        self.ask(Request::Savepoint { name, then, answer: oneshot::channel().0 }, "a savepoint")
    }

    /// Starts the new job when the savepoint is complete.
    pub fn look(&mut self) {
        let Some(Pending { stage, by: By::Copy(Original::Savepoint { claims, .. }) }) = self.pending else { return };
        if !self.awaits_savepoint() {
            return;
        }
        let folder = savepoint::folder(&name_of(stage));
        let wanted = format!("{}{}", root_of(self.stages[self.current].job), folder.trim_end_matches('/'));
        let complete = {
            let world = self.world.lock();
            world.savepoints.iter().map(|(address, _)| address).find(|address| address.contains(&wanted)).cloned()
        };
        if let Some(path) = complete {
            self.begin_with(path, if claims { RestoreMode::Claim } else { RestoreMode::NoClaim });
        }
    }

    /// Starts the new job, with the newest checkpoint of the old one.
    pub fn begin_with_newest(&mut self) {
        let path = format!("sim://{}", root_of(self.stages[self.current].job).trim_end_matches('/'));
        self.begin_with(path, RestoreMode::NoClaim);
    }

    fn begin_with(&mut self, path: String, mode: RestoreMode) {
        let Some(Pending { stage, .. }) = self.pending else { return };
        self.tell(&format!("version {stage} begins with {path} ({mode:?})"));
        self.stages[stage].restore_from = Some(RestoreFrom { path, mode });
        let other = if self.host() == Some(HOSTS[0]) { HOSTS[1] } else { HOSTS[0] };
        let now = self.now();
        self.step(now + 1000, Step::Start(other, stage));
    }

    /// Whether this version is the first of a job that has begun with a copy.
    pub fn is_copy(&self, stage: usize) -> bool {
        stage > 0 && self.stages[stage].job == stage
    }

    /// Where the new job is that does not read yet.
    pub fn copying(&self) -> Option<Host> {
        let Some(Pending { stage, by: By::Copy(_) }) = self.pending else { return None };
        self.processes.iter().find(|(_, (running, _))| *running == stage).map(|(host, _)| *host)
    }

    /// The new job reads: the old one has no part in what comes.
    pub fn give_up_others(&mut self) {
        let job = self.stages[self.current].job;
        let others = self.processes.iter().filter(|(_, (stage, _))| self.stages[*stage].job != job);
        let hosts: Vec<Host> = others.map(|(host, _)| *host).collect();
        for host in hosts {
            self.remove(host);
            self.tell(&format!("{host} is given up"));
        }
    }

    /// A savepoint is its user's: only who claims it deletes it.
    pub fn look_at_savepoints(&self) -> Result<(), String> {
        let world = self.world.lock();
        let kept = self.stages.iter().filter_map(|stage| stage.restore_from.as_ref());
        let kept = kept.filter(|from| from.mode == RestoreMode::NoClaim && from.path.contains(SAVEPOINT));
        for RestoreFrom { path, .. } in kept {
            let file = format!("{}/{}", path.trim_start_matches("sim://"), savepoint::FILE);
            if world.objects.get(&file).is_none() {
                return Err(format!("{path} is gone, and nobody has claimed it"));
            }
        }
        Ok(())
    }
}
