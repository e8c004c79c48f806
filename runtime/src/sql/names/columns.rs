//! The columns and aliases that a name may mean.

use datafusion_sql::sqlparser::ast::Ident;
use tidegate_crds::nearest;

use crate::sql::error::{Position, SqlError};

/// The one relation that a `SELECT` reads.
#[derive(Debug)]
pub(in crate::sql) struct Columns<'a> {
    /// What the relation is called in this `SELECT`.
    pub(in crate::sql) relation: &'a str,
    pub(in crate::sql) names: Vec<String>,
    /// New names of the `SELECT` list.
    pub(in crate::sql) aliases: Vec<String>,
}

/// Whether a written name means this one: quoted names to the letter, others without regard to case.
pub(in crate::sql) fn same_name(written: &Ident, name: &str) -> bool {
    match written.quote_style {
        Some(_) => written.value == name,
        None => written.value.to_lowercase() == name.to_lowercase(),
    }
}

/// A name that something gets: lower case unless quoted.
pub(in crate::sql) fn new_name(written: &Ident) -> String {
    match written.quote_style {
        Some(_) => written.value.clone(),
        None => written.value.to_lowercase(),
    }
}

impl Columns<'_> {
    /// Makes `written` a quoted name of the exact case.
    pub(in crate::sql) fn resolve(&self, written: &mut Ident, aliases: bool, near: Position) -> Result<(), SqlError> {
        let at = Position::of(written.span).unwrap_or(near);
        let aliases: &[String] = if aliases { &self.aliases } else { &[] };
        let found = match pick(written, &self.names, at)? {
            Some(found) => found,
            None => pick(written, aliases, at)?.ok_or_else(|| self.unknown(&written.value, aliases, at))?,
        };
        found.clone_into(&mut written.value);
        written.quote_style = Some('"');
        Ok(())
    }

    /// As [`Columns::resolve`], of a name with dots.
    pub(in crate::sql) fn resolve_compound(&self, parts: &mut [Ident], near: Position) -> Result<(), SqlError> {
        let written = parts.iter().map(|part| part.value.as_str()).collect::<Vec<_>>().join(".");
        let [relation, column] = parts else {
            let at = parts.first().and_then(|part| Position::of(part.span)).unwrap_or(near);
            return Err(SqlError::new(
                at,
                format!(
                    "found `{written}`; accepted is a column, or the relation and a column: `{}.<column>`",
                    self.relation
                ),
            ));
        };
        if !same_name(relation, self.relation) {
            return Err(SqlError::new(
                Position::of(relation.span).unwrap_or(near),
                format!("there is no relation `{}` here; this SELECT reads `{}`", relation.value, self.relation),
            ));
        }
        self.relation.clone_into(&mut relation.value);
        relation.quote_style = Some('"');
        self.resolve(column, false, near)
    }

    fn unknown(&self, written: &str, aliases: &[String], at: Position) -> SqlError {
        let known = self.names.iter().chain(aliases).map(String::as_str);
        let hint = nearest(written, known.clone());
        let accepted = if hint.is_empty() {
            format!("; it has {}", known.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "))
        } else {
            String::new()
        };
        SqlError::new(at, format!("`{}` has no column `{written}`{hint}{accepted}", self.relation))
    }
}

/// The exact name before one of another case.
fn pick<'a>(written: &Ident, names: &'a [String], at: Position) -> Result<Option<&'a str>, SqlError> {
    let lower = written.value.to_lowercase();
    let candidates: Vec<&String> = names.iter().filter(|name| same_name(written, name)).collect();
    if let Some(exact) = candidates.iter().find(|name| ***name == written.value || ***name == lower) {
        return Ok(Some(exact));
    }
    match candidates.as_slice() {
        [] => Ok(None),
        [only] => Ok(Some(only)),
        [first, second, ..] => Err(SqlError::new(
            at,
            format!(
                "`{}` may be `{first}` or `{second}`; write the one that is meant in quotes: \"{first}\"",
                written.value
            ),
        )),
    }
}
