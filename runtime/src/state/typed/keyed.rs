//! State of a key.

use std::marker::PhantomData;

use super::{
    codec::Bytes,
    session::{Key, Session},
};
use crate::state::table::TableError;

/// One value.
#[derive(Debug, Clone, Copy)]
pub struct ValueState<T> {
    name: &'static str,
    values: PhantomData<T>,
}

impl<T: Bytes> ValueState<T> {
    pub const fn named(name: &'static str) -> Self {
        Self { name, values: PhantomData }
    }

    pub fn get(&self, session: &mut Session<'_>, key: &Key) -> Result<Option<T>, TableError> {
        session.get(&key.state(self.name))
    }

    pub fn set(&self, session: &mut Session<'_>, key: &Key, value: &T) {
        session.put(&key.state(self.name), value);
    }

    pub fn clear(&self, session: &mut Session<'_>, key: &Key) {
        session.delete(&key.state(self.name));
    }
}

/// Values by keys of their own, in their order. Each is an entry of its own: a map may be larger than memory.
#[derive(Debug, Clone, Copy)]
pub struct MapState<K, V> {
    name: &'static str,
    entries: PhantomData<(K, V)>,
}

impl<K: Bytes, V: Bytes> MapState<K, V> {
    pub const fn named(name: &'static str) -> Self {
        Self { name, entries: PhantomData }
    }

    fn address(&self, key: &Key, field: &K) -> crate::state::table::Address {
        let mut bytes = Vec::new();
        field.write(&mut bytes);
        key.state(self.name).with(&bytes)
    }

    pub fn get(&self, session: &mut Session<'_>, key: &Key, field: &K) -> Result<Option<V>, TableError> {
        session.get(&self.address(key, field))
    }

    pub fn insert(&self, session: &mut Session<'_>, key: &Key, field: &K, value: &V) {
        session.put(&self.address(key, field), value);
    }

    pub fn remove(&self, session: &mut Session<'_>, key: &Key, field: &K) {
        session.delete(&self.address(key, field));
    }

    pub fn entries(&self, session: &mut Session<'_>, key: &Key) -> Result<Vec<(K, V)>, TableError> {
        let found = session.scan(&key.state(self.name))?;
        found.into_iter().map(|(field, value)| Ok((K::read(&field)?, V::read(&value)?))).collect()
    }

    pub fn clear(&self, session: &mut Session<'_>, key: &Key) -> Result<(), TableError> {
        let prefix = key.state(self.name);
        for (field, _) in session.scan(&prefix)? {
            session.delete(&prefix.with(&field));
        }
        Ok(())
    }
}

/// Values in the order in which they came: a map by their number.
#[derive(Debug, Clone, Copy)]
pub struct ListState<T> {
    items: MapState<u64, T>,
}

impl<T: Bytes> ListState<T> {
    pub const fn named(name: &'static str) -> Self {
        Self { items: MapState::named(name) }
    }

    pub fn add(&self, session: &mut Session<'_>, key: &Key, value: &T) -> Result<(), TableError> {
        let last = session.scan(&key.state(self.items.name))?.pop();
        let next = last.map_or(Ok(0), |(number, _)| u64::read(&number).map(|number| number + 1))?;
        self.items.insert(session, key, &next, value);
        Ok(())
    }

    pub fn get(&self, session: &mut Session<'_>, key: &Key) -> Result<Vec<T>, TableError> {
        Ok(self.items.entries(session, key)?.into_iter().map(|(_, value)| value).collect())
    }

    pub fn clear(&self, session: &mut Session<'_>, key: &Key) -> Result<(), TableError> {
        self.items.clear(session, key)
    }
}

/// One value, which takes in others of its type.
#[derive(Debug, Clone, Copy)]
pub struct ReducingState<T> {
    value: ValueState<T>,
    reduce: fn(T, T) -> T,
}

impl<T: Bytes> ReducingState<T> {
    pub const fn named(name: &'static str, reduce: fn(T, T) -> T) -> Self {
        Self { value: ValueState::named(name), reduce }
    }

    pub fn add(&self, session: &mut Session<'_>, key: &Key, value: T) -> Result<(), TableError> {
        let reduced = match self.value.get(session, key)? {
            Some(before) => (self.reduce)(before, value),
            None => value,
        };
        self.value.set(session, key, &reduced);
        Ok(())
    }

    pub fn get(&self, session: &mut Session<'_>, key: &Key) -> Result<Option<T>, TableError> {
        self.value.get(session, key)
    }

    pub fn clear(&self, session: &mut Session<'_>, key: &Key) {
        self.value.clear(session, key);
    }
}

/// How inputs become an accumulator, and that a result.
pub trait Aggregate {
    type Input;
    type Accumulator: Bytes + Default;
    type Output;

    fn add(accumulator: Self::Accumulator, input: Self::Input) -> Self::Accumulator;

    fn result(accumulator: &Self::Accumulator) -> Self::Output;
}

/// An accumulator, which takes in inputs of another type.
#[derive(Debug, Clone, Copy)]
pub struct AggregatingState<A: Aggregate> {
    value: ValueState<A::Accumulator>,
}

impl<A: Aggregate> AggregatingState<A> {
    pub const fn named(name: &'static str) -> Self {
        Self { value: ValueState::named(name) }
    }

    pub fn add(&self, session: &mut Session<'_>, key: &Key, input: A::Input) -> Result<(), TableError> {
        let before = self.value.get(session, key)?.unwrap_or_default();
        self.value.set(session, key, &A::add(before, input));
        Ok(())
    }

    pub fn get(&self, session: &mut Session<'_>, key: &Key) -> Result<Option<A::Output>, TableError> {
        Ok(self.value.get(session, key)?.map(|accumulator| A::result(&accumulator)))
    }

    pub fn clear(&self, session: &mut Session<'_>, key: &Key) {
        self.value.clear(session, key);
    }
}
