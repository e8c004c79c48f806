//! The runs. `--nocapture` shows what they visited; `TIDEGATE_TEST_MODEL=large` makes them visit more.

use stateright::{Checker, HasDiscoveries};

use super::*;
use crate::env;

/// Records of few attempts, of which old ones go.
const fn records(faults: u8, epochs: u64) -> Bounds {
    Bounds { faults, epochs, slow: 1, any_hint: false, notes: 0, spans: Spans { segment: 2, block: 8 } }
}

/// Short attempts, of which old ones go.
const fn attempts(faults: u8, block: u64) -> Bounds {
    Bounds { faults, epochs: 1, slow: 1, any_hint: false, notes: 0, spans: Spans { segment: 8, block } }
}

const DEFAULT: [Bounds; 2] = [records(1, 4), attempts(2, 1)];
const LARGE: [Bounds; 5] = [
    records(2, 4),
    attempts(3, 2),
    Bounds { any_hint: true, ..records(2, 4) },
    records(2, 5),
    Bounds { any_hint: true, ..attempts(3, 2) },
];

/// Every rule, and a world that is large enough to need it.
const RULES: [(Rule, Bounds); 8] = [
    (Rule::KeepHeads, Bounds { slow: 0, ..records(0, 9) }),
    (Rule::SecondHead, records(2, 4)),
    (Rule::KeepCheckpoint, Bounds { slow: 0, notes: 6, ..records(0, 1) }),
    (Rule::LookAfterRead, records(2, 4)),
    (Rule::KeepBlocks, attempts(3, 1)),
    (Rule::SecondBlock, attempts(1, 2)),
    (Rule::LookAfterAppend, attempts(3, 2)),
    (Rule::LookAfterBegin, attempts(3, 2)),
];

#[test]
fn whatever_is_deleted_the_log_decides_as_if_it_were_there() {
    let is_large = std::env::var("TIDEGATE_TEST_MODEL").is_ok_and(|size| size == "large");
    for bounds in DEFAULT.iter().chain(LARGE.iter().filter(|_| is_large)) {
        let begun = env::monotonic();
        let protocol = Protocol { without: None, bounds: *bounds };
        let checker = protocol.checker().finish_when(HasDiscoveries::AnyFailures).threads(2).spawn_dfs().join();
        let seconds = env::monotonic().saturating_sub(begun).as_secs_f64();
        println!("{bounds:?}: {} states, {seconds:.1} s", checker.unique_state_count());
        checker.assert_properties();
    }
}

#[test]
fn without_any_one_rule_the_log_decides_otherwise() {
    for (rule, most) in RULES {
        let damage = (0..=most.faults).find_map(|faults| {
            let bounds = Bounds { faults, ..most };
            let protocol = Protocol { without: Some(rule), bounds };
            let checker = protocol.checker().finish_when(HasDiscoveries::AnyFailures).threads(2).spawn_bfs().join();
            let always = checker.discoveries().into_iter().find(|(name, _)| {
                checker.model().properties().iter().any(|property| {
                    property.name == *name && matches!(property.expectation, stateright::Expectation::Always)
                })
            });
            let states = checker.unique_state_count();
            always.map(|(name, path)| (faults, states, name, path.into_actions()))
        });
        let (faults, states, name, acts) = damage.unwrap_or_else(|| panic!("without {rule:?}, nothing breaks"));
        println!("without {rule:?}: {faults} faults, {} steps, {states} states, no longer `{name}`", acts.len());
        acts.iter().for_each(|act| println!("    {act:?}"));
    }
}
