//! JSON objects whose last field, `xxh3`, is a checksum of all bytes before the comma in front of it.
//!
//! Nothing else vouches for records of the log and for savepoints: a digit that comes out wrong in an offset, or in the number
//! of an epoch, would leave out rows or repeat them. What older builds wrote has no checksum.

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned, de::Error as _};

use crate::checksum::xxh3;

/// How the last field begins, and how an object ends. No text within one has a line break of its own.
const CHECKSUM: &str = ",\n  \"xxh3\": \"";
const END: &str = "\n}";

/// `value` is a struct with fields.
pub fn to_bytes<T: Serialize>(value: &T) -> serde_json::Result<Bytes> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.truncate(text.len() - END.len());
    let checksum = xxh3(text.as_bytes());
    Ok(Bytes::from(text + CHECKSUM + &checksum + "\"" + END))
}

/// Looks whether the checksum is right, where there is one.
pub fn check(bytes: &[u8]) -> serde_json::Result<()> {
    let text = std::str::from_utf8(bytes).map_err(serde_json::Error::custom)?;
    let Some((before, last)) = text.rsplit_once(CHECKSUM) else {
        let Spelled { xxh3 } = serde_json::from_slice(bytes)?;
        let otherwise = "it is spelled otherwise than it was written; who changes it takes out the field `xxh3`";
        return if xxh3.is_none() { Ok(()) } else { Err(serde_json::Error::custom(otherwise)) };
    };
    let (found, expected) = (last.trim_end_matches(END).trim_end_matches('"'), xxh3(before.as_bytes()));
    if found == expected {
        return Ok(());
    }
    let is_checksum = found.len() == expected.len() && found.bytes().all(|byte| byte.is_ascii_hexdigit());
    let found = if is_checksum { format!("`{found}`") } else { "none".to_owned() };
    let changed = format!("its checksum is {found}, and that of what is there `{expected}`: it was changed");
    Err(serde_json::Error::custom(changed))
}

pub fn from_bytes<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    check(bytes)?;
    serde_json::from_slice(bytes)
}

/// A checksum that does not stand where it was written.
#[derive(Deserialize)]
struct Spelled {
    xxh3: Option<serde_json::Value>,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_bytes_are_pinned() {
        let value = json!({ "a": 1, "b": "x" });
        let bytes = to_bytes(&value).unwrap();
        let expected = "{\n  \"a\": 1,\n  \"b\": \"x\",\n  \"xxh3\": \"107a7d680550e747\"\n}";
        assert_eq!(std::str::from_utf8(&bytes), Ok(expected));
        assert_eq!(from_bytes::<Value>(&bytes).unwrap()["a"], 1);
    }

    #[test]
    fn another_digit_is_found_and_what_has_no_checksum_is_read() {
        let bytes = to_bytes(&json!({ "epoch": 41 })).unwrap();
        let changed = String::from_utf8_lossy(&bytes).replace("41", "42");
        let error = from_bytes::<Value>(changed.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("it was changed"), "{error}");
        let mangled = String::from_utf8_lossy(&bytes).replace("\"\n}", "\u{1}\u{2}\n}");
        let error = from_bytes::<Value>(mangled.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("its checksum is none"), "{error}");
        assert_eq!(from_bytes::<Value>(b"{ \"epoch\": 42 }").unwrap()["epoch"], 42);
        let compact = serde_json::to_vec(&serde_json::from_slice::<Value>(&bytes).unwrap()).unwrap();
        let error = from_bytes::<Value>(&compact).unwrap_err().to_string();
        assert!(error.contains("takes out the field `xxh3`"), "{error}");
        assert!(from_bytes::<Value>(b"{ \"epoch\": \xff }").is_err());
    }
}
