//! One query: `WITH`, what it reads, and its `SELECT`, planned from the inside out.

use datafusion_common::TableReference;
use datafusion_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion_optimizer::analyzer::{AnalyzerRule, type_coercion::TypeCoercion};
use datafusion_sql::{
    planner::{PlannerContext, SqlToRel},
    sqlparser::ast::{
        Ident, ObjectName, Query, Select, SelectItem, SetExpr, Spanned, Statement, TableFactor, TableWithJoins,
    },
};

use super::{
    clauses, doubles,
    error::{Position, SqlError},
    lineage,
    locate::locate,
    lower::Lowering,
    names::{self, Columns, Ranking, new_name, same_name},
    plan::Planner,
    stage::Inside,
    types::Check,
};

/// Something to select from.
#[derive(Debug, Clone)]
pub(super) struct Relation {
    /// Name of the view or subquery, else of what it reads.
    pub(super) name: String,
    pub(super) plan: LogicalPlan,
    /// A `ROW_NUMBER()` among the columns that no filter has used yet.
    pub(super) ranking: Option<Ranking>,
}

impl Relation {
    /// The relation under a name that columns can be qualified with.
    pub(super) fn named(self, name: &str) -> Result<Self, SqlError> {
        let plan = LogicalPlanBuilder::from(self.plan)
            .alias(TableReference::bare(name))
            .and_then(LogicalPlanBuilder::build)
            .map_err(|error| SqlError::planning(&error, None))?;
        Ok(Self { name: name.to_owned(), plan, ranking: self.ranking })
    }
}

/// Views and `WITH` queries that a name may mean; later ones hide earlier ones.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope {
    relations: Vec<Relation>,
}

impl Scope {
    pub(super) fn add(&mut self, relation: Relation) {
        self.relations.push(relation);
    }

    pub(super) fn find(&self, name: &Ident) -> Option<&Relation> {
        self.relations.iter().rev().find(|relation| same_name(name, &relation.name))
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.relations.iter().map(|relation| relation.name.as_str())
    }
}

impl Planner<'_> {
    /// `names`, if not empty, are what the columns of the result are to be called.
    pub(super) fn query(
        &mut self,
        query: Query,
        scope: &Scope,
        names: &[Ident],
        near: Position,
    ) -> Result<Relation, SqlError> {
        let near = Position::of(query.span()).unwrap_or(near);
        clauses::check_query(&query, &self.text, near)?;
        let mut scope = scope.clone();
        let mut own: Vec<String> = Vec::new();
        for cte in query.with.into_iter().flat_map(|with| with.cte_tables) {
            let at = Position::of(cte.alias.name.span).unwrap_or(near);
            let name = new_name(&cte.alias.name);
            if own.contains(&name) {
                return Err(SqlError::new(at, format!("WITH names `{name}` twice; give one another name")));
            }
            if !cte.alias.columns.is_empty() {
                return Err(SqlError::new(
                    at,
                    "columns after a WITH name are not supported yet; name them with AS in the SELECT",
                ));
            }
            self.inside.push(Inside::With(name.clone()));
            let relation = self.query(*cte.query, &scope, &[], at);
            self.inside.pop();
            let relation = relation?;
            scope.add(relation.named(&name)?);
            own.push(name);
        }
        match *query.body {
            SetExpr::Select(select) => self.select(*select, &scope, names, near),
            SetExpr::Query(inner) => self.query(*inner, &scope, names, near),
            other => Err(clauses::not_a_select(&other, &self.text, near)),
        }
    }

    fn select(
        &mut self,
        mut select: Select,
        scope: &Scope,
        names: &[Ident],
        near: Position,
    ) -> Result<Relation, SqlError> {
        let near = Position::of(select.select_token.0.span).unwrap_or(near);
        self.count_select(near)?;
        clauses::check_select(&select, &self.text, near)?;
        let (relation, qualifier) = self.from(std::mem::take(&mut select.from), scope, near)?;

        let fields = relation.plan.schema().fields().iter();
        let columns = Columns {
            relation: &qualifier,
            names: fields.map(|field| field.name().clone()).collect(),
            aliases: Vec::new(),
        };
        check_count(&select, &columns, names, near)?;
        let schema = std::sync::Arc::clone(relation.plan.schema());
        let check = Check { schema: &schema, functions: &self.functions };
        let facts = names::resolve(&mut select, &self.text, columns, names, check)?;

        select.from = vec![table(&qualifier)];
        let ranking = facts.ranking.or(relation.ranking);
        let below = lineage::leaf(&relation.plan).map(|table| table.stage);
        let plan = self.select_plan(&select, &qualifier, relation.plan, near)?;
        let lowering = Lowering { name: &relation.name, facts, ranking, near };
        let plan = self.lower(plan, &lowering)?;
        self.written_here(&plan, below, near);
        Ok(Relation { name: relation.name, plan, ranking })
    }

    /// The `SELECT` over the one relation it reads, typed.
    fn select_plan(
        &self,
        select: &Select,
        qualifier: &str,
        input: LogicalPlan,
        near: Position,
    ) -> Result<LogicalPlan, SqlError> {
        let mut context = PlannerContext::new();
        context.insert_cte(qualifier, input);
        let query = Query {
            with: None,
            body: Box::new(SetExpr::Select(Box::new(select.clone()))),
            order_by: None,
            limit_clause: None,
            fetch: None,
            locks: Vec::new(),
            for_clause: None,
            settings: None,
            format_clause: None,
            pipe_operators: Vec::new(),
        };
        SqlToRel::new(&self.functions)
            .sql_statement_to_plan_with_context(Statement::Query(Box::new(query)), &mut context)
            .and_then(doubles::of_floats)
            .and_then(|plan| TypeCoercion::new().analyze(plan, &self.functions.options))
            .map_err(|error| locate(&error, select, near))
    }
}

/// With new names for the columns there must be as many as there are columns.
fn check_count(select: &Select, columns: &Columns<'_>, names: &[Ident], near: Position) -> Result<(), SqlError> {
    if names.is_empty() {
        return Ok(());
    }
    let count: usize = select
        .projection
        .iter()
        .map(|item| match item {
            SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => columns.names.len(),
            _ => 1,
        })
        .sum();
    if count == names.len() {
        return Ok(());
    }
    Err(SqlError::new(near, format!("INSERT INTO names {} columns, this SELECT has {count}", names.len())))
}

fn table(name: &str) -> TableWithJoins {
    TableWithJoins {
        relation: TableFactor::Table {
            name: ObjectName::from(vec![Ident::with_quote('"', name)]),
            alias: None,
            args: None,
            with_hints: Vec::new(),
            version: None,
            with_ordinality: false,
            partitions: Vec::new(),
            json_path: None,
            sample: None,
            index_hints: Vec::new(),
        },
        joins: Vec::new(),
    }
}
