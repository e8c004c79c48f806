//! What the store-sales job must put out.

use std::collections::{BTreeMap, HashMap};

use tidegate::source::generator::Order;

use super::{Rows, Workload};

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;

/// Sales per store and minute, each order counted once: the row of its id with the smallest event time.
pub fn reference(workload: &Workload) -> Rows {
    let mut first: HashMap<u64, Order> = HashMap::new();
    for index in 0..workload.count {
        let order = workload.orders.order(index);
        let kept = first.entry(order.number).or_insert(order);
        if order.ts_ms < kept.ts_ms {
            *kept = order;
        }
    }
    sums(MINUTE_MS, first.into_values())
}

/// As [`reference`], without remembering what came: an order is a duplicate if its number is not its own.
pub fn reference_of_originals(workload: &Workload) -> Rows {
    let orders = (0..workload.count).map(|index| (index, workload.orders.order(index)));
    sums(MINUTE_MS, orders.filter(|(index, order)| order.number == *index).map(|(_, order)| order))
}

/// As [`reference`], with duplicates counted as often as they come.
pub fn reference_with_duplicates(workload: &Workload) -> Rows {
    sums(MINUTE_MS, (0..workload.count).map(|index| workload.orders.order(index)))
}

/// The SQL of a job that puts out the sales per day of one store in so many: a window that keeps all stores to its end.
pub fn sales_of_days(one_in: i64) -> String {
    format!(
        "CREATE VIEW sales AS \
           SELECT window_start, store_id, SUM(amount) AS total, COUNT(*) AS orders \
           FROM TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' DAY) \
           GROUP BY window_start, window_end, store_id; \
         INSERT INTO store_sales SELECT * FROM sales WHERE store_id % {one_in} = 0; \
         INSERT INTO store_sales_feed SELECT * FROM sales WHERE store_id % {one_in} = 0;"
    )
}

/// As [`reference_with_duplicates`], per day, of some stores.
pub fn reference_of_days(workload: &Workload, of_store: impl Fn(i64) -> bool) -> Rows {
    let orders = (0..workload.count).map(|index| workload.orders.order(index));
    sums(DAY_MS, orders.filter(|order| of_store(order.store_id)))
}

/// The SQL of a job that keeps the first order of each store, and puts out the day of one store in so many.
pub fn first_orders(one_in: i64) -> String {
    format!(
        "CREATE VIEW first_orders AS \
           SELECT store_id, ts \
           FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY store_id ORDER BY ts) AS n FROM orders) \
           WHERE n = 1; \
         CREATE VIEW days AS \
           SELECT window_start, store_id, CAST(0 AS DECIMAL(22, 2)) AS total, COUNT(*) AS orders \
           FROM TUMBLE(TABLE first_orders, DESCRIPTOR(ts), INTERVAL '1' DAY) \
           WHERE store_id % {one_in} = 0 \
           GROUP BY window_start, window_end, store_id; \
         INSERT INTO store_sales SELECT * FROM days; \
         INSERT INTO store_sales_feed SELECT * FROM days;"
    )
}

/// What [`first_orders`] puts out.
pub fn reference_of_first_orders(workload: &Workload, of_store: impl Fn(i64) -> bool) -> Rows {
    let mut first: BTreeMap<i64, i64> = BTreeMap::new();
    for order in (0..workload.count).map(|index| workload.orders.order(index)).filter(|order| of_store(order.store_id))
    {
        let ts_ms = first.entry(order.store_id).or_insert(order.ts_ms);
        *ts_ms = order.ts_ms.min(*ts_ms);
    }
    sums(DAY_MS, first.into_iter().map(|(store_id, ts_ms)| Order { number: 0, store_id, cents: 0, ts_ms }))
}

fn sums(window_ms: i64, orders: impl Iterator<Item = Order>) -> Rows {
    let mut sums: BTreeMap<(i64, i64), (i64, i64)> = BTreeMap::new();
    for order in orders {
        let window = order.ts_ms.div_euclid(window_ms) * window_ms;
        let sum = sums.entry((window, order.store_id)).or_default();
        sum.0 += order.cents;
        sum.1 += 1;
    }
    sums.into_iter()
        .map(|((window, store), (cents, orders))| format!("{window} store {store}: {cents} cents, {orders} orders"))
        .collect()
}

/// Sum of all rows: cents, and orders.
pub fn totals(rows: &Rows) -> (i64, i64) {
    rows.iter().fold((0, 0), |(cents, orders), (row, count)| {
        let numbers: Vec<i64> = row.split([' ', ':', ',']).filter_map(|word| word.parse().ok()).collect();
        let [_, _, row_cents, row_orders] = numbers[..] else { panic!("no row of the reference: {row}") };
        (cents + row_cents * count as i64, orders + row_orders * count as i64)
    })
}
