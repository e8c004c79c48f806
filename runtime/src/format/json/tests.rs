//! The decoder against a naive reference, record by record, and what it promises in words.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, Date32Array, Float32Array, Float64Array, RecordBatch,
        types::{Decimal128Type, Int32Type, Int64Type, TimestampMillisecondType},
    },
    datatypes::SchemaRef,
    json::ReaderBuilder,
};
use proptest::prelude::*;
use serde::de::IgnoredAny;
use tidegate_crds::Column;

use super::{BadRecord, Decoded, JsonDecoder, encode};
use crate::{
    format::arrow_schema,
    source::{RawRecords, Run},
};

struct Records(Vec<Option<Vec<u8>>>);

impl RawRecords for Records {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn payload(&self, index: usize) -> Option<&[u8]> {
        self.0[index].as_deref()
    }
    fn position(&self, index: usize) -> u64 {
        index as u64
    }
    fn runs(&self) -> &[Run] {
        &[]
    }
}

fn records(lines: &[&str]) -> Records {
    Records(lines.iter().map(|line| Some(line.as_bytes().to_vec())).collect())
}

fn schema(columns: &[(&str, &str)]) -> SchemaRef {
    let column = |(name, kind): &(&str, &str)| Column {
        name: name.trim_end_matches('!').to_string(),
        kind: kind.parse().unwrap(),
        nullable: !name.ends_with('!'),
    };
    arrow_schema(&columns.iter().map(column).collect::<Vec<_>>())
}

fn orders() -> SchemaRef {
    schema(&[("order_id!", "string"), ("store_id", "bigint"), ("amount", "decimal(12,2)"), ("ts", "timestamp(3)")])
}

fn decode(schema: SchemaRef, records: &Records) -> Decoded {
    JsonDecoder::new(schema).unwrap().decode(records).unwrap()
}

/// The value of a one-column record as the encoder spells it, or the error.
fn one(kind: &str, json: &str) -> Result<String, String> {
    let decoded = decode(schema(&[("v", kind)]), &records(&[&format!("{{\"v\":{json}}}")]));
    match decoded.bad.first() {
        Some(bad) => Err(bad.error.clone()),
        None => {
            let line = String::from_utf8(encode(&decoded.batch).unwrap().bytes).unwrap();
            Ok(line.trim_end().strip_prefix("{\"v\":").unwrap().strip_suffix('}').unwrap().to_owned())
        }
    }
}

