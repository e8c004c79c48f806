//! Keys of typed state.

use super::{GROUP_BYTES, group};

/// Stands for a zero byte inside a key.
const ESCAPED_ZERO: [u8; 2] = [0, 0xff];
/// Ends a key: before every escaped zero, and before every other byte.
const END: [u8; 2] = [0, 0];

/// Where an entry of typed state stands: its key group, its key, and a namespace below the key, such as a window or the
/// key of a map's entry.
///
/// ```text
/// key group (2 bytes, big-endian) · key, each 0 written as 0 255 · 0 0 · namespace as it is
/// ```
///
/// So addresses stand in the order of group, key and namespace, and the entries of one key begin alike ([`Address::of_key`])
/// as those of no other key do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address(Vec<u8>);

impl Address {
    /// What the addresses of a key begin with; also the address of the key itself, without a namespace.
    pub fn of_key(key_group: u32, key: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(GROUP_BYTES + key.len() + END.len() + 16);
        bytes.extend_from_slice(&group(key_group));
        for byte in key {
            if *byte == 0 {
                bytes.extend_from_slice(&ESCAPED_ZERO);
            } else {
                bytes.push(*byte);
            }
        }
        bytes.extend_from_slice(&END);
        Self(bytes)
    }

    /// That of `namespace` below this key.
    #[must_use]
    pub fn with(&self, namespace: &[u8]) -> Self {
        Self([&self.0, namespace].concat())
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop_oneof![Just(0), Just(1), Just(0xff), any::<u8>()], 0..6)
    }

    proptest! {
        #[test]
        fn addresses_stand_in_the_order_of_group_key_and_namespace(
            one in (0_u32..3, bytes(), bytes()), other in (0_u32..3, bytes(), bytes()),
        ) {
            let address = |(group, key, namespace): &(u32, Vec<u8>, Vec<u8>)| Address::of_key(*group, key).with(namespace);
            prop_assert_eq!(address(&one).cmp(&address(&other)), one.cmp(&other));
            let begins = address(&one).bytes().starts_with(Address::of_key(other.0, &other.1).bytes());
            prop_assert_eq!(begins, (one.0, &one.1) == (other.0, &other.1), "only a key's own entries begin with it");
        }
    }
}
