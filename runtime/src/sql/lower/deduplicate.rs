//! `ROW_NUMBER() OVER (PARTITION BY key ORDER BY ts) … WHERE rn = 1` to a stage.

use arrow::datatypes::Field;
use datafusion_common::{Column, ScalarValue};
use datafusion_expr::{
    BinaryExpr, Expr, LogicalPlan, Operator,
    expr::WindowFunction,
    lit,
    logical_plan::{Filter, Window},
    utils::{conjunction, split_conjunction_owned},
};

use super::{Lowering, column_names, columns};
use crate::{
    sql::{
        error::SqlError,
        lineage, outputs,
        plan::Planner,
        stage::{self, Work},
    },
    words,
};

impl Planner<'_> {
    /// A filter over `input`, which has a `ROW_NUMBER()`: keeps the first row of each key, then the rest of the filter.
    pub(super) fn deduplicate(
        &mut self,
        predicate: Expr,
        input: LogicalPlan,
        lowering: &Lowering<'_>,
    ) -> Result<LogicalPlan, SqlError> {
        let (first, rest): (Vec<Expr>, Vec<Expr>) =
            split_conjunction_owned(predicate).into_iter().partition(|part| keeps_first(part, &input));
        if first.is_empty() {
            return Err(lowering.unused_row_number());
        }
        let input = self.replace_row_number(input, lowering)?;
        match conjunction(rest) {
            None => Ok(input),
            Some(rest) => Filter::try_new(rest, input.into())
                .map(LogicalPlan::Filter)
                .map_err(|error| SqlError::planning(&error, lowering.near)),
        }
    }

    /// The plan with a deduplication where the `ROW_NUMBER()` was; its column is 1 in every row.
    fn replace_row_number(&mut self, plan: LogicalPlan, lowering: &Lowering<'_>) -> Result<LogicalPlan, SqlError> {
        let LogicalPlan::Window(window) = plan else {
            let inputs = plan.inputs();
            let [input] = inputs.as_slice() else { return Err(lowering.unused_row_number()) };
            let input = self.replace_row_number((*input).clone(), lowering)?;
            return plan
                .with_new_exprs(plan.expressions(), vec![input])
                .map_err(|error| SqlError::planning(&error, lowering.near));
        };
        let (input, keys, time) = stage_input(&window, lowering)?;
        let table = lineage::leaf(&input);
        let source = table.map(|table| table.source.clone()).unwrap_or_default();
        let by: Vec<String> =
            row_number(&window, lowering)?.partition_by.iter().map(|key| key.qualified_name().1).collect();
        let name = format!("deduplicate-{}-by-{}", lowering.name, by.join("-"));
        let definition = format!("first row by column {time} of each key {keys:?} of\n{}", input.display_indent());
        let fields: Vec<Field> = input
            .schema()
            .iter()
            .map(|(_, field)| Field::new(field.name(), field.data_type().clone(), field.is_nullable()))
            .collect();
        let work = Work::Deduplicate { input, keys, time };
        let stage = stage::intern(&mut self.stages, name, definition, fields, Some(time), &source, work);
        let known_as: Vec<Column> = column_names(&LogicalPlan::Window(window.clone())).collect();
        let passed = window.input.schema().fields().len();
        let row_number =
            known_as.get(passed).map(|column| lit(1_u64).alias_qualified(column.relation.clone(), column.name.clone()));
        self.scan_as(stage, known_as.into_iter().take(passed).enumerate(), row_number)
    }
}

impl Lowering<'_> {
    pub(super) fn unused_row_number(&self) -> SqlError {
        let at = self.ranking.map_or(self.near, |ranking| ranking.at);
        SqlError::new(
            at,
            "ROW_NUMBER() is accepted to keep the first row of each key only: \
             the SELECT that reads it needs `WHERE rn = 1`; Top-N is not supported yet",
        )
    }

    /// Refuses what is no deduplication, where `window` is planned over `input`.
    pub(super) fn check_row_number(&self, window: &Window, input: &LogicalPlan) -> Result<(), SqlError> {
        if lineage::pending_row_number(input).is_some() {
            return Err(self.unused_row_number());
        }
        let function = row_number(window, self)?;
        let at = self.ranking.map_or(self.near, |ranking| ranking.order);
        let [order] = function.order_by.as_slice() else { return Err(self.unused_row_number()) };
        if lineage::event_time(&order.expr, input).is_none() {
            if lineage::leaf(input).is_some_and(|table| table.windowed) || is_by_window(function, input) {
                return Err(SqlError::new(
                    self.ranking.map_or(self.near, |ranking| ranking.at),
                    "the first rows of each window, Top-N, are not supported yet; \
                     accepted is the first row of each key of a source: ORDER BY <event time>",
                ));
            }
            let accepted = columns(input)
                .find(|column| lineage::event_time(column, input).is_some())
                .map(|column| format!("accepted is ORDER BY {}", column.qualified_name().1));
            let accepted = accepted.unwrap_or_else(|| match lineage::leaf(input) {
                Some(table) if table.windowed => "the result of windows has none".to_owned(),
                Some(table) if table.event_time.is_none() => {
                    format!("source `{}` has none, set `watermark` on it", table.source)
                }
                _ => "the SELECT before must keep the event time column as it is".to_owned(),
            });
            let message = format!(
                "`{}` is not the event time of `{}`; {accepted}",
                words::plain(&order.expr.qualified_name().1),
                self.name
            );
            return Err(SqlError::new(at, message));
        }
        if !order.asc {
            return Err(SqlError::new(
                at,
                "ORDER BY … DESC would keep the last row of each key, and no row is known to be the last; \
                 accepted is ASC, the first row",
            ));
        }
        Ok(())
    }
}

