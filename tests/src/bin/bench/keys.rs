//! More keys in the same number of rows: one window over the whole topic, so that all keys stay in the state until its
//! end. Checkpoints are taken every second; what each has to write follows from how many keys changed since the last.
//!
//! Only one store in a thousand is put out, so that what the sinks cost does not hide what the state costs.

use tidegate_tests::oracle::{Workload, reference_of_days, sales_of_days};

use super::{Bench, measure};

pub const KEYS: [u64; 4] = [1_000, 100_000, 1_000_000, 10_000_000];
/// One store in so many is put out.
pub const PUT_OUT: i64 = 1_000;

pub async fn table(bench: &Bench) -> String {
    let mut lines = vec![format!(
        "by keys; one window over all rows, checkpoints every second; times and bytes are medians (longest, largest)\n\
         {:>12} {}",
        "keys",
        measure::STATE_COLUMNS
    )];
    for keys in KEYS {
        let name = format!("keys-{keys}");
        println!("==> {} orders of {keys} stores, {} rounds", bench.workload.count, bench.rounds);
        let workload = Workload::with_stores(6, bench.workload.count, keys);
        let orders = bench.world.store_sales(&name, &workload).await.orders;
        let expected = reference_of_days(&workload, |store| store % PUT_OUT == 0);
        let rounds = bench.rounds(&name, &orders, &expected, &[("spec.sql", &sales_of_days(PUT_OUT))]).await;
        lines.push(format!("{keys:>12} {}", measure::state_line(&rounds, workload.count)));
    }
    lines.join("\n")
}
