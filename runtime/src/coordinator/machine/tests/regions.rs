//! Some subtasks fail, the others go on.

use std::collections::BTreeSet;

use super::*;

fn set(regions: &[u32]) -> BTreeSet<RegionId> {
    regions.iter().copied().map(RegionId).collect()
}

/// A job that runs.
fn running() -> World {
    let mut world = World::new(3);
    world.tick();
    world.answer_all(true);
    world
}

fn fail(world: &mut World, region: u32) {
    world.happens(&Happening::FailSome(1 << region));
}

/// Lets the pause of the restart strategy pass.
fn wait(world: &mut World) {
    world.now += RESTART_PAUSE_MS;
    world.tick();
}

#[test]
fn a_region_restarts_from_the_newest_checkpoint_in_the_same_attempt() {
    let mut world = running();
    world.happens(&Happening::Ask);
    world.answer_all(true);
    fail(&mut world, 1);
    assert_eq!((world.machine.phase(), world.machine.restarts), (Phase::Restarting, 1));
    world.answer_all(true);
    assert!(world.deployed.is_empty(), "not before the pause");
    wait(&mut world);
    assert_eq!(world.deployed, [(set(&[1]), Some(Epoch(1)))]);
    world.answer_all(true);
    assert_eq!((world.machine.phase(), world.attempts, world.machine.region_restarts), (Phase::Running, 1, 1));
    // The next checkpoint comes soon.
    world.now += FIRST_AFTER_RESTORE_MS;
    world.tick();
    assert_eq!(world.triggered, Some(Epoch(2)));
    world.answer_all(true);
    world.stops(true, true);
}

#[test]
fn a_checkpoint_under_way_is_given_up_and_one_that_is_being_owned_is_gone_on_from() {
    for owning in [false, true] {
        let mut world = running();
        world.happens(&Happening::Ask);
        if owning {
            // All have acknowledged, it is written, and the log is asked to have it.
            world.answer_some(SUBTASKS + 1);
        }
        fail(&mut world, 2);
        wait(&mut world);
        world.answer_all(true);
        assert_eq!(world.deployed, [(set(&[2]), owning.then_some(Epoch(1)))]);
        world.stops(true, true);
    }
}

#[test]
fn what_fails_while_others_wait_to_restart_joins_them_and_is_the_same_failure() {
    let mut world = running();
    fail(&mut world, 0);
    world.answer_all(true);
    fail(&mut world, 2);
    assert_eq!((world.machine.restarts, world.machine.region_restarts), (1, 1));
    wait(&mut world);
    assert!(world.deployed.is_empty(), "its subtasks are not gone yet");
    world.answer_all(true);
    assert_eq!(world.deployed, [(set(&[0, 2]), None)]);
    assert_eq!(world.machine.phase(), Phase::Running);
    world.stops(true, true);
}

#[test]
fn everything_restarts_when_no_region_is_left_or_one_fails_while_another_is_built() {
    let mut world = running();
    [0, 1, 2].into_iter().for_each(|region| fail(&mut world, region));
    assert_eq!((world.stage, world.machine.restarts), (Stage::Aborting, 1));
    world.answer_all(true);
    world.now += RESTART_PAUSE_MS;
    world.tick();
    world.answer_all(true);
    assert_eq!((world.stage, world.attempts), (Stage::Running, 2));

    fail(&mut world, 0);
    world.answer_all(true);
    wait(&mut world);
    assert_eq!(world.deployed.len(), 1);
    fail(&mut world, 1);
    assert_eq!((world.stage, world.machine.restarts), (Stage::Aborting, 3));
    world.stops(true, true);
}

#[test]
fn a_last_checkpoint_or_one_of_a_savepoint_takes_everything_with_it() {
    let stop = |world: &mut World| world.stop_after(stop::Last::default());
    let save = |world: &mut World| world.happens(&Happening::Save);
    let rescale = |world: &mut World| world.happens(&Happening::Rescale);
    let asks: [(&str, fn(&mut World)); 3] = [("stop", stop), ("savepoint", save), ("rescale", rescale)];
    for (what, ask) in asks {
        let mut world = running();
        ask(&mut world);
        assert_eq!(world.triggered, Some(Epoch(1)), "{what}");
        fail(&mut world, 1);
        assert_eq!((world.stage, world.machine.region_restarts), (Stage::Aborting, 0), "{what}");
    }
}

#[test]
fn a_source_that_goes_back_has_not_read_everything() {
    let mut world = running();
    world.happens(&Happening::Exhaust(0));
    fail(&mut world, 0);
    world.happens(&Happening::Exhaust(1));
    world.answer_all(true);
    wait(&mut world);
    world.answer_all(true);
    world.now += FIRST_AFTER_RESTORE_MS;
    world.tick();
    assert_eq!(world.exhausted, [1].into(), "the one that went on");
    world.answer_all(true);
    assert_eq!(world.stage, Stage::Running, "it was no last checkpoint");
    world.happens(&Happening::Exhaust(0));
    world.answer_all(true);
    assert_eq!((world.stage, world.released), (Stage::Done, Some(true)));
}

#[test]
fn a_stop_does_not_wait_for_regions_that_are_not_back() {
    let mut world = running();
    fail(&mut world, 1);
    world.stop(true);
    assert_eq!(world.stage, Stage::Aborting);
    world.answer_all(true);
    assert_eq!((world.stage, world.released), (Stage::Done, Some(false)));
}
