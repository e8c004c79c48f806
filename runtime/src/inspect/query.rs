//! One `SELECT` over a checkpoint's tables: read, planned, run.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use datafusion_common::{DataFusionError, Result, TableReference, config::ConfigOptions, plan_err};
use datafusion_execution::{SendableRecordBatchStream, TaskContext, runtime_env::RuntimeEnvBuilder};
use datafusion_expr::{
    AggregateUDF, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource, WindowUDF,
    planner::{ContextProvider, ExprPlanner},
};
use datafusion_optimizer::{Analyzer, Optimizer, OptimizerContext};
use datafusion_physical_plan::{execute_stream, stream::RecordBatchStreamAdapter, streaming::PartitionStream};
use datafusion_sql::{
    parser,
    planner::SqlToRel,
    resolve::resolve_table_references,
    sqlparser::{
        ast::{Query, SetExpr, Statement},
        dialect::GenericDialect,
        parser::Parser,
    },
};
use futures::{TryStreamExt, stream};
use tidegate_crds::nearest;

use super::{
    Checkpoint,
    error::QueryError,
    physical::physical,
    state::State,
    tables::{Holds, Table, tables},
};

/// Of the memory limit, what a query may keep: one of so many parts. What does not fit goes to the local disk where the
/// operator can do that, and fails the query where it can't.
const MEMORY: u64 = 2;

/// The rows that a query gives, as they come.
pub struct Rows {
    pub schema: SchemaRef,
    stream: SendableRecordBatchStream,
}

impl Rows {
    /// The next rows; `None` when there are no more.
    pub async fn next(&mut self) -> std::result::Result<Option<RecordBatch>, QueryError> {
        let Some(rows) = self.stream.try_next().await? else { return Ok(None) };
        Ok(Some(RecordBatch::try_new(self.schema.clone(), rows.columns().to_vec())?))
    }
}

/// Begins to answer a query.
pub async fn query(checkpoint: Arc<Checkpoint>, sql: &str) -> std::result::Result<Rows, QueryError> {
    let statement = select(sql)?;
    let provider = Provider { tables: open(&checkpoint, &statement).await?, ..Provider::new() };
    let plan = SqlToRel::new(&provider).sql_statement_to_plan(statement)?;
    let plan = optimised(plan, &provider.options)?;
    let memory = (checkpoint.memory.bytes / MEMORY) as usize;
    let runtime = RuntimeEnvBuilder::new().with_memory_limit(memory, 1.0).build_arc()?;
    let context = Arc::new(TaskContext::default().with_runtime(runtime));
    let stream = execute_stream(physical(&plan)?, context)?;
    // As the query names them: the engine's operators know columns by their places.
    let found = stream.schema();
    let columns = plan.schema().fields().iter().zip(found.fields());
    let columns = columns.map(|(named, found)| Field::new(named.name(), found.data_type().clone(), true));
    Ok(Rows { schema: Arc::new(Schema::new(columns.collect::<Vec<_>>())), stream })
}

/// The statement, if it is a `SELECT` and the only one.
fn select(sql: &str) -> std::result::Result<Statement, QueryError> {
    let statements = Parser::parse_sql(&GenericDialect {}, sql);
    let mut statements = statements.map_err(|error| QueryError::Refused(error.to_string().replace("sql parser error: ", "")))?;
    let first = statements.pop().filter(|_| statements.is_empty());
    let found = |statement: &dyn std::fmt::Display| {
        let words: Vec<String> = statement.to_string().split_whitespace().take(2).map(str::to_owned).collect();
        QueryError::NotOneSelect { found: format!("`{} …`", words.join(" ")) }
    };
    match first {
        Some(Statement::Query(query)) if reads_only(&query) => Ok(Statement::Query(query)),
        Some(other) => Err(found(&other)),
        None if statements.is_empty() => Err(QueryError::NotOneSelect { found: "nothing".to_owned() }),
        None => Err(QueryError::NotOneSelect { found: format!("{} statements", statements.len() + 1) }),
    }
}

fn reads_only(query: &Query) -> bool {
    fn body(body: &SetExpr) -> bool {
        match body {
            SetExpr::Select(select) => select.into.is_none(),
            SetExpr::Query(query) => reads_only(query),
            SetExpr::SetOperation { left, right, .. } => body(left) && body(right),
            SetExpr::Values(_) | SetExpr::Table(_) => true,
            _ => false,
        }
    }
    body(&query.body)
}

