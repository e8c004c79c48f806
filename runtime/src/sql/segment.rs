//! Segments: chains of projections and filters between two stages, as steps of a map.
//!
//! A segment reads one stage and keeps no state, so any rule of the optimiser that keeps its result keeps its meaning
//! for a stream. The rules here fold constants, move filters below projections, take out what is computed twice, and
//! drop columns that nobody reads, so that most segments end as one filter and one projection.

use std::sync::Arc;

use datafusion_common::{Result, ScalarValue, internal_datafusion_err};
use datafusion_expr::{
    Expr, LogicalPlan, execution_props::ExecutionProps, physical_planning_context::PhysicalPlanningContext,
};
use datafusion_optimizer::{
    Optimizer, OptimizerContext, OptimizerRule, common_subexpr_eliminate::CommonSubexprEliminate,
    optimize_projections::OptimizeProjections, push_down_filter::PushDownFilter,
    simplify_expressions::SimplifyExpressions,
};
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr, expressions::BinaryExpr};

use super::lineage;

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
    pub(super) columns: Option<Vec<(Arc<dyn PhysicalExpr>, String)>>,
}

pub(super) fn optimise(plan: LogicalPlan) -> Result<LogicalPlan> {
    let rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> = vec![
        Arc::new(SimplifyExpressions::new()),
        Arc::new(PushDownFilter::new()),
        Arc::new(OptimizeProjections::new()),
        Arc::new(CommonSubexprEliminate::new()),
        Arc::new(OptimizeProjections::new()),
    ];
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
            let step = segment.open_step();
            segment.steps.push(Step { columns: Some(columns), ..step });
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
}

fn physical(expr: &Expr, input: &LogicalPlan) -> Result<Arc<dyn PhysicalExpr>> {
    create_physical_expr(expr, input.schema(), &ExecutionProps::new(), &PhysicalPlanningContext::default())
}