#[test]
fn values_of_every_type_come_back_as_they_were() {
    for (kind, given, back) in [
        ("string", r#""a\"b\\\u00e4\ud83d\ude00\n""#, "\"a\\\"b\\\\ä😀\\n\""),
        ("string", "\"\"", "\"\""),
        ("boolean", "true", "true"),
        ("boolean", "false", "false"),
        ("int", "-2147483648", "-2147483648"),
        ("int", "5.0", "5"),
        ("int", "5e2", "500"),
        ("int", "\"12\"", "12"),
        ("bigint", "9223372036854775807", "9223372036854775807"),
        ("bigint", "-0", "0"),
        ("bigint", "9007199254740993.0", "9007199254740993"),
        ("float", "0.1", "0.1"),
        ("double", "-1.5e-3", "-0.0015"),
        ("double", "123456789012345678901234567890", "1.2345678901234568e29"),
        ("decimal(12,2)", "12.30", "12.30"),
        ("decimal(12,2)", "-9999999999.99", "-9999999999.99"),
        ("decimal(12,2)", "1.5000", "1.50"),
        ("decimal(12,2)", "\"7.25\"", "7.25"),
        ("decimal(12,2)", "125e-2", "1.25"),
        ("decimal(38,0)", "99999999999999999999999999999999999999", "99999999999999999999999999999999999999"),
        ("decimal(38,10)", "1234567890123456789012345678.0123456789", "1234567890123456789012345678.0123456789"),
        ("decimal(5,0)", "0.000e99999999999", "0"),
        ("date", "\"2026-02-28\"", "\"2026-02-28\""),
        ("date", "1", "\"1970-01-02\""),
        ("timestamp(3)", "\"2026-01-01T12:30:05.123456+02:00\"", "\"2026-01-01T10:30:05.123Z\""),
        ("timestamp(3)", "1767225600001", "\"2026-01-01T00:00:00.001Z\""),
        ("timestamp(0)", "1767225600", "\"2026-01-01T00:00:00Z\""),
        ("timestamp(6)", "\"2026-01-01 00:00:00.000001\"", "\"2026-01-01T00:00:00.000001Z\""),
        ("timestamp(9)", "-1", "\"1969-12-31T23:59:59.999999999Z\""),
        ("timestamp(3)", "253402300799999", "\"9999-12-31T23:59:59.999Z\""),
        ("timestamp(3)", "-62167219200000", "\"0000-01-01T00:00:00.000Z\""),
        ("date", "2932896", "\"9999-12-31\""),
        ("date", "-719528", "\"0000-01-01\""),
        ("bytes", "\"AP/+\"", "\"AP/+\""),
        ("string", "null", "null"),
        ("decimal(12,2)", "null", "null"),
    ] {
        assert_eq!(one(kind, given).as_deref(), Ok(back), "{kind} {given}");
    }
}

#[test]
fn a_value_that_does_not_fit_is_never_bent_to_fit() {
    for (kind, given, words) in [
        ("string", "5", "a string"),
        ("string", "\"\\ud800\"", "surrogate"),
        ("string", "\"a\tb\"", "control character"),
        ("boolean", "1", "true or false"),
        ("int", "2147483648", "out of range"),
        ("int", "1.5", "not a whole number"),
        ("int", "1e99999999999", "out of range"),
        ("bigint", "9223372036854775808", "out of range"),
        ("bigint", "\"1 \"", "a bigint"),
        ("bigint", "{}", "a bigint"),
        ("float", "1e39", "out of range"),
        ("double", "1e999", "out of range"),
        ("double", "NaN", "a double"),
        ("decimal(12,2)", "12.345", "too many digits after the point"),
        ("decimal(12,2)", "10000000000", "too many digits"),
        ("decimal(12,2)", "1e-99999999999", "too many digits after the point"),
        ("decimal(38,0)", "100000000000000000000000000000000000000", "too many digits"),
        ("decimal(38,0)", "170141183460469231731687303715884105729e5", "too many digits"),
        ("decimal(12,2)", "0.10000000000000000000000000000000000000000000000000001", "after the point"),
        ("date", "\"2026-02-29\"", "2026-01-31"),
        ("date", "\"2026-02-28T00:00:00Z\"", "a date"),
        ("timestamp(3)", "1.5", "not a whole number"),
        ("timestamp(3)", "\"yesterday\"", "milliseconds since 1970"),
        ("timestamp(9)", "\"3026-01-01T00:00:00Z\"", "nanoseconds"),
        ("timestamp(3)", "9223372036854775807", "outside the years 0 to 9999"),
        ("timestamp(3)", "253402300800000", "outside the years 0 to 9999"),
        ("timestamp(6)", "-62167219200000001", "outside the years 0 to 9999"),
        ("timestamp(0)", "\"9999-12-31T23:59:59-01:00\"", "an instant"),
        ("date", "2932897", "outside the years 0 to 9999"),
        ("date", "2147483647", "outside the years 0 to 9999"),
        ("bytes", "\"a\"", "base64"),
        ("bigint", "01", "a number"),
        ("bigint", "1.", "after the point"),
        ("bigint", "-", "a number"),
        ("bigint", "+1", "a bigint"),
    ] {
        let error = one(kind, given).expect_err(&format!("{kind} {given}"));
        assert!(error.contains(words), "{kind} {given}: {error}");
    }
}

#[test]
fn a_broken_record_never_mixes_with_its_neighbours() {
    let good = |n: usize| format!(r#"{{"order_id":"o-{n}","store_id":{n},"amount":1.25,"ts":{n}}}"#);
    let broken: Vec<Option<Vec<u8>>> = vec![
        Some(br#"{"order_id":"x","store_id":1"#.to_vec()),
        Some(br#"{"order_id":"x"}{"order_id":"y"}"#.to_vec()),
        Some(br#"[{"order_id":"x"}]"#.to_vec()),
        Some(b"".to_vec()),
        Some(b"  \n".to_vec()),
        Some(b"{\"order_id\":\"\xff\xfe\"}".to_vec()),
        Some(b"{\"order_id\":\"x\",\"other\":\"\xc3\"}".to_vec()),
        None,
        Some(br#"{"store_id":1}"#.to_vec()),
        Some(br#"{"order_id":null}"#.to_vec()),
        Some(br#"{"order_id":"x" "store_id":1}"#.to_vec()),
        Some(br#"{,"order_id":"x"}"#.to_vec()),
        Some(br#"{"order_id":"x",}"#.to_vec()),
        Some(br#"{"order_id":"x","store_id":12345678901234567890}"#.to_vec()),
        Some(br#"{"order_id":"x","amount":1.255}"#.to_vec()),
        Some(br#"{"order_id":"x","other":[1,2}"#.to_vec()),
        Some(br#"{"order_id":"x"}]"#.to_vec()),
        Some(b"nul".to_vec()),
        Some(br#"{"order_id":"x","other":tru}"#.to_vec()),
        Some(br#"{"order_id":"x","other":"\q"}"#.to_vec()),
        Some(format!(r#"{{"order_id":"x","other":{}{}}}"#, "[".repeat(200), "]".repeat(200)).into_bytes()),
    ];
    let count = broken.len();
    let mut all = Vec::new();
    for (n, record) in broken.into_iter().enumerate() {
        all.push(record);
        all.push(Some(good(n).into_bytes()));
    }
    let decoded = decode(orders(), &Records(all));
    assert_eq!(
        decoded.bad.iter().map(|bad| bad.index).collect::<Vec<_>>(),
        (0..count).map(|n| 2 * n).collect::<Vec<_>>()
    );
    assert_eq!(decoded.kept.unwrap(), (0..count as u32).map(|n| 2 * n + 1).collect::<Vec<_>>());
    let ids = decoded.batch.column(0).as_string::<i32>();
    assert_eq!(
        ids.iter().flatten().map(str::to_owned).collect::<Vec<_>>(),
        (0..count).map(|n| format!("o-{n}")).collect::<Vec<_>>()
    );
    for column in 1..4 {
        assert_eq!(decoded.batch.column(column).null_count(), 0, "column {column}");
    }
    let errors: Vec<&str> = decoded.bad.iter().map(|bad| bad.error.as_str()).collect();
    assert!(errors[7].contains("tombstone"), "{}", errors[7]);
    assert!(
        errors[8].contains("column `order_id` is missing") && errors[8].contains("nullable: false"),
        "{}",
        errors[8]
    );
    assert!(errors[9].contains("column `order_id` is null"), "{}", errors[9]);
    assert!(errors[5].contains("not UTF-8 from byte 13"), "{}", errors[5]);
}

#[test]
fn a_decoder_is_as_new_after_a_batch_and_no_record_is_no_row() {
    let mut decoder = JsonDecoder::new(orders()).unwrap();
    for round in 0..3 {
        let lines =
            [r#"{"order_id":"a","ts":"2026-01-01T00:00:00Z"}"#, r#" {"ts":null,"x":{"y":[1,{}]},"order_id":"b"} "#];
        let decoded = decoder.decode(&records(&lines)).unwrap();
        assert!(decoded.kept.is_none() && decoded.bad.is_empty(), "round {round}: {:?}", decoded.bad);
        assert_eq!(decoded.batch.column(0).as_string::<i32>().value(1), "b");
        assert!(decoded.batch.column(3).is_null(1) && decoded.batch.column(3).is_valid(0));
        assert_eq!(decoder.decode(&Records(Vec::new())).unwrap().batch.num_rows(), 0);
        let bad = decoder.decode(&records(&["{"])).unwrap();
        assert_eq!((bad.batch.num_rows(), bad.kept), (0, Some(vec![])));
        assert_eq!(bad.bad, [BadRecord { index: 0, error: "expected a string, found the end of the record".into() }]);
    }
}

#[test]
fn a_job_that_needs_no_column_still_counts_records() {
    let decoded = decode(schema(&[]), &records(&[r#"{"a":1}"#, "{}", "x"]));
    assert_eq!((decoded.batch.num_rows(), decoded.bad.len()), (2, 1));
}

#[test]
fn rows_are_cut_out_of_the_lines() {
    let decoded = decode(orders(), &records(&[r#"{"order_id":"a\nb","amount":1}"#, r#"{"order_id":"c"}"#]));
    let lines = encode(&decoded.batch).unwrap();
    let rows: Vec<&str> = lines.rows().map(|row| std::str::from_utf8(row).unwrap()).collect();
    assert_eq!(
        rows,
        [
            r#"{"order_id":"a\nb","store_id":null,"amount":1.00,"ts":null}"#,
            r#"{"order_id":"c","store_id":null,"amount":null,"ts":null}"#
        ]
    );
    let slice: RecordBatch = decoded.batch.slice(1, 1);
    assert_eq!(encode(&slice).unwrap().rows().count(), 1);
}

/// The fields of an object that is known to be one, as they are written.
fn split(object: &str) -> BTreeMap<String, String> {
    let inner = object.trim().strip_prefix('{').unwrap().strip_suffix('}').unwrap();
    let (mut parts, mut depth, mut quoted, mut escaped) = (vec![String::new()], 0, false, false);
    for letter in inner.chars() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            '{' | '[' if !quoted => depth += 1,
            '}' | ']' if !quoted => depth -= 1,
            ',' | ':' if !quoted && depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().unwrap().push(letter);
    }
    let fields = parts.chunks_exact(2).map(|pair| (pair[0].trim().to_owned(), pair[1].trim().to_owned()));
    fields.collect()
}

/// What a record is, said naively: `serde_json` for the grammar, text for the numbers.
fn reference(payload: &[u8]) -> Result<[Option<String>; 4], ()> {
    let text = std::str::from_utf8(payload).map_err(drop)?;
    serde_json::from_str::<BTreeMap<String, IgnoredAny>>(text).map_err(drop)?;
    let fields: BTreeMap<String, String> = split(text)
        .into_iter()
        .map(|(name, raw)| Ok((serde_json::from_str::<String>(&name).map_err(drop)?, raw)))
        .collect::<Result<_, ()>>()?;
    let get = |name: &str| fields.get(name).map(String::as_str).filter(|raw| *raw != "null");
    let id = get("order_id").map(serde_json::from_str::<String>).transpose().map_err(drop)?;
    let store = get("store_id").map(|raw| exact(raw, 0, i128::from(i64::MIN)..i128::from(i64::MAX) + 1)).transpose()?;
    let amount = get("amount").map(|raw| exact(raw, 2, -999_999_999_999..1_000_000_000_000)).transpose()?;
    let ts = get("ts").map(|raw| match raw.strip_prefix('"') {
        Some(_) => {
            let mut text: String = serde_json::from_str(raw).map_err(drop)?;
            // An offset may be written without a colon, as by `+hhmm` of many programs; RFC 3339 has one.
            if let [.., b'+' | b'-', b'0'..=b'9', b'0'..=b'9', b'0'..=b'9', b'0'..=b'9'] = text.as_bytes()
                && text.len() > "2026-01-01T00:00:00".len()
            {
                text.insert(text.len() - 2, ':');
            }
            Ok(i128::from(chrono::DateTime::parse_from_rfc3339(&text).map_err(drop)?.timestamp_millis()))
        }
        // The years 0 to 9999.
        None => exact(raw, 0, -62_167_219_200_000..253_402_300_800_000),
    });
    let ts = ts.transpose()?;
    // The years 0 to 9999.
    if ts.is_some_and(|ms| !(-62_167_219_200_000..253_402_300_800_000).contains(&ms)) {
        return Err(());
    }
    let text = |value: Option<i128>| value.map(|value| value.to_string());
    Ok([Some(id.ok_or(())?), text(store), text(amount), text(ts)])
}

/// `raw` in units of `10^-scale`, by shifting the digits' text.
fn exact(raw: &str, scale: i64, range: Range<i128>) -> Result<i128, ()> {
    let quoted = serde_json::from_str::<String>(raw);
    let raw = quoted.as_deref().unwrap_or(raw);
    serde_json::from_str::<IgnoredAny>(raw).map_err(drop)?;
    (raw.trim() == raw).then_some(()).ok_or(())?;
    let (mantissa, exponent) = raw.split_once(['e', 'E']).unwrap_or((raw, "0"));
    let (negative, mantissa) = mantissa.strip_prefix('-').map_or((false, mantissa), |rest| (true, rest));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(());
    }
    let mut shift = exponent.parse::<i64>().map_err(drop)? - fraction.len() as i64 + scale;
    if digits.bytes().all(|b| b == b'0') {
        return Ok(0);
    }
    while shift < 0 {
        (digits.pop() == Some('0')).then_some(()).ok_or(())?;
        shift += 1;
    }
    if shift > 60 {
        return Err(());
    }
    digits.push_str(&"0".repeat(shift as usize));
    let value: i128 = digits.parse().map_err(drop)?;
    let value = if negative { -value } else { value };
    range.contains(&value).then_some(value).ok_or(())
}

fn rows(decoded: &Decoded) -> Vec<[Option<String>; 4]> {
    let batch = &decoded.batch;
    let amounts = batch.column(2).as_primitive::<Decimal128Type>();
    let times = batch.column(3).as_primitive::<TimestampMillisecondType>();
    let stores = batch.column(1).as_primitive::<Int64Type>();
    (0..batch.num_rows())
        .map(|row| {
            [
                Some(batch.column(0).as_string::<i32>().value(row).to_owned()),
                stores.is_valid(row).then(|| stores.value(row).to_string()),
                amounts.is_valid(row).then(|| amounts.value(row).to_string()),
                times.is_valid(row).then(|| times.value(row).to_string()),
            ]
        })
        .collect()
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        (-1_000_000_i64..1_000_000, 0_u32..10_000).prop_map(|(a, b)| format!("{a}.{b}")),
        (-1_000_000_i64..1_000_000, 0_u32..100).prop_map(|(a, b)| format!("{a}.{b:02}")),
        "-?[0-9]{1,45}(\\.[0-9]{1,45})?([eE][+-]?[0-9]{1,3})?",
        "-?(0|[1-9][0-9]{0,6})(\\.[0-9]{0,3}0{0,4})?(e-?[0-9])?",
    ]
}

fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        number(),
        number().prop_map(|n| format!("\"{n}\"")),
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        "\"([a-z]|\\\\u[0-9a-fD]{4}|\\\\[\"/bfnrtx]|ä|€){0,6}\"",
        Just("null".to_owned()),
        Just("true".to_owned()),
        (0_i64..4_000_000_000_000)
            .prop_map(|ms| { format!("\"{}\"", chrono::DateTime::from_timestamp_millis(ms).unwrap().to_rfc3339()) }),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(" , "))),
            prop::collection::vec(("[a-c]{1,2}", inner), 0..4).prop_map(|fields| {
                let fields: Vec<String> = fields.into_iter().map(|(k, v)| format!("\"{k}\" :{v}")).collect();
                format!("{{{}}}", fields.join(","))
            }),
        ]
    })
}

fn record() -> impl Strategy<Value = Vec<u8>> {
    let id = prop_oneof![4 => "[a-z0-9-]{0,20}".prop_map(|text| format!("\"{text}\"")), 1 => value()];
    let time = prop_oneof![
        (0_i64..4_000_000_000_000).prop_map(|ms| ms.to_string()),
        (0_i64..4_000_000_000_000)
            .prop_map(|ms| format!("\"{}\"", chrono::DateTime::from_timestamp_millis(ms).unwrap().to_rfc3339())),
        value(),
    ];
    let number = || prop_oneof![3 => number(), 1 => value()];
    let fields = (id, number(), number(), time, value(), any::<u8>(), prop::sample::select(vec!["", " ", "\n\t "]));
    fields.prop_map(|(id, store, amount, ts, other, order, blank)| {
        let mut fields = vec![
            format!("\"order_id\":{blank}{id}"),
            format!("\"store_id\"{blank}:{store}"),
            format!("\"am\\u006funt\":{amount}").replace("\\u006f", if order & 1 == 0 { "o" } else { "\\u006f" }),
            format!("{blank}\"ts\":{ts}"),
            format!("\"other\":{other}"),
        ];
        fields.rotate_left(usize::from(order % 5));
        fields.truncate(5 - usize::from(order / 64 % 2));
        format!("{blank}{{{}{blank}}}{blank}", fields.join(",")).into_bytes()
    })
}

fn mangled() -> impl Strategy<Value = Vec<u8>> {
    (record(), any::<prop::sample::Index>(), any::<u8>(), 0_u8..5).prop_map(|(mut bytes, at, byte, how)| {
        let at = at.index(bytes.len());
        match how {
            0 => bytes.truncate(at),
            1 => bytes[at] = byte,
            2 => bytes.insert(at, byte),
            3 => {
                bytes.remove(at);
            }
            _ => bytes.extend_from_within(..at),
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_decoder_says_what_a_naive_reference_says(
        batch in prop::collection::vec(prop_oneof![3 => record(), 1 => mangled()], 0..12),
    ) {
        let expected: Vec<_> = batch.iter().map(|payload| reference(payload)).collect();
        let decoded = decode(orders(), &Records(batch.iter().cloned().map(Some).collect()));
        let context = || format!("{:?}\n{:?}", batch.iter().map(|b| String::from_utf8_lossy(b)).collect::<Vec<_>>(), decoded.bad);
        let bad: Vec<usize> = decoded.bad.iter().map(|bad| bad.index).collect();
        let expected_bad: Vec<usize> =
            expected.iter().enumerate().filter(|(_, row)| row.is_err()).map(|(index, _)| index).collect();
        prop_assert_eq!(bad, expected_bad, "{}", context());
        let good: Vec<_> = expected.into_iter().flatten().collect();
        prop_assert_eq!(rows(&decoded), good, "{}", context());
    }

    #[test]
    fn what_is_written_is_read_back(
        rows in prop::collection::vec((any::<String>(), any::<Option<i64>>(), any::<Option<i32>>()), 0..20),
    ) {
        let schema = schema(&[("a b\"!", "string"), ("n", "bigint"), ("i", "int")]);
        let batch = RecordBatch::try_new(schema.clone(), vec![
            Arc::new(arrow::array::StringArray::from_iter_values(rows.iter().map(|row| &row.0))),
            Arc::new(rows.iter().map(|row| row.1).collect::<arrow::array::PrimitiveArray<Int64Type>>()),
            Arc::new(rows.iter().map(|row| row.2).collect::<arrow::array::PrimitiveArray<Int32Type>>()),
        ]).unwrap();
        let lines = encode(&batch).unwrap();
        let payloads = Records(lines.rows().map(|row| Some(row.to_vec())).collect());
        prop_assert_eq!(decode(schema, &payloads).batch, batch);
    }
}

/// What RFC 0002 says of arrow-json. Should this fail with a later version, the reasons for a decoder of our own are to be
/// looked at again.
#[test]
fn arrow_json_bends_what_this_decoder_refuses() {
    let by_arrow = |kind: &str, records: &str| -> Result<String, String> {
        let mut decoder = ReaderBuilder::new(schema(&[("v", kind)])).build_decoder().unwrap();
        decoder.decode(records.as_bytes()).map_err(|error| error.to_string())?;
        let batch = decoder.flush().map_err(|error| error.to_string())?;
        batch.map_or(Ok(String::new()), |batch| {
            Ok(encode(&batch).unwrap().rows().map(String::from_utf8_lossy).collect())
        })
    };
    for (kind, record, arrow) in [
        ("decimal(12,2)", r#"{"v":1.239}"#, r#"{"v":1.23}"#),
        ("bigint", r#"{"v":1.5}"#, r#"{"v":1}"#),
        ("bigint", r#"{"v":9007199254740993.0}"#, r#"{"v":9007199254740992}"#),
        ("bigint", r#"{"v":1 "w":2}"#, r#"{"v":1}"#),
    ] {
        assert_eq!(by_arrow(kind, record), Ok(arrow.to_owned()), "{record}");
        let ours = decode(schema(&[("v", kind)]), &records(&[record]));
        let exact =
            ours.bad.is_empty().then(|| encode(&ours.batch).unwrap().rows().map(String::from_utf8_lossy).collect());
        assert_ne!(exact, Some(arrow.to_owned()), "{record}");
    }
    // One bad record takes its whole batch with it.
    let neighbours = by_arrow("bigint", "{\"v\":1}\n{\"v\":\"x\"}\n{\"v\":3}");
    assert!(neighbours.is_err(), "{neighbours:?}");
    let ours = decode(schema(&[("v", "bigint")]), &records(&[r#"{"v":1}"#, r#"{"v":"x"}"#, r#"{"v":3}"#]));
    assert_eq!((ours.batch.num_rows(), ours.bad.len()), (2, 1));
}

#[test]
fn what_is_computed_and_no_json_number_is_text_and_not_null() {
    let doubles =
        Float64Array::from(vec![Some(f64::NAN), Some(f64::INFINITY), None, Some(1.5), Some(1e20), Some(-0.0)]);
    let floats =
        Float32Array::from(vec![Some(1.5), Some(f32::NEG_INFINITY), None, Some(0.1), Some(-f32::NAN), Some(1e20)]);
    let days = Date32Array::from(vec![Some(i32::MAX), Some(i32::MIN), None, Some(-719_529), Some(0), Some(-1)]);
    let columns: [(&str, ArrayRef); 3] = [("d", Arc::new(doubles)), ("f", Arc::new(floats)), ("day", Arc::new(days))];
    let lines = encode(&RecordBatch::try_from_iter(columns).unwrap()).unwrap();
    let rows: Vec<&str> = lines.rows().map(|row| std::str::from_utf8(row).unwrap()).collect();
    assert_eq!(
        rows,
        [
            r#"{"d":"NaN","f":1.5,"day":"+5881580-07-11"}"#,
            r#"{"d":"Infinity","f":"-Infinity","day":"-5877641-06-23"}"#,
            r#"{"d":null,"f":null,"day":null}"#,
            r#"{"d":1.5,"f":0.1,"day":"-0001-12-31"}"#,
            r#"{"d":1.0e20,"f":"NaN","day":"1970-01-01"}"#,
            r#"{"d":-0.0,"f":1.0e20,"day":"1969-12-31"}"#,
        ]
    );
}
