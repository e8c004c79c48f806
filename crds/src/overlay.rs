//! A document with fields set over those of its text.
//!
//! The text is read as it stands, so what is wrong with it is said with the line it is in. On the way through, where a
//! field is set, the text's value is passed over and the other is read in its place; a field that the text lacks is
//! added behind those it has.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{
        DeserializeSeed, EnumAccess, Error, IgnoredAny, IntoDeserializer, MapAccess, SeqAccess, Visitor,
        value::StrDeserializer,
    },
};
use serde_yaml::Value;

/// What is set at a place of a document, and below it.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    /// The path and the value, where the place itself is set.
    value: Option<(String, Value)>,
    /// Fields, and items of a list as `[0]`.
    below: Vec<(String, Overlay)>,
}

impl Overlay {
    /// Sets the place at `path`, such as `spec.sinks[0].name`. A place within one that is set is set with it.
    pub(crate) fn set(&mut self, path: &str, value: Value) {
        let steps = path.split('.').flat_map(|step| {
            let (field, index) = step.find('[').map_or((step, None), |at| (&step[..at], Some(&step[at..])));
            std::iter::once(field).chain(index)
        });
        let mut here = self;
        for step in steps {
            if here.value.is_some() {
                return;
            }
            let known = here.below.iter().position(|(name, _)| name == step).unwrap_or_else(|| {
                here.below.push((step.to_owned(), Self::default()));
                here.below.len() - 1
            });
            here = &mut here.below[known].1;
        }
        here.below.clear();
        here.value = Some((path.to_owned(), value));
    }

    fn at(&self, step: &str) -> Option<&Self> {
        self.below.iter().find(|(name, _)| name == step).map(|(_, overlay)| overlay)
    }

    /// What is set, where the text has nothing.
    fn whole(&self) -> Value {
        if let Some((_, value)) = &self.value {
            return value.clone();
        }
        let fields = self.below.iter().map(|(name, overlay)| (Value::from(name.as_str()), overlay.whole()));
        Value::Mapping(fields.collect())
    }

    fn path(&self) -> &str {
        match &self.value {
            Some((path, _)) => path,
            None => self.below.first().map_or("", |(_, overlay)| overlay.path()),
        }
    }

    fn read<'de, S: DeserializeSeed<'de>, E: Error>(&self, seed: S) -> Result<S::Value, E> {
        seed.deserialize(self.whole())
            .map_err(|error| E::custom(format!("set to another value at `{}`: {error}", self.path())))
    }
}

/// Reads YAML with what is set over it.
pub(crate) fn from_yaml<'de, T: Deserialize<'de>>(text: &'de str, overlay: &Overlay) -> Result<T, serde_yaml::Error> {
    T::deserialize(Over { inner: serde_yaml::Deserializer::from_str(text), overlay: Some(overlay) })
}

/// Anything that serde passes on, with what is set at its place or below.
struct Over<'o, T> {
    inner: T,
    overlay: Option<&'o Overlay>,
}

