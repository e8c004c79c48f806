use tidegate_crds::api::Phase;

use super::*;
use crate::fake::says;

const NOW: u64 = 1_000_000;

/// A job that is as it should be: revision 7 of version `a`, with one pod that runs it.
fn running() -> Facts {
    Facts {
        now: NOW,
        has_finalizer: true,
        deletion_deadline: 120,
        digest: "a".into(),
        rollout: Some(Rollout { revision: 7, digest: "a".into(), replicas: 1 }),
        known_revision: Some(7),
        pods: vec![pod("p7", 7, Some(Phase::Running))],
        ..Facts::default()
    }
}

fn pod(name: &str, revision: u64, phase: Option<Phase>) -> PodFact {
    let attempt = |phase| (!matches!(phase, Phase::Claiming | Phase::Preparing)).then_some(3);
    let job = phase.map(|phase| says(phase, revision, attempt(phase)));
    PodFact { name: name.into(), ip: Some("10.0.0.1".into()), revision, job, ..PodFact::default() }
}

/// A pod whose job has deleted its checkpoints.
fn deleted_by(mut pod: PodFact) -> PodFact {
    if let Some(job) = &mut pod.job {
        job.is_deleted = true;
    }
    pod
}

fn in_trouble(revision: u64) -> PodFact {
    let trouble = super::super::trouble::Trouble {
        reason: tidegate_crds::Reason::IMAGE_ERROR,
        message: "no such image".into(),
        may_pass: true,
    };
    PodFact { trouble: Some(trouble), ..pod("broken", revision, None) }
}

fn stop(pods: &[&str], purpose: StopPurpose, final_checkpoint: bool) -> Decision {
    let pods = pods.iter().map(|name| (*name).to_owned()).collect();
    Decision::Stop { pods, request: StopRequest::new(purpose, final_checkpoint) }
}

fn rollout(replicas: i32) -> Rollout {
    Rollout { revision: 7, digest: "a".into(), replicas }
}

