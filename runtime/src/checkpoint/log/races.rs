//! Processes that follow the rules of the log over facts that may be old, step by step in any order.

use std::collections::BTreeMap;

use proptest::{prelude::*, sample::select};

use super::*;
use crate::{
    checkpoint::{record::Trigger, store::ObjectPath},
    ids::Epoch,
};

/// Where a process is between two steps; whatever it knows may have changed by the next.
#[derive(Debug)]
enum Process {
    Idle,
    Decided(Claim),
    Owner { attempt: Attempt, next: Seq, epoch: Epoch },
    Out,
}

#[derive(Debug, Clone, Copy)]
enum Act {
    /// Goes on with its claim, or owns an epoch when the job is its own.
    Step,
    Commit,
    Release,
    /// Dies, and comes back knowing nothing.
    Crash,
}

#[derive(Default)]
struct World {
    log: BTreeMap<(Attempt, Seq), Record>,
    /// Every epoch that a process was told it owns, in order.
    owned: Vec<Epoch>,
    revisions: Vec<Revision>,
}

impl World {
    /// A conditional create.
    fn create(&mut self, attempt: Attempt, seq: Seq, body: Body) -> bool {
        let free = !self.log.contains_key(&(attempt, seq));
        if free {
            self.log.insert((attempt, seq), Record::new(body));
        }
        free
    }

    fn newest(&self) -> Option<AttemptLog> {
        let attempt = self.log.keys().map(|(attempt, _)| *attempt).max()?;
        let records: Vec<Record> =
            self.log.range((attempt, Seq(0))..(attempt.next(), Seq(0))).map(|(_, record)| record.clone()).collect();
        let next = Seq(records.len() as u64);
        let all = summarize(attempt, next, &records).unwrap();
        assert_eq!(short(attempt, next, &records), AttemptLog { committed: Committed::default(), ..all.clone() });
        Some(all)
    }

    fn step(&mut self, process: Process, me: &Claimant, act: Act, answer: OwnerAnswer) -> Process {
        match (process, act) {
            (Process::Out, _) => Process::Out,
            (_, Act::Crash) => Process::Idle,
            (Process::Idle, _) => Process::Decided(claim(self.newest().as_ref(), me, answer)),
            (Process::Decided(decision), _) => self.carry_out(decision, me),
            (Process::Owner { attempt, next, epoch }, _) => {
                let epoch = if matches!(act, Act::Step) { epoch.next() } else { epoch };
                let body = match act {
                    Act::Commit => Body::committed(&Committed::up_to(Some(epoch))),
                    Act::Release => Body::Released { finished: false },
                    _ => Body::CheckpointCompleted { checkpoint: checkpoint(epoch), trigger: Trigger::Interval },
                };
                if !self.create(attempt, next, body) {
                    return Process::Idle;
                }
                let newest = self.log.keys().map(|(attempt, _)| *attempt).max();
                assert_eq!(newest, Some(attempt), "an attempt writes after its successor has begun");
                match act {
                    Act::Release => Process::Idle,
                    Act::Commit => Process::Owner { attempt, next: next.next(), epoch },
                    _ => {
                        assert!(self.owned.last() < Some(&epoch), "epoch {epoch} is owned after {:?}", self.owned);
                        self.owned.push(epoch);
                        Process::Owner { attempt, next: next.next(), epoch }
                    }
                }
            }
        }
    }

    fn carry_out(&mut self, decision: Claim, me: &Claimant) -> Process {
        match decision {
            Claim::Seal { attempt, seal_at } => {
                self.create(attempt, seal_at, Body::Sealed { by: me.pod.clone() });
                Process::Idle
            }
            Claim::Start { next, restored_from, lineage } => {
                let started = Body::AttemptStarted {
                    attempt: next,
                    revision: me.revision,
                    spec_digest: String::new(),
                    lineage: lineage.unwrap_or_else(|| "first".into()),
                    parallelism: 1,
                    restored_from: restored_from.clone(),
                    owner: Owner { address: String::new(), pod: me.pod.clone(), job_uid: None },
                };
                if !self.create(next, Seq(0), started) {
                    return Process::Idle;
                }
                let epoch = restored_from.map(|checkpoint| checkpoint.epoch);
                assert_eq!(epoch, self.owned.last().copied(), "an attempt begins behind what is owned");
                assert!(self.revisions.last() <= Some(&me.revision), "an older revision took the job back");
                self.revisions.push(me.revision);
                Process::Owner { attempt: next, next: Seq(1), epoch: epoch.unwrap_or_default() }
            }
            Claim::Superseded { by } => {
                assert!(self.revisions.last() >= Some(&by) && by > me.revision);
                Process::Out
            }
            Claim::Ask { .. } | Claim::Owned { .. } | Claim::HandOver { .. } | Claim::Finished { .. } => Process::Idle,
        }
    }
}

/// What a reader finds that goes back to the newest checkpoint only. It may not see what was committed before it.
fn short(attempt: Attempt, next: Seq, records: &[Record]) -> AttemptLog {
    let newest = records.iter().rposition(|record| matches!(record.body, Body::CheckpointCompleted { .. }));
    let from = newest.unwrap_or(1).min(records.len());
    let read = [&records[..1], &records[from..]].concat();
    AttemptLog { committed: Committed::default(), ..summarize(attempt, next, &read).unwrap() }
}

fn checkpoint(epoch: Epoch) -> CheckpointRef {
    CheckpointRef { epoch, manifest: ObjectPath(format!("data/{epoch}/manifest.json")), sha256: epoch.to_string() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whoever asks, dies, or acts on what it read long ago, and whatever it believes of the owner.
    #[test]
    fn of_all_attempts_only_the_newest_owns_and_it_begins_where_the_last_ended(
        steps in prop::collection::vec(
            (
                0_usize..4,
                prop_oneof![8 => Just(Act::Step), 1 => Just(Act::Commit), 1 => Just(Act::Release), 1 => Just(Act::Crash)],
                select(&[OwnerAnswer::NotAsked, OwnerAnswer::Alive, OwnerAnswer::Gone, OwnerAnswer::Gone]),
            ),
            0..120,
        ),
        revisions in prop::array::uniform4(1_u64..3),
    ) {
        let mut world = World::default();
        let mut processes = [const { Process::Idle }; 4];
        for (index, act, answer) in steps {
            let me = Claimant { revision: Revision(revisions[index]), pod: index.to_string() };
            let process = std::mem::replace(&mut processes[index], Process::Idle);
            processes[index] = world.step(process, &me, act, answer);
        }
    }
}
