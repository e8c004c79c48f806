//! Expressions as state is named by: see [`Called`].
//!
//! A column is that of the source below, whatever views call it on the way, and what a view computes is written out. A
//! deduplication hands rows on as they are, so that its columns are those that it reads. Casts
//! that planning puts in and takes away when the type of a column changes are left out: to a type that has all values, to
//! floating point, of a literal. An expression whose text is the same may so be computed in another type: the types are told
//! beside the text. Where that rule should miss a cast of planning's, the bare text is still the same, which has none at all.
//!
//! Written out, a text may be as long as 2 to the power of the views above each other: [`Room`] is asked for before.

use arrow::datatypes::DataType;
use datafusion_common::{
    Column, Result, ScalarValue, internal_datafusion_err, plan_err,
    tree_node::{Transformed, TreeNode},
};
use datafusion_expr::{
    BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator,
    expr::{Case, Cast, TryCast},
};

use super::{
    lineage::{self, Origin},
    stage::Call,
    written_out,
};
use crate::{
    graph::{Argument, Called, Operand, Used},
    state::changes::has_values_of,
};

/// Characters of all the texts of a job, about. They are part of each checkpoint.
const MAX_LENGTH: usize = 1 << 20;

/// How much may still be written out of what a job's operators work on.
pub(super) struct Room(usize);

impl Room {
    pub(super) fn of_a_job() -> Self {
        Self(MAX_LENGTH)
    }

    /// Refuses expressions whose texts are too long, before they are written.
    pub(super) fn take<'a>(&mut self, exprs: impl IntoIterator<Item = &'a Expr>, input: &LogicalPlan) -> Result<()> {
        let length = written_out::over(exprs, input)?.into_iter().fold(0, usize::saturating_add);
        match self.0.checked_sub(length) {
            Some(left) => {
                self.0 = left;
                Ok(())
            }
            None => plan_err!(
                "what is computed here, with the columns of all views written out, is too long; accepted are about \
                 {MAX_LENGTH} characters in all: use a computed column once in the view that reads it, not several times \
                 in each of several views"
            ),
        }
    }
}

/// What an aggregate over the rows of `input` computes.
pub(super) fn called(call: &Call, input: &LogicalPlan) -> Result<Called> {
    let arguments = call.args.iter().map(|argument| {
        let mut writer = Writer::with(Casts::Written);
        let Written { text, .. } = writer.write(argument, input)?;
        let bare = Writer::with(Casts::Never).write(argument, input)?.text;
        let value = value_type(argument, input, false)?;
        let taken_as = argument.get_type(input.schema())?;
        Ok(Argument { text, bare, value, taken_as, operands: writer.operands })
    });
    let function = call.function.name().to_owned();
    Ok(Called { function, distinct: call.distinct, arguments: arguments.collect::<Result<_>>()? })
}

/// The text of an expression over the rows of `input`.
pub(super) fn text(expr: &Expr, input: &LogicalPlan) -> Result<String> {
    Ok(Writer::with(Casts::Written).write(expr, input)?.text)
}

/// The text of an expression with all its casts: another one for all that differs in any row.
pub(super) fn exact_text(expr: &Expr, input: &LogicalPlan) -> Result<String> {
    Ok(Writer::with(Casts::Always).write(expr, input)?.text)
}

/// What a column is, below all views and deduplications.
fn origin<'a>(expr: &'a Expr, input: &'a LogicalPlan) -> Option<Origin<'a>> {
    let mut origin = lineage::expr_origin(expr, input)?;
    loop {
        match origin {
            Origin::Stage { table, column } => match &table.below {
                Some(below) => origin = lineage::origin(below, column)?,
                None => return Some(Origin::Stage { table, column }),
            },
            computed @ Origin::Computed { .. } => return Some(computed),
        }
    }
}

/// What is below a cast that planning may have put there; `is_cast` says whether what it gives is cast again.
fn below_cast<'a>(expr: &'a Expr, input: &LogicalPlan, is_cast: bool) -> Result<Option<&'a Expr>> {
    let Expr::Cast(Cast { expr: inner, field }) = expr else { return Ok(None) };
    let (from, to) = (inner.get_type(input.schema())?, field.data_type());
    let is_text = |data_type: &DataType| matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let is_float = |data_type: &DataType| matches!(data_type, DataType::Float32 | DataType::Float64);
    let is_exact = from == *to || from == DataType::Null || has_values_of(to, &from) || is_text(&from) && is_text(to);
    let is_literal = match inner.as_ref() {
        Expr::Literal(value, _) => {
            value.cast_to(to).and_then(|there| there.cast_to(&from)).is_ok_and(|back| back == *value)
        }
        _ => false,
    };
    // Planning rounds integers and decimals where they meet floating point, and does not cast the result.
    let rounds = from.is_numeric() && from != DataType::Float64 && is_float(to) && !is_cast;
    Ok((is_exact || is_literal || rounds).then_some(inner))
}

