//! The runs. `--nocapture` shows what they visited; `TIDEGATE_TEST_MODEL=large` makes them visit more.

use std::{
    collections::{BTreeSet, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
};

use stateright::{Checker, HasDiscoveries};

use super::{rules::MUTATIONS, *};
use crate::env;

const DEFAULT: [Bounds; 4] =
    [one_at_a_time(3, 2, 1), one_at_a_time(1, 2, 2), several(1, 2), of_sinks(one_at_a_time(2, 2, 1))];
const LARGE: [Bounds; 5] =
    [one_at_a_time(4, 2, 1), one_at_a_time(3, 2, 2), one_at_a_time(2, 3, 1), several(2, 3), of_sinks(several(1, 2))];

const fn one_at_a_time(faults: u8, epochs: u64, chunks: u32) -> Bounds {
    Bounds { faults, epochs, chunks, at_once: 1, give_ups: 0, notes: Notes::OfAll }
}

/// Two checkpoints at a time, of which one may be given up.
const fn several(faults: u8, epochs: u64) -> Bounds {
    Bounds { faults, epochs, chunks: 1, at_once: 2, give_ups: 1, notes: Notes::OfAll }
}

const fn of_sinks(bounds: Bounds) -> Bounds {
    Bounds { notes: Notes::OfSinks, ..bounds }
}

#[test]
fn whatever_fails_nothing_is_lost_or_repeated() {
    let is_large = match std::env::var("TIDEGATE_TEST_MODEL").as_deref() {
        Err(_) | Ok("") => false,
        Ok("large") => true,
        Ok(other) => panic!("TIDEGATE_TEST_MODEL: found `{other}`, accepted is `large`"),
    };
    for bounds in DEFAULT.iter().chain(LARGE.iter().filter(|_| is_large)) {
        let begun = env::monotonic();
        let protocol = Protocol { without: None, bounds: *bounds };
        let checker = protocol.checker().finish_when(HasDiscoveries::AnyFailures).threads(2).spawn_bfs().join();
        let seconds = env::monotonic().saturating_sub(begun).as_secs_f64();
        println!("{bounds:?}: {} states, {seconds:.1} s", checker.unique_state_count());
        checker.assert_properties();
    }
}

#[test]
fn without_any_one_rule_something_is_lost_or_repeated() {
    for (rule, damage) in MUTATIONS {
        let run = |faults, depth| {
            let of_several = matches!(rule, Rule::CarryUndecided | Rule::KeepNumbers | Rule::CompleteInOrder);
            let bounds = if of_several { several(faults, 2) } else { one_at_a_time(faults, 2, 1) };
            let protocol = Protocol { without: Some(rule), bounds };
            let found = HasDiscoveries::AllOf(BTreeSet::from([damage]));
            protocol.checker().finish_when(found).target_max_depth(depth).spawn_bfs().join()
        };
        let does_damage = |faults: &u8| run(*faults, usize::MAX).discovery(damage).is_some();
        let faults = (0..=2).find(does_damage).unwrap_or_else(|| panic!("without {rule:?}, no run breaks `{damage}`"));
        // The way that is found need not be the shortest: the checker looks at a block of states before it ends.
        let shortest = |depth| {
            let checker = run(faults, depth);
            let way = checker.discovery(damage)?;
            Some((checker.unique_state_count(), way.into_actions()))
        };
        let (states, acts) = (2..).find_map(shortest).unwrap();
        println!("without {rule:?}: {faults} faults, {} steps, {states} states, no longer `{damage}`", acts.len());
        acts.iter().for_each(|act| println!("    {act:?}"));
    }
}

/// Or the property that everything gets published, which looks where a run ends, would say nothing of one that does not.
#[test]
fn no_run_goes_on_for_ever() {
    for bounds in [one_at_a_time(2, 2, 1), several(1, 2)] {
        let protocol = Protocol { without: None, bounds };
        let mut is_under_way = HashMap::new();
        visit(&protocol, &protocol.init_states()[0], &mut is_under_way);
        println!("{bounds:?}: {} states, and no way back to one", is_under_way.len());
    }
}

/// Depth first, by the hash of a state.
fn visit(protocol: &Protocol, world: &World, is_under_way: &mut HashMap<u64, bool>) {
    let mut hasher = DefaultHasher::new();
    world.hash(&mut hasher);
    let id = hasher.finish();
    match is_under_way.insert(id, true) {
        Some(true) => panic!("a run comes back to {world:#?}"),
        Some(false) => {}
        None => protocol.next_states(world).iter().for_each(|next| visit(protocol, next, is_under_way)),
    }
    is_under_way.insert(id, false);
}
