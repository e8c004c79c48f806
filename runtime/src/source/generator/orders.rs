//! The orders themselves: no I/O, no state.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use tidegate_crds::GeneratorSource;

/// How far back a duplicate's original may be, in orders.
const FARTHEST: u64 = 10_000;
/// How often an original is looked for before the order is one of its own.
const TRIES: u64 = 16;

/// One order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// Index of the order this one is, or repeats: its id is `o-<number>`.
    pub number: u64,
    /// 1 to the number of stores.
    pub store_id: i64,
    /// Amount in hundredths: 100 to 50,000.
    pub cents: i64,
    /// Event time: milliseconds since 1970.
    pub ts_ms: i64,
}

impl Order {
    pub fn id(&self) -> String {
        format!("o-{}", self.number)
    }
}

/// All orders of a seed.
#[derive(Debug, Clone)]
pub struct Orders {
    seed: u64,
    stores: u64,
    duplicates: f64,
    out_of_order: f64,
    max_delay_ms: u64,
    step_micros: u64,
    start_ms: i64,
}

/// Independent draws for one order.
#[derive(Clone, Copy)]
enum Draw {
    Store = 1,
    Cents,
    IsDuplicate,
    IsLate,
    Delay,
    Original,
}

impl Orders {
    /// The error is a message for the user.
    pub fn new(spec: &GeneratorSource) -> Result<Self, String> {
        let start = chrono::DateTime::parse_from_rfc3339(&spec.start)
            .map_err(|_| format!("start `{}` is not an RFC 3339 instant such as 2026-01-01T00:00:00Z", spec.start))?;
        for (field, share) in [("duplicates", spec.duplicates), ("outOfOrder", spec.out_of_order)] {
            if !(0.0..=1.0).contains(&share) {
                return Err(format!("{field} is {share}; accepted are shares from 0 to 1"));
            }
        }
        Ok(Self {
            seed: spec.seed,
            stores: spec.stores.max(1),
            duplicates: spec.duplicates,
            out_of_order: spec.out_of_order,
            max_delay_ms: spec.max_delay.millis(),
            step_micros: spec.step_micros.max(1),
            start_ms: start.timestamp_millis(),
        })
    }

    /// Order `index`. A share of orders repeats an earlier one in every column: an original at most 10,000 orders before
    /// and with an event time at most `maxDelay` behind where the stream is, so that it is never too late for a
    /// watermark with that delay. Another share has an event time of its own, up to `maxDelay` behind.
    pub fn order(&self, index: u64) -> Order {
        self.original_of(index).unwrap_or_else(|| self.original(index))
    }

    /// Column names and types of the rows.
    pub fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("order_id", DataType::Utf8, false),
            Field::new("store_id", DataType::Int64, false),
            Field::new("amount", DataType::Decimal128(12, 2), false),
            Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), false),
        ]))
    }

    fn original(&self, index: u64) -> Order {
        let delay = if self.max_delay_ms > 0 && self.happens(index, Draw::IsLate, self.out_of_order) {
            1 + self.draw(index, Draw::Delay, 0) % self.max_delay_ms
        } else {
            0
        };
        Order {
            number: index,
            store_id: 1 + (self.draw(index, Draw::Store, 0) % self.stores) as i64,
            cents: 100 + (self.draw(index, Draw::Cents, 0) % 49_901) as i64,
            ts_ms: self.time_ms(index) - delay as i64,
        }
    }

    /// The earlier order that `index` repeats, if it does.
    fn original_of(&self, index: u64) -> Option<Order> {
        if !self.happens(index, Draw::IsDuplicate, self.duplicates) {
            return None;
        }
        let within_delay = self.max_delay_ms.saturating_mul(1000) / self.step_micros;
        let farthest = FARTHEST.min(index).min(within_delay);
        (0..TRIES).filter(|_| farthest > 0).find_map(|attempt| {
            let candidate = index - 1 - self.draw(index, Draw::Original, attempt) % farthest;
            let order = self.original(candidate);
            let on_time = order.ts_ms >= self.time_ms(index) - self.max_delay_ms as i64;
            // A repeat is never repeated itself, or delays would add up.
            (on_time && !self.happens(candidate, Draw::IsDuplicate, self.duplicates)).then_some(order)
        })
    }

    /// Where the stream's event time is at `index`.
    fn time_ms(&self, index: u64) -> i64 {
        self.start_ms.saturating_add((u128::from(index) * u128::from(self.step_micros) / 1000) as i64)
    }

    fn happens(&self, index: u64, draw: Draw, share: f64) -> bool {
        share > 0.0 && ((self.draw(index, draw, 0) >> 11) as f64) < share * (1_u64 << 53) as f64
    }

    /// `SplitMix64`'s finalizer (S. Vigna) over seed, order and draw.
    fn draw(&self, index: u64, draw: Draw, attempt: u64) -> u64 {
        let mix = |mut x: u64| {
            x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            x ^ (x >> 31)
        };
        let stream = self.seed.wrapping_add((draw as u64 + 16 * attempt).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        mix(mix(stream).wrapping_add(index.wrapping_mul(0xd134_2543_de82_ef95)))
    }
}
