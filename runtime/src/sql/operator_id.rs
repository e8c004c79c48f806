//! Operator ids, and what state finds its operator by.
//!
//! An operator is called after what it reads, its keys and its length, and an id is that name as long as one operator has
//! it. State does not go by the id: it goes by the name and the view or `INSERT` that the operator is written in
//! ([`WrittenAs`]). So an operator keeps its state whatever is written beside it, and whatever its columns and aggregates are.

use std::collections::{BTreeMap, BTreeSet};

use xxhash_rust::xxh3::xxh3_64;

use super::stage::Place;
use crate::{checkpoint::manifest::WrittenAs, graph::KnownAs, ids::OperatorId};

/// An id is part of object paths.
const MAX_LENGTH: usize = 100;

/// What an id is made of.
#[derive(Debug, Clone)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) places: Vec<Place>,
    /// The whole of what the operator does, as text: programs that told equal names apart by contents took a digest of it.
    pub(super) definition: String,
}

/// Eight hexadecimal digits of a definition.
pub(super) fn digest(definition: &str) -> String {
    format!("{:08x}", xxh3_64(definition.as_bytes()) as u32)
}

/// One id each: the name, with what is no letter, digit, `-` or `_` replaced; with the first place where it is written if
/// several share the name, and a number if they share that.
pub(super) fn assign(nodes: &[Named]) -> Vec<(OperatorId, KnownAs)> {
    let names: Vec<String> = nodes.iter().map(|node| plain(&node.name)).collect();
    let mut uses: BTreeMap<&str, usize> = BTreeMap::new();
    for name in &names {
        *uses.entry(name).or_default() += 1;
    }
    let mut given = BTreeSet::new();
    let ids = names.iter().zip(nodes).map(|(name, node)| {
        let is_shared = uses.get(name.as_str()).is_some_and(|uses| *uses > 1);
        let former = if is_shared {
            format!("{name}-{}", digest(&format!("{}\n{}", node.name, node.definition)))
        } else {
            name.clone()
        };
        let wanted = match node.places.first() {
            Some(place) if is_shared => plain(&format!("{}-in-{}", node.name, place.short())),
            _ => name.clone(),
        };
        let (mut id, mut number) = (wanted.clone(), 1);
        while !given.insert(id.clone()) {
            number += 1;
            id = format!("{wanted}-{number}");
        }
        let within = node.places.iter().map(ToString::to_string).collect();
        let written_as = WrittenAs { name: node.name.clone(), within, ..WrittenAs::default() };
        (OperatorId(id), KnownAs { written_as, former: OperatorId(former) })
    });
    ids.collect()
}

fn plain(name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let plain: String = name.chars().map(|c| if fits(c) { c } else { '_' }).collect();
    if plain.len() <= MAX_LENGTH {
        return plain;
    }
    let start: String = plain.chars().take(MAX_LENGTH - 9).collect();
    format!("{start}-{}", digest(name))
}
