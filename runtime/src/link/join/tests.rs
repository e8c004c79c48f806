//! Both ends, over a real connection.

use std::{collections::BTreeMap, sync::Arc};

use tidegate_crds::{
    StateBackend, StreamJob,
    api::{Failure, FailureReason},
};
use tokio::runtime::Handle;

use super::*;
use crate::{
    checkpoint::store::memory::MemoryStore,
    coordinator::{
        shared::Shared,
        workers::{Change, Workers},
    },
    exchange::remote::post::Post,
    ids::Attempt,
    job::JobPlan,
    link::reception::Reception,
    memory::MemoryLimit,
    metrics::Metrics,
    state::Backend,
    tls::Security,
    worker::{
        at_hand::AtHand,
        protocol::{Action, Assignment, News, Order},
    },
};

const PATIENCE: Duration = Duration::from_mins(1);
const JOB: &str = "passed";
const DIGEST: &str = "of the job";

const DOCUMENT: &str = "
apiVersion: tidegate.dev/v1alpha1
kind: StreamJob
metadata: { name: passed }
spec:
  sources: [{ name: orders, generator: {}, watermark: { column: ts, delay: 5s } }]
  sql: INSERT INTO passed SELECT * FROM orders
  sinks: [{ name: passed, files: { path: /nowhere } }]
  checkpoint: { storage: { local: { path: /nowhere } } }
";

/// A worker of a coordinator that is at `address`.
fn joining(plan: &Arc<JobPlan>, address: &str) -> Joining {
    let worker = Worker {
        plan: plan.clone(),
        store: Arc::new(MemoryStore::new()),
        backend: Backend::new(StateBackend::Memory, "/nowhere".into(), MemoryLimit::given(64 << 20)),
        at_hand: AtHand::default(),
        post: Post::default(),
        security: Security::Plain,
        io: Handle::current(),
    };
    Joining {
        worker,
        hello: Hello {
            name: "worker".to_owned(),
            slots: 1,
            exchange: String::new(),
            job: JOB.to_owned(),
            digest: DIGEST.to_owned(),
        },
        coordinator: Security::Plain.endpoint(address).unwrap(),
        silence: PATIENCE,
        readiness: Readiness::default(),
    }
}

/// What the worker has said, next.
async fn said(workers: &mut Workers) -> News {
    match env::within(PATIENCE, workers.next()).await.expect("a notice") {
        Change::Said(_, notice) => notice.news,
        other => panic!("{other:?}"),
    }
}

/// What the coordinator wants, next.
async fn ordered(link: &mut Link) -> Action {
    loop {
        match env::within(PATIENCE, link.answers.next()).await.expect("an order") {
            Ok(Some(ToWorker::Order(Order { action, .. }))) => return action,
            Ok(Some(ToWorker::Alive { .. })) => {}
            Ok(None) => panic!("the coordinator has ended the stream"),
            Err(Lost::Silent(_)) => panic!("the coordinator is silent"),
            Err(Lost::Broken(status)) => panic!("the stream has broken: {status}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_of_another_job_is_sent_away() {
    let plan = Arc::new(JobPlan::new(&StreamJob::from_yaml(DOCUMENT).unwrap(), Arc::new(Metrics::new())).unwrap());
    let shared = Shared::new(&plan, 1, "memory".to_owned());
    let (workers, door) = Workers::new();
    let reception = Reception { door, job: "other".to_owned(), digest: DIGEST.to_owned(), silence: PATIENCE, shared };
    let address = reception.serve("127.0.0.1:0".parse().unwrap(), &Security::Plain).await.unwrap();
    let cause = joining(&plan, &address.to_string()).join().await.err().unwrap();
    assert_eq!(cause, "worker `worker` has been given the job `passed`, and its coordinator runs `other`");
    assert!(workers.slots().is_empty());
}

/// tonic takes no message of more than 4 MiB by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_messages_arrive_whole_and_in_order_both_ways() {
    let plan = Arc::new(JobPlan::new(&StreamJob::from_yaml(DOCUMENT).unwrap(), Arc::new(Metrics::new())).unwrap());
    let shared = Shared::new(&plan, 1, "memory".to_owned());
    let (mut workers, door) = Workers::new();
    let reception = Reception { door, job: JOB.to_owned(), digest: DIGEST.to_owned(), silence: PATIENCE, shared };
    let address = reception.serve("127.0.0.1:0".parse().unwrap(), &Security::Plain).await.unwrap();
    let mut link = joining(&plan, &address.to_string()).join().await.unwrap();
    assert!(matches!(env::within(PATIENCE, workers.next()).await, Some(Change::Joined)));
    let [(worker, 1)] = workers.slots()[..] else { panic!("{:?}", workers.slots()) };

    // Above one piece, above what tonic takes at once, and far above it.
    for (number, length) in [(1, 1_500_000), (2, (4 << 20) + 1), (3, 33 << 20)] {
        let long: String = (0..length).map(|index| char::from(b'a' + (index % 23) as u8)).collect();
        let failure = Failure { reason: FailureReason::TaskFailed, message: long.clone() };
        for news in [News::NotReady(failure), News::Answered(number)] {
            link.notices.send(Notice { attempt: Attempt(1), run: None, news }).unwrap();
        }
        let News::NotReady(Failure { message, .. }) = said(&mut workers).await else { panic!("{number}") };
        assert!(message == long, "{number}: {} of {length} bytes", message.len());
        assert!(matches!(said(&mut workers).await, News::Answered(answer) if answer == number), "{number}");

        let assignment = Assignment {
            lineage: long.clone(),
            parallelism: 1,
            restored_from: None,
            starts: BTreeMap::new(),
            runs: BTreeMap::new(),
            subtasks: Vec::new(),
            peers: BTreeMap::new(),
        };
        for action in [Action::Deploy(assignment), Action::Ask(number)] {
            workers.order(worker, Attempt(1), action);
        }
        let Action::Deploy(Assignment { lineage, .. }) = ordered(&mut link).await else { panic!("{number}") };
        assert!(lineage == long, "{number}: {} of {length} bytes", lineage.len());
        assert!(matches!(ordered(&mut link).await, Action::Ask(question) if question == number), "{number}");
    }
}
