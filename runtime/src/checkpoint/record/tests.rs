use proptest::prelude::*;

use super::*;

fn counter<T: std::fmt::Debug>(make: impl Fn(u64) -> T + 'static) -> impl Strategy<Value = T> {
    any::<u64>().prop_map(make)
}

fn trigger() -> impl Strategy<Value = Trigger> {
    prop_oneof![Just(Trigger::Interval), Just(Trigger::Rescale), Just(Trigger::Stop), Just(Trigger::Finish)]
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
    (counter(Attempt), counter(Revision), ".*", ".*", any::<u32>(), restored_from, ".*", ".*").prop_map(
        |(attempt, revision, spec_digest, lineage, parallelism, restored_from, address, pod)| Body::AttemptStarted {
            attempt,
            revision,
            spec_digest,
            lineage,
            parallelism,
            restored_from,
            owner: Owner { address, pod },
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
        ".*".prop_map(|by| Body::Sealed { by }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_record_is_read_as_it_was_written(body in body(), record_id in ".*", at_ms in any::<u64>()) {
        let record = Record { record_id, at_ms, body };
        prop_assert_eq!(Record::from_bytes(&record.to_bytes().unwrap()).unwrap(), record);
    }

    #[test]
    fn a_torn_record_is_refused(body in body(), cut in any::<prop::sample::Index>()) {
        let bytes = Record::new(body).to_bytes().unwrap();
        prop_assert!(Record::from_bytes(&bytes[..cut.index(bytes.len())]).is_err());
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

/// Logs of today are read by the programs of tomorrow.
#[test]
fn the_written_form_is_pinned() {
    let checkpoint = CheckpointRef { epoch: Epoch(3), manifest: ObjectPath("data/m".into()), sha256: "ab".into() };
    let record = Record {
        record_id: "r".into(),
        at_ms: 5,
        body: Body::CheckpointCompleted { checkpoint, trigger: Trigger::Finish },
    };
    let written: serde_json::Value = serde_json::from_slice(&record.to_bytes().unwrap()).unwrap();
    let expected = serde_json::json!({
        "recordId": "r", "atMs": 5, "type": "CheckpointCompleted", "trigger": "Finish",
        "checkpoint": { "epoch": 3, "manifest": "data/m", "sha256": "ab" },
    });
    assert_eq!(written, expected);
    assert_eq!(path(Attempt(7), Seq(12)).0, "log/00000007/000000000012");
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
