//! Operator ids: names that stay when the SQL changes elsewhere.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64;

use crate::ids::OperatorId;

/// An id is part of object paths.
const MAX_LENGTH: usize = 100;

/// Eight hexadecimal digits of a definition.
pub(super) fn digest(definition: &str) -> String {
    format!("{:08x}", xxh3_64(definition.as_bytes()) as u32)
}

/// One id each of `(name, definition)`: the name, with what is no letter, digit, `-` or `_` replaced; names that are too
/// long, or that several share, end in a digest of what tells them apart.
pub(super) fn assign(nodes: &[(String, String)]) -> Vec<OperatorId> {
    let names: Vec<String> = nodes.iter().map(|(name, _)| plain(name)).collect();
    let mut uses: BTreeMap<&str, usize> = BTreeMap::new();
    for name in &names {
        *uses.entry(name).or_default() += 1;
    }
    let shared = |name: &str| uses.get(name).is_some_and(|uses| *uses > 1);
    names
        .iter()
        .zip(nodes)
        .map(|(name, (full, definition))| {
            let id = if shared(name) {
                format!("{name}-{}", digest(&format!("{full}\n{definition}")))
            } else {
                name.clone()
            };
            OperatorId(id)
        })
        .collect()
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
