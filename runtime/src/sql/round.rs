//! `round`: DataFusion's, with a type that does not depend on whether the digits are a literal by then.
//!
//! Its own has as many digits after the point as a literal asks for. What is a literal only after constants are computed has
//! one type when the job is planned and another when it runs.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion_common::Result;
use datafusion_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature};

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Round(pub(super) Arc<ScalarUDF>);

impl ScalarUDFImpl for Round {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn aliases(&self) -> &[String] {
        self.0.aliases()
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.0.return_type(arguments)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let unknown = vec![None; args.scalar_arguments.len()];
        self.0.return_field_from_args(ReturnFieldArgs { scalar_arguments: &unknown, ..args })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.0.invoke_with_args(args)
    }
}
