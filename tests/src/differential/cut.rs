//! Where one version of a job ends and the next begins: what the checkpoint between them says.
//!
//! Which records an earlier version has read, which windows it has closed and which rows it still holds back is the
//! engine's own business, as long as every record counts once. So it is read from the checkpoint that the next version went
//! on from: positions, watermarks, and the event times of rows that wait. Whether it is true shows in the rows.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{AsArray, RecordBatch},
    compute::cast,
    datatypes::{DataType, Int64Type, TimeUnit},
};
use tidegate::{
    checkpoint::{
        claim::read_newest,
        manifest::{Manifest, OperatorState, StateKind},
        store::{Store, memory::MemoryStore},
    },
    source::SplitState,
    state::file,
};

use super::logical::{Body, TIME, Version};

#[derive(Debug, Clone, Default)]
pub struct Cut {
    /// By source and split, the next position.
    next: BTreeMap<(String, usize), u64>,
    /// By view, of windows.
    watermarks: BTreeMap<String, i64>,
    /// By view, event times of rows that a deduplication holds back, in milliseconds.
    waiting: BTreeMap<String, Vec<i64>>,
    /// Of the checkpoint.
    pub epoch: u64,
    /// Barriers had overtaken a watermark that some subtask of a window had seen: which of the versions puts a window out
    /// depends on its key then, and is not told.
    pub is_ambiguous: bool,
}

impl Cut {
    pub fn next(&self, source: &str, split: usize) -> u64 {
        self.next.get(&(source.to_owned(), split)).copied().unwrap_or_default()
    }

    pub fn watermark(&self, view: &str) -> i64 {
        self.watermarks.get(view).copied().unwrap_or(i64::MIN)
    }

    pub fn waiting(&self, view: &str) -> &[i64] {
        self.waiting.get(view).map_or(&[], Vec::as_slice)
    }
}

/// The name of a split.
pub fn split_name(index: usize) -> String {
    format!("p{index}")
}

/// The newest checkpoint among `objects`, if there is one.
pub async fn newest(objects: &MemoryStore) -> Result<Option<Manifest>, String> {
    let log = read_newest(objects).await.map_err(|error| error.to_string())?;
    let Some(checkpoint) = log.and_then(|log| log.checkpoint) else { return Ok(None) };
    Manifest::read(objects, &checkpoint).await.map(Some).map_err(|error| error.to_string())
}

/// Reads a checkpoint among `objects`, which `version` has taken, whose barriers wait or not.
pub async fn read(
    objects: &MemoryStore,
    manifest: &Manifest,
    version: &Version,
    barriers_wait: bool,
) -> Result<Cut, String> {
    let store: Arc<dyn Store> = Arc::new(objects.clone());
    let mut cut = Cut { epoch: manifest.epoch.0, ..Cut::default() };
    for operator in &manifest.operators {
        match operator.kind {
            StateKind::Source => positions(operator, version, &mut cut)?,
            StateKind::WindowAggregate => {
                let Some(watermark) = watermark(operator, barriers_wait)? else {
                    cut.is_ambiguous = true;
                    continue;
                };
                let views = views_of(operator, version, |body| matches!(body, Body::Windows(_)));
                cut.watermarks.extend(views.map(|view| (view, watermark)));
            }
            StateKind::Deduplicate => {
                let waiting = waiting(&store, operator).await?;
                let views = views_of(
                    operator,
                    version,
                    |body| matches!(body, Body::First(first) if operator.id.0.ends_with(&format!("-by-{}", plain(&first.keys)))),
                );
                cut.waiting.extend(views.map(|view| (view, waiting.clone())));
            }
            StateKind::InFlight => {}
        }
    }
    Ok(cut)
}

/// The views that an operator may be of: operators are called after the relation that they read. All windows over one
/// relation have seen the same watermarks.
fn views_of<'a>(
    operator: &'a OperatorState,
    version: &'a Version,
    is_so: impl Fn(&Body) -> bool + 'a,
) -> impl Iterator<Item = String> + 'a {
    let fits = |from: &str| operator.id.0.split('-').nth(1) == Some(from);
    let views = version.views.iter().filter(move |view| is_so(&view.body) && fits(view.body.from()));
    views.map(|view| view.name.clone())
}

/// Keys, as they stand in the id of an operator.
fn plain(keys: &[String]) -> String {
    let fits = |c: char| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '_' };
    keys.join("-").chars().map(fits).collect()
}

fn positions(operator: &OperatorState, version: &Version, cut: &mut Cut) -> Result<(), String> {
    let source = version.sources.iter().map(|schema| &schema.name).find(|name| operator.id.0.contains(name.as_str()));
    let source = source.ok_or_else(|| format!("`{}` is no source of the case", operator.id))?;
    for subtask in &operator.subtasks {
        let splits: Vec<SplitState> = serde_json::from_value(subtask.value["splits"].clone())
            .map_err(|error| format!("positions of `{}`: {error}", operator.id))?;
        for split in splits {
            let index = split.split.strip_prefix('p').and_then(|index| index.parse().ok());
            let index = index.ok_or_else(|| format!("`{}` is no split of the case", split.split))?;
            cut.next.insert((source.clone(), index), split.next);
        }
    }
    Ok(())
}

/// That of all subtasks: where barriers wait, what they read is cut at one place.
fn watermark(operator: &OperatorState, barriers_wait: bool) -> Result<Option<i64>, String> {
    let all: Vec<Option<i64>> = operator.subtasks.iter().map(|subtask| subtask.value["watermark"].as_i64()).collect();
    match all.first() {
        Some(Some(first)) if all.iter().all(|other| *other == Some(*first)) => Ok(Some(*first)),
        Some(_) if !barriers_wait && all.iter().all(Option::is_some) => Ok(None),
        _ => Err(format!("subtasks of `{}` have watermarks {all:?}", operator.id)),
    }
}

async fn waiting(store: &Arc<dyn Store>, operator: &OperatorState) -> Result<Vec<i64>, String> {
    let mut times = Vec::new();
    for part in operator.subtasks.iter().flat_map(|subtask| &subtask.parts).filter(|part| part.kind == "waiting") {
        let (_, batches) = file::read(store, &part.file).await.map_err(|error| error.to_string())?;
        let batch = batches.get(part.batch as usize).ok_or("a part names no batch of its file")?;
        times.extend(milliseconds(batch)?);
    }
    Ok(times)
}

fn milliseconds(batch: &RecordBatch) -> Result<Vec<i64>, String> {
    let column = batch.column_by_name(TIME).ok_or_else(|| format!("no column {TIME} in {:?}", batch.schema()))?;
    let DataType::Timestamp(unit, _) = column.data_type() else {
        return Err("the event time is no instant".to_owned());
    };
    let (factor, unit) = match unit {
        TimeUnit::Second => (1000, 1),
        TimeUnit::Millisecond => (1, 1),
        TimeUnit::Microsecond => (1, 1000),
        TimeUnit::Nanosecond => (1, 1_000_000),
    };
    let values = cast(column, &DataType::Int64).map_err(|error| error.to_string())?;
    Ok(values.as_primitive::<Int64Type>().values().iter().map(|time| (time * factor).div_euclid(unit)).collect())
}
