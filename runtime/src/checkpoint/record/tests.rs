use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// The bytes of a `CheckpointCompleted`.
macro_rules! completed {
    ($trigger:literal) => {
        concat!(
            r#"{
  "recordId": "r",
  "atMs": 5,
  "type": "CheckpointCompleted",
  "checkpoint": {
    "epoch": 7,
    "manifest": "data/00000002/000000000007/manifest.json",
    "sha256": "5c1f"
  },
  "trigger": ""#,
            $trigger,
            "\"\n}"
        )
    };
}

fn counter<T: std::fmt::Debug>(make: impl Fn(u64) -> T + 'static) -> impl Strategy<Value = T> {
    any::<u64>().prop_map(make)
}

fn trigger() -> impl Strategy<Value = Trigger> {
    prop_oneof![
        Just(Trigger::Interval),
        Just(Trigger::Savepoint),
        Just(Trigger::Rescale),
        Just(Trigger::Stop),
        Just(Trigger::Drain),
        Just(Trigger::Finish)
    ]
}

fn checkpoint() -> impl Strategy<Value = CheckpointRef> {
    (counter(Epoch), ".*", ".*").prop_map(|(epoch, manifest, sha256)| CheckpointRef {
        epoch,
        manifest: ObjectPath(manifest),
        sha256,
    })
}