/// The tables that the statement names.
async fn open(
    checkpoint: &Arc<Checkpoint>,
    statement: &Statement,
) -> std::result::Result<BTreeMap<String, Arc<dyn TableSource>>, QueryError> {
    let statement = parser::Statement::Statement(Box::new(statement.clone()));
    let (named, _) = resolve_table_references(&statement, true)?;
    let named: BTreeSet<String> = named.iter().map(ToString::to_string).collect();
    let all = tables(&checkpoint.manifest);
    let mut opened: BTreeMap<String, Arc<dyn TableSource>> = BTreeMap::new();
    for name in named {
        let table = all.iter().find(|table| table.name == name).ok_or_else(|| QueryError::UnknownTable {
            hint: nearest(&name, all.iter().map(|table| table.name.as_str())),
            accepted: all.iter().map(|table| format!("`{}`", table.name)).collect(),
            name: name.clone(),
        })?;
        opened.insert(name, Arc::new(Scannable::open(checkpoint, table).await?));
    }
    Ok(opened)
}

fn optimised(plan: LogicalPlan, options: &ConfigOptions) -> Result<LogicalPlan> {
    let plan = Analyzer::new().execute_and_check(plan, options, |_, _| {})?;
    let context = OptimizerContext::new_with_config_options(Arc::new(options.clone()));
    Optimizer::new().optimize(plan, &context, |_, _| {})
}

/// A table that can be scanned.
#[derive(Debug)]
pub(super) struct Scannable {
    pub rows: Arc<dyn PartitionStream>,
}

impl Scannable {
    async fn open(checkpoint: &Arc<Checkpoint>, table: &Table) -> std::result::Result<Self, QueryError> {
        Ok(match &table.holds {
            Holds::Facts(facts) => {
                let rows = (facts.rows)(&checkpoint.manifest)?;
                Self { rows: Arc::new(Small { schema: rows.schema(), rows }) }
            }
            Holds::State { operator, collection } => {
                Self { rows: Arc::new(State::open(checkpoint, operator, *collection).await?) }
            }
        })
    }
}

impl TableSource for Scannable {
    fn schema(&self) -> SchemaRef {
        self.rows.schema().clone()
    }
}

/// Rows that are at hand.
#[derive(Debug)]
struct Small {
    schema: SchemaRef,
    rows: RecordBatch,
}

impl PartitionStream for Small {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let rows = stream::iter([Ok::<_, DataFusionError>(self.rows.clone())]);
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), rows))
    }
}

/// What the planner may use: the tables, and all functions but those over windows.
struct Provider {
    tables: BTreeMap<String, Arc<dyn TableSource>>,
    scalars: BTreeMap<String, Arc<ScalarUDF>>,
    aggregates: BTreeMap<String, Arc<AggregateUDF>>,
    planners: Vec<Arc<dyn ExprPlanner>>,
    options: ConfigOptions,
}

impl Provider {
    fn new() -> Self {
        let mut options = ConfigOptions::default();
        options.sql_parser.parse_float_as_decimal = true;
        options.sql_parser.map_string_types_to_utf8view = false;
        // As joins: there is no operator here for the other way.
        options.optimizer.enable_physical_uncorrelated_scalar_subquery = false;
        let scalars = datafusion_functions::all_default_functions().into_iter().flat_map(|function| {
            let names: Vec<String> =
                std::iter::once(function.name().to_owned()).chain(function.aliases().iter().cloned()).collect();
            names.into_iter().map(move |name| (name, function.clone()))
        });
        let aggregates = datafusion_functions_aggregate::all_default_aggregate_functions();
        let aggregates = aggregates.into_iter().flat_map(|function| {
            let names: Vec<String> =
                std::iter::once(function.name().to_owned()).chain(function.aliases().iter().cloned()).collect();
            names.into_iter().map(move |name| (name, function.clone()))
        });
        Self {
            tables: BTreeMap::new(),
            scalars: scalars.collect(),
            aggregates: aggregates.collect(),
            planners: vec![
                Arc::new(datafusion_functions::core::planner::CoreFunctionPlanner::default()),
                Arc::new(datafusion_functions::unicode::planner::UnicodeFunctionPlanner),
                Arc::new(datafusion_functions::datetime::planner::DatetimeFunctionPlanner),
                Arc::new(datafusion_functions_aggregate::planner::AggregateFunctionPlanner),
            ],
            options,
        }
    }
}

impl ContextProvider for Provider {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        match self.tables.get(&name.to_string()) {
            Some(table) => Ok(table.clone()),
            None => plan_err!("there is no table `{name}`"),
        }
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.scalars.get(name).cloned()
    }

    fn get_higher_order_meta(&self, _: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.aggregates.get(name).cloned()
    }

    fn get_window_meta(&self, _: &str) -> Option<Arc<WindowUDF>> {
        None
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.options
    }

    fn udf_names(&self) -> Vec<String> {
        self.scalars.keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.aggregates.keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        Vec::new()
    }
}
