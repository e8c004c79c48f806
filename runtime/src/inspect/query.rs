//! One `SELECT` over a checkpoint's tables: read, planned, run.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::{
    array::RecordBatch,
    datatypes::{Field, Schema, SchemaRef},
};
use datafusion_common::{DataFusionError, config::ConfigOptions};
use datafusion_execution::{SendableRecordBatchStream, TaskContext, runtime_env::RuntimeEnvBuilder};
use datafusion_expr::{LogicalPlan, TableSource};
use datafusion_optimizer::{Analyzer, Optimizer, OptimizerContext};
use datafusion_physical_plan::execute_stream;
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
use futures::TryStreamExt;
use tidegate_crds::{StateBackend, nearest};

use super::{
    Checkpoint, error::QueryError, physical::physical, provider::Provider, scannable::Scannable, tables::tables,
};

/// The rows that a query gives, as they come.
pub struct Rows {
    pub schema: SchemaRef,
    stream: SendableRecordBatchStream,
}

impl Rows {
    /// The next rows; `None` when there are no more.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, QueryError> {
        let Some(rows) = self.stream.try_next().await? else { return Ok(None) };
        Ok(Some(RecordBatch::try_new(self.schema.clone(), rows.columns().to_vec())?))
    }
}

/// Begins to answer a query.
pub async fn query(checkpoint: Arc<Checkpoint>, sql: &str) -> Result<Rows, QueryError> {
    let statement = select(sql)?;
    let provider = Provider::new(open(&checkpoint, &statement).await?);
    let plan = SqlToRel::new(&provider).sql_statement_to_plan(statement)?;
    let plan = optimised(plan, &provider.options)?;
    // What does not fit goes to the local disk where an operator can do that, and fails the query where it can't.
    let runtime =
        RuntimeEnvBuilder::new().with_memory_limit(checkpoint.memory.for_operators(StateBackend::Memory) as usize, 1.0);
    let runtime = runtime.with_temp_file_path(&checkpoint.folder).build_arc()?;
    let context = Arc::new(TaskContext::default().with_runtime(runtime));
    let stream = execute_stream(physical(&plan)?, context)?;
    // As the query names them: the engine's operators know columns by their places.
    let found = stream.schema();
    let columns = plan.schema().fields().iter().zip(found.fields());
    let columns = columns.map(|(named, found)| Field::new(named.name(), found.data_type().clone(), true));
    Ok(Rows { schema: Arc::new(Schema::new(columns.collect::<Vec<_>>())), stream })
}

/// The statement, if it is a `SELECT` and the only one.
fn select(sql: &str) -> Result<Statement, QueryError> {
    let statements = Parser::parse_sql(&GenericDialect {}, sql);
    let mut statements =
        statements.map_err(|error| QueryError::Refused(error.to_string().replace("sql parser error: ", "")))?;
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
    fn reads(body: &SetExpr) -> bool {
        match body {
            SetExpr::Select(select) => select.into.is_none(),
            SetExpr::Query(query) => reads_only(query),
            SetExpr::SetOperation { left, right, .. } => reads(left) && reads(right),
            SetExpr::Values(_) | SetExpr::Table(_) => true,
            _ => false,
        }
    }
    reads(&query.body)
}

/// The tables that the statement names.
async fn open(
    checkpoint: &Arc<Checkpoint>,
    statement: &Statement,
) -> Result<BTreeMap<String, Arc<dyn TableSource>>, QueryError> {
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

fn optimised(plan: LogicalPlan, options: &ConfigOptions) -> Result<LogicalPlan, DataFusionError> {
    let plan = Analyzer::new().execute_and_check(plan, options, |_, _| {})?;
    let context = OptimizerContext::new_with_config_options(Arc::new(options.clone()));
    Optimizer::new().optimize(plan, &context, |_, _| {})
}
