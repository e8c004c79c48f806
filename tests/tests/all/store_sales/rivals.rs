//! Two processes for one job.

use tidegate_tests::{job::End, oracle::Workload};

use super::world::{PATIENCE, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_processes_one_publishes_and_the_other_leaves_with_a_clear_word() {
    let world = World::shared().await;
    let workload = Workload::new(31, 1_500_000);
    let run = world.store_sales("rivals", &workload).await;
    let mut job = world.job(&run, "rivals");
    let (first, second) = (job.start(), job.start());
    let ends = [first.wait(PATIENCE), second.wait(PATIENCE)];
    let left: Vec<&String> =
        ends.iter().filter_map(|end| if let End::Failed(log) = end { Some(log) } else { None }).collect();
    assert_eq!(left.len(), 1, "{ends:?}");
    assert!(left[0].contains("the job is being run by"), "{}", left[0]);
    assert!(ends.contains(&End::Finished));
    world.assert_exact(&run, &workload).await;
}
