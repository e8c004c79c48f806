//! The machine in a world that answers honestly, but in any order, late, twice or never.

use proptest::{prelude::*, sample::Index};
use tidegate_crds::{HumanDuration, NoRestart, StorageSpec};

use self::world::{Saving, Stage, World};
use super::{super::event as stop, *};
use crate::{
    ids::{RegionId, SubtaskIndex},
    worker::{
        protocol::TaskId,
        regions::Regions,
        topology::{TaskShape, Topology},
    },
};

mod regions;
mod world;

const SUBTASKS: usize = 3;
const SOURCES: usize = 2;
const RESTART_PAUSE_MS: u64 = 1_000;
const ALIGNMENT_MS: u64 = 400;
const FAR: u64 = 1_000_000_000;

/// With several checkpoints at a time there is no pause between them, and no barrier overtakes.
fn spec(max_pending_epochs: u32, max_concurrent: u32) -> CheckpointSpec {
    let millis = |millis| HumanDuration(std::time::Duration::from_millis(millis));
    CheckpointSpec {
        mode: tidegate_crds::CheckpointMode::ExactlyOnce,
        interval: millis(1_000),
        timeout: millis(5_000),
        alignment_timeout: (max_concurrent == 1).then(|| millis(ALIGNMENT_MS)),
        min_pause: millis(if max_concurrent == 1 { 300 } else { 0 }),
        max_concurrent,
        tolerable_failures: 1,
        retained: 1,
        max_pending_epochs,
        on_cancellation: tidegate_crds::OnCancellation::Retain,
        storage: StorageSpec::default(),
    }
}

fn task(index: usize) -> TaskId {
    TaskId { task: 0, subtask: SubtaskIndex(index as u32) }
}

/// One task without an exchange: each of its subtasks is a region, with the same number.
fn regions() -> Regions {
    let task = TaskShape { nodes: Vec::new(), edges: Vec::new(), inputs: Vec::new() };
    Regions::of(&Topology { tasks: vec![task] }, SUBTASKS as u32)
}

fn failure(message: &str) -> Failure {
    Failure { reason: FailureReason::TaskFailed, message: message.into() }
}

/// Something that happens to a job.
#[derive(Debug, Clone)]
enum Happening {
    /// One of the answers under way comes.
    Answer(Index),
    /// An answer comes that no longer counts: a repeat, or one about an epoch or an attempt that is over.
    Stray(Index),
    /// A share of the checkpoint could not be uploaded, or its manifest not written.
    Decline(Index),
    /// Milliseconds pass.
    Wait(u64),
    Exhaust(usize),
    /// Somebody wants a checkpoint.
    Ask,
    /// Somebody wants a savepoint, if none is in progress.
    Save,
    /// Somebody wants another parallelism.
    Rescale,
    Fail,
    /// Some subtasks fail, or those of a lost worker; the bits say which.
    FailSome(u32),
    Stop(stop::Last),
    /// A stop without a last checkpoint.
    StopAtOnce,
}

/// A stop after a last checkpoint.
fn last() -> impl Strategy<Value = stop::Last> {
    any::<(bool, bool)>().prop_map(|(savepoint, drain)| stop::Last { savepoint, drain })
}