/// Every row of the module's table, by its name there.
#[test]
fn each_row_of_the_table_decides_as_it_says() {
    let deleted = |ago: u64| Facts { deleted_at: Some(NOW - ago), ..running() };
    let suspended = || Facts { state: RunState::Suspended, ..running() };
    let both = || vec![pod("p7", 7, Some(Phase::Running)), pod("p8", 8, Some(Phase::Claiming))];
    let spec = Refusal::Spec("spec.sql is empty".into());
    let cases: Vec<(&str, Facts, Decision)> = vec![
        ("D1", Facts { has_finalizer: false, ..deleted(1) }, Decision::Rest),
        ("D2", deleted(120), Decision::LetGo(Farewell::Deadline)),
        ("D3", Facts { pods: Vec::new(), ..deleted(1) }, Decision::LetGo(Farewell::NotRunning)),
        (
            "D3, its node is lost",
            Facts { pods: vec![PodFact { lost: true, ..pod("p7", 7, None) }], ..deleted(1) },
            Decision::LetGo(Farewell::NotRunning),
        ),
        ("D4", deleted(1), stop(&["p7"], StopPurpose::Cancel, true)),
        (
            "D4, at once",
            Facts { on_delete: OnDelete::Abandon, ..deleted(1) },
            stop(&["p7"], StopPurpose::Cancel, false),
        ),
        ("D4, one stands by", Facts { pods: both(), ..deleted(1) }, stop(&["p8"], StopPurpose::Cancel, true)),
        (
            "D4, though the spec is bad",
            Facts { refusal: Some(spec.clone()), ..deleted(1) },
            stop(&["p7"], StopPurpose::Cancel, true),
        ),
        (
            "D5",
            Facts { pods: vec![pod("p7", 7, Some(Phase::Stopped))], ..deleted(1) },
            Decision::LetGo(Farewell::Ended),
        ),
        (
            "D5, its checkpoints are gone",
            Facts { pods: vec![deleted_by(pod("p7", 7, Some(Phase::Stopped)))], ..deleted(1) },
            Decision::LetGo(Farewell::EndedAndDeleted),
        ),
        ("D6", Facts { pods: vec![in_trouble(7)], ..deleted(1) }, Decision::LetGo(Farewell::NotRunning)),
        ("D7", Facts { pods: vec![pod("p7", 7, None)], ..deleted(1) }, Decision::Wait),
        ("P1", Facts { has_finalizer: false, ..running() }, Decision::Protect),
        ("R1", Facts { refusal: Some(spec.clone()), digest: "b".into(), ..running() }, Decision::Refuse(spec.clone())),
        ("R1, suspended", Facts { refusal: Some(spec.clone()), ..suspended() }, Decision::Refuse(spec)),
        ("S1, never ran", Facts { rollout: None, pods: Vec::new(), ..suspended() }, Decision::Rest),
        ("S1, at zero", Facts { rollout: Some(rollout(0)), pods: Vec::new(), ..suspended() }, Decision::Rest),
        ("S2", suspended(), stop(&["p7"], StopPurpose::Suspend, true)),
        ("S2, one stands by", Facts { pods: both(), ..suspended() }, stop(&["p8"], StopPurpose::Suspend, true)),
        (
            "S2, of a changed spec",
            Facts { digest: "b".into(), ..suspended() },
            stop(&["p7"], StopPurpose::Suspend, true),
        ),
        (
            "S3, stopped",
            Facts { pods: vec![pod("p7", 7, Some(Phase::Stopped))], ..suspended() },
            Decision::Scale { replicas: 0 },
        ),
        ("S3, can't run", Facts { pods: vec![in_trouble(7)], ..suspended() }, Decision::Scale { replicas: 0 }),
        (
            "N1",
            Facts { rollout: None, known_revision: None, pods: Vec::new(), ..running() },
            Decision::Apply { revision: NOW, replicas: 1 },
        ),
        ("N2", Facts { digest: "b".into(), ..running() }, Decision::Apply { revision: NOW, replicas: 1 }),
        (
            "N2, suspended before",
            Facts { digest: "b".into(), rollout: Some(rollout(0)), pods: Vec::new(), ..running() },
            Decision::Apply { revision: NOW, replicas: 1 },
        ),
        ("N3", Facts { pods: vec![pod("p7", 7, Some(Phase::Finished))], ..running() }, Decision::Scale { replicas: 0 }),
        (
            "N4",
            Facts { rollout: Some(rollout(0)), finished_revision: Some(7), pods: Vec::new(), ..running() },
            Decision::Rest,
        ),
        (
            "N5",
            Facts { rollout: Some(rollout(0)), pods: Vec::new(), ..running() },
            Decision::Apply { revision: 7, replicas: 1 },
        ),
        (
            "N6",
            Facts { pods: vec![pod("p7", 7, Some(Phase::Stopped))], ..running() },
            Decision::Apply { revision: NOW, replicas: 1 },
        ),
        (
            "N6, it is on its way out",
            Facts { pods: vec![PodFact { terminating: true, ..pod("p7", 7, Some(Phase::Stopped)) }], ..running() },
            Decision::Rest,
        ),
        ("N7", Facts { drifted: true, ..running() }, Decision::Apply { revision: 7, replicas: 1 }),
        (
            "N8",
            Facts { orphans: vec![Orphan::JobFile("job-b".into())], ..running() },
            Decision::CleanUp(vec![Orphan::JobFile("job-b".into())]),
        ),
        ("N9", running(), Decision::Rest),
        (
            "N9, the old version was handed over and waits for its end",
            Facts { pods: vec![pod("p6", 6, Some(Phase::Stopped)), pod("p7", 7, Some(Phase::Running))], ..running() },
            Decision::Rest,
        ),
    ];
    for (row, facts, decision) in cases {
        assert_eq!(plan(&facts), decision, "{row}");
    }
}

/// The checkpoint log takes no lower revision than it has seen, so none may ever come again.
#[test]
fn a_new_revision_is_higher_than_all_before_whatever_was_lost() {
    let changed = || Facts { digest: "b".into(), ..running() };
    let ahead = |revision: u64| Some(Rollout { revision, digest: "a".into(), replicas: 1 });
    for (what, facts) in [
        ("a clock that was put back", Facts { rollout: ahead(NOW + 5), ..changed() }),
        ("a Deployment that was deleted", Facts { rollout: None, known_revision: Some(NOW + 5), ..changed() }),
        ("a status that was lost", Facts { known_revision: None, rollout: ahead(NOW + 5), ..changed() }),
    ] {
        assert_eq!(plan(&facts), Decision::Apply { revision: NOW + 6, replicas: 1 }, "{what}");
    }
}
