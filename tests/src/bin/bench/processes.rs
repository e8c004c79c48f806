//! What the exchange costs between processes: two subtasks in one process, and in two workers that exchange half of the
//! rows over Arrow Flight: as they are, by mutual TLS, and by mutual TLS and compressed.

use tidegate_tests::crew::{Crew, Link};

use super::{Bench, measure, variant::Variant};

pub async fn table(bench: &Bench) -> String {
    let mut lines = vec![format!(
        "one process against two workers and a coordinator; medians\n{:<28} {:<16} {:>18} {:>12} {:>8}",
        "", "processes", "M records/CPU-s", "of one", "wall s"
    )];
    for variant in Variant::ALL {
        println!("==> the job with {} in one and in three processes: {} rounds", variant.name(), bench.rounds);
        let (mut one, mut plain, mut tls, mut lz4) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for round in 0..bench.rounds {
            let (mut job, run) = variant.job(bench, &format!("one-process-{round}"), "5s").await;
            one.push(measure::whole(&mut job).await);
            bench.world.assert_rows(&run, &variant.reference(&bench.workload)).await;
            for (link, compression, figures) in
                [(Link::Plain, "None", &mut plain), (Link::Tls, "None", &mut tls), (Link::Tls, "LZ4", &mut lz4)]
            {
                let name = format!("processes-{link:?}-{compression}-{round}").to_lowercase();
                let (job, run) = variant.job(bench, &name, "5s").await;
                let job = job.set("spec.exchangeCompression", compression);
                figures.push(measure::crew(Crew::start_linked(link, job, 2, 1)).await);
                bench.world.assert_rows(&run, &variant.reference(&bench.workload)).await;
            }
        }
        let rate = |rounds: &[_]| measure::rate(rounds, bench.workload.count);
        let base = rate(&one);
        for (name, rounds) in [("one", &one), ("three, plain", &plain), ("three, TLS", &tls), ("three, TLS, LZ4", &lz4)]
        {
            let wall = measure::median(rounds.iter().map(|figures| figures.wall_seconds));
            lines.push(format!(
                "  {:<26} {name:<16} {:>18.2} {:>11.0}% {wall:>8.1}",
                variant.name(),
                rate(rounds),
                rate(rounds) / base * 100.0
            ));
        }
    }
    lines.join("\n")
}
