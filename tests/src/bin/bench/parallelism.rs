//! More subtasks over the same topic: what each row costs then, and how much sooner the job is done.

use super::{Bench, measure, variant::Variant};

/// Four are more than this project's machines have cores.
const SUBTASKS: [u32; 3] = [1, 2, 4];

pub async fn table(bench: &Bench) -> String {
    let mut lines = vec![format!(
        "by parallelism; medians\n{:<28} {:>9} {:>18} {:>13} {:>8}",
        "", "subtasks", "M records/CPU-s", "M records/s", "peak MB"
    )];
    for variant in Variant::ALL {
        for subtasks in SUBTASKS {
            println!("==> the job with {} in {subtasks} subtasks: {} rounds", variant.name(), bench.rounds);
            let mut rounds = Vec::new();
            for round in 0..bench.rounds {
                let (job, run) = variant.job(bench, &format!("parallelism-{subtasks}-{round}"), "5s").await;
                rounds.push(measure::whole(&mut job.set("spec.parallelism", subtasks)).await);
                bench.world.assert_rows(&run, &variant.reference(&bench.workload)).await;
            }
            let count = bench.workload.count;
            let seconds = measure::median(rounds.iter().map(|figures| figures.wall_seconds));
            let peak = rounds.iter().map(|figures| figures.peak_mb).fold(0.0, f64::max);
            lines.push(format!(
                "  {:<26} {subtasks:>9} {:>18.2} {:>13.2} {peak:>8.0}",
                variant.name(),
                measure::rate(&rounds, count),
                count as f64 / seconds / 1e6
            ));
        }
    }
    lines.join("\n")
}
