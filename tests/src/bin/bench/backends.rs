//! What it costs to remember keys, in memory and in RocksDB: a deduplication that keeps the first order of each store, so
//! that every row is a lookup, and as many are new as there are keys. Checkpoints are taken every second.

use tidegate_tests::oracle::{Workload, first_orders, reference_of_first_orders};

use super::{
    Bench,
    keys::{KEYS, PUT_OUT},
    measure,
};

const BACKENDS: [&str; 2] = ["Memory", "RocksDB"];

pub async fn table(bench: &Bench) -> String {
    let mut lines = vec![format!(
        "by keys and backend; a deduplication, checkpoints every second; times and bytes are medians (longest, largest)\n\
         {:>12} {:>10} {}",
        "keys",
        "backend",
        measure::STATE_COLUMNS
    )];
    for keys in KEYS {
        let workload = Workload::with_stores(6, bench.workload.count, keys);
        let orders = bench.world.store_sales(&format!("backends-{keys}"), &workload).await.orders;
        let expected = reference_of_first_orders(&workload, |store| store % PUT_OUT == 0);
        for backend in BACKENDS {
            println!("==> the first orders of {keys} stores with {backend}: {} rounds", bench.rounds);
            let name = format!("backends-{keys}-{}", backend.to_lowercase());
            let fields =
                [("spec.stateTtl", "1000h"), ("spec.stateBackend", backend), ("spec.sql", &first_orders(PUT_OUT))];
            let rounds = bench.rounds(&name, &orders, &expected, &fields).await;
            lines.push(format!("{keys:>12} {backend:>10} {}", measure::state_line(&rounds, workload.count)));
        }
    }
    lines.join("\n")
}
