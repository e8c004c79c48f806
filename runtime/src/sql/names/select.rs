//! One `SELECT`: its expressions in order, and what is to be remembered of them.

use std::collections::BTreeSet;

use datafusion_sql::sqlparser::ast::{
    Expr, GroupByExpr, Ident, ObjectName, ObjectNamePart, Select, SelectItem, SelectItemQualifiedWildcardKind, Spanned,
    Value, ValueWithSpan, WildcardAdditionalOptions,
};

use super::{Clause, Columns, Context, Resolver, columns::new_name, start};
use crate::sql::{
    error::{Position, SqlError},
    text::Text,
    types::{Check, shown},
};

/// Places in a `SELECT` that later errors are about.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::sql) struct Facts {
    /// The first expression of `GROUP BY`.
    pub(in crate::sql) group_by: Option<Position>,
    /// The first aggregate.
    pub(in crate::sql) aggregate: Option<Position>,
    pub(in crate::sql) ranking: Option<Ranking>,
}

/// Where a `ROW_NUMBER()` stands, and its `ORDER BY` column.
#[derive(Debug, Clone, Copy)]
pub(in crate::sql) struct Ranking {
    pub(in crate::sql) at: Position,
    pub(in crate::sql) order: Position,
}

/// Resolves all names of `select`, whose output columns are to be called `names` if given.
pub(in crate::sql) fn resolve(
    select: &mut Select,
    text: &Text,
    columns: Columns<'_>,
    names: &[Ident],
    check: Check<'_>,
) -> Result<Facts, SqlError> {
    let near = Position::of(select.select_token.0.span).unwrap_or(Position { line: 1, column: 1 });
    let mut resolver = Resolver { check, text, columns, facts: Facts::default() };
    resolver.columns.aliases = select
        .projection
        .iter()
        .filter_map(|item| match item {
            SelectItem::ExprWithAlias { alias, .. } => Some(new_name(alias)),
            _ => None,
        })
        .collect();
    resolver.select(select, names, near)?;
    Ok(resolver.facts)
}

