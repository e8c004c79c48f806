//! What a `SELECT` reads: a source, a view, a subquery, or the windows of one of them.

use datafusion_common::Column;
use datafusion_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion_sql::sqlparser::{
    ast::{
        Expr as SqlExpr, FunctionArg, FunctionArguments, Ident, ObjectName, ObjectNamePart, Spanned, TableAlias,
        TableFactor, TableWithJoins,
    },
    keywords::Keyword,
};
use tidegate_crds::nearest;

use super::{
    error::{Position, SqlError},
    lineage,
    names::{Columns, new_name},
    plan::Planner,
    query::{Relation, Scope},
    tumble::{Edge, TumbleCall, tumble},
    unsupported,
};

const ACCEPTED: &str = "accepted after FROM is one source, view, subquery or TUMBLE(…)";

impl Planner<'_> {
    /// The relation after `FROM`, and the name that qualifies its columns.
    pub(super) fn from(
        &mut self,
        from: Vec<TableWithJoins>,
        scope: &Scope,
        near: Position,
    ) -> Result<(Relation, String), SqlError> {
        let mut from = from.into_iter();
        let Some(first) = from.next() else {
            return Err(SqlError::new(near, format!("this SELECT reads nothing; {ACCEPTED}")));
        };
        if let Some(join) = first.joins.first() {
            let at = Position::of(join.relation.span()).unwrap_or(near);
            let at = self.text.keyword_before(Keyword::JOIN, at);
            return Err(SqlError::new(at, format!("JOIN is not supported yet; {ACCEPTED}")));
        }
        if let Some(second) = from.next() {
            let at = Position::of(second.relation.span()).unwrap_or(near);
            return Err(SqlError::new(at, format!("found a second relation; {ACCEPTED}")));
        }
        let (relation, alias) = self.factor(first.relation, scope, near)?;
        let alias = match alias {
            Some(alias) if !alias.columns.is_empty() || alias.at.is_some() => {
                let at = Position::of(alias.name.span).unwrap_or(near);
                return Err(SqlError::new(
                    at,
                    "columns after an alias are not supported yet; name them with AS in the SELECT",
                ));
            }
            Some(alias) => Some(new_name(&alias.name)),
            None => None,
        };
        let qualifier = alias.unwrap_or_else(|| relation.name.clone());
        Ok((relation.named(&qualifier)?, qualifier))
    }

    fn factor(
        &mut self,
        factor: TableFactor,
        scope: &Scope,
        near: Position,
    ) -> Result<(Relation, Option<TableAlias>), SqlError> {
        let at = Position::of(factor.span()).unwrap_or(near);
        match factor {
            TableFactor::Table {
                name,
                alias,
                args,
                with_ordinality: false,
                sample: None,
                version: None,
                json_path: None,
                with_hints,
                partitions,
                index_hints,
            } if with_hints.is_empty() && partitions.is_empty() && index_hints.is_empty() => {
                let relation = match args {
                    None => self.relation(single(&name, at)?, scope, at)?,
                    Some(args) => self.tumble(&name, &args.args, scope, at)?,
                };
                Ok((relation, alias))
            }
            TableFactor::TableFunction { expr: SqlExpr::Function(function), alias } => match &function.args {
                FunctionArguments::List(list) => Ok((self.tumble(&function.name, &list.args, scope, at)?, alias)),
                _ => Err(SqlError::new(at, format!("found `{function}`; {ACCEPTED}"))),
            },
            TableFactor::Derived { lateral: false, subquery, alias, sample: None } => {
                Ok((self.query(*subquery, scope, &[], near)?, alias))
            }
            other => Err(SqlError::new(at, format!("`{other}` is not supported yet; {ACCEPTED}"))),
        }
    }

    /// The view or source called so.
    fn relation(&mut self, name: &Ident, scope: &Scope, near: Position) -> Result<Relation, SqlError> {
        if let Some(known) = scope.find(name) {
            return Ok(known.clone());
        }
        if let Some(relation) = self.source(name)? {
            return Ok(relation);
        }
        let known = scope.names().chain(self.catalog.sources.iter().map(|source| source.name.as_str()));
        let hint = nearest(&name.value, known);
        let at = Position::of(name.span).unwrap_or(near);
        Err(SqlError::new(at, format!("there is no source or view `{}`{hint}", name.value)))
    }

    fn tumble(
        &mut self,
        name: &ObjectName,
        args: &[FunctionArg],
        scope: &Scope,
        near: Position,
    ) -> Result<Relation, SqlError> {
        let at = Position::of(name.span()).unwrap_or(near);
        if !name.to_string().eq_ignore_ascii_case("tumble") {
            let lower = name.to_string().to_lowercase();
            if let Some(message) = unsupported::window(&lower) {
                return Err(SqlError::new(at, message));
            }
            let hint = nearest(&lower, ["tumble"]);
            return Err(SqlError::new(at, format!("there is no table function `{lower}`{hint}; {ACCEPTED}")));
        }
        let call = TumbleCall::read(args, at, &self.text)?;
        let relation = self.relation(&call.table, scope, at)?;
        let name = relation.name.clone();
        let relation = relation.named(&name)?;
        windows(relation, &call)
    }
}