/// Whether it ranks the rows of each window.
fn is_by_window(function: &datafusion_expr::expr::WindowFunctionParams, input: &LogicalPlan) -> bool {
    function.partition_by.iter().any(|key| lineage::window_edge(key, input).is_some())
}

fn row_number<'a>(
    window: &'a Window,
    lowering: &Lowering<'_>,
) -> Result<&'a datafusion_expr::expr::WindowFunctionParams, SqlError> {
    let [expr] = window.window_expr.as_slice() else { return Err(lowering.unused_row_number()) };
    let mut expr = expr;
    while let Expr::Alias(alias) = expr {
        expr = &alias.expr;
    }
    match expr {
        Expr::WindowFunction(function) if function.fun.name() == "row_number" => {
            let WindowFunction { params, .. } = function.as_ref();
            Ok(params)
        }
        _ => Err(lowering.unused_row_number()),
    }
}

/// The rows to deduplicate: all columns, and a column more for each key that is none; the keys' and the time's places.
fn stage_input(window: &Window, lowering: &Lowering<'_>) -> Result<(LogicalPlan, Vec<usize>, usize), SqlError> {
    let params = row_number(window, lowering)?;
    let failed = |error: &datafusion_common::DataFusionError| SqlError::planning(error, lowering.near);
    let mut exprs: Vec<Expr> = columns(&window.input).collect();
    let mut keys = Vec::new();
    for key in &params.partition_by {
        let data_type =
            datafusion_expr::ExprSchemable::get_type(key, window.input.schema()).map_err(|error| failed(&error))?;
        let plain = outputs::plain(key.clone(), &data_type).ok_or_else(|| {
            let at = lowering.ranking.map_or(lowering.near, |ranking| ranking.at);
            let (key, kind) = (words::plain(&key.to_string()), words::type_name(&data_type));
            SqlError::new(at, format!("`{key}` of type {kind} can't be a key of PARTITION BY; CAST it"))
        })?;
        if let Some(known) = exprs.iter().position(|expr| expr == key) {
            keys.push(known);
        } else {
            keys.push(exprs.len());
            exprs.push(plain.alias(format!("$key{}", keys.len())));
        }
    }
    let time = params.order_by.first().and_then(|order| exprs.iter().position(|expr| *expr == order.expr));
    let time = time.ok_or_else(|| lowering.unused_row_number())?;
    let input = datafusion_expr::LogicalPlanBuilder::from(window.input.as_ref().clone())
        .project(exprs)
        .and_then(datafusion_expr::LogicalPlanBuilder::build)
        .map_err(|error| failed(&error))?;
    Ok((input, keys, time))
}

/// Whether the condition is true of the first row only: `rn = 1`, `rn <= 1`, `rn < 2`, or the same the other way round.
fn keeps_first(condition: &Expr, input: &LogicalPlan) -> bool {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else { return false };
    let (rank, op, bound) = if integer(right).is_some() {
        (left, *op, integer(right))
    } else {
        let Some(op) = op.swap() else { return false };
        (right, op, integer(left))
    };
    let Expr::Column(column) = uncast(rank) else { return false };
    let ranked = input.schema().maybe_index_of_column(column).is_some_and(|index| lineage::is_row_number(input, index));
    ranked && matches!((op, bound), (Operator::Eq | Operator::LtEq, Some(1)) | (Operator::Lt, Some(2)))
}

fn uncast(expr: &Expr) -> &Expr {
    match expr {
        Expr::Cast(cast) => uncast(&cast.expr),
        Expr::TryCast(cast) => uncast(&cast.expr),
        expr => expr,
    }
}

fn integer(expr: &Expr) -> Option<i64> {
    let Expr::Literal(value, _) = uncast(expr) else { return None };
    match value.cast_to(&arrow::datatypes::DataType::Int64) {
        Ok(ScalarValue::Int64(number)) if value.data_type().is_integer() => number,
        _ => None,
    }
}
