//! Values that stand in a document as text of a form of their own, and what is said of other values.

use std::{fmt, marker::PhantomData, str::FromStr};

use serde::{
    Deserializer,
    de::{Error, Visitor},
};

/// Reads a value from its text. What is wrong is said at the value's own place, and not at that of the object it is in.
pub(crate) fn read<'de, T, D>(deserializer: D, expected: &'static str) -> Result<T, D::Error>
where
    T: FromStr<Err = String>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_str(Text { expected, value: PhantomData })
}

struct Text<T> {
    expected: &'static str,
    value: PhantomData<T>,
}

impl<T: FromStr<Err = String>> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

/// What a library calls a value, and what its reader does.
const WORDS: [(&str, &str); 13] = [
    ("EOF while parsing a value", "it ends where a value is expected"),
    ("expected u16", "expected a whole number"),
    ("expected u32", "expected a whole number"),
    ("expected u64", "expected a whole number"),
    ("expected i32", "expected a whole number"),
    ("expected i64", "expected a whole number"),
    ("expected f64", "expected a number"),
    ("expected a boolean", "expected true or false"),
    ("expected a sequence", "expected a list, such as [a, b]"),
    ("expected a map", "expected an object, such as { a: b }"),
    ("unit value", "nothing"),
    (" as u128", ""),
    (" as i128", ""),
];

/// What a library says before the name of a type.
const STRUCT: &str = "expected struct ";

/// What is said of an error of the reader of YAML or JSON, without the names of types.
pub fn said(error: &impl fmt::Display) -> String {
    let mut text = WORDS.iter().fold(error.to_string(), |text, (theirs, ours)| text.replace(theirs, ours));
    while let Some(at) = text.find(STRUCT) {
        let name = text[at + STRUCT.len()..].find(|sign: char| !sign.is_alphanumeric());
        let end = name.map_or(text.len(), |length| at + STRUCT.len() + length);
        text.replace_range(at..end, "expected an object with fields");
        if let Some(count) = text.find(" with fields with ") {
            text.truncate(count + " with fields".len());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use crate::StreamJob;

    fn error(spec: &str) -> String {
        let text =
            format!("apiVersion: tidegate.dev/v1alpha1\nkind: StreamJob\nmetadata: {{ name: a }}\nspec:\n{spec}");
        StreamJob::from_yaml(&text).unwrap_err().to_string()
    }

    #[test]
    fn a_value_of_a_form_of_its_own_is_told_at_its_own_place() {
        let spec =
            "  checkpoint:\n    interval: 1s\n    retained: 3\n    timeout: 5 m\n    storage: { local: { path: /a } }";
        let told = error(spec);
        assert!(told.contains("spec.checkpoint.timeout") && told.contains("line 8"), "{told}");
        let told = error(
            "  sources:\n    - name: a\n      files: { path: /a }\n      schema:\n        - name: b\n          type: bignt",
        );
        assert!(told.contains("schema[0].type") && told.contains("line 10"), "{told}");
        let told = error("  stateTtl:\n  parallelism: \"2\"");
        assert!(told.contains("spec.parallelism") && told.contains("expected a whole number"), "{told}");
    }

    #[test]
    fn a_mark_of_the_encoding_is_no_part_of_a_document() {
        let marked = "\u{feff}apiVersion: x\nkind: StreamJob\nmetadata: { name: a }\nspec: { parallelism: x }";
        let plain = marked.trim_start_matches('\u{feff}');
        let set = [("spec.stateTtl".to_owned(), "1h".to_owned())];
        let read = |text: &str| StreamJob::from_yaml(text).unwrap_err().to_string();
        let read_with = |text: &str| StreamJob::from_yaml_with(text, &set).unwrap_err().to_string();
        assert_eq!((read(marked), read_with(marked)), (read(plain), read_with(plain)));
    }

    #[test]
    fn what_is_expected_is_said_without_names_of_types() {
        for (spec, words) in [
            ("  parallelism: x", "expected a whole number"),
            ("  restart: none", "{ none: {} }"),
            ("  sources: 5", "expected a list"),
            (
                "  sinks: [{ name: a, clickHouse: { url: \"http://a\", table: t, user: u, password: secret } }]",
                "secretKeyRef",
            ),
        ] {
            let told = error(spec);
            assert!(told.contains(words), "{told}");
            for theirs in ["u32", "struct", "sequence", "unit value"] {
                assert!(!told.contains(theirs), "{told}");
            }
        }
    }
}