/// The relation with its window columns.
fn windows(relation: Relation, call: &TumbleCall) -> Result<Relation, SqlError> {
    let plan = relation.plan;
    let schema = plan.schema();
    let columns = Columns {
        relation: &relation.name,
        names: schema.fields().iter().map(|field| field.name().clone()).collect(),
        aliases: Vec::new(),
    };
    let mut column = call.column.clone();
    columns.resolve(&mut column, false, call.at)?;
    let time = schema
        .iter()
        .map(|(qualifier, field)| Expr::Column(Column::from((qualifier, field))))
        .find(|expr| matches!(expr, Expr::Column(found) if found.name == column.value));
    let at = Position::of(call.column.span).unwrap_or(call.at);
    let time = time
        .filter(|time| lineage::event_time(time, &plan).is_some())
        .ok_or_else(|| not_event_time(&plan, &columns, &column.value, at))?;
    if let Some(taken) = Edge::ALL.iter().find(|edge| columns.names.iter().any(|name| name == edge.column())) {
        let message = format!(
            "`{}` already has a column `{}`, which TUMBLE adds; give it another name",
            relation.name,
            taken.column()
        );
        return Err(SqlError::new(call.at, message));
    }
    let exprs: Vec<Expr> = schema
        .iter()
        .map(|(qualifier, field)| Expr::Column(Column::from((qualifier, field))))
        .chain(Edge::ALL.map(|edge| tumble(edge, time.clone(), call.size_ms).alias(edge.column())))
        .collect();
    let plan = LogicalPlanBuilder::from(plan)
        .project(exprs)
        .and_then(LogicalPlanBuilder::build)
        .map_err(|error| SqlError::planning(&error, call.at))?;
    Ok(Relation { name: relation.name, plan, ranking: relation.ranking })
}

/// Says which column is accepted, or why none is.
fn not_event_time(plan: &LogicalPlan, columns: &Columns<'_>, found: &str, at: Position) -> SqlError {
    let relation = columns.relation;
    let accepted = plan
        .schema()
        .iter()
        .find(|(qualifier, field)| {
            lineage::event_time(&Expr::Column(Column::from((*qualifier, *field))), plan).is_some()
        })
        .map(|(_, field)| field.name().clone());
    let message = match (accepted, lineage::leaf(plan)) {
        (Some(accepted), _) => {
            format!("`{found}` is not the event time of `{relation}`; accepted is DESCRIPTOR({accepted})")
        }
        (None, Some(table)) if table.windowed => {
            format!(
                "`{relation}` is the result of windows, which has no event time; a window over windows is not supported yet"
            )
        }
        (None, Some(table)) if table.event_time.is_none() => format!(
            "source `{}` has no event time; set `watermark` on the source, with the column that is its event time",
            table.source
        ),
        (None, Some(table)) => {
            let time = table.event_time.and_then(|index| table.schema.fields().get(index));
            let time = time.map(|field| format!(" `{}`", field.name())).unwrap_or_default();
            format!("`{found}` is not the event time of `{relation}`; its SELECT must keep the column{time} as it is")
        }
        (None, None) => format!("`{found}` is not an event time"),
    };
    SqlError::new(at, message)
}

fn single(name: &ObjectName, at: Position) -> Result<&Ident, SqlError> {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(ident)] => Ok(ident),
        _ => {
            Err(SqlError::new(at, format!("found `{name}`; accepted is the name of one source or view, without a dot")))
        }
    }
}
