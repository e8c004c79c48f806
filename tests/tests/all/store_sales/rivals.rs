//! Two processes for one job.

use tidegate_tests::{
    job::End,
    oracle::Workload,
    world::{PATIENCE, World},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_processes_one_publishes_and_the_other_leaves_with_a_clear_word() {
    let world = World::shared().await;
    let workload = Workload::new(31, 1_500_000);
    let run = world.store_sales("rivals", &workload).await;
    let mut job = world.job(&run, "rivals").paced(workload.count);
    let (first, second) = (job.start(), job.start());
    let ends = [first.wait(PATIENCE), second.wait(PATIENCE)];
    let left: Vec<&String> =
        ends.iter().filter_map(|end| if let End::Failed(log) = end { Some(log) } else { None }).collect();
    assert_eq!(left.len(), 1, "{ends:?}");
    assert!(left[0].contains("the job is being run by"), "{}", left[0]);
    assert!(ends.contains(&End::Finished));
    world.assert_exact(&run, &workload).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_slept_while_another_took_over_publishes_nothing_more() {
    let world = World::shared().await;
    let workload = Workload::new(32, 1_500_000);
    let run = world.store_sales("sleeper", &workload).await;
    let mut job = world.job(&run, "sleeper").paced(workload.count);
    let mut sleeper = job.start();
    sleeper.wait_for_epoch(2, PATIENCE).await;
    // It answers nobody, yet all it had under way goes on when it wakes.
    sleeper.signal("STOP");
    let mut successor = job.start();
    successor.wait_for_epoch(0, PATIENCE).await;
    sleeper.signal("CONT");
    let End::Failed(log) = sleeper.wait(PATIENCE) else { panic!("the sleeper is to leave with an error") };
    assert!(log.contains("was ended by another process"), "{log}");
    assert_eq!(successor.wait(PATIENCE), End::Finished);
    world.assert_exact(&run, &workload).await;
}
