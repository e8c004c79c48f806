//! `GROUP BY window_start, window_end, …` to a stage.

use arrow::datatypes::Field;
use datafusion_expr::{
    Expr, LogicalPlan,
    expr::{AggregateFunction, Case},
    lit,
    logical_plan::Aggregate,
};

use super::{Lowering, column_names, columns};
use crate::{
    graph::WindowColumn,
    sql::{
        error::SqlError,
        lineage::{self, WindowEdge},
        outputs,
        plan::Planner,
        stage::{self, Call, Window, Work},
        tumble::Edge,
    },
    words,
};

impl Planner<'_> {
    pub(super) fn window(
        &mut self,
        aggregate: &Aggregate,
        input: LogicalPlan,
        lowering: &Lowering<'_>,
    ) -> Result<LogicalPlan, SqlError> {
        // Of a key that is named twice the plan has one column.
        let mut keys: Vec<Expr> = Vec::new();
        aggregate.group_expr.iter().for_each(|key| {
            if !keys.contains(key) {
                keys.push(key.clone());
            }
        });
        let groups = Groups::read(&keys, &input, lowering)?;
        let time = window_time(&input, &groups.window).ok_or_else(|| {
            SqlError::new(
                lowering.near,
                "the SELECT between TUMBLE and GROUP BY must keep `window_start` or the event time",
            )
        })?;
        let mut calls = Vec::new();
        for (index, expr) in aggregate.aggr_expr.iter().enumerate() {
            let (_, field) = aggregate.schema.qualified_field(keys.len() + index);
            calls.push(call(expr, field.name(), lowering)?);
        }
        let aggregates = (0..calls.len()).map(WindowColumn::Aggregate);
        let output: Vec<WindowColumn> = groups.columns.iter().copied().chain(aggregates).collect();

        let by: Vec<String> = groups.keys.iter().map(|key| key.qualified_name().1).collect();
        let by = if by.is_empty() { String::new() } else { format!("-by-{}", by.join("-")) };
        let size_ms = groups.window.size_ms;
        let name = format!("window-{}{by}-{size_ms}ms", lowering.name);
        let text = |exprs: &[Expr]| exprs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let definition = format!(
            "windows of {size_ms} ms by {time}: group by {} compute {} of\n{}",
            text(&keys),
            text(&aggregate.aggr_expr),
            input.display_indent()
        );
        // Names only have to differ: the columns get back the names that the rest of the plan knows them by.
        let fields: Vec<Field> = aggregate
            .schema
            .iter()
            .map(|(_, field)| Field::new(field.name(), field.data_type().clone(), field.is_nullable()))
            .collect();
        let source = groups.window.source;
        let work = Work::Window(Window { input, size_ms, time, keys: groups.keys, calls, output });
        let stage = stage::intern(&mut self.stages, name, definition, fields, None, &source, work);
        let known_as = column_names(&LogicalPlan::Aggregate(aggregate.clone())).collect::<Vec<_>>();
        self.scan_as(stage, known_as.into_iter().enumerate(), [])
    }
}

/// `GROUP BY`, with the window apart from the keys.
struct Groups {
    window: WindowEdge,
    keys: Vec<Expr>,
    /// What each expression of `GROUP BY` is.
    columns: Vec<WindowColumn>,
}

impl Groups {
    fn read(exprs: &[Expr], input: &LogicalPlan, lowering: &Lowering<'_>) -> Result<Self, SqlError> {
        let at = lowering.facts.group_by.or(lowering.facts.aggregate).unwrap_or(lowering.near);
        let mut window: Option<WindowEdge> = None;
        let mut keys = Vec::new();
        let mut columns = Vec::new();
        for expr in exprs {
            let Some(edge) = lineage::window_edge(expr, input) else {
                let data_type = datafusion_expr::ExprSchemable::get_type(expr, input.schema())
                    .map_err(|error| SqlError::planning(&error, at))?;
                let key = outputs::plain(expr.clone(), &data_type).filter(|key| key == expr).ok_or_else(|| {
                    SqlError::new(
                        at,
                        format!(
                            "`{}` of type {} can't be a key of GROUP BY; CAST it",
                            words::plain(&expr.to_string()),
                            words::type_name(&data_type)
                        ),
                    )
                })?;
                columns.push(WindowColumn::Key(keys.len()));
                keys.push(key);
                continue;
            };
            columns.push(match edge.edge {
                Edge::Start => WindowColumn::Start,
                Edge::End => WindowColumn::End,
                Edge::Time => {
                    return Err(SqlError::new(
                        at,
                        "GROUP BY window_time is not supported yet; accepted is GROUP BY window_start, window_end",
                    ));
                }
            });
            if window.as_ref().is_some_and(|known| known.size_ms != edge.size_ms) {
                return Err(SqlError::new(at, "GROUP BY names the edges of two windows; accepted is one window"));
            }
            window.get_or_insert(edge);
        }
        let of_windows = lineage::leaf(input).is_some_and(|table| table.windowed);
        let window = window.ok_or_else(|| {
            if of_windows {
                return SqlError::new(
                    at,
                    "an aggregate over the results of windows is not supported yet; accepted is one over the rows of a \
                     source or of a deduplication, in a longer window",
                );
            }
            SqlError::new(
                at,
                "an aggregate needs a window, or it would never be final; accepted is \
                 FROM TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE) GROUP BY window_start, window_end, …",
            )
        })?;
        Ok(Self { window, keys, columns })
    }
}

/// A column that places a row in its window: the event time, or the start of the window, which lies in it.
fn window_time(input: &LogicalPlan, window: &WindowEdge) -> Option<Expr> {
    let start = |expr: &Expr| {
        lineage::window_edge(expr, input).is_some_and(|edge| edge.edge == Edge::Start && edge.size_ms == window.size_ms)
    };
    columns(input).find(|expr| lineage::event_time(expr, input).is_some()).or_else(|| columns(input).find(start))
}

fn call(expr: &Expr, name: &str, lowering: &Lowering<'_>) -> Result<Call, SqlError> {
    let Expr::AggregateFunction(AggregateFunction { func, params }) = expr.clone().unalias_nested().data else {
        return Err(SqlError::new(
            lowering.facts.aggregate,
            format!("the aggregate `{}` is not supported yet", words::plain(&expr.to_string())),
        ));
    };
    if !params.order_by.is_empty() || params.null_treatment.is_some() {
        return Err(SqlError::new(
            lowering.facts.aggregate,
            format!("the aggregate `{}` is not supported yet", words::plain(&expr.to_string())),
        ));
    }
    // Every accepted aggregate passes over nulls, so a row that the filter drops may as well be null.
    let counts = func.name() == "count";
    let args = match params.filter {
        None => params.args,
        Some(filter) => params.args.into_iter().map(|arg| only_where(&filter, arg, counts)).collect(),
    };
    Ok(Call { function: func, args, distinct: params.distinct, name: name.to_owned() })
}

/// The argument in the rows that the filter keeps, null in the others.
fn only_where(filter: &Expr, arg: Expr, counts: bool) -> Expr {
    let arg = match arg {
        // Null wherever the filter is true, and where it is not.
        Expr::Literal(value, _) if value.is_null() => return Expr::Literal(value, None),
        // All literals count alike, so `count(*)` and `count(1)` with one filter are one column.
        Expr::Literal(..) if counts => lit(1_i64),
        arg => arg,
    };
    Expr::Case(Case::new(None, vec![(Box::new(filter.clone()), Box::new(arg))], None))
}
