//! Tables as DataFusion scans them.

use std::sync::Arc;

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use datafusion_common::DataFusionError;
use datafusion_execution::{SendableRecordBatchStream, TaskContext};
use datafusion_expr::TableSource;
use datafusion_physical_plan::{stream::RecordBatchStreamAdapter, streaming::PartitionStream};
use futures::stream;

use super::{
    Checkpoint,
    error::QueryError,
    state::State,
    tables::{Holds, Table},
};

/// A table that can be scanned.
#[derive(Debug)]
pub struct Scannable {
    pub rows: Arc<dyn PartitionStream>,
}

impl Scannable {
    pub async fn open(checkpoint: &Arc<Checkpoint>, table: &Table) -> Result<Self, QueryError> {
        Ok(match &table.holds {
            Holds::Facts(facts) => {
                let rows = (facts.rows)(&checkpoint.manifest)?;
                Self { rows: Arc::new(Small { schema: rows.schema(), rows }) }
            }
            Holds::State { operator, collection } => {
                Self { rows: Arc::new(State::open(checkpoint, operator, *collection).await?) }
            }
        })
    }
}

impl TableSource for Scannable {
    fn schema(&self) -> SchemaRef {
        self.rows.schema().clone()
    }
}

/// Rows that are at hand.
#[derive(Debug)]
struct Small {
    schema: SchemaRef,
    rows: RecordBatch,
}

impl PartitionStream for Small {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let rows = stream::iter([Ok::<_, DataFusionError>(self.rows.clone())]);
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), rows))
    }
}
