//! Clauses that have no meaning for a stream yet: each refused at its keyword, with what is accepted.

use datafusion_sql::sqlparser::{
    ast::{Distinct, Expr, GroupByExpr, OrderByKind, Query, Select, SetExpr, Spanned},
    keywords::Keyword,
};

use super::{
    error::{Position, SqlError},
    names::start,
    text::Text,
};

/// Refuses what surrounds the `SELECT` of a query, all but `WITH`.
pub(super) fn check_query(query: &Query, text: &Text, near: Position) -> Result<(), SqlError> {
    let begin = Position::of(query.body.span()).unwrap_or(near);
    if let Some(with) = &query.with
        && with.recursive
    {
        let at = Position::of(with.with_token.0.span).unwrap_or(near);
        return Err(SqlError::new(at, "WITH RECURSIVE is not supported yet; accepted is WITH name AS (SELECT …)"));
    }
    if let Some(order_by) = &query.order_by {
        let first = match &order_by.kind {
            OrderByKind::Expressions(exprs) => exprs.first().and_then(|order| start(&order.expr)),
            OrderByKind::All(_) => None,
        };
        let at = text.keyword_before(Keyword::ORDER, first.unwrap_or(begin));
        return Err(SqlError::new(at, "ORDER BY is not supported here: a stream has no last row to sort before"));
    }
    if query.limit_clause.is_some() || query.fetch.is_some() {
        let at = text.keyword_after(&[Keyword::LIMIT, Keyword::OFFSET, Keyword::FETCH], begin);
        return Err(SqlError::new(
            at,
            "LIMIT, OFFSET and FETCH are not supported yet: a stream has no end to count to",
        ));
    }
    if !query.locks.is_empty()
        || query.for_clause.is_some()
        || query.settings.is_some()
        || query.format_clause.is_some()
        || !query.pipe_operators.is_empty()
    {
        let at = text.keyword_after(&[Keyword::FOR, Keyword::SETTINGS, Keyword::FORMAT], begin);
        return Err(SqlError::new(at, "accepted is a plain SELECT, found a clause after it that is not supported yet"));
    }
    Ok(())
}

/// The one `SELECT` that a query must be, or the query in parentheses.
pub(super) fn not_a_select(body: &SetExpr, text: &Text, near: Position) -> SqlError {
    match body {
        SetExpr::SetOperation { left, op, .. } => {
            let end = Position::at(left.span().end).unwrap_or(near);
            let at = text.keyword_after(&[Keyword::UNION, Keyword::EXCEPT, Keyword::INTERSECT, Keyword::MINUS], end);
            SqlError::new(at, format!("{op} is not supported yet; accepted is one SELECT"))
        }
        SetExpr::Values(_) => SqlError::new(
            text.keyword_before(Keyword::VALUES, near),
            "VALUES is not supported yet; accepted is SELECT … FROM a source or view",
        ),
        other => {
            SqlError::new(Position::of(other.span()).unwrap_or(near), "accepted is SELECT … FROM a source or view")
        }
    }
}

/// Refuses clauses of a `SELECT`.
pub(super) fn check_select(select: &Select, text: &Text, near: Position) -> Result<(), SqlError> {
    let at = Position::of(select.select_token.0.span).unwrap_or(near);
    let refused = |keywords: &[Keyword], message: &str| Err(SqlError::new(text.keyword_after(keywords, at), message));
    match &select.distinct {
        None | Some(Distinct::All) => {}
        Some(Distinct::Distinct | Distinct::On(_)) => {
            return refused(
                &[Keyword::DISTINCT],
                "SELECT DISTINCT is not supported yet; accepted is the first row of each key: \
                 ROW_NUMBER() OVER (PARTITION BY key ORDER BY <event time>) = 1",
            );
        }
    }
    if select.top.is_some() {
        return refused(&[Keyword::TOP], "TOP is not supported yet: a stream has no end to count to");
    }
    if let GroupByExpr::All(_) = &select.group_by {
        return refused(&[Keyword::GROUP], "GROUP BY ALL is not supported yet; name the columns");
    }
    if let GroupByExpr::Expressions(exprs, modifiers) = &select.group_by {
        let set = exprs
            .iter()
            .find(|expr| matches!(expr, Expr::GroupingSets(_) | Expr::Cube(_) | Expr::Rollup(_) | Expr::Tuple(_)));
        if let Some(set) = set {
            let at = start(set).unwrap_or(at);
            return Err(SqlError::new(
                at,
                "grouping sets, CUBE and ROLLUP are not supported yet; accepted are columns",
            ));
        }
        if !modifiers.is_empty() {
            return refused(&[Keyword::GROUP], "accepted after GROUP BY are columns only");
        }
    }
    if !select.named_window.is_empty() {
        return refused(&[Keyword::WINDOW], "WINDOW is not supported yet; write OVER (PARTITION BY … ORDER BY …)");
    }
    if select.into.is_some() {
        return refused(&[Keyword::INTO], "SELECT INTO is not supported yet; accepted is INSERT INTO a sink");
    }
    if !select.lateral_views.is_empty()
        || select.prewhere.is_some()
        || !select.connect_by.is_empty()
        || !select.cluster_by.is_empty()
        || !select.distribute_by.is_empty()
        || !select.sort_by.is_empty()
        || select.value_table_mode.is_some()
        || select.exclude.is_some()
        || select.select_modifiers.is_some()
    {
        return Err(SqlError::new(at, "accepted is SELECT … FROM … [WHERE …] [GROUP BY …] [HAVING …]"));
    }
    Ok(())
}
