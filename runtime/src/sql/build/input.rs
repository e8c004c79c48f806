//! The input of a stage: a segment with exactly the columns that the stage works on.

use std::collections::{BTreeMap, BTreeSet};

use datafusion_common::{Column, Result, ScalarValue, internal_datafusion_err};
use datafusion_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder};

use crate::{
    graph::{WindowColumn, computed_name},
    sql::{
        canonical::{self, Room},
        outputs, segment,
        stage::{Stage, Window, Work},
    },
};

pub(super) struct Input {
    /// Optimised.
    pub(super) plan: LogicalPlan,
    /// What each of the plan's columns is, down to the source.
    pub(super) texts: Vec<String>,
    /// Where the stage finds what it needs in the plan's columns.
    pub(super) places: Places,
}

/// Indexes into an input's columns.
pub(super) enum Places {
    /// `columns` are those of the stage's table that the input has, in order.
    Deduplicate { columns: Vec<usize>, keys: Vec<usize>, time: usize },
    /// `args`: for each aggregate that is needed, by its index, its arguments.
    Window { keys: Vec<usize>, time: usize, args: BTreeMap<usize, Vec<Arg>> },
}

pub(super) enum Arg {
    Column(usize),
    Literal(ScalarValue),
}

/// `None` for a source. What the stage works on is written out only where there is `room` for it.
pub(super) fn input(stage: &Stage, needed: &mut BTreeSet<usize>, room: &mut Room) -> Result<Option<Input>> {
    match &stage.work {
        Work::Source => Ok(None),
        Work::Deduplicate { input, keys, time } => {
            needed.extend(keys.iter().copied().chain([*time]));
            let columns: Vec<usize> = needed.iter().copied().collect();
            room.take(&columns.iter().map(|index| column(input, *index)).collect::<Vec<_>>(), input)?;
            let place = |column: &usize| {
                columns.binary_search(column).map_err(|_| internal_datafusion_err!("a key is missing"))
            };
            let keys = keys.iter().map(place).collect::<Result<_>>()?;
            let time = place(time)?;
            let exprs = columns.iter().map(|index| {
                let column = column(input, *index);
                let name = column.qualified_name().1;
                Ok((column, name))
            });
            let plan = project(input, exprs)?;
            let texts = columns.iter().map(|index| canonical::exact_text(&column(input, *index), input));
            let texts = texts.collect::<Result<_>>()?;
            Ok(Some(Input { plan, texts, places: Places::Deduplicate { columns, keys, time } }))
        }
        Work::Window(window) => window_input(window, needed, room).map(Some),
    }
}

fn window_input(window: &Window, needed: &BTreeSet<usize>, room: &mut Room) -> Result<Input> {
    let calls: BTreeSet<usize> = window
        .output
        .iter()
        .enumerate()
        .filter(|(index, _)| needed.contains(index))
        .filter_map(|(_, column)| match column {
            WindowColumn::Aggregate(call) => Some(*call),
            _ => None,
        })
        .collect();
    let args = |call: &usize| window.calls.get(*call).map(|call| call.args.as_slice()).unwrap_or_default();
    let mut columns: Vec<InputColumn> = Vec::new();
    let wanted = [&window.time].into_iter().chain(&window.keys).chain(calls.iter().flat_map(args));
    room.take(wanted.clone(), &window.input)?;
    for expr in wanted.filter(|expr| !matches!(expr, Expr::Literal(..))) {
        if columns.iter().any(|known| known.is(expr)) {
            continue;
        }
        let text = canonical::exact_text(expr, &window.input)?;
        match columns.iter_mut().find(|known| known.is_like(expr, &text)) {
            Some(known) => known.others.push(expr.clone()),
            None => columns.push(InputColumn { expr: expr.clone(), others: Vec::new(), text }),
        }
    }
    // Plain columns in the order they come in: then there is often nothing to map.
    let schema = window.input.schema();
    columns.sort_by_key(|InputColumn { expr, .. }| match expr {
        Expr::Column(column) => schema.maybe_index_of_column(column).unwrap_or(usize::MAX),
        _ => usize::MAX,
    });
    let place = |expr: &Expr| {
        let place = columns.iter().position(|known| known.is(expr));
        place.ok_or_else(|| internal_datafusion_err!("`{expr}` is missing"))
    };
    let places = Places::Window {
        keys: window.keys.iter().map(place).collect::<Result<_>>()?,
        time: place(&window.time)?,
        args: calls
            .iter()
            .map(|call| {
                let args = args(call).iter().map(|arg| match arg {
                    Expr::Literal(value, _) => Ok(Arg::Literal(value.clone())),
                    arg => place(arg).map(Arg::Column),
                });
                Ok((*call, args.collect::<Result<_>>()?))
            })
            .collect::<Result<_>>()?,
    };
    let (exprs, texts): (Vec<_>, Vec<_>) =
        columns.into_iter().map(|InputColumn { expr, text, .. }| (expr, text)).unzip();
    let named = exprs.into_iter().zip(&texts).map(|(expr, text)| Ok((expr, computed_name(text))));
    let plan = project(&window.input, named)?;
    Ok(Input { plan, texts, places })
}

/// A column that a window reads.
struct InputColumn {
    expr: Expr,
    /// What is the same in other names: views may call one thing by several.
    others: Vec<Expr>,
    /// What it is, down to the columns of the source.
    text: String,
}

impl InputColumn {
    fn is(&self, expr: &Expr) -> bool {
        self.expr == *expr || self.others.contains(expr)
    }

    /// Whether both are computed, and the same. Plain columns have names of their own.
    fn is_like(&self, expr: &Expr, text: &str) -> bool {
        let is_computed = |expr: &Expr| !matches!(expr, Expr::Column(_));
        is_computed(&self.expr) && is_computed(expr) && self.text == text
    }
}

/// The optimised projection of expressions, each with the name that it gets where it is no plain column. Rows are stored
/// under these names, so none may depend on the place.
fn project(input: &LogicalPlan, exprs: impl Iterator<Item = Result<(Expr, String)>>) -> Result<LogicalPlan> {
    let exprs = exprs
        .map(|named| {
            let (expr, name) = named?;
            let data_type = expr.get_type(input.schema())?;
            let plain = outputs::plain(expr.clone(), &data_type).unwrap_or(expr);
            Ok(match plain {
                Expr::Column(_) => plain,
                computed => computed.alias(name),
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let plan = LogicalPlanBuilder::from(input.clone()).project(exprs)?.build()?;
    segment::optimise(plan)
}

pub(super) fn column(plan: &LogicalPlan, index: usize) -> Expr {
    Expr::Column(Column::from(plan.schema().qualified_field(index)))
}
