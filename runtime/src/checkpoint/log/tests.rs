use super::*;
use crate::{
    checkpoint::{record::Trigger, store::ObjectPath},
    ids::Epoch,
};

fn open(revision: u64, pod: &str) -> AttemptLog {
    AttemptLog {
        attempt: Attempt(4),
        revision: Revision(revision),
        spec_digest: String::new(),
        lineage: "shop".into(),
        parallelism: 1,
        owner: Owner { address: "127.0.0.1:1".into(), pod: pod.into(), job_uid: None },
        record_id: "r4".into(),
        next: Seq(7),
        ending: None,
        checkpoint: None,
        committed: Committed::default(),
    }
}

#[test]
fn a_claim_is_decided_by_this_table() {
    let me = Claimant { revision: Revision(2), pod: "me".into() };
    let ended = |ending| AttemptLog { ending: Some(ending), ..open(2, "other") };
    let start = Claim::Start { next: Attempt(5), restored_from: None, lineage: Some("shop".into()) };
    let seal = || Claim::Seal { attempt: Attempt(4), seal_at: Seq(7) };
    let deleted = |revision, pod| AttemptLog { ending: Some(Ending::Deleted), ..open(revision, pod) };
    let anew = || Claim::Start { next: Attempt(5), restored_from: None, lineage: None };
    let cases = [
        (
            "a deleted job whose owner nobody asked",
            deleted(2, "other"),
            OwnerAnswer::NotAsked,
            Claim::Ask { owner: open(2, "other").owner, record_id: "r4".into() },
        ),
        (
            "a deleted job whose owner still deletes",
            deleted(1, "other"),
            OwnerAnswer::Alive,
            Claim::Owned { owner: open(1, "other").owner, attempt: Attempt(4) },
        ),
        ("a deleted job whose owner is gone, of a newer revision", deleted(3, "other"), OwnerAnswer::Gone, anew()),
        ("my own deleted job", deleted(3, "me"), OwnerAnswer::NotAsked, anew()),
        (
            "an open attempt of a newer revision",
            open(3, "other"),
            OwnerAnswer::Gone,
            Claim::Superseded { by: Revision(3) },
        ),
        (
            "an open attempt of an older revision",
            open(1, "other"),
            OwnerAnswer::NotAsked,
            Claim::Ask { owner: open(1, "other").owner, record_id: "r4".into() },
        ),
        (
            "an owner of an older revision that answers",
            open(1, "other"),
            OwnerAnswer::Alive,
            Claim::HandOver { owner: open(1, "other").owner, attempt: Attempt(4), record_id: "r4".into() },
        ),
        ("an owner of an older revision that is gone", open(1, "other"), OwnerAnswer::Gone, seal()),
        ("my own old attempt", open(2, "me"), OwnerAnswer::NotAsked, seal()),
        ("my own old attempt of an older revision", open(1, "me"), OwnerAnswer::NotAsked, seal()),
        ("an owner that is gone", open(2, "other"), OwnerAnswer::Gone, seal()),
        (
            "an owner nobody asked",
            open(2, "other"),
            OwnerAnswer::NotAsked,
            Claim::Ask { owner: open(2, "other").owner, record_id: "r4".into() },
        ),
        (
            "an owner that answers",
            open(2, "other"),
            OwnerAnswer::Alive,
            Claim::Owned { owner: open(2, "other").owner, attempt: Attempt(4) },
        ),
        ("a sealed attempt", ended(Ending::Sealed), OwnerAnswer::NotAsked, start),
        (
            "a finished job",
            ended(Ending::Released { finished: true }),
            OwnerAnswer::NotAsked,
            Claim::Finished { attempt: Attempt(4) },
        ),
    ];
    for (what, log, answer, expected) in cases {
        assert_eq!(claim(Some(&log), &me, answer), expected, "{what}");
    }
    assert_eq!(
        claim(None, &me, OwnerAnswer::NotAsked),
        Claim::Start { next: Attempt(1), restored_from: None, lineage: None }
    );
}

#[test]
fn records_after_the_end_are_an_error_and_not_overlooked() {
    let started = Record::new(Body::AttemptStarted {
        attempt: Attempt(1),
        revision: Revision(1),
        spec_digest: String::new(),
        lineage: "l".into(),
        parallelism: 1,
        restored_from: None,
        owner: Owner { address: String::new(), pod: String::new(), job_uid: None },
    });
    let sealed = Record::new(Body::Sealed { by: "x".into() });
    let completed = completed(3);
    let committed = Record::new(Body::committed(&Committed::up_to(Some(Epoch(3)))));
    let records = [started.clone(), completed.clone(), committed.clone(), sealed.clone()];
    let log = summarize(Attempt(1), Seq(4), &records).unwrap();
    assert_eq!((log.committed.all, log.ending), (Some(Epoch(3)), Some(Ending::Sealed)));
    assert!(summarize(Attempt(1), Seq(4), &[started, completed, sealed, committed.clone()]).is_err());
    assert!(summarize(Attempt(1), Seq(1), &[committed]).is_err());
}

fn completed(epoch: u64) -> Record {
    Record::new(Body::CheckpointCompleted {
        checkpoint: CheckpointRef { epoch: Epoch(epoch), manifest: ObjectPath("m".into()), sha256: String::new() },
        trigger: Trigger::Interval,
    })
}

#[test]
fn what_is_published_is_owned() {
    let started = Record::new(crate::checkpoint::sample::started(1, None));
    let of = |committed: Committed| {
        let records = [started.clone(), completed(3), Record::new(Body::committed(&committed))];
        summarize(Attempt(1), Seq(3), &records)
    };
    assert_eq!(of(Committed::up_to(Some(Epoch(3)))).unwrap().committed.all, Some(Epoch(3)));
    let mut of_sink = Committed::up_to(Some(Epoch(2)));
    of_sink.publish_to("out", Epoch(4));
    for committed in [Committed::up_to(Some(Epoch(4))), of_sink] {
        assert_eq!(of(committed).unwrap_err(), "attempt 1 has published epoch 4, and owns 3 at most");
    }
}

#[test]
fn reading_back_ends_with_the_newest_checkpoint_and_the_beginning() {
    let committed = Record::new(Body::committed(&Committed::up_to(Some(Epoch(3)))));
    assert_eq!(read_next(Seq(9), &committed), Some(Seq(8)));
    assert_eq!(read_next(Seq(8), &completed(3)), Some(Seq(0)));
    assert_eq!(read_next(Seq(1), &committed), Some(Seq(0)));
    assert_eq!(read_next(Seq(0), &committed), None);
}

#[test]
fn a_record_is_ours_by_its_id_alone() {
    let sent = Record::new(Body::committed(&Committed::up_to(Some(Epoch(3)))));
    let read_back = Record::from_bytes(&sent.to_bytes().unwrap()).unwrap();
    assert!(is_ours(&sent, &read_back));
    assert!(!is_ours(&sent, &Record::new(sent.body.clone())), "another process may send the same words");
}
