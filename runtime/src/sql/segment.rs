//! Segments: chains of projections and filters between two stages, as steps of a map.
//!
//! A segment reads one stage and keeps no state, so any rule of the optimiser that keeps its result keeps its meaning
//! for a stream. Arithmetic is made exact before any of it is folded ([`arithmetic`]). The rules fold constants ([`fold`]), move
//! filters below projections ([`push_down`]), take out what is computed twice, and drop columns that nobody reads, so that most
//! segments end as one filter and one projection.

use std::{collections::BTreeSet, sync::Arc};

use datafusion_common::{
    Result, ScalarValue, internal_datafusion_err,
    tree_node::{Transformed, TreeNode, TreeNodeRecursion},
};
use datafusion_expr::{
    Expr, LogicalPlan, execution_props::ExecutionProps, physical_planning_context::PhysicalPlanningContext,
};
use datafusion_optimizer::{
    Optimizer, OptimizerContext, OptimizerRule, common_subexpr_eliminate::CommonSubexprEliminate,
    optimize_projections::OptimizeProjections,
};
use datafusion_physical_expr::{
    PhysicalExpr, create_physical_expr,
    expressions::{BinaryExpr, Column, Literal},
};

use super::{arithmetic, fold, lineage, push_down::push_down};

pub(super) type NamedExpr = (Arc<dyn PhysicalExpr>, String);

/// A segment ready to run.
#[derive(Debug)]
pub(super) struct Segment {
    /// The stage that it reads, and which of its columns, in this order.
    pub(super) stage: usize,
    pub(super) reads: Vec<usize>,
    pub(super) steps: Vec<Step>,
}

/// One map: keep rows, then compute columns; the first step's expressions are over [`Segment::reads`].
#[derive(Debug, Default)]
pub(super) struct Step {
    pub(super) predicate: Option<Arc<dyn PhysicalExpr>>,
    /// With their names; all columns as they are if `None`.
    pub(super) columns: Option<Vec<NamedExpr>>,
}

pub(super) fn optimise(plan: LogicalPlan) -> Result<LogicalPlan> {
    let rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> = vec![
        Arc::new(OptimizeProjections::new()),
        Arc::new(CommonSubexprEliminate::new()),
        Arc::new(OptimizeProjections::new()),
    ];
    // Folded last: a condition may be about a constant, once it is below what computes it.
    let plan = fold::plan(push_down(arithmetic::checked(plan)?)?)?;
    let context = OptimizerContext::new().without_query_execution_start_time().with_skip_failing_rules(false);
    Optimizer::with_rules(rules).optimize(plan, &context, |_, _| {})
}

/// The steps of an optimised plan.
pub(super) fn compile(plan: &LogicalPlan) -> Result<Segment> {
    match plan {
        LogicalPlan::TableScan(scan) => {
            let table = lineage::stage_table(scan).ok_or_else(|| internal_datafusion_err!("a scan of no stage"))?;
            if !scan.filters.is_empty() || scan.fetch.is_some() {
                return Err(internal_datafusion_err!("a scan with a filter"));
            }
            let reads = scan.projection.clone().unwrap_or_else(|| (0..table.schema.fields().len()).collect());
            Ok(Segment { stage: table.stage, reads, steps: Vec::new() })
        }
        LogicalPlan::SubqueryAlias(alias) => compile(&alias.input),
        LogicalPlan::Filter(filter) => {
            let mut segment = compile(&filter.input)?;
            if matches!(filter.predicate, Expr::Literal(ScalarValue::Boolean(Some(true)), _)) {
                return Ok(segment);
            }
            let predicate = physical(&filter.predicate, &filter.input)?;
            let mut step = segment.open_step();
            step.predicate = Some(match step.predicate.take() {
                None => predicate,
                Some(earlier) => Arc::new(BinaryExpr::new(earlier, datafusion_expr::Operator::And, predicate)),
            });
            segment.steps.push(step);
            Ok(segment)
        }
        LogicalPlan::Projection(projection) => {
            let mut segment = compile(&projection.input)?;
            let names = projection.schema.fields().iter().map(|field| field.name().clone());
            let columns = projection
                .expr
                .iter()
                .zip(names)
                .map(|(expr, name)| Ok((physical(expr, &projection.input)?, name)))
                .collect::<Result<Vec<_>>>()?;
            segment.project(columns)?;
            Ok(segment)
        }
        other => Err(internal_datafusion_err!("`{}` between two operators", other.display())),
    }
}

impl Segment {
    /// Takes the last step, if columns can still be computed after it; else a new one.
    fn open_step(&mut self) -> Step {
        self.steps.pop_if(|last| last.columns.is_none()).unwrap_or_default()
    }

    /// Computes columns after all that is there: in the last step if nothing would be computed twice.
    fn project(&mut self, columns: Vec<NamedExpr>) -> Result<()> {
        match self.steps.last_mut() {
            Some(Step { columns: Some(before), .. }) if !uses_twice(&columns, before)? => {
                *before = inlined(columns, before)?;
            }
            Some(Step { columns: Some(_), .. }) | None => {
                self.steps.push(Step { predicate: None, columns: Some(columns) });
            }
            Some(step) => step.columns = Some(columns),
        }
        Ok(())
    }
}

/// Whether a computed column of `before` is used more than once.
fn uses_twice(columns: &[NamedExpr], before: &[NamedExpr]) -> Result<bool> {
    let mut used = BTreeSet::new();
    let mut twice = false;
    for (expr, _) in columns {
        expr.apply(|part| {
            if let Some(column) = part.downcast_ref::<Column>()
                && before.get(column.index()).is_some_and(|(expr, _)| !is_plain(expr))
            {
                twice |= !used.insert(column.index());
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    Ok(twice)
}

fn is_plain(expr: &Arc<dyn PhysicalExpr>) -> bool {
    expr.downcast_ref::<Column>().is_some() || expr.downcast_ref::<Literal>().is_some()
}

/// `columns`, each column of `before` written out.
fn inlined(columns: Vec<NamedExpr>, before: &[NamedExpr]) -> Result<Vec<NamedExpr>> {
    let inline = |expr: Arc<dyn PhysicalExpr>| {
        let expr = expr.transform_down(|part| {
            let Some(column) = part.downcast_ref::<Column>() else { return Ok(Transformed::no(part)) };
            let (written, _) =
                before.get(column.index()).ok_or_else(|| internal_datafusion_err!("a column is missing"))?;
            Ok(Transformed::new(Arc::clone(written), true, TreeNodeRecursion::Jump))
        });
        expr.map(|expr| expr.data)
    };
    columns.into_iter().map(|(expr, name)| Ok((inline(expr)?, name))).collect()
}

fn physical(expr: &Expr, input: &LogicalPlan) -> Result<Arc<dyn PhysicalExpr>> {
    create_physical_expr(expr, input.schema(), &ExecutionProps::new(), &PhysicalPlanningContext::default())
}
