//! What checkpoints cost: the same job with one every second, and with none before its end.
//!
//! Runs of one job differ by more than checkpoints cost, and the machine changes over minutes. So each round is a pair, its
//! halves in turns the first, and what is told is the median of the pairs with the least and the most of them.

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
            let mut order = [0, 1];
            order.rotate_left(round % 2);
            for place in order {
                let interval = INTERVALS[place];
                let (mut job, run) = variant.job(bench, &format!("every-{interval}-{round}"), interval).await;
                rounds[place].push(measure::whole(&mut job).await);
                bench.world.assert_rows(&run, &variant.reference(&bench.workload)).await;
            }
        }
        let [without, with] = rounds.each_ref().map(|rounds| measure::rate(rounds, bench.workload.count));
        let costs = || {
            let pairs = rounds[0].iter().zip(&rounds[1]);
            pairs.map(|(without, with)| (with.cpu_seconds / without.cpu_seconds - 1.0) * 100.0)
        };
        lines.push(format!(
            "  {:<26} {without:.2} M records per CPU-second without, {with:.2} with: {:+.1} % CPU time ({:+.1} to {:+.1})",
            variant.name(),
            measure::median(costs()),
            costs().fold(f64::INFINITY, f64::min),
            costs().fold(f64::NEG_INFINITY, f64::max),
        ));
        lines.push(measure::durations(rounds[1].iter().flat_map(|figures| &figures.checkpoints)));
    }
    lines.join("\n")
}