/// The type of what an expression is below the casts that are left out.
fn value_type(expr: &Expr, input: &LogicalPlan, is_cast: bool) -> Result<DataType> {
    if let Some(inner) = below_cast(expr, input, is_cast)? {
        return value_type(inner, input, true);
    }
    match expr {
        Expr::Alias(alias) => value_type(&alias.expr, input, is_cast),
        Expr::Column(_) => match origin(expr, input) {
            Some(Origin::Computed { expr, input }) => value_type(expr, input, is_cast),
            _ => expr.get_type(input.schema()),
        },
        // What `CASE` gives is passed on as it is: what it was cast to is no more part of it than outside.
        Expr::Case(case) => {
            let given = case.when_then_expr.iter().map(|(_, then)| then).chain(&case.else_expr);
            let types = given.map(|value| value_type(value, input, false)).collect::<Result<Vec<_>>>()?;
            match types.split_first() {
                Some((first, others)) if others.iter().all(|other| other == first) => Ok(first.clone()),
                _ => expr.get_type(input.schema()),
            }
        }
        expr => expr.get_type(input.schema()),
    }
}

/// Which casts are part of a text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Casts {
    Always,
    /// Those that only somebody who writes SQL makes.
    Written,
    Never,
}

struct Writer {
    casts: Casts,
    operands: Vec<Operand>,
}

struct Written {
    text: String,
    /// Whether it needs no brackets inside another expression.
    is_atom: bool,
}

impl Writer {
    fn with(casts: Casts) -> Self {
        Self { casts, operands: Vec::new() }
    }

    fn write(&mut self, expr: &Expr, input: &LogicalPlan) -> Result<Written> {
        self.write_below(expr, input, false)
    }

    /// What is cast again, if that is so.
    fn write_below(&mut self, expr: &Expr, input: &LogicalPlan, is_cast: bool) -> Result<Written> {
        let atom = |text| Ok(Written { text, is_atom: true });
        if self.casts != Casts::Always
            && let Some(inner) = below_cast(expr, input, is_cast)?
        {
            return self.write_below(inner, input, true);
        }
        match expr {
            Expr::Alias(alias) => self.write_below(&alias.expr, input, is_cast),
            Expr::Column(column) => match origin(expr, input) {
                Some(Origin::Stage { table, column }) => atom(quoted(table.schema.field(column).name())),
                Some(Origin::Computed { expr, input }) => self.write_below(expr, input, is_cast),
                None => Err(internal_datafusion_err!("nobody knows where `{column}` comes from")),
            },
            Expr::Literal(value, _) => atom(literal(value)),
            Expr::Cast(Cast { expr: inner, .. }) | Expr::TryCast(TryCast { expr: inner, .. })
                if self.casts == Casts::Never =>
            {
                self.write(inner, input)
            }
            Expr::Case(case) => self.case(case, input),
            expr => {
                let used = used(expr);
                let with_texts = expr.clone().map_children(|child| {
                    let text = self.operand(&child, input, used)?;
                    Ok(Transformed::yes(Expr::Column(Column::new_unqualified(text))))
                })?;
                let is_atom = matches!(expr, Expr::ScalarFunction(_) | Expr::Cast(_) | Expr::TryCast(_));
                Ok(Written { text: with_texts.data.to_string(), is_atom })
            }
        }
    }

    /// What `CASE` gives is passed on as it is.
    fn case(&mut self, case: &Case, input: &LogicalPlan) -> Result<Written> {
        let mut text = "CASE".to_owned();
        if let Some(base) = &case.expr {
            text = format!("{text} {}", self.operand(base, input, Used::Compared)?);
        }
        for (when, then) in &case.when_then_expr {
            let when = self.operand(when, input, Used::Compared)?;
            text = format!("{text} WHEN {when} THEN {}", self.write(then, input)?.text);
        }
        if let Some(otherwise) = &case.else_expr {
            text = format!("{text} ELSE {}", self.write(otherwise, input)?.text);
        }
        Ok(Written { text: format!("{text} END"), is_atom: false })
    }

    fn operand(&mut self, expr: &Expr, input: &LogicalPlan, used: Used) -> Result<String> {
        self.operands.push(Operand { data_type: expr.get_type(input.schema())?, used });
        let Written { text, is_atom } = self.write(expr, input)?;
        Ok(if is_atom { text } else { format!("({text})") })
    }
}

/// What an expression does with what it is made of.
fn used(expr: &Expr) -> Used {
    match expr {
        Expr::BinaryExpr(BinaryExpr { op, .. }) if is_comparison(*op) || op.is_logic_operator() => Used::Compared,
        Expr::Between(_)
        | Expr::InList(_)
        | Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::Not(_)
        | Expr::IsTrue(_)
        | Expr::IsFalse(_)
        | Expr::IsUnknown(_)
        | Expr::IsNotTrue(_)
        | Expr::IsNotFalse(_)
        | Expr::IsNotUnknown(_) => Used::Compared,
        _ => Used::Computed,
    }
}

fn is_comparison(operator: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(operator, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

/// A name that can't be taken for an expression.
fn quoted(name: &str) -> String {
    let is_plain = |name: &str| name.chars().all(|c| c.is_alphanumeric() || c == '_');
    if is_plain(name) && !name.starts_with(|c: char| c.is_ascii_digit()) {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

fn literal(value: &ScalarValue) -> String {
    match value {
        ScalarValue::Utf8(Some(text)) | ScalarValue::LargeUtf8(Some(text)) | ScalarValue::Utf8View(Some(text)) => {
            format!("'{}'", text.replace('\'', "''"))
        }
        ScalarValue::Binary(Some(bytes)) | ScalarValue::LargeBinary(Some(bytes)) => {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("X'{digits}'")
        }
        value if value.is_null() => "NULL".to_owned(),
        value => value.to_string(),
    }
}
