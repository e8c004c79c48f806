//! Tables of what a manifest tells: small, and made when they are asked for.

use std::{collections::BTreeSet, sync::Arc};

use arrow::{
    array::{ArrayRef, RecordBatch, StringArray, TimestampMillisecondArray, UInt32Array, UInt64Array},
    error::ArrowError,
};

use super::tables::tables;
use crate::{
    checkpoint::manifest::{FileRef, Manifest, OperatorState, SubtaskState, bytes_of},
    ids::EventTime,
    source::SplitState,
};

/// A table, and what makes its rows.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    pub name: &'static str,
    pub about: &'static str,
    pub rows: fn(&Manifest) -> Result<RecordBatch, ArrowError>,
}

pub const FACTS: [Facts; 7] = [
    Facts { name: "checkpoint", about: "one row: which checkpoint this is", rows: checkpoint },
    Facts { name: "tables", about: "the tables, and what they hold", rows: all_tables },
    Facts { name: "operators", about: "each operator's state: how many subtasks, rows, files, bytes", rows: operators },
    Facts { name: "subtasks", about: "each subtask's watermark, rows, files, bytes", rows: subtasks },
    Facts { name: "splits", about: "how far sources have read: split, next, until, newest", rows: splits },
    Facts {
        name: "files",
        about: "each file or piece of a shared one, what it holds of which subtask, bytes, checksum",
        rows: files,
    },
    Facts { name: "chunks", about: "rows for sinks that were not known to be published", rows: chunks },
];

fn text<T: AsRef<str>>(values: impl IntoIterator<Item = T>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn numbers(values: impl IntoIterator<Item = u64>) -> ArrayRef {
    Arc::new(UInt64Array::from_iter_values(values))
}

fn indices(values: impl IntoIterator<Item = u32>) -> ArrayRef {
    Arc::new(UInt32Array::from_iter_values(values))
}

/// Instants of event time; none for those that no event has.
fn instants(values: impl IntoIterator<Item = Option<EventTime>>) -> ArrayRef {
    let millis = values.into_iter().map(|time| {
        let time = time.filter(|time| *time != EventTime::MIN && *time != EventTime::MAX);
        time.map(|time| time.0)
    });
    Arc::new(millis.collect::<TimestampMillisecondArray>().with_timezone("UTC"))
}

fn batch<const N: usize>(columns: [(&str, ArrayRef); N]) -> Result<RecordBatch, ArrowError> {
    // Whether a column may be null must not depend on its rows.
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, values)| (name, values, true)))
}

fn checkpoint(manifest: &Manifest) -> Result<RecordBatch, ArrowError> {
    let created = i64::try_from(manifest.created_at_ms).ok().map(EventTime);
    batch([
        ("job", text([manifest.job.as_str()])),
        ("lineage", text([manifest.lineage.as_str()])),
        ("epoch", numbers([manifest.epoch.0])),
        ("attempt", numbers([manifest.attempt.0])),
        ("revision", numbers([manifest.revision.0])),
        ("trigger", text([format!("{:?}", manifest.trigger)])),
        ("max_parallelism", indices([manifest.max_parallelism])),
        ("created_at", instants([created])),
        ("bytes", numbers([manifest.bytes()])),
    ])
}

fn all_tables(manifest: &Manifest) -> Result<RecordBatch, ArrowError> {
    let tables = tables(manifest);
    batch([
        ("name", text(tables.iter().map(|table| table.name.as_str()))),
        ("about", text(tables.iter().map(|table| table.about.as_str()))),
    ])
}

/// How many files there are, shared ones among them, and the bytes that are named of them.
fn sizes<'a>(files: impl Iterator<Item = &'a FileRef>) -> (u64, u64) {
    let named: BTreeSet<&FileRef> = files.collect();
    let paths: BTreeSet<_> = named.iter().map(|file| &file.path).collect();
    (paths.len() as u64, bytes_of(named))
}

fn rows<'a>(subtasks: impl IntoIterator<Item = &'a SubtaskState>) -> u64 {
    subtasks.into_iter().flat_map(|subtask| &subtask.parts).map(|part| part.rows).sum()
}

fn operators(manifest: &Manifest) -> Result<RecordBatch, ArrowError> {
    let all = &manifest.operators;
    let sized: Vec<(u64, u64)> =
        all.iter().map(|operator| sizes(operator.subtasks.iter().flat_map(SubtaskState::files))).collect();
    let in_tables =
        |operator: &OperatorState| operator.subtasks.iter().filter(|subtask| !subtask.table.is_empty()).count() as u64;
    batch([
        ("operator", text(all.iter().map(|operator| operator.id.0.as_str()))),
        ("kind", text(all.iter().map(|operator| format!("{:?}", operator.kind)))),
        ("subtasks", numbers(all.iter().map(|operator| operator.subtasks.len() as u64))),
        ("rows", numbers(all.iter().map(|operator| rows(&operator.subtasks)))),
        ("local_tables", numbers(all.iter().map(in_tables))),
        ("files", numbers(sized.iter().map(|(files, _)| *files))),
        ("bytes", numbers(sized.iter().map(|(_, bytes)| *bytes))),
    ])
}

