//! DataFusion's functions where they do not do, with their names, arguments and types.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion_common::Result;
use datafusion_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature};

use super::{date_trunc, duration_part, long_text, unix_time};

/// The function as ours, where the library's is unfit.
pub(super) fn wrapped(function: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    let why = match function.name() {
        "date_part" => Why::Parts,
        "date_trunc" => Why::Years,
        "lpad" | "rpad" => Why::Pads,
        "repeat" => Why::Repeats,
        "replace" => Why::Replaces,
        "round" => Why::Type,
        "to_unixtime" => Why::Seconds,
        _ => return function,
    };
    Arc::new(Wrapped { inner: function, why }.into())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Why {
    /// It has as many digits after the point as a literal asks for. What is a literal only after constants are computed would
    /// have one type when the job is planned and another when it runs.
    Type,
    /// It reckons in nanoseconds, which most years have not.
    Years,
    /// Of a duration it has wrong parts, or none.
    Parts,
    /// It cuts towards 1970.
    Seconds,
    /// It makes texts as long as a record says.
    Repeats,
    Replaces,
    Pads,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Wrapped {
    inner: Arc<ScalarUDF>,
    why: Why,
}

impl ScalarUDFImpl for Wrapped {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arguments)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let unknown = vec![None; args.scalar_arguments.len()];
        match self.why {
            Why::Type => self.inner.return_field_from_args(ReturnFieldArgs { scalar_arguments: &unknown, ..args }),
            Why::Parts => {
                duration_part::check(&args)?;
                self.inner.return_field_from_args(args)
            }
            Why::Years | Why::Seconds | Why::Repeats | Why::Replaces | Why::Pads => {
                self.inner.return_field_from_args(args)
            }
        }
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match self.why {
            Why::Type => {}
            Why::Parts => {
                if let Some(seconds) = duration_part::seconds(&args)? {
                    return Ok(seconds);
                }
            }
            Why::Years => return date_trunc::of_all_years(&self.inner, args),
            Why::Seconds => {
                if let Some(seconds) = unix_time::seconds(&args)? {
                    return Ok(seconds);
                }
            }
            Why::Repeats => long_text::check_repeated(self.name(), &args)?,
            Why::Replaces => long_text::check_replaced(self.name(), &args)?,
            Why::Pads => long_text::check_padded(self.name(), &mut args)?,
        }
        self.inner.invoke_with_args(args)
    }
}
