//! One who wants the job, and what it can do next.

use super::{
    Act, Protocol,
    claiming::Claiming,
    entry::Name,
    owning::{Append, Owning},
    publisher::Lane,
    world::{At, World},
};

/// Where a coordinator is between two steps; whatever it knows may have changed by the next.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Coordinator {
    /// Knows nothing.
    Idle,
    Claiming(Claiming),
    Owning(Owning),
}

/// How it looks at the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    Well,
    /// It takes a healthy owner for gone.
    Mistaken,
}

/// What a coordinator that dies has on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sending {
    Nothing,
    /// The record that it claims with.
    Claim,
    Append(Append),
    /// Rows that it inherited.
    Rows,
}

impl Coordinator {
    /// Who it is, once it has written.
    pub fn name(&self) -> Option<Name> {
        match self {
            Self::Idle => None,
            Self::Claiming(claiming) => claiming.name(),
            Self::Owning(owning) => Some(owning.me),
        }
    }

    /// Whether it answers that it runs the attempt that began with this record.
    pub fn runs(&self, started: &str) -> bool {
        match self {
            Self::Idle => false,
            Self::Claiming(claiming) => claiming.announces(started),
            Self::Owning(owning) => owning.started == started,
        }
    }

    pub fn owning(&self) -> Option<&Owning> {
        if let Self::Owning(owning) = self { Some(owning) } else { None }
    }

    pub fn owning_mut(&mut self) -> Option<&mut Owning> {
        if let Self::Owning(owning) = self { Some(owning) } else { None }
    }
}

impl Protocol {
    pub fn coordinator_acts(&self, world: &World, coordinator: usize, acts: &mut Vec<Act>) {
        let sending = match &world.coordinators[coordinator] {
            Coordinator::Idle => {
                let looks = if world.faults > 0 { &[Look::Well, Look::Mistaken][..] } else { &[Look::Well] };
                let look = looks.iter().find(|look| self.decide(world, **look).is_some());
                acts.extend(look.map(|&look| Act::Look { coordinator, look }));
                Vec::new()
            }
            Coordinator::Claiming(claiming) => {
                let answers = world.answers(claiming.place);
                acts.extend(answers.iter().map(|&answer| Act::Claim { coordinator, answer }));
                if world.is_free(claiming.place) { vec![Sending::Claim] } else { Vec::new() }
            }
            Coordinator::Owning(owning) => self.owner_acts(world, coordinator, owning, acts),
        };
        if world.faults > 0 {
            acts.extend(sending.into_iter().map(|sending| Act::Crash { coordinator, sending }));
        }
    }

    /// Gives what it may have on its way if it dies now.
    fn owner_acts(&self, world: &World, coordinator: usize, owning: &Owning, acts: &mut Vec<Act>) -> Vec<Sending> {
        let mut sending = vec![Sending::Nothing];
        if !owning.is_sealed(world) {
            acts.extend(owning.can_cut(&self.bounds).then_some(Act::Cut { coordinator }));
            let gives_up = world.give_ups > 0 && owning.can_give_up(&self.bounds);
            acts.extend(gives_up.then_some(Act::GiveUp { coordinator }));
            for append in owning.appends() {
                let answers = world.answers(owning.place());
                acts.extend(answers.iter().map(|&answer| Act::Append { coordinator, append, answer }));
                sending.extend(world.is_free(owning.place()).then_some(Sending::Append(append)));
            }
        } else if owning.is_settled() {
            // Its next record will be refused, be it of an epoch behind the last. To die before comes to the same.
            acts.push(Act::FindSealed { coordinator });
            sending.clear();
        }
        acts.extend(owning.misses_worker(world).then_some(Act::MissWorker { coordinator }));
        if let Some(lane) = &owning.settling {
            Self::publish_acts(world, At::Coordinator(coordinator), lane, acts);
            sending.extend(lane.commit().map(|_| Sending::Rows));
        }
        sending
    }

    /// It dies, and is there again, knowing nothing.
    pub fn crash(world: &mut World, coordinator: usize, sending: Sending) {
        world.faults -= 1;
        let before = std::mem::replace(&mut world.coordinators[coordinator], Coordinator::Idle);
        match (sending, before) {
            (Sending::Claim, Coordinator::Claiming(claiming)) => world.send(claiming.place, claiming.entry(world)),
            (Sending::Append(append), Coordinator::Owning(owning)) => world.send(owning.place(), owning.entry(append)),
            (Sending::Rows, Coordinator::Owning(owning)) => {
                world.late_commits.extend(owning.settling.as_ref().and_then(Lane::commit).cloned());
            }
            _ => {}
        }
    }
}
