//! `CREATE VIEW` and `INSERT INTO`.

use std::collections::BTreeSet;

use datafusion_expr::LogicalPlan;
use datafusion_sql::sqlparser::ast::{CreateView, Ident, Insert, ObjectName, ObjectNamePart, Spanned, TableObject};
use tidegate_crds::nearest;

use super::{
    error::{Position, SqlError},
    lineage,
    names::{new_name, same_name},
    outputs,
    plan::Planner,
    query::{Relation, Scope},
    stage::Inside,
};

/// What an `INSERT` writes.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) sink: String,
    pub(super) plan: LogicalPlan,
    pub(super) at: Position,
}

impl Planner<'_> {
    pub(super) fn view(&mut self, view: CreateView, views: &Scope, at: Position) -> Result<Relation, SqlError> {
        let place = Position::of(view.name.span()).unwrap_or(at);
        let plain = !view.or_alter
            && !view.or_replace
            && !view.materialized
            && !view.secure
            && !view.if_not_exists
            && view.columns.is_empty()
            && view.cluster_by.is_empty()
            && view.comment.is_none()
            && view.to.is_none()
            && view.params.is_none()
            && !view.copy_grants
            && !view.with_no_schema_binding;
        if !plain {
            return Err(SqlError::new(
                at,
                "accepted is CREATE [TEMPORARY] VIEW name AS SELECT …, without anything between",
            ));
        }
        let name = single(&view.name, place)?;
        let taken = |what: &str| {
            Err(SqlError::new(place, format!("`{}` is already the name of a {what}; names must differ", name.value)))
        };
        if views.find(name).is_some() {
            return taken("view");
        }
        if self.catalog.sources.iter().any(|source| same_name(name, &source.name)) {
            return taken("source");
        }
        let name = new_name(name);
        self.inside.push(Inside::View(name.clone()));
        let relation = self.query(*view.query, views, &[], place);
        self.inside.pop();
        relation?.named(&name)
    }

    pub(super) fn insert(&mut self, insert: Insert, views: &Scope, at: Position) -> Result<(), SqlError> {
        let plain = insert.or.is_none()
            && !insert.ignore
            && insert.into
            && insert.table_alias.is_none()
            && !insert.overwrite
            && insert.assignments.is_empty()
            && insert.partitioned.is_none()
            && insert.after_columns.is_empty()
            && !insert.has_table_keyword
            && insert.on.is_none()
            && insert.returning.is_none()
            && insert.output.is_none()
            && !insert.replace_into
            && insert.insert_alias.is_none()
            && insert.settings.is_none()
            && insert.format_clause.is_none()
            && insert.multi_table_insert_type.is_none();
        let (true, TableObject::TableName(table), Some(source)) = (plain, &insert.table, insert.source) else {
            return Err(SqlError::new(at, "accepted is INSERT INTO sink [(column, …)] SELECT …"));
        };
        let place = Position::of(table.span()).unwrap_or(at);
        let written = single(table, place)?;
        let Some(sink) = self.catalog.sinks.iter().find(|sink| same_name(written, sink)).cloned() else {
            let hint = nearest(&written.value, self.catalog.sinks.iter().map(String::as_str));
            return Err(SqlError::new(place, format!("there is no sink `{}`{hint}", written.value)));
        };
        if let Some(earlier) = self.outputs.iter().find(|output| output.sink == sink) {
            let message = format!("sink `{sink}` is already written by the INSERT at {}; a sink takes one", earlier.at);
            return Err(SqlError::new(place, message));
        }
        let names = column_list(&insert.columns, place)?;
        let query_at = Position::of(source.span()).unwrap_or(at);
        self.inside.push(Inside::Insert(sink.clone()));
        let relation = self.query(*source, views, &names, query_at);
        self.inside.pop();
        let relation = relation?;
        if lineage::pending_row_number(&relation.plan).is_some() {
            return Err(SqlError::new(
                relation.ranking.map_or(query_at, |ranking| ranking.at),
                "ROW_NUMBER() is accepted to keep the first row of each key only: \
                 SELECT … FROM (SELECT *, ROW_NUMBER() OVER (…) AS rn FROM t) WHERE rn = 1",
            ));
        }
        let plan = outputs::sink_columns(relation.plan, &names, query_at)?;
        self.outputs.push(Output { sink, plan, at });
        Ok(())
    }
}

/// The columns after the sink's name, each once.
fn column_list(columns: &[ObjectName], near: Position) -> Result<Vec<Ident>, SqlError> {
    let mut seen = BTreeSet::new();
    columns
        .iter()
        .map(|column| {
            let at = Position::of(column.span()).unwrap_or(near);
            let ident = single(column, at)?;
            if !seen.insert(new_name(ident)) {
                return Err(SqlError::new(at, format!("the column `{ident}` is named twice")));
            }
            Ok(ident.clone())
        })
        .collect()
}

fn single(name: &ObjectName, at: Position) -> Result<&Ident, SqlError> {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(ident)] => Ok(ident),
        _ => Err(SqlError::new(at, format!("found `{name}`; accepted is one name, without a dot"))),
    }
}