macro_rules! forward {
    ($($method:ident($($argument:ident: $kind:ty),*);)*) => {
        $(fn $method<V: Visitor<'de>>(self, $($argument: $kind,)* visitor: V) -> Result<V::Value, D::Error> {
            self.inner.$method($($argument,)* Over { inner: visitor, overlay: self.overlay })
        })*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Over<'_, D> {
    type Error = D::Error;

    forward! {
        deserialize_any();
        deserialize_bool();
        deserialize_i8();
        deserialize_i16();
        deserialize_i32();
        deserialize_i64();
        deserialize_i128();
        deserialize_u8();
        deserialize_u16();
        deserialize_u32();
        deserialize_u64();
        deserialize_u128();
        deserialize_f32();
        deserialize_f64();
        deserialize_char();
        deserialize_str();
        deserialize_string();
        deserialize_bytes();
        deserialize_byte_buf();
        deserialize_option();
        deserialize_unit();
        deserialize_unit_struct(name: &'static str);
        deserialize_newtype_struct(name: &'static str);
        deserialize_seq();
        deserialize_tuple(length: usize);
        deserialize_tuple_struct(name: &'static str, length: usize);
        deserialize_map();
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
        deserialize_identifier();
        deserialize_ignored_any();
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! visit {
    ($($method:ident($kind:ty);)*) => {
        $(fn $method<E: Error>(self, value: $kind) -> Result<V::Value, E> {
            self.inner.$method(value)
        })*
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Over<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    visit! {
        visit_bool(bool);
        visit_i8(i8);
        visit_i16(i16);
        visit_i32(i32);
        visit_i64(i64);
        visit_i128(i128);
        visit_u8(u8);
        visit_u16(u16);
        visit_u32(u32);
        visit_u64(u64);
        visit_u128(u128);
        visit_f32(f32);
        visit_f64(f64);
        visit_char(char);
        visit_str(&str);
        visit_borrowed_str(&'de str);
        visit_string(String);
        visit_bytes(&[u8]);
        visit_borrowed_bytes(&'de [u8]);
        visit_byte_buf(Vec<u8>);
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.inner.visit_some(Over { inner, overlay: self.overlay })
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.inner.visit_newtype_struct(Over { inner, overlay: self.overlay })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.inner.visit_seq(Items { inner, overlay: self.overlay, next: 0 })
    }

    fn visit_map<A: MapAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        let added = self.overlay.map(|overlay| overlay.below.iter().collect()).unwrap_or_default();
        self.inner.visit_map(Fields { inner, added, current: Current::Plain })
    }

    fn visit_enum<A: EnumAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.inner.visit_enum(inner)
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Over<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(Over { inner, overlay: self.overlay })
    }
}

/// The items of a list.
struct Items<'o, A> {
    inner: A,
    overlay: Option<&'o Overlay>,
    next: usize,
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Items<'_, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        let overlay = self.overlay.and_then(|overlay| overlay.at(&format!("[{}]", self.next)));
        self.next += 1;
        match overlay {
            Some(overlay) if overlay.value.is_some() => match self.inner.next_element::<IgnoredAny>()? {
                Some(_) => overlay.read(seed).map(Some),
                None => Ok(None),
            },
            overlay => self.inner.next_element_seed(Over { inner: seed, overlay }),
        }
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

/// The fields of a mapping, and those that it lacks.
struct Fields<'o, A> {
    inner: A,
    /// What is set below, and was not met yet.
    added: Vec<&'o (String, Overlay)>,
    current: Current<'o>,
}

/// Where the value of the field that was named last comes from.
enum Current<'o> {
    Plain,
    Over(&'o Overlay),
    Added(&'o Overlay),
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Fields<'_, A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        let mut name = String::new();
        // The seed goes to one of two places, and is used up by the first that has a key.
        let mut seed = Some(seed);
        if let Some(key) = self.inner.next_key_seed(Noted { seed: &mut seed, name: &mut name })? {
            let met = self.added.iter().position(|(field, _)| *field == name);
            self.current = met.map_or(Current::Plain, |met| Current::Over(&self.added.remove(met).1));
            return Ok(Some(key));
        }
        let (Some(seed), Some((field, overlay))) = (seed, self.added.pop()) else { return Ok(None) };
        self.current = Current::Added(overlay);
        let field: StrDeserializer<'_, A::Error> = field.as_str().into_deserializer();
        seed.deserialize(field).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        match std::mem::replace(&mut self.current, Current::Plain) {
            Current::Plain => self.inner.next_value_seed(seed),
            Current::Added(overlay) => overlay.read(seed),
            Current::Over(overlay) if overlay.value.is_some() => {
                self.inner.next_value::<IgnoredAny>()?;
                overlay.read(seed)
            }
            Current::Over(overlay) => self.inner.next_value_seed(Over { inner: seed, overlay: Some(overlay) }),
        }
    }
}

/// A seed of a key that notes the key's name.
struct Noted<'n, S> {
    seed: &'n mut Option<S>,
    name: &'n mut String,
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Noted<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        match self.seed.take() {
            Some(seed) => seed.deserialize(NotedKey { inner, name: self.name }),
            None => Err(D::Error::custom("a key was asked for twice")),
        }
    }
}

struct NotedKey<'n, T> {
    inner: T,
    name: &'n mut String,
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for NotedKey<'_, D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_str(NotedKey { inner: visitor, name: self.name })
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for NotedKey<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<V::Value, E> {
        value.clone_into(self.name);
        self.inner.visit_str(value)
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<V::Value, E> {
        value.clone_into(self.name);
        self.inner.visit_borrowed_str(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Job {
        name: String,
        #[serde(default)]
        sinks: Vec<Sink>,
        limit: Option<Limit>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sink {
        topic: String,
        parts: u32,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Limit {
        rows: u32,
    }

    const TEXT: &str = "name: a\nsinks:\n- topic: x\n  parts: 1\n- topic: y\n  parts: 2\n";

    fn read(text: &str, set: &[(&str, &str)]) -> Result<Job, String> {
        let mut overlay = Overlay::default();
        for (path, value) in set {
            overlay.set(path, serde_yaml::from_str(value).unwrap());
        }
        from_yaml(text, &overlay).map_err(|error| error.to_string())
    }

    #[test]
    fn a_field_is_set_over_that_of_the_text_or_added() {
        let sink = |topic: &str, parts| Sink { topic: topic.into(), parts };
        let job = read(TEXT, &[("name", "b"), ("sinks[1].parts", "7"), ("limit.rows", "9")]).unwrap();
        assert_eq!(
            job,
            Job { name: "b".into(), sinks: vec![sink("x", 1), sink("y", 7)], limit: Some(Limit { rows: 9 }) }
        );
        let job = read(TEXT, &[("sinks[0]", "{topic: z, parts: 3}"), ("limit", "{rows: 1}")]).unwrap();
        assert_eq!((&job.sinks[0], job.limit), (&sink("z", 3), Some(Limit { rows: 1 })));
        assert_eq!(read("name: 5\n", &[("name", "c")]).unwrap().name, "c", "what is set over is not looked at");
    }

    #[test]
    fn what_is_wrong_with_the_text_keeps_its_path_and_line() {
        let text = TEXT.replace("parts: 2", "parts: many");
        let plain = serde_yaml::from_str::<Job>(&text).unwrap_err().to_string();
        assert!(plain.contains("sinks[1].parts") && plain.contains("line 6"), "{plain}");
        assert_eq!(read(&text, &[("name", "b")]).unwrap_err(), plain);
        assert_eq!(read(&text, &[("sinks[0].parts", "3"), ("limit.rows", "1")]).unwrap_err(), plain);
        let text = TEXT.replace("- topic: y", "- tpic: y");
        let plain = serde_yaml::from_str::<Job>(&text).unwrap_err().to_string();
        assert_eq!(read(&text, &[("sinks[0].parts", "3")]).unwrap_err(), plain);
        assert!(plain.contains("unknown field `tpic`") && plain.contains("line 5"), "{plain}");
    }

    #[test]
    fn what_is_wrong_with_a_set_value_names_its_path() {
        let error = read(TEXT, &[("sinks[1].parts", "many")]).unwrap_err();
        assert!(error.contains("sinks[1].parts") && error.contains("expected u32"), "{error}");
        let error = read(TEXT, &[("limit.rws", "1")]).unwrap_err();
        assert!(error.contains("`limit.rws`") && error.contains("unknown field `rws`"), "{error}");
    }
}