impl Resolver<'_> {
    fn select(&mut self, select: &mut Select, names: &[Ident], near: Position) -> Result<(), SqlError> {
        let context = |clause| Context { clause, depth: 0, inside_aggregate: false, inside_over: false, near };
        let mut outputs = BTreeSet::new();
        let mut place = 0;
        for item in &mut select.projection {
            let wide = matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
            self.item(item, names.get(place), &mut outputs, context(Clause::Select))?;
            place += if wide { self.columns.names.len() } else { 1 };
        }
        if let Some(selection) = &mut select.selection {
            self.expr(selection, context(Clause::Where))?;
            self.check.condition("WHERE", selection, near)?;
        }
        if let GroupByExpr::Expressions(exprs, _) = &mut select.group_by {
            self.facts.group_by = exprs.first().map(|first| start(first).unwrap_or(near));
            self.exprs(exprs, context(Clause::GroupBy))?;
            exprs.iter().try_for_each(|key| self.varies(key, &select.projection, near))?;
        }
        if let Some(having) = &mut select.having {
            self.expr(having, context(Clause::Having))?;
            self.check.condition("HAVING", having, near)?;
        }
        if let Some(qualify) = &mut select.qualify {
            self.expr(qualify, context(Clause::Qualify))?;
            self.check.condition("QUALIFY", qualify, near)?;
        }
        Ok(())
    }

    /// Refuses a key that is the same for every row, and one by a place that there is not.
    fn varies(&self, key: &Expr, projection: &[SelectItem], near: Position) -> Result<(), SqlError> {
        let at = start(key).unwrap_or(near);
        let written = match key {
            Expr::Value(ValueWithSpan { value: Value::Number(place, _), .. })
                if place.bytes().all(|digit| digit.is_ascii_digit()) =>
            {
                let item = place.parse().ok().and_then(|place: usize| projection.get(place.checked_sub(1)?));
                let Some(item) = item else {
                    let message = format!(
                        "found {place} after GROUP BY; accepted are columns, what is computed of them, and places in the SELECT \
                         list, 1 to {}",
                        projection.len()
                    );
                    return Err(SqlError::new(at, message));
                };
                match item {
                    SelectItem::ExprWithAlias { expr, .. } | SelectItem::UnnamedExpr(expr) => Some(expr),
                    _ => None,
                }
            }
            Expr::Identifier(name) if !self.columns.names.contains(&name.value) => {
                projection.iter().find_map(|item| match item {
                    SelectItem::ExprWithAlias { expr, alias } if alias.value == name.value => Some(expr),
                    _ => None,
                })
            }
            _ => None,
        };
        if self.check.is_constant(written.unwrap_or(key)) {
            let message = format!(
                "found `{}` after GROUP BY, which is the same for every row; select it, and group by columns only",
                shown(key)
            );
            return Err(SqlError::new(at, message));
        }
        Ok(())
    }

    fn item(
        &mut self,
        item: &mut SelectItem,
        name: Option<&Ident>,
        outputs: &mut BTreeSet<String>,
        context: Context,
    ) -> Result<(), SqlError> {
        let at = Position::of(item.span()).unwrap_or(context.near);
        if let SelectItem::Wildcard(options) | SelectItem::QualifiedWildcard(_, options) = item {
            let plain =
                WildcardAdditionalOptions { wildcard_token: options.wildcard_token.clone(), ..Default::default() };
            if *options != plain {
                return Err(SqlError::new(at, "nothing is accepted after `*`; name the columns instead"));
            }
        }
        match item {
            SelectItem::Wildcard(_) => self.columns.names.iter().try_for_each(|name| unique(outputs, name.clone(), at)),
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(relation), _) => {
                let [ObjectNamePart::Identifier(ident)] = relation.0.as_slice() else {
                    return Err(SqlError::new(
                        at,
                        format!("found `{relation}.*`; accepted is `{}.*`", self.columns.relation),
                    ));
                };
                if !super::same_name(ident, self.columns.relation) {
                    let message = format!(
                        "there is no relation `{relation}` here; this SELECT reads `{}`",
                        self.columns.relation
                    );
                    return Err(SqlError::new(at, message));
                }
                *relation = ObjectName::from(vec![Ident::with_quote('"', self.columns.relation)]);
                self.columns.names.iter().try_for_each(|name| unique(outputs, name.clone(), at))
            }
            SelectItem::UnnamedExpr(expr) => {
                let written = short(expr);
                self.expr(expr, context)?;
                if let Some(name) = name {
                    *item =
                        SelectItem::ExprWithAlias { expr: expr.clone(), alias: Ident::with_quote('"', new_name(name)) };
                    return Ok(());
                }
                match expr {
                    Expr::Identifier(column) => unique(outputs, column.value.clone(), at),
                    Expr::CompoundIdentifier(parts) => match parts.last() {
                        Some(column) => unique(outputs, column.value.clone(), at),
                        None => Ok(()),
                    },
                    _ => {
                        Err(SqlError::new(at, format!("the column `{written}` has no name; write `{written} AS name`")))
                    }
                }
            }
            SelectItem::ExprWithAlias { alias, .. } if alias.quote_style == Some('\'') => Err(SqlError::new(
                Position::of(alias.span).unwrap_or(at),
                format!("found the text {alias} in the place of a name; accepted is a name, or one in double quotes"),
            )),
            SelectItem::ExprWithAlias { expr, alias } => {
                self.expr(expr, context)?;
                unique(outputs, new_name(alias), Position::of(alias.span).unwrap_or(at))
            }
            other => Err(SqlError::new(
                at,
                format!("found `{other}` in the SELECT list; accepted are columns, expressions with a name and `*`"),
            )),
        }
    }
}

fn unique(outputs: &mut BTreeSet<String>, name: String, at: Position) -> Result<(), SqlError> {
    if outputs.contains(&name) {
        return Err(SqlError::new(at, format!("two columns are called `{name}`; give one another name with AS")));
    }
    outputs.insert(name);
    Ok(())
}

/// Enough of an expression to know it by.
pub(in crate::sql) fn short(expr: &Expr) -> String {
    let text = expr.to_string();
    if text.chars().count() <= 40 { text } else { text.chars().take(39).chain(['…']).collect() }
}
