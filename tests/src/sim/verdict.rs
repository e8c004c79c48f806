//! Whether what a run has put out is what it must be, row by row.

use tidegate::{
    checkpoint::{manifest::Manifest, savepoint},
    ids::Epoch,
    source::SplitState,
};

use super::{
    job::{COPY, FIRST, Setting, root_of},
    ledger::{self, Standing},
    met::Kind,
    sales::{Counts, Expected, parse_late},
    store::SCHEME,
    table::passed_on,
    topic::Sale,
    topic_source::positions,
    world::World,
};
use crate::oracle::{Rows, Workload, reference, reference_with_duplicates};

/// The sinks that have the sums; of the late rows; of the second pipeline.
const SUMS: [&str; 2] = ["table_sink", "topic_sink"];
const LATE: &str = "late_sink";
const PASSED_ON: &str = "passed_sink";

/// Compares what the first job has put out with the reference, and, if there was one, what the second has, together with
/// what the first had put out when the second began.
pub fn compare(world: &mut World, setting: &Setting, has_second: bool) -> Result<(), String> {
    one_job(world, setting, FIRST)?;
    if has_second {
        one_job(world, setting, COPY).map_err(|cause| format!("the second job: {cause}"))?;
    }
    Ok(())
}

fn one_job(world: &mut World, setting: &Setting, generation: u8) -> Result<(), String> {
    let standing = ledger::standing(world, root_of(generation))?;
    let found = Found { world, generation, origin: standing.origin.unwrap_or_default() };
    let sums = SUMS.map(|sink| found.rows(sink));
    if standing.is_deleted {
        return of_deleted(&found, setting);
    }
    match setting.topic {
        Some(_) => {
            let [rows, others] = &sums;
            differ("topic", others, rows)?;
            let counted = of_topic(&found, setting, &standing, rows)?;
            let late = found.rows(LATE).len();
            for (kind, count) in [(Kind::Forgotten, counted), (Kind::Late, late)] {
                (0..count).for_each(|_| world.met.note(kind));
            }
            Ok(())
        }
        None => {
            let expected = of_orders(setting);
            if expected.is_empty() {
                return Err("a reference without rows proves nothing".to_owned());
            }
            for (sink, rows) in SUMS.iter().zip(&sums) {
                differ(sink, rows, &expected)?;
            }
            let Some(returns) = &setting.returns else { return Ok(()) };
            differ(PASSED_ON, &found.rows(PASSED_ON), &passed_on_of(&Workload::of(returns)))
        }
    }
}

/// What a job that deleted what it had kept must leave: rows of the reference, its log, and its savepoints.
fn of_deleted(found: &Found<'_>, setting: &Setting) -> Result<(), String> {
    let mut expected = SUMS.map(|sink| (sink, of_orders(setting))).to_vec();
    expected.extend(setting.returns.iter().map(|returns| (PASSED_ON, passed_on_of(&Workload::of(returns)))));
    for (sink, expected) in expected {
        let rows = found.rows(sink);
        if let Some((row, count)) = rows.iter().find(|(row, count)| *count > expected.count(row)) {
            return Err(format!("{sink}: {row}: {count} times, expected {} at most", expected.count(row)));
        }
    }
    let root = root_of(found.generation);
    let kept = found.world.savepoints.iter().filter_map(|(address, _)| address.strip_prefix(SCHEME));
    for folder in kept.filter(|folder| folder.starts_with(root)) {
        let bytes = found.world.objects.get(&format!("{folder}/{}", savepoint::FILE));
        if bytes.is_none_or(|bytes| savepoint::is_given_up(bytes)) {
            return Err(format!("the savepoint {folder} has gone with its job"));
        }
    }
    Ok(())
}

/// What a job has put out, and, up to where it began, the job before.
struct Found<'a> {
    world: &'a World,
    generation: u8,
    origin: Epoch,
}

impl Found<'_> {
    fn rows(&self, sink: &str) -> Rows {
        let name = |generation| format!("{}{sink}", root_of(generation));
        let of = |generation| {
            let rows = if sink == SUMS[0] { &self.world.table.rows } else { &self.world.broker.rows };
            rows.get(&name(generation)).into_iter().flatten()
        };
        let own = of(self.generation).map(|(_, row)| row.clone());
        if self.generation == FIRST {
            return own.collect();
        }
        // Whether the first job would have put out more is not known when another goes on in its place.
        let then = self.world.put_out.get(root_of(self.generation));
        let count = then.and_then(|then| then.get(&name(FIRST))).copied().unwrap_or_default();
        let before = of(FIRST).take(count).filter(|(epoch, _)| *epoch <= self.origin).map(|(_, row)| row.clone());
        own.chain(before).collect()
    }
}

fn differ(sink: &str, found: &Rows, expected: &Rows) -> Result<(), String> {
    let difference = found.difference(expected);
    if difference.is_empty() {
        return Ok(());
    }
    let first: Vec<_> = difference.iter().take(5).cloned().collect();
    Err(format!(
        "{sink}: {} rows, expected {}; {} differ:\n{}",
        found.len(),
        expected.len(),
        difference.len(),
        first.join("\n")
    ))
}

fn of_orders(setting: &Setting) -> Rows {
    let workload = Workload::of(&setting.orders);
    if setting.counts_all() { reference_with_duplicates(&workload) } else { reference(&workload) }
}

/// How many rows counted whose id was forgotten.
fn of_topic(found: &Found<'_>, setting: &Setting, standing: &Standing, rows: &Rows) -> Result<u64, String> {
    let (world, root) = (found.world, root_of(found.generation));
    let (newest, _) = standing.newest.as_ref().ok_or("a job without a checkpoint")?;
    let bytes = world.objects.get(&format!("{root}{}", newest.manifest)).ok_or("the last manifest is gone")?;
    let manifest = Manifest::decode(&newest.manifest, bytes).map_err(|error| error.to_string())?;
    let states = manifest.operators.iter().flat_map(|operator| &operator.subtasks);
    let splits =
        states.filter_map(|state| serde_json::from_value::<Vec<SplitState>>(state.value["splits"].clone()).ok());
    let sales = world.topic.sales(&positions(&splits.flatten().collect::<Vec<_>>()));
    let ttl_ms = setting.topic.as_ref().map_or(0, |topic| topic.ttl.as_millis() as i64);
    let counts = if setting.counts_all() { Counts::All } else { Counts::Unique { ttl_ms } };
    let late = found.rows(LATE);
    let read = |(record, count): (&str, u64)| {
        let sale = parse_late(record).ok_or_else(|| format!("no late row: {record}"))?;
        Ok(std::iter::repeat_n(sale, count as usize))
    };
    let late: Vec<Sale> = late.iter().map(read).collect::<Result<Vec<_>, String>>()?.into_iter().flatten().collect();
    if setting.is_punctual() && !late.is_empty() {
        return Err(format!("{} rows are late, such as {:?}", late.len(), late.first()));
    }
    let each = rows.iter().flat_map(|(row, count)| std::iter::repeat_n(row, count as usize));
    Expected::of(&sales, counts).compare(each, &late)
}

/// What the second pipeline must put out.
fn passed_on_of(workload: &Workload) -> Rows {
    let orders = (0..workload.count).map(|index| workload.orders.order(index));
    orders.map(|order| passed_on(&order.id(), order.store_id, order.cents.into(), order.ts_ms)).collect()
}
