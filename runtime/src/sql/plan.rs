//! The whole text: statements in order, then the graph.

use datafusion_common::Column;
use datafusion_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion_sql::sqlparser::ast::{Ident, SetExpr, Statement};

use super::{
    build,
    catalog::Catalog,
    error::{Position, SqlError},
    functions::Functions,
    insert::Output,
    lineage,
    names::same_name,
    query::{Relation, Scope},
    stage::{self, Inside, Place, Stage, Work},
    text::Text,
    unsupported,
};
use crate::graph::StreamGraph;

/// More would be a mistake, or meant to exhaust the stack.
const MAX_SELECTS: usize = 100;

/// Plans all statements of `sql` as one graph: one sink node an `INSERT`, sources and views shared.
///
/// Sources that no `INSERT` reads, directly or through views, are left out.
pub fn plan(sql: &str, catalog: &Catalog) -> Result<StreamGraph, SqlError> {
    let text = Text::read(sql)?;
    let statements = text.statements()?;
    let mut planner = Planner {
        catalog,
        text,
        functions: Functions::new(),
        stages: Vec::new(),
        outputs: Vec::new(),
        inside: Vec::new(),
        selects: 0,
    };
    let mut views = Scope::default();
    for (at, statement) in statements {
        match with_inside(statement) {
            Statement::CreateView(view) => {
                let relation = planner.view(view, &views, at)?;
                views.add(relation);
            }
            Statement::Insert(insert) => planner.insert(insert, &views, at)?,
            other => {
                let words: Vec<String> = other.to_string().split_whitespace().take(2).map(str::to_owned).collect();
                let words = words.join(" ");
                return Err(SqlError::new(at, format!("found `{words} …`; {}", unsupported::STATEMENTS)));
            }
        }
    }
    if planner.outputs.is_empty() {
        return Err(SqlError::new(None, "writes to no sink; write at least one `INSERT INTO <sink> SELECT …`"));
    }
    build::graph(&planner.stages, &planner.outputs)
}

/// `WITH … INSERT INTO sink SELECT …` means `INSERT INTO sink WITH … SELECT …`.
fn with_inside(statement: Statement) -> Statement {
    match statement {
        Statement::Query(mut query) => match (query.body.as_mut(), &mut query.with) {
            (SetExpr::Insert(Statement::Insert(insert)), with @ Some(_))
                if insert.source.as_ref().is_some_and(|source| source.with.is_none()) =>
            {
                let mut insert = insert.clone();
                if let Some(source) = &mut insert.source {
                    source.with = with.take();
                }
                Statement::Insert(insert)
            }
            _ => Statement::Query(query),
        },
        other => other,
    }
}

pub(super) struct Planner<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) text: Text,
    pub(super) functions: Functions,
    /// In the order they were found, inputs before their readers.
    pub(super) stages: Vec<Stage>,
    pub(super) outputs: Vec<Output>,
    /// What is being planned, from the statement inwards.
    pub(super) inside: Vec<Inside>,
    selects: usize,
}

impl Planner<'_> {
    pub(super) fn count_select(&mut self, at: Position) -> Result<(), SqlError> {
        self.selects += 1;
        if self.selects > MAX_SELECTS {
            return Err(SqlError::new(at, format!("accepted are {MAX_SELECTS} SELECTs in all")));
        }
        Ok(())
    }

    /// Notes for the stages that the `SELECT` at `at` has made of `plan`, over the stage `below`, that they are written here.
    pub(super) fn written_here(&mut self, plan: &LogicalPlan, below: Option<usize>, at: Position) {
        let made = std::iter::successors(lineage::leaf(plan).map(|table| table.stage), |stage| {
            self.stages.get(*stage).and_then(Stage::reads)
        });
        let made: Vec<usize> = made.take_while(|stage| Some(*stage) != below).collect();
        for stage in made.into_iter().rev() {
            let Some(name) = self.stages.get(stage).map(|stage| stage.name.clone()) else { continue };
            let is_here = |stage: &Stage| stage.places.iter().any(|place| place.inside == self.inside);
            if self.stages.get(stage).is_some_and(is_here) {
                continue;
            }
            let number = self.stages.iter().filter(|other| other.name == name && is_here(other)).count() + 1;
            let place = Place { inside: self.inside.clone(), number };
            if let Some(stage) = self.stages.get_mut(stage) {
                stage.places.push(place);
                stage.at.get_or_insert(at);
            }
        }
    }

    /// The source called so, with all its columns.
    pub(super) fn source(&mut self, name: &Ident) -> Result<Option<Relation>, SqlError> {
        let Some(source) = self.catalog.sources.iter().find(|source| same_name(name, &source.name)) else {
            return Ok(None);
        };
        let event_time = source.event_time.as_deref().and_then(|column| source.schema.index_of(column).ok());
        let stage = stage::intern(
            &mut self.stages,
            format!("source-{}", source.name),
            source.name.clone(),
            source.schema.fields().iter().map(|field| field.as_ref().clone()),
            event_time,
            &source.name,
            Work::Source,
        );
        let plan = self.scan(stage)?;
        Ok(Some(Relation { name: source.name.clone(), plan, ranking: None }))
    }

    pub(super) fn scan(&self, stage: usize) -> Result<LogicalPlan, SqlError> {
        let stage = self.stages.get(stage).ok_or_else(|| SqlError::new(None, "an operator is missing"))?;
        stage.scan().map_err(|error| SqlError::planning(&error, None))
    }

    /// The scan of a stage with its columns under other qualifiers and names, one `as_columns` each.
    pub(super) fn scan_as(
        &self,
        stage: usize,
        as_columns: impl Iterator<Item = (usize, Column)>,
        more: impl IntoIterator<Item = Expr>,
    ) -> Result<LogicalPlan, SqlError> {
        let scan = self.scan(stage)?;
        let exprs: Vec<Expr> = as_columns
            .map(|(index, column)| {
                let (qualifier, field) = scan.schema().qualified_field(index);
                Expr::Column(Column::from((qualifier, field))).alias_qualified(column.relation, column.name)
            })
            .chain(more)
            .collect();
        LogicalPlanBuilder::from(scan)
            .project(exprs)
            .and_then(LogicalPlanBuilder::build)
            .map_err(|error| SqlError::planning(&error, None))
    }
}
