//! Which tables a checkpoint has.

use std::sync::Arc;

use super::{
    facts::{FACTS, Facts},
    names::{Names, plain},
};
use crate::{
    checkpoint::manifest::{Manifest, OperatorState, StateKind},
    operator::{
        deduplicate::{KEYS, WAITING},
        window::PARTIAL,
    },
    worker::in_flight::ROWS,
};

/// Something that a query can select from.
#[derive(Debug, Clone)]
pub struct Table {
    pub name: String,
    /// For people.
    pub about: String,
    pub(super) holds: Holds,
}

#[derive(Debug, Clone)]
pub(super) enum Holds {
    /// What the manifest tells.
    Facts(Facts),
    /// Rows that an operator remembers.
    State { operator: Arc<OperatorState>, collection: Collection },
}

/// One of the kinds of rows that operators remember.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Collection {
    /// Of a deduplication: the keys that it has seen.
    Keys,
    /// Of a deduplication: rows that the watermark has not passed.
    Waiting,
    /// Of a window aggregate: partial results.
    Partials,
    /// Of an exchange: rows that barriers have overtaken.
    InFlight,
}

impl Collection {
    /// Kind of the parts that have it.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Keys => KEYS,
            Self::Waiting => WAITING,
            Self::Partials => PARTIAL,
            Self::InFlight => ROWS,
        }
    }

    fn suffix(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::Waiting => "waiting",
            Self::Partials => "partials",
            Self::InFlight => "in_flight",
        }
    }

    fn about(self) -> &'static str {
        match self {
            Self::Keys => "keys that were seen: subtask, key_hash, time",
            Self::Waiting => "rows that the watermark has not passed: subtask, and the columns that the operator reads",
            Self::InFlight => "rows that the barrier has overtaken: subtask, and the columns that the operator reads",
            Self::Partials => {
                "partial results of open windows: subtask, window_start, window_end, the keys, and the states of each \
                 aggregate; a key may have several rows"
            }
        }
    }
}

/// Those with what the manifest tells first, then those of the operators in its order.
pub fn tables(manifest: &Manifest) -> Vec<Table> {
    let mut names = Names::default();
    let mut tables: Vec<Table> = FACTS
        .iter()
        .map(|facts| Table { name: names.give(facts.name), about: facts.about.to_owned(), holds: Holds::Facts(*facts) })
        .collect();
    for operator in &manifest.operators {
        let collections: &[Collection] = match operator.kind {
            StateKind::Source => &[],
            StateKind::Deduplicate => &[Collection::Keys, Collection::Waiting],
            StateKind::WindowAggregate => &[Collection::Partials],
            StateKind::InFlight => &[Collection::InFlight],
        };
        let operator = Arc::new(operator.clone());
        tables.extend(collections.iter().map(|collection| Table {
            name: names.give(&format!("{}_{}", plain(&operator.id.0), collection.suffix())),
            about: format!("`{}`: {}", operator.id, collection.about()),
            holds: Holds::State { operator: operator.clone(), collection: *collection },
        }));
    }
    tables
}