fn started() -> impl Strategy<Value = Body> {
    let restored_from = prop::option::of(checkpoint());
    let owner = (".*", ".*", prop::option::of(".*"));
    (counter(Attempt), counter(Revision), ".*", ".*", any::<u32>(), restored_from, owner).prop_map(
        |(attempt, revision, spec_digest, lineage, parallelism, restored_from, (address, pod, job_uid))| {
            Body::AttemptStarted {
                attempt,
                revision,
                spec_digest,
                lineage,
                parallelism,
                restored_from,
                owner: Owner { address, pod, job_uid },
            }
        },
    )
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        started(),
        (checkpoint(), trigger()).prop_map(|(checkpoint, trigger)| Body::CheckpointCompleted { checkpoint, trigger }),
        (counter(Epoch), prop::collection::btree_map("[a-z]{1,4}", counter(Epoch), 0..3))
            .prop_map(|(epoch, sinks)| Body::EpochCommitted { epoch, sinks }),
        any::<bool>().prop_map(|finished| Body::Released { finished }),
        Just(Body::Deleted {}),
        ".*".prop_map(|by| Body::Sealed { by }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_record_is_read_as_it_was_written(body in body(), record_id in ".*", at_ms in any::<u64>()) {
        let record = Record { record_id, path: None, at_ms, body };
        prop_assert_eq!(Record::from_bytes(&record.to_bytes().unwrap()).unwrap(), record);
    }

    #[test]
    fn a_torn_record_is_refused(body in body(), cut in any::<prop::sample::Index>()) {
        let bytes = Record::new(body).to_bytes().unwrap();
        prop_assert!(Record::from_bytes(&bytes[..cut.index(bytes.len())]).is_err());
    }

    /// Of what a store or a wire may do to bytes, this can't be seen in JSON.
    #[test]
    fn a_record_with_another_bit_is_refused_or_says_the_same(
        body in body(),
        place in any::<prop::sample::Index>(),
        bit in 0..8_u8,
    ) {
        let record = Record::new(body);
        let mut bytes = record.to_bytes().unwrap().to_vec();
        let place = place.index(bytes.len());
        bytes[place] ^= 1 << bit;
        if let Ok(found) = Record::from_bytes(&bytes) {
            prop_assert_eq!(found, record, "{}", String::from_utf8_lossy(&bytes));
        }
    }

    /// The newest place of a log is found by a listing, which goes by path.
    #[test]
    fn paths_are_in_the_order_of_their_places(
        a in (0_u64..100_000_000, 0_u64..1_000_000_000_000),
        b in (0_u64..100_000_000, 0_u64..1_000_000_000_000),
    ) {
        let place = |(attempt, seq)| (Attempt(attempt), Seq(seq));
        let path = |(attempt, seq)| path(Attempt(attempt), Seq(seq));
        prop_assert_eq!(path(a).cmp(&path(b)), place(a).cmp(&place(b)));
        prop_assert_eq!(parse_path(&path(a)), Some(place(a)));
    }
}

/// A record of every kind, and its bytes in the log but for the checksum: logs of today are read by the programs of tomorrow.
fn written() -> Vec<(Body, &'static str)> {
    let checkpoint = |epoch| CheckpointRef {
        epoch: Epoch(epoch),
        manifest: ObjectPath("data/00000002/000000000007/manifest.json".into()),
        sha256: "5c1f".into(),
    };
    let started = |restored_from, job_uid| Body::AttemptStarted {
        attempt: Attempt(3),
        revision: Revision(4),
        spec_digest: "ab12".into(),
        lineage: "sales-9f2c".into(),
        parallelism: 2,
        restored_from,
        owner: Owner { address: "10.0.0.7:8081".into(), pod: "sales-0".into(), job_uid },
    };
    let completed = |trigger| Body::CheckpointCompleted { checkpoint: checkpoint(7), trigger };
    let sinks = BTreeMap::from([("totals".to_owned(), Epoch(9)), ("alerts".to_owned(), Epoch(8))]);
    vec![
        (
            started(None, None),
            r#"{
  "recordId": "r",
  "atMs": 5,
  "type": "AttemptStarted",
  "attempt": 3,
  "revision": 4,
  "specDigest": "ab12",
  "lineage": "sales-9f2c",
  "parallelism": 2,
  "restoredFrom": null,
  "owner": {
    "address": "10.0.0.7:8081",
    "pod": "sales-0"
  }
}"#,
        ),
        (
            started(Some(checkpoint(6)), Some("5e7c".into())),
            r#"{
  "recordId": "r",
  "atMs": 5,
  "type": "AttemptStarted",
  "attempt": 3,
  "revision": 4,
  "specDigest": "ab12",
  "lineage": "sales-9f2c",
  "parallelism": 2,
  "restoredFrom": {
    "epoch": 6,
    "manifest": "data/00000002/000000000007/manifest.json",
    "sha256": "5c1f"
  },
  "owner": {
    "address": "10.0.0.7:8081",
    "pod": "sales-0",
    "jobUid": "5e7c"
  }
}"#,
        ),
        (completed(Trigger::Interval), completed!("Interval")),
        (completed(Trigger::Savepoint), completed!("Savepoint")),
        (completed(Trigger::Rescale), completed!("Rescale")),
        (completed(Trigger::Stop), completed!("Stop")),
        (completed(Trigger::Drain), completed!("Drain")),
        (completed(Trigger::Finish), completed!("Finish")),
        (
            Body::EpochCommitted { epoch: Epoch(7), sinks: BTreeMap::new() },
            r#"{
  "recordId": "r",
  "atMs": 5,
  "type": "EpochCommitted",
  "epoch": 7
}"#,
        ),
        (
            Body::EpochCommitted { epoch: Epoch(7), sinks },
            r#"{
  "recordId": "r",
  "atMs": 5,
  "type": "EpochCommitted",
  "epoch": 7,
  "sinks": {
    "alerts": 8,
    "totals": 9
  }
}"#,
        ),
        (
            Body::Released { finished: true },
            r#"{
  "recordId": "r",
  "atMs": 5,
  "type": "Released",
  "finished": true
}"#,
        ),
        (
            Body::Deleted {},
            r#"{
  "recordId": "r",
  "atMs": 5,
  "type": "Deleted"
}"#,
        ),
        (
            Body::Sealed { by: "sales-1".into() },
            r#"{
  "recordId": "r",
  "atMs": 5,
  "type": "Sealed",
  "by": "sales-1"
}"#,
        ),
    ]
}

