//! Where a column comes from: followed down through projections, filters and aliases.

use std::any::Any;

use datafusion_common::Column;
use datafusion_expr::{Expr, LogicalPlan, TableScan};

use super::{
    stage::StageTable,
    tumble::{Edge, edge_of},
};

/// What a column is, below all that merely renames it.
pub(super) enum Origin<'a> {
    /// A column of a stage.
    Stage { table: &'a StageTable, column: usize },
    /// An expression over the columns of `input`.
    Computed { expr: &'a Expr, input: &'a LogicalPlan },
}

/// An edge of the window that a row is in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct WindowEdge {
    pub(super) edge: Edge,
    pub(super) size_ms: i64,
    pub(super) source: String,
}

/// The stage table that a scan reads.
pub(super) fn stage_table(scan: &TableScan) -> Option<&StageTable> {
    let source: &dyn Any = scan.source.as_ref();
    source.downcast_ref()
}

/// The origin of the plan's output column `index`.
pub(super) fn origin(plan: &LogicalPlan, index: usize) -> Option<Origin<'_>> {
    match plan {
        LogicalPlan::TableScan(scan) => {
            let column = scan.projection.as_ref().map_or(Some(index), |columns| columns.get(index).copied())?;
            Some(Origin::Stage { table: stage_table(scan)?, column })
        }
        LogicalPlan::SubqueryAlias(alias) => origin(&alias.input, index),
        LogicalPlan::Filter(filter) => origin(&filter.input, index),
        LogicalPlan::Projection(projection) => expr_origin(projection.expr.get(index)?, &projection.input),
        LogicalPlan::Window(window) => {
            let passed = window.input.schema().fields().len();
            match index.checked_sub(passed) {
                None => origin(&window.input, index),
                Some(own) => Some(Origin::Computed { expr: window.window_expr.get(own)?, input: &window.input }),
            }
        }
        _ => None,
    }
}

/// The origin of an expression over the columns of `input`.
pub(super) fn expr_origin<'a>(expr: &'a Expr, input: &'a LogicalPlan) -> Option<Origin<'a>> {
    match expr {
        Expr::Alias(alias) => expr_origin(&alias.expr, input),
        Expr::Column(column) => origin(input, index_of(input, column)?),
        expr => Some(Origin::Computed { expr, input }),
    }
}

fn index_of(plan: &LogicalPlan, column: &Column) -> Option<usize> {
    plan.schema().maybe_index_of_column(column)
}

/// The source whose event time the expression is.
pub(super) fn event_time<'a>(expr: &'a Expr, input: &'a LogicalPlan) -> Option<&'a str> {
    match expr_origin(expr, input)? {
        Origin::Stage { table, column } if table.event_time == Some(column) => Some(&table.source),
        _ => None,
    }
}

/// The window edge that the expression is.
pub(super) fn window_edge(expr: &Expr, input: &LogicalPlan) -> Option<WindowEdge> {
    let Origin::Computed { expr, input } = expr_origin(expr, input)? else { return None };
    let (edge, time, size_ms) = edge_of(expr)?;
    Some(WindowEdge { edge, size_ms, source: event_time(time, input)?.to_owned() })
}

/// The `ROW_NUMBER() OVER …` that output column `index` is.
pub(super) fn is_row_number(plan: &LogicalPlan, index: usize) -> bool {
    matches!(origin(plan, index), Some(Origin::Computed { expr: Expr::WindowFunction(_), .. }))
}

/// The stage at the bottom of a segment.
pub(super) fn leaf(plan: &LogicalPlan) -> Option<&StageTable> {
    match plan {
        LogicalPlan::TableScan(scan) => stage_table(scan),
        plan => match plan.inputs().as_slice() {
            [input] => leaf(input),
            _ => None,
        },
    }
}

/// The `ROW_NUMBER()` that no filter has made a deduplication of yet.
pub(super) fn pending_row_number(plan: &LogicalPlan) -> Option<&datafusion_expr::logical_plan::Window> {
    match plan {
        LogicalPlan::Window(window) => Some(window),
        plan => plan.inputs().into_iter().find_map(pending_row_number),
    }
}
