//! Days and instants in text: ISO 8601 dates and RFC 3339 instants of the years 0 to 9999.
//!
//! The two conversions are Howard Hinnant's `days_from_civil` and `civil_from_days`
//! (<https://howardhinnant.github.io/date_algorithms.html>), for the proleptic Gregorian calendar.

use std::io::Write;

const DAY_SECONDS: i64 = 86_400;

/// Days since 1970-01-01.
pub fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day.
pub fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

/// `YYYY-MM-DD`, as days since 1970-01-01.
pub(super) fn parse_date(text: &[u8]) -> Option<i64> {
    let (date, rest) = split_date(text)?;
    rest.is_empty().then_some(date)
}

/// Seconds since 1970 and nanoseconds of `YYYY-MM-DDTHH:MM:SS[.fffffffff][Z|±HH:MM]`, or of a date alone. A blank may
/// stand for the `T`, and text without a zone is UTC.
pub(super) fn parse_instant(text: &[u8]) -> Option<(i64, u32)> {
    let (days, rest) = split_date(text)?;
    let Some((b'T' | b't' | b' ', rest)) = rest.split_first() else {
        return rest.is_empty().then_some((days * DAY_SECONDS, 0));
    };
    let (&[h1, h2, b':', m1, m2, b':', s1, s2], mut rest) = rest.split_first_chunk::<8>()? else { return None };
    let (hour, minute, second) = (two(h1, h2)?, two(m1, m2)?, two(s1, s2)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut nanos = 0_u32;
    if let Some((b'.' | b',', fraction)) = rest.split_first() {
        let length = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
        let (digits, after) = fraction.split_at_checked(length)?;
        if !(1..=9).contains(&length) {
            return None;
        }
        nanos = digits.iter().fold(0, |value, digit| value * 10 + u32::from(digit - b'0'));
        nanos *= 10_u32.pow(9 - length as u32);
        rest = after;
    }
    let offset = match rest {
        [] | [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] | [sign @ (b'+' | b'-'), h1, h2, m1, m2] => {
            let (hours, minutes) = (two(*h1, *h2)?, two(*m1, *m2)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let seconds = hours * 3600 + minutes * 60;
            if *sign == b'-' { -seconds } else { seconds }
        }
        _ => return None,
    };
    Some((days * DAY_SECONDS + hour * 3600 + minute * 60 + second - offset, nanos))
}

fn split_date(text: &[u8]) -> Option<(i64, &[u8])> {
    let (&[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2], rest) = text.split_first_chunk::<10>()? else { return None };
    let (year, month, day) = (two(y1, y2)? * 100 + two(y3, y4)?, two(m1, m2)?, two(d1, d2)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        _ => return None,
    };
    (1..=length).contains(&day).then(|| (days_from_civil(year, month, day), rest))
}

fn two(tens: u8, ones: u8) -> Option<i64> {
    (tens.is_ascii_digit() && ones.is_ascii_digit()).then(|| i64::from(tens - b'0') * 10 + i64::from(ones - b'0'))
}

/// Whether seconds since 1970 are within the years 0 to 9999.
pub(super) fn has_instant(seconds: i64) -> bool {
    has_date(seconds.div_euclid(DAY_SECONDS))
}

/// Whether days since 1970 are within the years 0 to 9999.
pub(super) fn has_date(days: i64) -> bool {
    (-719_528..=2_932_896).contains(&days)
}

/// An instant, milliseconds since 1970, as text.
pub fn instant(millis: i64) -> String {
    let mut out = Vec::new();
    write_instant(&mut out, millis.div_euclid(1_000), (millis.rem_euclid(1_000) * 1_000_000) as u32, 3);
    String::from_utf8_lossy(&out).into_owned()
}

/// Appends `YYYY-MM-DD`. Years outside 0 to 9999 get the sign and digits they need.
pub(super) fn write_date(out: &mut Vec<u8>, days: i64) {
    let (year, month, day) = civil_from_days(days);
    if (0..=9999).contains(&year) {
        write_two(out, year / 100);
        write_two(out, year % 100);
    } else {
        // Writing to a vector does not fail.
        let _ = write!(out, "{year:+05}");
    }
    for number in [month, day] {
        out.push(b'-');
        write_two(out, number);
    }
}

/// Appends `YYYY-MM-DDTHH:MM:SS.fffZ` with `digits` of a second; the date as [`write_date`] does.
pub(super) fn write_instant(out: &mut Vec<u8>, seconds: i64, nanos: u32, digits: usize) {
    write_date(out, seconds.div_euclid(DAY_SECONDS));
    let of_day = seconds.rem_euclid(DAY_SECONDS);
    for (separator, number) in [(b'T', of_day / 3600), (b':', of_day / 60 % 60), (b':', of_day % 60)] {
        out.push(separator);
        write_two(out, number);
    }
    if digits > 0 {
        out.push(b'.');
        let mut divisor = 100_000_000;
        for _ in 0..digits {
            out.push(b'0' + (nanos / divisor % 10) as u8);
            divisor /= 10;
        }
    }
    out.push(b'Z');
}

fn write_two(out: &mut Vec<u8>, number: i64) {
    out.extend_from_slice(&[b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8]);
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, NaiveDate};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn instants_are_read_as_written() {
        let text = |text: &str| parse_instant(text.as_bytes());
        for (given, seconds, nanos) in [
            ("1970-01-01T00:00:00Z", 0, 0),
            ("1970-01-01", 0, 0),
            ("2026-01-01 12:30:05", 1_767_270_605, 0),
            ("2026-01-01T12:30:05.25+02:30", 1_767_261_605, 250_000_000),
            ("2026-01-01t12:30:05,123456789-0100", 1_767_274_205, 123_456_789),
            ("1969-12-31T23:59:59.999Z", -1, 999_000_000),
        ] {
            assert_eq!(text(given), Some((seconds, nanos)), "{given}");
        }
        for given in [
            "",
            "2026",
            "2026-13-01",
            "2026-02-29",
            "2026-01-01T24:00:00Z",
            "2026-01-01T12:30",
            "2026-01-01T12:30:60Z",
            "2026-01-01T12:30:05.Z",
            "2026-01-01T12:30:05.1234567890Z",
            "2026-01-01T12:30:05 Z",
            "2026-01-01T12:30:05Zx",
            "2026-01-01X12:30:05",
            "2026-01-01T12:30:05+99:00",
        ] {
            assert_eq!(text(given), None, "{given}");
        }
    }

    #[test]
    fn the_calendar_ends_with_its_years() {
        for (year, month, day, has) in
            [(-1, 12, 31, false), (0, 1, 1, true), (9999, 12, 31, true), (10_000, 1, 1, false)]
        {
            let days = days_from_civil(year, month, day);
            assert_eq!(has_date(days), has, "{year}");
            assert!(has_instant(days * DAY_SECONDS) == has && has_instant(days * DAY_SECONDS + DAY_SECONDS - 1) == has);
        }
        let mut out = Vec::new();
        write_date(&mut out, i64::from(i32::MAX));
        assert_eq!(String::from_utf8(out).unwrap(), "+5881580-07-11");
        assert_eq!(instant(-1), "1969-12-31T23:59:59.999Z");
    }

    proptest! {
        #[test]
        fn instants_and_dates_agree_with_chrono(seconds in -62_167_219_200_i64..253_402_300_800, nanos in 0_u32..1_000_000_000) {
            let mut ours = Vec::new();
            write_instant(&mut ours, seconds, nanos, 9);
            let text = String::from_utf8(ours).unwrap();
            let theirs = DateTime::parse_from_rfc3339(&text).unwrap();
            prop_assert_eq!((theirs.timestamp(), theirs.timestamp_subsec_nanos()), (seconds, nanos));
            prop_assert_eq!(parse_instant(text.as_bytes()), Some((seconds, nanos)));
            let date = &text[..10];
            let epoch = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap();
            let days = date.parse::<NaiveDate>().unwrap().signed_duration_since(epoch).num_days();
            prop_assert_eq!(parse_date(date.as_bytes()), Some(days));
        }
    }
}
