//! What checkpoints cost: the same job with one every second, and with none before its end.

use super::{
    Bench,
    measure::{self, Figures},
    variant::Variant,
};

const INTERVALS: [&str; 2] = ["1h", "1s"];

pub async fn table(bench: &Bench) -> String {
    let mut lines = vec!["checkpoints every second against none; medians".to_owned()];
    for variant in Variant::ALL {
        println!("==> the job with {}, with and without checkpoints: {} rounds", variant.name(), bench.rounds);
        let mut rounds: [Vec<Figures>; INTERVALS.len()] = Default::default();
        for round in 0..bench.rounds {
            for (interval, figures) in INTERVALS.into_iter().zip(&mut rounds) {
                let (mut job, run) = variant.job(bench, &format!("every-{interval}-{round}"), interval).await;
                figures.push(measure::whole(&mut job).await);
                bench.world.assert_rows(&run, &variant.reference(&bench.workload)).await;
            }
        }
        let [without, with] = rounds.each_ref().map(|rounds| measure::rate(rounds, bench.workload.count));
        lines.push(format!(
            "  {:<26} {without:.2} M records per CPU-second without, {with:.2} with: {:+.1} % CPU time",
            variant.name(),
            (without / with - 1.0) * 100.0
        ));
        lines.push(measure::durations(rounds[1].iter().flat_map(|figures| &figures.checkpoints)));
    }
    lines.join("\n")
}