/// What the program says that it accepts in the place of something that it does not know.
fn accepted<T: serde::de::DeserializeOwned>(json: &str) -> Vec<String> {
    let error = serde_json::from_str::<T>(json).err().unwrap().to_string();
    let (_, accepted) = error.split_once("expected one of ").unwrap();
    accepted.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn kinds() -> Vec<String> {
    accepted::<Record>(r#"{"recordId":"r","atMs":5,"type":""}"#)
}

fn triggers() -> Vec<String> {
    accepted::<Trigger>("\"\"")
}

#[test]
fn the_bytes_of_every_record_are_pinned() {
    for (body, bytes) in written() {
        let record = Record { record_id: "r".into(), path: None, at_ms: 5, body };
        let whole = record.to_bytes().unwrap();
        let (before, _checksum) = std::str::from_utf8(&whole).unwrap().rsplit_once(',').unwrap();
        assert_eq!(before, bytes.strip_suffix("\n}").unwrap());
        assert_eq!(Record::from_bytes(&whole).unwrap(), record);
        assert_eq!(Record::from_bytes(bytes.as_bytes()).unwrap(), record, "as older builds wrote it");
    }
    let texts: String = written().into_iter().map(|(_, text)| text).collect();
    let pinned = |name: &String| texts.contains(&format!(": \"{name}\""));
    assert!(kinds().iter().all(pinned), "{:?}", kinds());
    assert!(triggers().iter().all(pinned), "{:?}", triggers());
}

#[test]
fn the_names_of_objects_and_the_bytes_of_the_hint_are_pinned() {
    assert_eq!(path(Attempt(7), Seq(12)).0, "log/00000007/000000000012");
    assert_eq!(hint_path().0, "hint");
    let hint = Hint { attempt: Attempt(7), seq: Seq(12) };
    assert_eq!(serde_json::to_string(&hint).unwrap(), r#"{"attempt":7,"seq":12}"#);
}

/// Names in a cell of the table; those in braces as `owner.address`, those in parentheses left out.
fn names(cell: &str) -> BTreeSet<String> {
    let (mut names, mut last, mut inside, mut left_out) = (BTreeSet::new(), "", None, false);
    for (index, piece) in cell.split('`').enumerate() {
        if index % 2 == 1 && !left_out {
            last = piece;
            names.insert(inside.map_or_else(|| piece.to_owned(), |whole| format!("{whole}.{piece}")));
        }
        for sign in piece.chars().filter(|_| index % 2 == 0) {
            match sign {
                '{' => inside = Some(last),
                '}' => inside = None,
                '(' => left_out = true,
                ')' => left_out = false,
                _ => {}
            }
        }
    }
    names
}

/// RFC 0001 tells operators what they find in a log.
#[test]
fn the_rfc_has_every_record_with_its_fields() {
    const RFC: &str = include_str!("../../../../docs/rfcs/0001-checkpoint-log.md");
    let (_, table) = RFC.split_once("| `type` | fields | meaning |\n|---|---|---|\n").unwrap();
    let rows = table.lines().take_while(|line| line.starts_with('|'));
    let rows: Vec<(String, &str)> = rows
        .map(|row| {
            let cells: Vec<&str> = row.split(" | ").collect();
            (names(cells[0]).into_iter().next().unwrap(), cells[1])
        })
        .collect();
    assert_eq!(rows.iter().map(|(kind, _)| kind).collect::<Vec<_>>(), kinds().iter().collect::<Vec<_>>());
    let mut fields: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (_, text) in written() {
        let record: BTreeMap<String, serde_json::Value> = serde_json::from_str(text).unwrap();
        let of_kind = fields.entry(record["type"].as_str().unwrap().to_owned()).or_default();
        for (name, value) in record.iter().filter(|(name, _)| !["recordId", "atMs", "type"].contains(&name.as_str())) {
            of_kind.insert(name.clone());
            // A checkpoint is told of once, and sinks have names of their own.
            let below = value.as_object().filter(|_| !["restoredFrom", "sinks"].contains(&name.as_str()));
            of_kind.extend(below.into_iter().flatten().map(|(below, _)| format!("{name}.{below}")));
        }
    }
    for (kind, cell) in &rows {
        assert_eq!(names(cell), fields[kind], "{kind}");
    }
    let (_, completed) = rows.iter().find(|(kind, _)| kind == "CheckpointCompleted").unwrap();
    let (_, told) = completed.split_once("`trigger` (").unwrap();
    assert_eq!(names(told.trim_end_matches(')')), triggers().into_iter().collect());
}

#[test]
fn what_is_not_a_record_is_not_taken_for_one() {
    for text in ["", "{}", "[]", r#"{"recordId":"r","atMs":5,"type":"Renamed","epoch":1}"#] {
        assert!(Record::from_bytes(text.as_bytes()).is_err(), "{text}");
    }
    for path in ["log", "log/", "log/1", "log/a/1", "log/1/b", "log/1/2/3", "data/1/2", "hint"] {
        assert_eq!(parse_path(&ObjectPath(path.into())), None, "{path}");
    }
}

#[test]
fn a_record_counts_where_it_was_written_only() {
    let (here, there) = (path(Attempt(1), Seq(4)), path(Attempt(1), Seq(5)));
    let record = Record::new(Body::Released { finished: false });
    let bytes = record.at(&here).to_bytes().unwrap();
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains("\",\n  \"path\": \"log/00000001/000000000004\",\n  \"atMs\": "), "{text}");
    assert_eq!(Record::read(&bytes, &here).unwrap().record_id, record.record_id);
    let error = Record::read(&bytes, &there).unwrap_err().to_string();
    assert!(error.contains("it is the record of `log/00000001/000000000004`, and was copied here"), "{error}");
    assert!(Record::read(&record.to_bytes().unwrap(), &there).is_ok(), "as older builds wrote it");
}