/// Every subtask, with its operator and index.
fn each(manifest: &Manifest) -> impl Iterator<Item = (&OperatorState, u32, &SubtaskState)> {
    manifest
        .operators
        .iter()
        .flat_map(|operator| (0..).zip(&operator.subtasks).map(move |(index, subtask)| (operator, index, subtask)))
}

fn subtasks(manifest: &Manifest) -> Result<RecordBatch, ArrowError> {
    let all: Vec<_> = each(manifest).collect();
    let watermark = |subtask: &SubtaskState| subtask.value.get("watermark")?.as_i64().map(EventTime);
    let sized: Vec<(u64, u64)> = all.iter().map(|(.., subtask)| sizes(subtask.files())).collect();
    batch([
        ("operator", text(all.iter().map(|(operator, ..)| operator.id.0.as_str()))),
        ("subtask", indices(all.iter().map(|(_, index, _)| *index))),
        ("watermark", instants(all.iter().map(|(.., subtask)| watermark(subtask)))),
        ("rows", numbers(all.iter().map(|(.., subtask)| rows([*subtask])))),
        ("files", numbers(sized.iter().map(|(files, _)| *files))),
        ("bytes", numbers(sized.iter().map(|(_, bytes)| *bytes))),
    ])
}

fn splits(manifest: &Manifest) -> Result<RecordBatch, ArrowError> {
    let mut all: Vec<(&OperatorState, u32, SplitState)> = Vec::new();
    for (operator, index, subtask) in each(manifest) {
        let Some(splits) = subtask.value.get("splits") else { continue };
        let splits: Vec<SplitState> = serde_json::from_value(splits.clone())
            .map_err(|error| ArrowError::ParseError(format!("the splits of `{}`: {error}", operator.id)))?;
        all.extend(splits.into_iter().map(|split| (operator, index, split)));
    }
    let ends: UInt64Array = all.iter().map(|(.., split)| split.end).collect();
    batch([
        ("source", text(all.iter().map(|(operator, ..)| operator.id.0.as_str()))),
        ("subtask", indices(all.iter().map(|(_, index, _)| *index))),
        ("split", text(all.iter().map(|(.., split)| split.split.as_str()))),
        ("next", numbers(all.iter().map(|(.., split)| split.next))),
        ("until", Arc::new(ends)),
        ("newest", instants(all.iter().map(|(.., split)| split.newest))),
    ])
}

/// A file in use.
struct Used<'a> {
    operator: &'a str,
    subtask: u32,
    holds: &'a str,
    file: &'a FileRef,
}

fn files(manifest: &Manifest) -> Result<RecordBatch, ArrowError> {
    let mut all: Vec<Used<'_>> = Vec::new();
    for (operator, subtask, state) in each(manifest) {
        let operator = operator.id.0.as_str();
        // A file may have many parts.
        let parts: BTreeSet<_> = state.parts.iter().map(|part| (&part.file, part.kind.as_str())).collect();
        all.extend(parts.into_iter().map(|(file, holds)| Used { operator, subtask, holds, file }));
        let pieces = state.table.iter().flat_map(|file| &file.pieces);
        all.extend(pieces.map(|file| Used { operator, subtask, holds: "table", file }));
    }
    let chunks = manifest.chunks.iter();
    all.extend(chunks.map(|chunk| Used {
        operator: &chunk.id.sink,
        subtask: chunk.id.slot,
        holds: "chunk",
        file: &chunk.file,
    }));
    let begins: UInt64Array = all.iter().map(|used| used.file.offset).collect();
    batch([
        ("path", text(all.iter().map(|used| used.file.path.0.as_str()))),
        ("begins", Arc::new(begins)),
        ("operator", text(all.iter().map(|used| used.operator))),
        ("subtask", indices(all.iter().map(|used| used.subtask))),
        ("holds", text(all.iter().map(|used| used.holds))),
        ("bytes", numbers(all.iter().map(|used| used.file.bytes))),
        ("xxh3", text(all.iter().map(|used| used.file.xxh3.as_str()))),
    ])
}

fn chunks(manifest: &Manifest) -> Result<RecordBatch, ArrowError> {
    let all = &manifest.chunks;
    let begins: UInt64Array = all.iter().map(|chunk| chunk.file.offset).collect();
    batch([
        ("sink", text(all.iter().map(|chunk| chunk.id.sink.as_str()))),
        ("slot", indices(all.iter().map(|chunk| chunk.id.slot))),
        ("epoch", numbers(all.iter().map(|chunk| chunk.id.epoch.0))),
        ("index", indices(all.iter().map(|chunk| chunk.id.index))),
        ("rows", numbers(all.iter().map(|chunk| chunk.rows))),
        ("bytes", numbers(all.iter().map(|chunk| chunk.file.bytes))),
        ("path", text(all.iter().map(|chunk| chunk.file.path.0.as_str()))),
        ("begins", Arc::new(begins)),
    ])
}
