//! Rows that operators remember, read file by file, when the query comes to them.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::RecordBatch,
    datatypes::{Schema, SchemaRef},
};
use datafusion_common::DataFusionError;
use datafusion_execution::{SendableRecordBatchStream, TaskContext};
use datafusion_physical_plan::{stream::RecordBatchStreamAdapter, streaming::PartitionStream};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use tokio::sync::mpsc;

use super::{
    Checkpoint,
    error::QueryError,
    shape::{Shape, keys},
    tables::Collection,
};
use crate::{
    checkpoint::manifest::{FileRef, OperatorState, SubtaskState},
    ids::SubtaskIndex,
    operator::{KeyRange, deduplicate::table_entry},
    state::{
        StateError, file,
        table::{TableError, rocks::Engine},
    },
    worker::{supply::Supply, tables::download},
};

/// Rows of a batch that is made of a table.
const ROWS: usize = 8_192;
/// Batches that wait for the query; who reads the table waits for room.
const WAITING: usize = 2;

/// A collection of an operator, as something to scan.
#[derive(Debug, Clone)]
pub struct State {
    checkpoint: Arc<Checkpoint>,
    operator: Arc<OperatorState>,
    collection: Collection,
    shape: Shape,
    schema: SchemaRef,
}

/// A file of rows, or a piece of one, and which batches of it belong to which subtask.
type Parts = (FileRef, Vec<(u32, u32)>);

impl State {
    /// Looks at one file, the smallest, for its columns.
    pub async fn open(
        checkpoint: &Arc<Checkpoint>,
        operator: &Arc<OperatorState>,
        collection: Collection,
    ) -> Result<Self, QueryError> {
        let files = files(operator, collection);
        let smallest = files.iter().map(|(file, _)| file).min_by_key(|file| file.bytes);
        let shape = match (collection, smallest) {
            (Collection::Keys, _) => Shape::Keys,
            (_, Some(smallest)) => {
                let (found, _) = file::read(&checkpoint.store, smallest).await?;
                Shape::of(operator, collection, &found)?
            }
            // Without any row nobody knows the columns.
            (_, None) => Shape::of(operator, collection, &Schema::empty())?,
        };
        let (checkpoint, operator, schema) = (checkpoint.clone(), operator.clone(), shape.schema());
        Ok(Self { checkpoint, operator, collection, shape, schema })
    }

    fn rows(self) -> impl Stream<Item = Result<RecordBatch, QueryError>> + Send {
        let parts = self.clone().parts();
        let tables = match self.collection {
            Collection::Keys => self.tables().left_stream(),
            Collection::Waiting | Collection::Partials | Collection::InFlight => stream::empty().right_stream(),
        };
        parts.chain(tables)
    }

    fn parts(self) -> impl Stream<Item = Result<RecordBatch, QueryError>> + Send {
        let files = files(&self.operator, self.collection);
        let read = stream::iter(files).then(move |(file, parts)| {
            let (store, shape) = (self.checkpoint.store.clone(), self.shape.clone());
            async move {
                let (_, batches) = file::read(&store, &file).await?;
                let shown = parts.into_iter().map(|(subtask, batch)| {
                    let missing = || QueryError::Damaged {
                        file: file.to_string(),
                        found: format!("has {} batches, the manifest names batch {batch}", batches.len()),
                    };
                    shape.rows(subtask, batches.get(batch as usize).ok_or_else(missing)?)
                });
                Ok::<_, QueryError>(stream::iter(shown.collect::<Vec<_>>()))
            }
        });
        read.try_flatten()
    }

    /// The entries of the subtasks' tables, one after the other; of each the files are fetched first.
    fn tables(self) -> impl Stream<Item = Result<RecordBatch, QueryError>> + Send {
        let own: Vec<(u32, SubtaskState)> = (0..).zip(self.operator.subtasks.iter().cloned()).collect();
        let parallelism = own.len() as u32;
        let own = own.into_iter().filter(|(_, subtask)| !subtask.table.is_empty());
        let checkpoint = self.checkpoint;
        let read = stream::iter(own).then(move |(index, subtask)| {
            let max_parallelism = checkpoint.manifest.max_parallelism;
            let range = KeyRange { subtask: SubtaskIndex(index), parallelism, max_parallelism };
            let checkpoint = checkpoint.clone();
            async move {
                let engine = checkpoint.backend.engine().map_err(StateError::from)?;
                entries(&checkpoint, engine, index, subtask, range).await
            }
        });
        read.try_flatten()
    }
}

async fn entries(
    checkpoint: &Checkpoint,
    engine: Engine,
    index: u32,
    subtask: SubtaskState,
    range: KeyRange,
) -> Result<impl Stream<Item = Result<RecordBatch, QueryError>> + Send + use<>, QueryError> {
    let supply = Supply::remote(checkpoint.store.clone());
    let table = download(&supply, &engine, subtask.table, range.groups()).await?;
    let (send, receive) = mpsc::channel(WAITING);
    tokio::task::spawn_blocking(move || {
        let mut read: Vec<(u128, i64)> = Vec::with_capacity(ROWS);
        let scanned = table.scan_groups(&engine, range.groups(), &mut |key, value| {
            read.push(table_entry(key, value)?);
            if read.len() < ROWS {
                return Ok(());
            }
            let rows = keys(index, &std::mem::take(&mut read));
            // Nobody wants more.
            send.blocking_send(rows).map_err(|_| TableError::Damaged("its entries are not read any more".to_owned()))
        });
        let last = match scanned {
            Ok(()) => keys(index, &read),
            Err(error) => Err(StateError::from(error).into()),
        };
        let _nobody_wants_more = send.blocking_send(last);
    });
    Ok(stream::unfold(receive, |mut receive| async move { Some((receive.recv().await?, receive)) }))
}

/// The files and pieces of a collection, in the order of their paths; each part belongs to the first subtask that names it.
fn files(operator: &OperatorState, collection: Collection) -> Vec<Parts> {
    let mut files: BTreeMap<FileRef, BTreeMap<u32, u32>> = BTreeMap::new();
    for (index, subtask) in (0..).zip(&operator.subtasks) {
        for part in subtask.parts.iter().filter(|part| part.kind == collection.kind()) {
            let batches = files.entry(part.file.clone()).or_default();
            batches.entry(part.batch).or_insert(index);
        }
    }
    let parts = |(file, batches): (FileRef, BTreeMap<u32, u32>)| {
        (file, batches.into_iter().map(|(batch, subtask)| (subtask, batch)).collect())
    };
    files.into_iter().map(parts).collect()
}

impl PartitionStream for State {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let rows = self.clone().rows().map_err(DataFusionError::from);
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), rows))
    }
}
