//! A length of time as people write it: `500ms`, `30s`, `10min`, `1h30m`.

use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::text;

/// A duration written as whole numbers with units `ms`, `s`, `m` or `min`, `h`, `d`, largest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HumanDuration(pub Duration);

/// Ten thousand years: longer than anything lasts, and little enough to be added to any time of day.
const LONGEST_MILLIS: u64 = 3_652_425 * 86_400_000;

const UNITS: [(&str, u64); 6] =
    [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("ms", 1), ("m", 60_000), ("s", 1_000)];

impl HumanDuration {
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    pub fn millis(self) -> u64 {
        self.0.as_millis() as u64
    }
}

impl FromStr for HumanDuration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || {
            format!("`{text}` is not a duration; write a whole number with a unit, such as 500ms, 30s, 10min or 1h30m")
        };
        let mut rest = text.trim();
        let mut millis: u64 = 0;
        if rest.is_empty() {
            return Err(refuse());
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(refuse)?;
            let number: u64 = rest[..digits].parse().map_err(|_| refuse())?;
            let (unit, factor) = UNITS.iter().find(|(unit, _)| rest[digits..].starts_with(unit)).ok_or_else(refuse)?;
            millis = number.checked_mul(*factor).and_then(|part| millis.checked_add(part)).ok_or_else(refuse)?;
            rest = &rest[digits + unit.len()..];
        }
        if millis > LONGEST_MILLIS {
            return Err(format!(
                "`{text}` is longer than 10,000 years (3652425d), which is the longest that is accepted"
            ));
        }
        Ok(Self(Duration::from_millis(millis)))
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut millis = self.millis();
        if millis == 0 {
            return f.write_str("0s");
        }
        for (unit, factor) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
            if millis >= factor {
                write!(f, "{}{unit}", millis / factor)?;
                millis %= factor;
            }
        }
        Ok(())
    }
}

impl Serialize for HumanDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::read(deserializer, "a duration, such as 500ms, 30s, 10min or 1h30m")
    }
}

impl JsonSchema for HumanDuration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^([0-9]+(d|h|min|m|s|ms))+$", "maxLength": 40 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_read_and_printed_back() {
        for (text, millis, printed) in [
            ("500ms", 500, "500ms"),
            ("30s", 30_000, "30s"),
            ("10min", 600_000, "10m"),
            ("1h30m", 5_400_000, "1h30m"),
            ("0s", 0, "0s"),
            ("3652425d", LONGEST_MILLIS, "3652425d"),
        ] {
            let duration: HumanDuration = text.parse().unwrap();
            assert_eq!((duration.millis(), duration.to_string().as_str()), (millis, printed), "{text}");
        }
    }

    #[test]
    fn what_is_longer_than_a_time_can_count_is_refused() {
        for text in ["3652425d1ms", "18446744073709551615ms"] {
            let error = text.parse::<HumanDuration>().unwrap_err();
            assert!(error.contains(text) && error.contains("longer than 10,000 years"), "{error}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_an_example() {
        for text in ["", "30", "s", "5 s", "-1s", "1.5s", "99999999999999999999s", "1fortnight"] {
            let error = text.parse::<HumanDuration>().unwrap_err();
            assert!(error.contains("such as 500ms"), "{text}: {error}");
        }
    }
}
