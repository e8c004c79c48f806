//! One expression: the walk over the kinds that are supported.

use arrow::datatypes::DataType;
use datafusion_sql::sqlparser::ast::{BinaryOperator, CastKind, CeilFloorKind, DateTimeField, Expr, Spanned, Value};

use super::{Clause, Context, MAX_DEPTH, Resolver, instant, number, types};
use crate::sql::error::{Position, SqlError};

/// CEIL and FLOOR of one argument.
const WHOLE: CeilFloorKind = CeilFloorKind::DateTimeField(DateTimeField::NoDateTime);

/// Where the expression begins, as far as the syntax tree knows.
pub(in crate::sql) fn start(expr: &Expr) -> Option<Position> {
    Position::of(expr.span())
}

impl Resolver<'_> {
    pub(super) fn exprs(&mut self, exprs: &mut [Expr], context: Context) -> Result<(), SqlError> {
        exprs.iter_mut().try_for_each(|expr| self.expr(expr, context))
    }

    pub(super) fn expr(&mut self, expr: &mut Expr, context: Context) -> Result<(), SqlError> {
        if context.depth > MAX_DEPTH {
            return Err(SqlError::new(
                context.near,
                format!("the expression is nested too deeply; accepted are {MAX_DEPTH} levels"),
            ));
        }
        // The place of a deep expression is a walk of its own: the first levels will do.
        let near = if context.depth < 8 { start(expr).unwrap_or(context.near) } else { context.near };
        let context = Context { depth: context.depth + 1, near, ..context };
        self.parts(expr, context)?;
        instant::read_as_compared(expr, |operand| self.check.kind(operand));
        self.check.expr(expr, near)
    }

    fn parts(&mut self, expr: &mut Expr, context: Context) -> Result<(), SqlError> {
        let near = context.near;
        match expr {
            Expr::Identifier(name) => {
                let aliases = matches!(context.clause, Clause::GroupBy | Clause::Having | Clause::Qualify);
                self.columns.resolve(name, aliases && !context.inside_aggregate && !context.inside_over, near)
            }
            Expr::CompoundIdentifier(parts) => self.columns.resolve_compound(parts, near),
            Expr::Value(value) => {
                let double = match &value.value {
                    Value::Placeholder(name) => {
                        return Err(SqlError::new(
                            near,
                            format!("found the parameter `{name}`; write the value itself"),
                        ));
                    }
                    Value::NationalStringLiteral(_) => {
                        return Err(SqlError::new(near, format!("found {value}; accepted is the text without its N")));
                    }
                    Value::Number(written, _) => {
                        number::approximate(written, Position::of(value.span).unwrap_or(near))?
                    }
                    _ => None,
                };
                if let Some(double) = double {
                    *expr = double;
                }
                Ok(())
            }
            Expr::TypedString(typed) => types::check(&typed.data_type, near),
            Expr::Function(function) => self.function(function, context),
            Expr::Ceil { field, .. } | Expr::Floor { field, .. } if *field != WHOLE => Err(SqlError::new(
                near,
                "CEIL and FLOOR to a unit are not supported yet; accepted is one argument, and date_trunc('day', …) for an instant",
            )),
            Expr::Nested(inner)
            | Expr::IsFalse(inner)
            | Expr::IsNotFalse(inner)
            | Expr::IsTrue(inner)
            | Expr::IsNotTrue(inner)
            | Expr::IsNull(inner)
            | Expr::IsNotNull(inner)
            | Expr::IsUnknown(inner)
            | Expr::IsNotUnknown(inner)
            | Expr::UnaryOp { expr: inner, .. }
            | Expr::Extract { expr: inner, .. }
            | Expr::Ceil { expr: inner, .. }
            | Expr::Floor { expr: inner, .. } => self.expr(inner, context),
            Expr::Cast { expr: inner, array: false, format: None, data_type, kind } => {
                types::check(data_type, near)?;
                types::rename(data_type);
                self.expr(inner, context)?;
                // Of such a cast the planner makes one of seconds. This one can't fail either.
                if types::is_of_nanoseconds(data_type) && self.check.kind(inner) == Some(DataType::Int64) {
                    *kind = CastKind::TryCast;
                }
                Ok(())
            }
            Expr::BinaryOp { op: op @ (BinaryOperator::AtArrow | BinaryOperator::ArrowAt), .. } => Err(SqlError::new(
                near,
                format!("found the operator {op}, which is not supported; {}", crate::sql::text::OPERATORS),
            )),
            Expr::Like { escape_char: Some(_), .. } | Expr::ILike { escape_char: Some(_), .. } => Err(SqlError::new(
                near,
                "ESCAPE is not supported yet; `\\` in front of `%`, `_` or `\\` takes these as they are",
            )),
            Expr::Interval(interval) => self.expr(&mut interval.value, context),
            Expr::IsDistinctFrom(left, right)
            | Expr::IsNotDistinctFrom(left, right)
            | Expr::BinaryOp { left, right, .. }
            | Expr::Like { any: false, expr: left, pattern: right, .. }
            | Expr::ILike { any: false, expr: left, pattern: right, .. }
            | Expr::Position { expr: left, r#in: right } => {
                self.expr(left, context)?;
                self.expr(right, context)
            }
            Expr::Between { expr, low, high, .. } => {
                self.expr(expr, context)?;
                self.expr(low, context)?;
                self.expr(high, context)
            }
            Expr::InList { expr, list, .. } => {
                self.expr(expr, context)?;
                self.exprs(list, context)
            }
            Expr::Substring { expr, substring_from, substring_for, .. } => {
                self.expr(expr, context)?;
                self.optional([substring_from, substring_for], context)
            }
            Expr::Trim { expr, trim_what, trim_characters, .. } => {
                self.expr(expr, context)?;
                self.optional([trim_what], context)?;
                trim_characters.iter_mut().try_for_each(|list| self.exprs(list, context))
            }
            Expr::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
                self.expr(expr, context)?;
                self.expr(overlay_what, context)?;
                self.expr(overlay_from, context)?;
                self.optional([overlay_for], context)
            }
            Expr::Case { operand, conditions, else_result, .. } => {
                self.optional([operand], context)?;
                for when in conditions {
                    self.expr(&mut when.condition, context)?;
                    self.expr(&mut when.result, context)?;
                }
                self.optional([else_result], context)
            }
            Expr::AtTimeZone { .. } => {
                Err(SqlError::new(near, "AT TIME ZONE is not supported yet; instants are of UTC"))
            }
            Expr::InSubquery { .. } | Expr::Exists { .. } | Expr::Subquery(_) => Err(SqlError::new(
                near,
                "a subquery in an expression is not supported yet; accepted is a subquery after FROM",
            )),
            other => Err(SqlError::new(near, format!("`{other}` is not supported yet"))),
        }
    }

    fn optional<'e>(
        &mut self,
        exprs: impl IntoIterator<Item = &'e mut Option<Box<Expr>>>,
        context: Context,
    ) -> Result<(), SqlError> {
        exprs.into_iter().flatten().try_for_each(|expr| self.expr(expr, context))
    }
}
