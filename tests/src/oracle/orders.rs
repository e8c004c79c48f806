//! Orders for a test.

use serde_json::json;
use tidegate::source::generator::Orders;
use tidegate_crds::GeneratorSource;

/// Some orders, always the same for the same settings.
#[derive(Debug, Clone)]
pub struct Workload {
    pub orders: Orders,
    pub count: u64,
}

impl Workload {
    /// `count` orders of 100 stores over as many milliseconds, a tenth of them duplicates, a fifth out of order by up to
    /// five seconds.
    pub fn new(seed: u64, count: u64) -> Self {
        Self::with_stores(seed, count, 100)
    }

    /// As [`Workload::new`], with so many stores that nearly every order is a row of its own.
    pub fn wide(seed: u64, count: u64) -> Self {
        Self::with_stores(seed, count, 10_000_000)
    }

    /// As [`Workload::new`], with `stores` stores.
    pub fn with_stores(seed: u64, count: u64, stores: u64) -> Self {
        let settings = json!({ "seed": seed, "stores": stores, "duplicates": 0.1, "outOfOrder": 0.2 });
        let spec: GeneratorSource = serde_json::from_value(settings).expect("a generator");
        Self { orders: Orders::new(&spec).expect("valid settings"), count }
    }

    /// The orders of a document's generator, which must be bounded.
    pub fn of(spec: &GeneratorSource) -> Self {
        Self { orders: Orders::new(spec).expect("valid settings"), count: spec.count.expect("a count") }
    }
}
