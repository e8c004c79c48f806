//! A job as one coordinator and several workers, each a process of its own.

use std::{path::Path, time::Duration};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tidegate::tls;

use crate::{
    counterparts::port::Port,
    job::{End, Job, Process},
};

/// How the processes of a job know each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// By certificates of an authority of the job's own.
    Tls,
    Plain,
}

/// The processes of a job; each is killed when dropped.
pub struct Crew {
    job: Job,
    slots: u32,
    /// Where workers join, also while no coordinator is there.
    port: Port,
    expected: usize,
    /// The certificates.
    tls: Option<TempDir>,
    coordinator: Process,
    workers: Vec<Process>,
}

impl Crew {
    /// Starts a coordinator and so many workers.
    pub fn start(job: Job, workers: usize, slots: u32) -> Self {
        Self::start_linked(Link::Tls, job, workers, slots)
    }

    /// As [`Crew::start`], linked in another way.
    pub fn start_linked(link: Link, job: Job, workers: usize, slots: u32) -> Self {
        Self::place_all(link, workers, job, workers, slots)
    }

    /// As [`Crew::start`], with a coordinator that waits for more of them.
    pub fn start_expecting(expected: usize, job: Job, workers: usize, slots: u32) -> Self {
        Self::place_all(Link::Tls, expected, job, workers, slots)
    }

    fn place_all(link: Link, expected: usize, mut job: Job, workers: usize, slots: u32) -> Self {
        let port = Port::reserve().expect("a port");
        let tls = (link == Link::Tls).then(certificates);
        if let Some(folder) = &tls {
            job = job.env("TIDEGATE_TLS", folder.path().display());
        }
        let coordinator = coordinator(&mut job, &port, expected);
        let workers = (0..workers).map(|index| worker(&mut job, &port, index, slots, &[])).collect();
        Self { job, slots, port, expected, tls, coordinator, workers }
    }

    pub fn coordinator(&mut self) -> &mut Process {
        &mut self.coordinator
    }

    /// Process ids of the workers.
    pub fn workers(&self) -> Vec<u32> {
        self.workers.iter().map(Process::id).collect()
    }

    pub fn worker(&mut self, index: usize) -> &mut Process {
        &mut self.workers[index]
    }

    /// One more worker, or, under an index that was given before, one in the place of that.
    pub fn start_worker(&mut self, index: usize) {
        self.place(index, &[]);
    }

    /// As [`Crew::start_worker`], one that is killed when it reaches `place` for the `nth` time.
    pub fn start_worker_with_fault(&mut self, index: usize, place: &str, nth: u64) {
        assert!(tidegate::fault::PLACES.contains(&place), "there is no fault point `{place}`");
        self.place(index, &[("TIDEGATE_FAULT", &format!("{place}@{nth}"))]);
    }

    /// As [`Crew::start_worker`], one in which the subtask of this name fails once there is a file at `signal`.
    pub fn start_worker_with_strike(&mut self, index: usize, subtask: &str, signal: &Path) {
        self.place(index, &[("TIDEGATE_STRIKE", &format!("{subtask}@{}", signal.display()))]);
    }

    /// As [`Crew::start_worker`], one whose sources read no more than about so many records between two checkpoints.
    pub fn start_paced_worker(&mut self, index: usize, records: u64) {
        self.place(index, &[("TIDEGATE_EPOCH_RECORDS", &records.to_string())]);
    }

    fn place(&mut self, index: usize, environment: &[(&str, &str)]) {
        let started = worker(&mut self.job, &self.port, index, self.slots, environment);
        match self.workers.get_mut(index) {
            Some(place) => *place = started,
            None => self.workers.push(started),
        }
    }

    /// Starts a worker that has been given another job.
    pub fn hire(&self, mut job: Job, name: &str) -> Process {
        let options = ["--coordinator".into(), self.port.address(), "--pod-name".into(), name.to_owned()];
        let tls = self.tls.as_ref().map(|folder| folder.path().to_string_lossy().into_owned());
        let environment: Vec<(&str, &str)> = tls.iter().map(|folder| ("TIDEGATE_TLS", folder.as_str())).collect();
        job.start_as("worker", &options, &environment)
    }

    /// Kills a worker and starts another in its place.
    pub fn replace_worker(&mut self, index: usize) {
        self.workers.remove(index).kill_9();
        let started = worker(&mut self.job, &self.port, index, self.slots, &[]);
        self.workers.insert(index, started);
    }

    /// Kills a worker, and leaves its place empty.
    pub fn dismiss_worker(&mut self, index: usize) {
        self.workers.remove(index).kill_9();
    }

    /// Kills the coordinator and starts another; the workers stay. Gives the end of one that had ended by itself.
    pub fn replace_coordinator(&mut self) -> Option<End> {
        if let Some(end) = self.coordinator.ended() {
            return Some(end);
        }
        self.coordinator.signal("KILL");
        assert!(matches!(self.coordinator.await_end(Duration::from_mins(1)), End::Killed | End::Finished));
        self.coordinator = coordinator(&mut self.job, &self.port, self.expected);
        None
    }

    /// Waits for the job's end.
    pub fn wait(mut self, patience: Duration) -> End {
        self.coordinator.await_end(patience)
    }
}

/// Of an authority of the job's own, as `--tls` wants them.
fn certificates() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).expect("a file");
    let (authority_key, key) = (KeyPair::generate().expect("a key"), KeyPair::generate().expect("a key"));
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    write("ca.crt", authority.self_signed(&authority_key).expect("a certificate").pem());
    let own = CertificateParams::new([tls::NAME.to_owned()]).expect("a name");
    let issuer = Issuer::from_params(&authority, &authority_key);
    write("tls.crt", own.signed_by(&key, &issuer).expect("a certificate").pem());
    write("tls.key", key.serialize_pem());
    folder
}

fn coordinator(job: &mut Job, port: &Port, expected: usize) -> Process {
    let options = ["--workers-listen".into(), port.address(), "--workers".into(), expected.to_string()];
    job.start_as("coordinator", &options, &[])
}

fn worker(job: &mut Job, port: &Port, index: usize, slots: u32, environment: &[(&str, &str)]) -> Process {
    let (name, slots) = (format!("worker-{index}"), slots.to_string());
    let options = ["--coordinator".into(), port.address(), "--slots".into(), slots, "--pod-name".into(), name];
    job.start_as("worker", &options, environment)
}
