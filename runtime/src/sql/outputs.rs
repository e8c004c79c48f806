//! The columns that leave SQL: their names, and types that a batch between operators may have.

use arrow::datatypes::DataType;
use datafusion_common::{Column, Result};
use datafusion_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast};
use datafusion_sql::sqlparser::ast::Ident;

use super::{
    error::{Position, SqlError},
    names::new_name,
};
use crate::words::type_name;

/// The plan with the columns a sink gets: called `names` if given, of types a sink can write.
pub(super) fn sink_columns(plan: LogicalPlan, names: &[Ident], at: Position) -> Result<LogicalPlan, SqlError> {
    let mut exprs = Vec::new();
    for (index, (qualifier, field)) in plan.schema().iter().enumerate() {
        let expr = Expr::Column(Column::from((qualifier, field)));
        let name = names.get(index).map_or_else(|| field.name().clone(), new_name);
        let Some(expr) = plain(expr, field.data_type()) else {
            return Err(SqlError::new(
                at,
                format!(
                    "the column `{name}` is of type {}, which no sink can write; CAST it",
                    type_name(field.data_type())
                ),
            ));
        };
        exprs.push(expr.alias(name));
    }
    LogicalPlanBuilder::from(plan)
        .project(exprs)
        .and_then(LogicalPlanBuilder::build)
        .map_err(|error| SqlError::planning(&error, at))
}

/// The expression in a type that operators and sinks know: views and large strings become plain ones. `None` for nested
/// types, intervals and the like.
pub(super) fn plain(expr: Expr, data_type: &DataType) -> Option<Expr> {
    match data_type {
        DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64
        | DataType::Float32
        | DataType::Float64
        | DataType::Decimal128(..)
        | DataType::Date32
        | DataType::Timestamp(..)
        | DataType::Utf8
        | DataType::Binary => Some(expr),
        DataType::Utf8View | DataType::LargeUtf8 => Some(cast(expr, DataType::Utf8)),
        DataType::BinaryView | DataType::LargeBinary => Some(cast(expr, DataType::Binary)),
        DataType::Date64 => Some(cast(expr, DataType::Date32)),
        _ => None,
    }
}
