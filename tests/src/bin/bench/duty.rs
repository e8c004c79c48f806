//! The job beside the cost of its parts: one program that only consumes, one that also decodes, the job with its window,
//! the job with a deduplication before it.

use super::{
    Bench,
    measure::{self, Figures},
    variant::Variant,
};

/// What is measured, in the order of the figures.
const PROGRAMS: [&str; 4] = ["consume", "consume and decode", "consume, decode by arrow", "job"];

pub async fn table(bench: &Bench) -> String {
    let mut lines = vec!["by duty; medians, `rate` in M records per CPU-second".to_owned()];
    for variant in Variant::ALL {
        println!("==> the job with {}: {} rounds", variant.name(), bench.rounds);
        let mut rounds: [Vec<Figures>; PROGRAMS.len()] = Default::default();
        for number in 0..bench.rounds {
            // In turn, so that whatever else the machine does meets them all.
            for (all, one) in rounds.iter_mut().zip(round(bench, variant, number).await) {
                all.push(one);
            }
        }
        lines.extend(program_lines(bench, variant, &rounds));
    }
    lines.join("\n")
}

async fn round(bench: &Bench, variant: Variant, round: usize) -> [Figures; PROGRAMS.len()] {
    let count = bench.workload.count;
    let (mut job, run) = variant.job(bench, &format!("duty-{round}"), "5s").await;
    let consumed = measure::part(&job, "consume", count);
    let decoded = measure::part(&job, "decode", count);
    let by_arrow = measure::part(&job, "arrow-json", count);
    let figures = measure::whole(&mut job).await;
    bench.world.assert_rows(&run, &variant.reference(&bench.workload)).await;
    println!("    round {}: job {:.1} CPU-s, output exact", round + 1, figures.cpu_seconds);
    [consumed, decoded, by_arrow, figures]
}

fn program_lines(bench: &Bench, variant: Variant, rounds: &[Vec<Figures>; PROGRAMS.len()]) -> Vec<String> {
    let rate = |figures: &[Figures]| measure::rate(figures, bench.workload.count);
    let base = rate(&rounds[1]);
    let mut lines =
        vec![format!("{:<28} {:>8} {:>10} {:>8} {:>8}", variant.name(), "rate", "of decode", "wall s", "peak MB")];
    for (name, figures) in PROGRAMS.into_iter().zip(rounds) {
        let wall = measure::median(figures.iter().map(|figures| figures.wall_seconds));
        let peak = figures.iter().map(|figures| figures.peak_mb).fold(0.0, f64::max);
        let rate = rate(figures);
        lines.push(format!("  {name:<26} {rate:>8.2} {:>9.0}% {wall:>8.1} {peak:>8.0}", rate / base * 100.0));
    }
    let checkpoints = rounds[PROGRAMS.len() - 1].iter().flat_map(|figures| &figures.checkpoints);
    lines.push(measure::durations(checkpoints));
    lines
}
