//! `tidegate inspect --sql`: the rows of a query, written.

use std::{
    io::{self, Write},
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, RecordBatch, StringArray},
    csv, json,
    util::{
        display::{ArrayFormatter, FormatOptions},
        pretty::pretty_format_batches_with_schema,
    },
};
use tidegate_crds::StateBackend;

use super::{
    arguments::{InspectArguments, RowFormat},
    stdout::written,
};
use crate::{
    checkpoint::{manifest::Manifest, store::Store},
    error_chain,
    inspect::{Checkpoint, Rows, query},
};

/// Rows of a table for people: nobody reads more, and their widths must be known before the first is written.
const MOST_ROWS: usize = 10_000;

/// Asks a checkpoint, and writes the answer to standard output.
pub(super) async fn answer(
    sql: &str,
    store: Arc<dyn Store>,
    manifest: Manifest,
    arguments: &InspectArguments,
) -> Result<(), String> {
    let (backend, memory) = (arguments.local.backend(StateBackend::RocksDb), arguments.local.memory());
    let _folder = backend.until_the_end();
    let checkpoint = Arc::new(Checkpoint { store, manifest, backend, memory, folder: arguments.local.folder() });
    let mut rows = query(checkpoint, sql).await.map_err(|error| error_chain(&error))?;
    match arguments.format {
        RowFormat::Table => write_table(&mut rows).await,
        RowFormat::Json => write_json(&mut rows).await,
        RowFormat::Csv => write_csv(&mut rows).await,
    }
}

async fn next(rows: &mut Rows) -> Result<Option<RecordBatch>, String> {
    rows.next().await.map_err(|error| error_chain(&error))
}

async fn write_table(rows: &mut Rows) -> Result<(), String> {
    let (mut shown, mut count) = (Vec::new(), 0);
    let mut are_more = false;
    while let Some(batch) = next(rows).await? {
        let room = MOST_ROWS - count;
        are_more = batch.num_rows() > room;
        let batch = batch.slice(0, batch.num_rows().min(room));
        count += batch.num_rows();
        shown.push(batch);
        if are_more {
            break;
        }
    }
    let text = pretty_format_batches_with_schema(rows.schema.clone(), &shown).map_err(|error| error_chain(&error))?;
    if written(writeln!(io::stdout().lock(), "{text}"))?.is_some() && are_more {
        let _unread = writeln!(
            io::stderr(),
            "these are the first {MOST_ROWS} rows; `--format csv` and `--format json` write all"
        );
    }
    Ok(())
}

async fn write_json(rows: &mut Rows) -> Result<(), String> {
    let build = json::WriterBuilder::new().with_explicit_nulls(true);
    while let Some(batch) = next(rows).await? {
        let mut writer = build.clone().build::<_, json::writer::LineDelimited>(io::stdout().lock());
        if written(writer.write(&batch).and_then(|()| writer.finish()))?.is_none() {
            break;
        }
    }
    Ok(())
}

async fn write_csv(rows: &mut Rows) -> Result<(), String> {
    let mut batch = Some(RecordBatch::new_empty(rows.schema.clone()));
    let mut has_header = true;
    // The header also stands over no rows.
    while let Some(rows_now) = batch {
        let flat = flat(&rows_now).map_err(|error| error_chain(&error))?;
        let mut writer = csv::WriterBuilder::new().with_header(has_header).build(io::stdout().lock());
        if written(writer.write(&flat))?.is_none() {
            break;
        }
        drop(writer);
        has_header = false;
        batch = next(rows).await?;
    }
    Ok(())
}

/// Lists and structures as text: CSV has none.
fn flat(batch: &RecordBatch) -> Result<RecordBatch, arrow::error::ArrowError> {
    let options = FormatOptions::default();
    let columns = batch.columns().iter().map(|column| -> Result<ArrayRef, arrow::error::ArrowError> {
        if !column.data_type().is_nested() {
            return Ok(column.clone());
        }
        let format = ArrayFormatter::try_new(column.as_ref(), &options)?;
        let text = (0..column.len()).map(|row| column.is_valid(row).then(|| format.value(row).to_string()));
        Ok(Arc::new(text.collect::<StringArray>()))
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let names = batch.schema();
    let named = names.fields().iter().map(|field| field.name().as_str()).zip(columns);
    RecordBatch::try_from_iter_with_nullable(named.map(|(name, column)| (name, column, true)))
}
