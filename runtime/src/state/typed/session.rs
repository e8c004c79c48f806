//! What a batch reads and writes of a table.

use std::collections::BTreeMap;

use super::codec::Bytes;
use crate::state::table::{Address, Changes, Table, TableError, time_of};

/// A key and its key group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    address: Address,
}

impl Key {
    pub fn new(key_group: u32, key: &[u8]) -> Self {
        Self { address: Address::of_key(key_group, key) }
    }

    /// What the addresses of one state of the key begin with.
    pub(super) fn state(&self, name: &str) -> Address {
        // A name has no zero byte, so none begins with another and its end.
        self.address.with(&[name.as_bytes(), &[0]].concat())
    }
}

/// An operator's view of its table while it works on a batch.
pub struct Session<'a> {
    table: &'a mut dyn Table,
    now: i64,
    oldest: i64,
    /// What was looked up or written: none of what is not there.
    known: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    written: Vec<Vec<u8>>,
}

/// Bytes before a value: when it was written.
const TIME_BYTES: usize = 8;

impl<'a> Session<'a> {
    /// What is written gets the time `now`; what was written before `oldest` is forgotten. Both are event times, or both
    /// processing times, as the operator counts its time to live; without one, `oldest` is the least number.
    pub fn new(table: &'a mut dyn Table, now: i64, oldest: i64) -> Self {
        Self { table, now, oldest, known: BTreeMap::new(), written: Vec::new() }
    }

    /// Looks up what some keys have under one name, all at once. What is not looked up now is looked up when it is asked
    /// for, one by one.
    pub fn prefetch<'k>(&mut self, name: &str, keys: impl IntoIterator<Item = &'k Key>) -> Result<(), TableError> {
        let addresses: Vec<Address> = keys.into_iter().map(|key| key.state(name)).collect();
        let unknown: Vec<&[u8]> =
            addresses.iter().map(Address::bytes).filter(|address| !self.known.contains_key(*address)).collect();
        let (known, oldest) = (&mut self.known, self.oldest);
        self.table.get_many(&unknown, &mut |index, value| {
            if let Some(address) = unknown.get(index) {
                known.insert(address.to_vec(), living(value, oldest));
            }
            Ok(())
        })
    }

    pub(super) fn get<T: Bytes>(&mut self, address: &Address) -> Result<Option<T>, TableError> {
        if !self.known.contains_key(address.bytes()) {
            let (known, oldest) = (&mut self.known, self.oldest);
            self.table.get_many(&[address.bytes()], &mut |_, value| {
                known.insert(address.bytes().to_vec(), living(value, oldest));
                Ok(())
            })?;
        }
        let value = self.known.get(address.bytes()).and_then(Option::as_ref);
        value.map(|value| T::read(value)).transpose()
    }

    pub(super) fn put(&mut self, address: &Address, value: &impl Bytes) {
        let mut bytes = Vec::new();
        value.write(&mut bytes);
        self.set(address, Some(bytes));
    }

    pub(super) fn delete(&mut self, address: &Address) {
        self.set(address, None);
    }

    fn set(&mut self, address: &Address, value: Option<Vec<u8>>) {
        self.known.insert(address.bytes().to_vec(), value);
        self.written.push(address.bytes().to_vec());
    }

    /// What stands behind `prefix` in the addresses that begin with it, and their values, in order.
    pub(super) fn scan(&mut self, prefix: &Address) -> Result<Vec<(Vec<u8>, Vec<u8>)>, TableError> {
        let prefix = prefix.bytes();
        let mut found: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
        self.table.scan_prefix(prefix, &mut |address, value| {
            found.insert(address.to_vec(), living(Some(value), self.oldest));
            Ok(())
        })?;
        let own = self.known.range(prefix.to_vec()..).take_while(|(address, _)| address.starts_with(prefix));
        found.extend(own.map(|(address, value)| (address.clone(), value.clone())));
        let behind = |address: Vec<u8>| address.get(prefix.len()..).unwrap_or_default().to_vec();
        Ok(found.into_iter().filter_map(|(address, value)| Some((behind(address), value?))).collect())
    }

    /// Writes what was changed, at once.
    pub fn finish(mut self) -> Result<(), TableError> {
        self.written.sort();
        self.written.dedup();
        let mut changes = Changes::default();
        for address in &self.written {
            match self.known.get(address).and_then(Option::as_ref) {
                Some(value) => changes.put(address, &[&self.now.to_le_bytes()[..], value].concat()),
                None => changes.delete(address),
            }
        }
        if changes.is_empty() { Ok(()) } else { self.table.write(&changes) }
    }
}

/// A value without its time, unless it was forgotten.
fn living(value: Option<&[u8]>, oldest: i64) -> Option<Vec<u8>> {
    let value = value.filter(|value| time_of(value).is_some_and(|time| time >= oldest))?;
    value.get(TIME_BYTES..).map(<[u8]>::to_vec)
}
