//! Filter and projection: no state, one batch in, one batch out.

use std::sync::Arc;

use arrow::{
    array::{Array, AsArray, RecordBatch},
    compute::filter_record_batch,
    datatypes::SchemaRef,
};
use datafusion_common::DataFusionError;
use datafusion_physical_expr::PhysicalExpr;

use super::{Named, Operator, OperatorError, Output};

pub struct Map {
    name: Named,
    predicate: Option<Arc<dyn PhysicalExpr>>,
    columns: Option<Vec<Arc<dyn PhysicalExpr>>>,
    schema: SchemaRef,
}

impl Map {
    pub fn new(
        name: Named,
        predicate: Option<Arc<dyn PhysicalExpr>>,
        columns: Option<Vec<Arc<dyn PhysicalExpr>>>,
        schema: SchemaRef,
    ) -> Self {
        Self { name, predicate, columns, schema }
    }

    fn apply(&self, batch: RecordBatch) -> Result<RecordBatch, DataFusionError> {
        let rows = match &self.predicate {
            None => batch,
            Some(predicate) => {
                let keep = predicate.evaluate(&batch)?.into_array(batch.num_rows())?;
                let keep = keep.as_boolean();
                if keep.null_count() == 0 && keep.true_count() == keep.len() {
                    batch
                } else {
                    filter_record_batch(&batch, keep)?
                }
            }
        };
        let Some(columns) = &self.columns else { return Ok(rows) };
        let arrays = columns
            .iter()
            .map(|column| column.evaluate(&rows)?.into_array(rows.num_rows()))
            .collect::<Result<Vec<_>, _>>()?;
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)?)
    }
}

impl Operator for Map {
    fn on_batch(&mut self, batch: RecordBatch, out: &mut Output) -> Result<(), OperatorError> {
        out.batch(self.apply(batch).map_err(|cause| self.name.engine(cause))?);
        Ok(())
    }
}