fn happening() -> impl Strategy<Value = Happening> {
    use Happening::{Answer, Ask, Decline, Exhaust, Fail, FailSome, Rescale, Save, Stop, StopAtOnce, Stray, Wait};
    prop_oneof![
        40 => any::<Index>().prop_map(Answer),
        8 => any::<Index>().prop_map(Stray),
        12 => (0_u64..2_500).prop_map(Wait),
        2 => any::<Index>().prop_map(Decline),
        1 => (0..SOURCES).prop_map(Exhaust),
        1 => Just(Ask),
        2 => Just(Save),
        1 => Just(Rescale),
        1 => Just(Fail),
        3 => (1..1_u32 << SUBTASKS).prop_map(FailSome),
        1 => last().prop_map(Stop),
        1 => Just(StopAtOnce),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_rules_are_kept_and_a_stop_ends(
        happenings in prop::collection::vec(happening(), 0..150),
        max_pending_epochs in 1_u32..4,
        max_concurrent in 1_u32..4,
        sinks_answer in any::<bool>(),
        how in prop_oneof![last().prop_map(super::Stop::Checkpoint), Just(super::Stop::AtOnce)],
    ) {
        let mut world = World::with(spec(max_pending_epochs, max_concurrent));
        world.tick();
        for happening in &happenings {
            world.happens(happening);
        }
        world.stops_as(sinks_answer, how);
    }
}

/// What a machine in its first checkpoint does at each time.
fn overtakes(alignment_ms: Option<u64>, trigger: Event, times: &[u64]) -> Vec<u64> {
    let millis = |millis| HumanDuration(std::time::Duration::from_millis(millis));
    let spec = CheckpointSpec { alignment_timeout: alignment_ms.map(millis), ..spec(3, 1) };
    let mut machine = Machine::new(spec, &RestartSpec::default());
    let start = [
        Event::Tick,
        Event::Claimed { attempt: Attempt(1), restored: None },
        Event::Settled,
        Event::Started { regions: regions(), sources: SOURCES },
    ];
    start.into_iter().for_each(|event| _ = machine.step(event, 0, 0.0));
    let mut overtaken = Vec::new();
    for (at, event) in std::iter::once((0, trigger)).chain(times.iter().map(|at| (*at, Event::Tick))) {
        let effects = machine.step(event, at, 0.0);
        let overtakes = |effect: &&Effect| **effect == Effect::Overtake { epoch: Epoch(1) };
        overtaken.extend(effects.iter().filter(overtakes).map(|_| at));
    }
    overtaken
}

#[test]
fn a_checkpoint_whose_barriers_have_not_aligned_in_time_is_told_to_overtake_once() {
    let times = [100, 399, 400, 401, 900];
    assert_eq!(overtakes(Some(400), Event::CheckpointAsked, &times), [400]);
    assert_eq!(overtakes(Some(0), Event::CheckpointAsked, &times), [0]);
    assert_eq!(overtakes(None, Event::CheckpointAsked, &times), [0; 0]);
}

#[test]
fn savepoints_and_last_checkpoints_always_align() {
    let stop = Event::Stop(Stop::Checkpoint(stop::Last::default()));
    for trigger in [Event::SavepointAsked, Event::RescaleAsked, stop] {
        assert_eq!(overtakes(Some(0), trigger, &[1, 1000]), [0; 0]);
    }
}

#[test]
fn a_checkpoint_that_is_asked_for_begins_at_once_or_right_after_the_one_under_way() {
    let mut world = World::new(3);
    world.tick();
    world.answer_all(true);
    world.happens(&Happening::Ask);
    assert_eq!(world.triggered, Some(Epoch(1)));
    world.happens(&Happening::Ask);
    world.happens(&Happening::Ask);
    assert_eq!(world.triggered, Some(Epoch(1)), "one at a time");
    world.answer_all(true);
    world.tick();
    assert_eq!(world.triggered, Some(Epoch(2)));
    world.answer_all(true);
    world.tick();
    assert_eq!(world.triggered, Some(Epoch(2)), "once for all who asked meanwhile");
    world.stops(true, true);
}

#[test]
fn a_stop_waits_only_so_long_for_the_sinks_of_a_job_that_has_read_everything() {
    let mut world = World::new(3);
    world.tick();
    world.answer_all(false);
    (0..SOURCES).for_each(|source| world.happens(&Happening::Exhaust(source)));
    world.answer_all(false);
    world.now += 10 * STOP_GRACE_MS;
    world.tick();
    assert_eq!(world.stage, Stage::Running, "without a stop it waits as long as it takes");
    world.stops(false, true);
    assert_eq!((world.released, world.machine.pending()), (Some(false), 1));
}

#[test]
fn a_stop_at_once_takes_no_checkpoint_and_cuts_a_stop_short_that_takes_its_time() {
    for asked_before in [false, true] {
        let mut world = World::new(3);
        world.tick();
        world.answer_all(true);
        if asked_before {
            world.stop(true);
            assert_eq!((world.stage, world.machine.phase()), (Stage::Running, Phase::Stopping));
        }
        world.stop(false);
        world.answer_all(true);
        assert_eq!((world.stage, world.released), (Stage::Done, Some(false)));
        assert_eq!((world.machine.phase(), world.triggered.is_some()), (Phase::Stopped, asked_before));
    }
}

#[test]
fn a_job_that_gives_up_says_so_and_names_the_first_cause() {
    let mut machine = Machine::new(spec(3, 1), &RestartSpec { none: Some(NoRestart {}), ..RestartSpec::default() });
    machine.step(Event::Tick, 0, 0.0);
    let first = Failure { reason: FailureReason::SinkUnfit, message: "no table".into() };
    machine.step(Event::Failed(first.clone()), 0, 0.0);
    assert_eq!(machine.failure, Some(first));
    machine.step(Event::Failed(failure("and what followed")), 0, 0.0);
    machine.step(Event::Aborted, 0, 0.0);
    let told = machine.failure.clone().unwrap();
    assert_eq!((machine.phase(), told.reason), (Phase::Failed, FailureReason::RestartsExhausted));
    assert!(told.message.ends_with("given up: no table"), "{}", told.message);
}

#[test]
fn a_failure_that_comes_again_and_again_at_the_same_place_ends_a_job_whose_strategy_would_go_on() {
    let mut machine = Machine::new(spec(3, 1), &RestartSpec::default());
    let mut now = 0;
    let ended = (1..100_u32).find(|_| {
        machine.step(Event::Tick, now, 0.0);
        let attempt = Attempt(1);
        for event in [Event::Claimed { attempt, restored: None }, Event::Failed(failure("bad record")), Event::Aborted]
        {
            machine.step(event, now, 0.0);
        }
        now = machine.wake_at().unwrap_or(now);
        machine.phase() == Phase::Failed
    });
    assert_eq!((ended, machine.failures_in_row()), (Some(10), 10));
    let told = machine.failure.clone().unwrap();
    assert_eq!(told.reason, FailureReason::RestartsExhausted);
    assert!(told.message.contains("failed 10 times in a row at the same place"), "{}", told.message);
    assert!(told.message.ends_with("bad record"), "{}", told.message);
}

#[test]
fn a_savepoint_is_copied_when_its_epoch_is_published_and_not_before() {
    let mut world = World::new(3);
    world.tick();
    world.answer_all(true);
    world.happens(&Happening::Save);
    assert_eq!(world.saving, Some(Saving::Begun(Epoch(1))));
    world.answer_all(false);
    assert_eq!(world.saving, Some(Saving::Begun(Epoch(1))), "no sink has answered");
    world.answer_all(true);
    assert_eq!((world.saving, world.stage), (None, Stage::Running), "it is complete, and the job goes on");
    world.stops(true, true);
}

#[test]
fn a_stop_with_a_savepoint_waits_for_the_sinks_until_somebody_is_in_a_hurry() {
    let mut world = World::new(3);
    world.tick();
    world.answer_all(true);
    world.stop_after(stop::Last { savepoint: true, drain: true });
    world.answer_all(false);
    world.now += 10 * STOP_GRACE_MS;
    world.tick();
    assert_eq!((world.stage, world.saving), (Stage::Running, Some(Saving::Begun(Epoch(1)))));
    world.stops(false, true);
    assert_eq!(world.released, Some(false));
}

#[test]
fn a_rescale_goes_on_at_once_and_counts_as_no_restart() {
    let mut world = World::new(3);
    world.tick();
    world.answer_all(true);
    world.happens(&Happening::Rescale);
    world.answer_all(true);
    assert_eq!((world.attempts, world.stage, world.machine.restarts), (2, Stage::Running, 0));
    assert_eq!(world.restored, Some(Epoch(1)));
    world.stops(true, true);
}

#[test]
fn what_a_stop_asks_for_during_the_checkpoint_of_a_rescale_the_next_attempt_does() {
    for (savepoint, drain) in [(true, false), (false, true), (true, true)] {
        for sinks_answer in [true, false] {
            let mut world = World::new(3);
            world.tick();
            world.answer_all(true);
            world.happens(&Happening::Rescale);
            assert_eq!(world.triggered, Some(Epoch(1)));
            world.stop_after(stop::Last { savepoint, drain });
            assert_eq!(world.stage, Stage::Running);
            world.stops(sinks_answer, true);
            assert_eq!((world.attempts, world.released), (2, Some(false)));
            assert_eq!(world.saved, u64::from(savepoint && sinks_answer));
            assert_eq!(world.machine.pending() == 0, sinks_answer);
        }
    }
}

#[test]
fn a_stop_that_drains_between_the_attempts_of_a_rescale_is_done_by_the_next() {
    for answers in 0..10 {
        let mut world = World::new(3);
        world.tick();
        world.answer_all(true);
        world.happens(&Happening::Rescale);
        world.answer_some(answers);
        for _ in 0..2 {
            world.stop_after(stop::Last { savepoint: false, drain: true });
        }
        world.answer_all(true);
        world.stops(true, true);
        assert_eq!(
            (world.attempts, world.released, world.last_trigger),
            (2, Some(false), Some(Trigger::Drain)),
            "{answers}"
        );
    }
}

#[test]
fn a_savepoint_that_is_asked_for_during_the_checkpoint_of_a_rescale_is_taken_by_the_next_attempt() {
    let mut world = World::new(3);
    world.tick();
    world.answer_all(true);
    world.happens(&Happening::Rescale);
    world.happens(&Happening::Save);
    assert_eq!(world.saving, Some(Saving::Asked));
    world.answer_all(true);
    world.tick();
    world.answer_all(true);
    assert_eq!((world.attempts, world.saved, world.stage), (2, 1, Stage::Running));
    world.stops(true, true);
}

/// A world whose job runs with so many checkpoints under way, each an interval after the one before.
fn with_under_way(count: u32) -> World {
    let mut world = World::with(spec(10, 3));
    world.tick();
    world.answer_all(true);
    for _ in 0..count {
        world.now += 1_000;
        world.tick();
    }
    assert_eq!(world.machine.under_way(), u64::from(count));
    world
}

/// Everybody acknowledges the checkpoint.
fn acknowledge(world: &mut World, epoch: u64) -> Vec<Effect> {
    let acked = |index| Event::Acked { epoch: Epoch(epoch), task: task(index) };
    (0..SUBTASKS).flat_map(|index| world.machine.step(acked(index), world.now, 0.0)).collect()
}

#[test]
fn checkpoints_begin_an_interval_after_each_other_up_to_so_many() {
    let mut world = with_under_way(3);
    assert_eq!((world.triggered, world.overlaps), (Some(Epoch(3)), 2));
    world.now += 1_500;
    world.tick();
    assert_eq!(world.triggered, Some(Epoch(3)), "a fourth waits");
    world.answer_all(true);
    world.tick();
    assert_eq!(world.triggered, Some(Epoch(4)), "which is late by now");
    world.stops(true, true);
}

#[test]
fn one_that_everybody_has_acknowledged_waits_until_the_one_before_is_decided() {
    let mut world = with_under_way(3);
    assert_eq!(acknowledge(&mut world, 2), []);
    // The wait for its turn is not its own.
    world.now += 5_000 - 3_000 + 1_000;
    let given_up = world.machine.step(Event::Tick, world.now, 0.0);
    assert!(
        matches!(given_up[..], [Effect::Discard { epoch: Epoch(1), .. }, Effect::Write { epoch: Epoch(2) }]),
        "{given_up:?}"
    );
    assert_eq!(acknowledge(&mut world, 3), []);
    let owns = world.machine.step(Event::Written { epoch: Epoch(2) }, world.now, 0.0);
    assert_eq!(owns, [Effect::Own { epoch: Epoch(2), trigger: Trigger::Interval }]);
    let completed = world.machine.step(Event::Owned { epoch: Epoch(2) }, world.now, 0.0);
    assert!(matches!(completed[..], [Effect::Completed { .. }, Effect::Write { epoch: Epoch(3) }]), "{completed:?}");
}

#[test]
fn a_stop_lets_those_under_way_come_to_their_end_and_nothing_begins_behind_it() {
    let mut world = with_under_way(2);
    world.stop(true);
    assert_eq!((world.triggered, world.machine.phase()), (Some(Epoch(2)), Phase::Stopping));
    world.stops(true, true);
    assert_eq!(world.triggered, Some(Epoch(3)));
}

#[test]
fn with_a_pause_between_them_there_is_one_at_a_time() {
    let min_pause = HumanDuration(std::time::Duration::from_millis(1));
    let mut world = World::with(CheckpointSpec { min_pause, ..spec(3, 3) });
    world.tick();
    world.answer_all(true);
    for _ in 0..3 {
        world.now += 1_000;
        world.tick();
    }
    assert_eq!((world.machine.under_way(), world.overlaps), (1, 0));
    world.stops(true, true);
}
