//! Good values of every kind, mangled and fed.

use std::sync::Arc;

use arrow::array::{ArrayRef, DictionaryArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int32Type;
use proptest::prelude::*;
use tidegate_crds::{
    ExchangeCompression,
    api::{CheckpointTimes, Failure, FailureReason, RestoredBytes},
};

use super::{mangling::mangled, *};
use crate::{
    checkpoint::{
        manifest::{FileRef, PartRef, SubtaskState, TableFile},
        record::{Body, Record, Trigger},
        sample,
        store::ObjectPath,
    },
    element::{Barrier, Element},
    ids::{Attempt, Epoch, EventTime, OperatorId, RegionId, Run, SubtaskIndex},
    link::{
        ToCoordinator, ToWorker,
        codec::{Piece, pieces as pieces_of},
    },
    source::SplitState,
    state::file,
    worker::protocol::{Ack, Action, Assignment, Control, Hello, News, Notice, Order, TaskId},
};

fn records() -> Vec<Vec<u8>> {
    let checkpoint = sample::manifest(1, 7, Vec::new()).encode().unwrap().1;
    let sinks = [("totals".to_owned(), Epoch(9))].into();
    let bodies = [
        sample::started(3, None),
        sample::started(3, Some(checkpoint.clone())),
        Body::CheckpointCompleted { checkpoint, trigger: Trigger::Savepoint },
        Body::EpochCommitted { epoch: Epoch(7), sinks },
        Body::Released { finished: true },
        Body::Sealed { by: "sales-1".into() },
    ];
    bodies.map(|body| Record::new(body).to_bytes().unwrap().to_vec()).into()
}

fn manifests() -> Vec<Vec<u8>> {
    let file = |name: &str| FileRef::of(ObjectPath(format!("data/00000001/000000000007/{name}")), b"rows");
    let piece = FileRef { offset: Some(4), ..file("shared-0") };
    let mut whole = sample::manifest(1, 7, vec![file("part-0"), piece.clone()]);
    let table = TableFile { name: "000012.sst".into(), pieces: vec![file("12-0"), piece] };
    whole.operators[0].subtasks[0].table.push(table);
    whole.operators[0].subtasks[0].value = serde_json::json!({ "watermark": -60_000, "splits": [["orders-0", 17]] });
    [whole, sample::waiting("totals", 5..=7)].map(|manifest| manifest.encode().unwrap().0.to_vec()).into()
}

fn batch(rows: i64) -> RecordBatch {
    let numbers: Int64Array = (0..rows).collect();
    let words: StringArray = (0..rows).map(|n| (n % 3 > 0).then(|| format!("order {n}"))).collect();
    let kinds: DictionaryArray<Int32Type> = (0..rows).map(|n| ["web", "store"][(n % 2) as usize]).collect();
    let columns: [(&str, ArrayRef); 3] =
        [("n", Arc::new(numbers)), ("word", Arc::new(words)), ("kind", Arc::new(kinds))];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn channel() -> Vec<Element> {
    vec![
        Element::Batch(batch(5)),
        Element::Watermark(EventTime(-7)),
        Element::Batch(batch(200)),
        Element::Barrier(Barrier { epoch: Epoch(3), last: false, open: true }),
        Element::Idle,
        Element::End,
    ]
}

fn channels() -> Vec<Vec<u8>> {
    [ExchangeCompression::None, ExchangeCompression::Lz4].map(|how| frames::written(&channel(), how).unwrap()).into()
}

/// Messages as they go over the wire.
fn links() -> Vec<Vec<u8>> {
    fn wire(message: &impl serde::Serialize) -> Vec<u8> {
        let pieces = pieces_of(message).into_iter().map(|piece| match piece {
            Piece::Of { is_last, bytes } => [&[u8::from(is_last)], &bytes[..]].concat(),
            Piece::Unwritable(cause) => panic!("{cause}"),
        });
        joined(pieces)
    }
    let notice = |news| ToCoordinator::Notice(Notice { attempt: Attempt(3), run: Some(Run(2)), news });
    let part = PartRef {
        kind: "keys".into(),
        tag: -60_000,
        rows: 3,
        file: FileRef::of(ObjectPath("data/f".into()), b"rows"),
        batch: 1,
    };
    let state = SubtaskState { value: serde_json::json!({ "watermark": 5 }), parts: vec![part], table: Vec::new() };
    let task = TaskId { task: 1, subtask: SubtaskIndex(0) };
    let ack = Ack {
        task,
        epoch: Epoch(7),
        operators: vec![(OperatorId("window".into()), state)],
        chunks: sample::waiting("totals", 7..=7).chunks,
        bytes: 4,
        times: CheckpointTimes::default(),
        unaligned: None,
    };
    let failure = Failure { reason: FailureReason::TaskFailed, message: "a bad record".into() };
    let hello = Hello {
        name: "worker-0".into(),
        slots: 2,
        exchange: "10.0.0.7:8082".into(),
        job: "sales".into(),
        digest: "ab12".into(),
    };
    let assignment = Assignment {
        lineage: "sales-9f2c".into(),
        parallelism: 2,
        restored_from: Some(sample::manifest(1, 7, Vec::new()).encode().unwrap().1),
        starts: [(OperatorId("orders".into()), vec![SplitState { split: "orders-0".into(), ..SplitState::default() }])]
            .into(),
        runs: [(RegionId(0), Run(1))].into(),
        subtasks: vec![SubtaskIndex(0), SubtaskIndex(1)],
        peers: [(SubtaskIndex(1), "10.0.0.8:8082".to_owned())].into(),
    };
    let barrier = Barrier { epoch: Epoch(7), last: false, open: false };
    let order = |action| ToWorker::Order(Order { attempt: Attempt(3), action });
    vec![
        wire(&ToCoordinator::Hello(hello)),
        wire(&ToCoordinator::Alive),
        wire(&notice(News::Acked(ack))),
        wire(&notice(News::Ready(RestoredBytes::default()))),
        wire(&notice(News::Failed(failure.clone()))),
        wire(&notice(News::Declined { epoch: Epoch(7), failure })),
        wire(&notice(News::Exhausted(task))),
        wire(&notice(News::PublishedTo { sink: "totals".into(), epoch: Epoch(7) })),
        wire(&notice(News::Lag { source: "orders".into(), subtask: SubtaskIndex(0), lag: Some(7) })),
        wire(&ToWorker::Alive { runs: true }),
        wire(&order(Action::Deploy(assignment))),
        wire(&order(Action::Control(Control::Trigger(barrier)))),
        wire(&order(Action::Overtake(Epoch(7)))),
        wire(&order(Action::End(vec![Run(1), Run(2)]))),
    ]
}

fn state_file() -> Vec<u8> {
    let batch = batch(20);
    file::encode(&batch.schema(), [&batch, &batch]).unwrap().to_vec()
}

const EXAMPLES: [&str; 2] =
    [include_str!("../../../examples/store-sales.yaml"), include_str!("../../../examples/store-sales-local.yaml")];

fn documents() -> Vec<Vec<u8>> {
    const SETS: [&str; 5] = [
        "",
        "\0spec.parallelism=4\0spec.checkpoint.interval=10s",
        "\0spec.sources[0].watermark.delay=5s\0spec.restart.exponentialDelay.multiplier=1.5",
        "\0spec.workers={replicas: 2, slotsPerWorker: 2, standby: 1}\0spec.stateTtl=1h30m",
        "\0spec.checkpoint={storage: {local: {path: /data}}, maxConcurrent: 3}\0spec.sinks[0]={name: out, print: {}}",
    ];
    EXAMPLES
        .iter()
        .flat_map(|example| SETS.iter().map(move |set| [example.as_bytes(), set.as_bytes()].concat()))
        .collect()
}

const TEXTS: [&str; 3] = [
    "CREATE VIEW once AS SELECT s, n, amount, ts FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY s ORDER BY ts ASC) AS rn \
     FROM orders) WHERE rn = 1;\nINSERT INTO totals SELECT window_start, n, count(*) AS orders, sum(amount) AS total FROM \
     TUMBLE(TABLE once, DESCRIPTOR(ts), INTERVAL '1' MINUTE) GROUP BY window_start, window_end, n;",
    "INSERT INTO alerts SELECT CASE WHEN wide > 1.5 THEN upper(s) ELSE 'none' END AS word, CAST(d AS decimal(12,2)) AS \
     cents, date_format(ts, 'yyyy-MM-dd') AS day, coalesce(i, 0) + n AS sum FROM orders WHERE b AND s LIKE 'a%' AND day >= \
     DATE '2026-01-31'",
    "INSERT INTO totals SELECT s, n FROM orders WHERE f IN (1, 2.5) OR n BETWEEN 1 AND 9; -- a comment\nINSERT INTO alerts \
     SELECT \"s\" FROM orders WHERE raw IS NOT NULL /* another */",
];

const OBJECTS: [&str; 3] = [
    r#"{"ts":"2026-01-31T12:00:00.123+02:00","s":"ä\u00e4\ud83d\ude00\n","b":true,"i":-5.0,"n":"9223372036854775807","f":1.5,"d":-1e300,"amount":9999999999.99,"wide":1234567890123456789012345678.5,"day":"2026-01-31","raw":"AP/+"}"#,
    r#"{"ts":1767225600001,"s":null,"b":null,"n":5e2,"day":1,"unused":{"a":[1,2,{"b":null}],"c":"\\"}}"#,
    r#" { "ts" : 0 , "amount" : "7.25" , "wide" : 0.0000000001, "d": 0.1 } "#,
];

fn requests() -> Vec<Vec<u8>> {
    const BODIES: [(u8, &str); 9] = [
        (0, r#"{"purpose":"Suspend","finalCheckpoint":true,"savepoint":"move","drain":false}"#),
        (0, r#"{"purpose":"Cancel","finalCheckpoint":false}"#),
        (1, r#"{"name":"before-the-upgrade"}"#),
        (2, r#"{"parallelism":3}"#),
        (3, "anything"),
        (4, "17"),
        (5, "before-the-upgrade"),
        (6, "before-the-upgrade"),
        (6, "../../etc"),
    ];
    BODIES.map(|(route, body)| [&[route], body.as_bytes()].concat()).into()
}

/// A program plans on its main thread, which has four times the stack of a test's.
fn text_of_sql(bytes: &[u8]) {
    let bytes = bytes.to_vec();
    let planning = std::thread::Builder::new().stack_size(8 << 20).spawn(move || sql::text(&bytes)).unwrap();
    planning.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

#[test]
fn what_is_not_mangled_is_read() {
    records().iter().for_each(|bytes| assert!(Record::from_bytes(bytes).is_ok()));
    for sent in channels() {
        frames::channel(&sent, &sent);
    }
    let cut = channels().remove(0);
    frames::channel(&cut, &cut[..cut.len() / 2]);
    state_files::file(&state_file(), &state_file());
    let all: [(fn(&[u8]), Vec<Vec<u8>>); 7] = [
        (log::record, records()),
        (manifests::manifest, manifests()),
        (link::stream, links()),
        (documents::document, documents()),
        (requests::request, requests()),
        (text_of_sql, TEXTS.map(|text| text.as_bytes().to_vec()).into()),
        (json::record, OBJECTS.map(|object| object.as_bytes().to_vec()).into()),
    ];
    for (entry, good) in all {
        good.iter().for_each(|bytes| entry(bytes));
    }
}

/// A request for as much memory as these lengths say would end the process.
#[test]
fn a_length_that_lies_is_not_believed() {
    let good = channels();
    for sent in &good {
        for at in (0..sent.len().saturating_sub(8)).step_by(4) {
            let mut came = sent.clone();
            came[at..at + 8].copy_from_slice(&(1_u64 << 46).to_le_bytes());
            frames::channel(sent, &came);
        }
    }
    let manifest = String::from_utf8(manifests().remove(0)).unwrap().replace("\"bytes\":4", "\"bytes\":70368744177664");
    manifests::manifest(manifest.as_bytes());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn records_of_the_log(bytes in mangled(records())) {
        log::record(&bytes);
    }

    #[test]
    fn hints(bytes in mangled(vec![br#"{"attempt":7,"seq":12}"#.to_vec()])) {
        log::hint(&bytes);
    }

    #[test]
    fn manifests_that_nothing_vouches_for(bytes in mangled(manifests())) {
        manifests::manifest(&bytes);
    }

    #[test]
    fn files_of_state(bytes in mangled(vec![state_file()])) {
        state_files::file(&state_file(), &bytes);
    }

    #[test]
    fn channels_between_workers((sent, came) in prop::sample::select(channels()).prop_flat_map(|sent| {
        (Just(sent.clone()), mangled(vec![sent]))
    })) {
        frames::channel(&sent, &came);
    }

    #[test]
    fn messages_of_coordinators_and_workers(bytes in mangled(links())) {
        link::stream(&bytes);
    }

    #[test]
    fn documents_and_what_is_set_over_them(bytes in mangled(documents())) {
        documents::document(&bytes);
    }

    #[test]
    fn requests_over_http(bytes in mangled(requests())) {
        requests::request(&bytes);
    }

    #[test]
    fn texts_of_sql(bytes in mangled(TEXTS.map(|text| text.as_bytes().to_vec()).into())) {
        text_of_sql(&bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn records_of_sources(bytes in mangled(OBJECTS.map(|object| object.as_bytes().to_vec()).into())) {
        json::record(&bytes);
    }
}
