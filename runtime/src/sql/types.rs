//! Operands and arguments that do not go together, found where they stand.
//!
//! The planner that follows says only that a `SELECT` can't be typed, and converts text to whatever it is compared with,
//! so that `name = 5` would fail when the first name comes that is no number. So every expression of a `SELECT` is
//! planned and typed on its own as soon as its names are resolved, innermost first. Refused are: what can't be typed; text that would be converted
//! without being asked for, unless it is a literal that can be; and what has no columns and can't be computed.

use std::sync::Arc;

use arrow::{
    array::{RecordBatch, new_null_array},
    datatypes::{DataType, Field, FieldRef, Schema, TimeUnit},
};
use datafusion_common::{
    Column, DFSchema, DFSchemaRef, DataFusionError, ScalarValue,
    tree_node::{Transformed, TreeNode, TreeNodeRecursion},
};
use datafusion_expr::{
    BinaryExpr, Expr as Planned, ExprSchemable, Operator, execution_props::ExecutionProps, expr::ScalarFunction,
    physical_planning_context::PhysicalPlanningContext, planner::ContextProvider,
    type_coercion::functions::fields_with_udf,
};
use datafusion_optimizer::analyzer::type_coercion::TypeCoercionRewriter;
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion_sql::{
    planner::{PlannerContext, SqlToRel},
    sqlparser::ast::{Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Value},
};

use super::{
    arithmetic::{Incomparable, checked_expr, is_interval},
    doubles,
    duration_part::NoPart,
    error::{Position, SqlError},
    fold,
    functions::Functions,
    names::{short, start},
};
use crate::words::{self, type_name};

const NANOSECONDS_OF_A_DAY: i64 = 86_400_000_000_000;

/// Types expressions over the columns of one relation.
pub(super) struct Check<'a> {
    pub(super) schema: &'a DFSchemaRef,
    pub(super) functions: &'a Functions,
}

impl Check<'_> {
    fn planned(&self, expr: &Expr) -> Result<Planned, DataFusionError> {
        let planned =
            SqlToRel::new(self.functions).sql_to_expr(expr.clone(), self.schema, &mut PlannerContext::new())?;
        doubles::of_floats_in(planned, self.schema)
    }

    fn typed(&self, expr: &Expr) -> Result<Planned, DataFusionError> {
        Ok(self.planned(expr)?.rewrite(&mut TypeCoercionRewriter::new(self.schema))?.data)
    }

    /// The type of an expression, if it has one.
    pub(super) fn kind(&self, expr: &Expr) -> Option<DataType> {
        self.typed(expr).and_then(|typed| typed.get_type(self.schema)).ok()
    }

    /// Refuses an expression that has no type or no value. Its parts were looked at before.
    pub(super) fn expr(&self, expr: &Expr, at: Position) -> Result<(), SqlError> {
        // Aliases are unknown here: names were resolved before.
        if matches!(
            expr,
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Wildcard(_) | Expr::Value(_) | Expr::Nested(_)
        ) {
            return Ok(());
        }
        let typed = self.planned(expr).and_then(|planned| {
            let typed = planned.clone().rewrite(&mut TypeCoercionRewriter::new(self.schema))?.data;
            typed.get_type(self.schema)?;
            Ok((planned, typed))
        });
        let (planned, typed) = match typed {
            Ok(found) => found,
            Err(error) if is_about_a_name(&error) => return Ok(()),
            Err(error) => {
                let message = match NoPart::of(&error) {
                    Some(part) => format!("found `{}`, {part}", shown(expr)),
                    None => self.why(expr, &error),
                };
                return Err(SqlError::new(at, message));
            }
        };
        if let Planned::BinaryExpr(BinaryExpr { left, op: Operator::Plus | Operator::Minus, right }) = &typed
            && let Some(date) = self.moved_by_less_than_days(left, right)
        {
            let date = if date == **left { "" } else { " on the right" };
            let message = format!(
                "found in `{}` a date{date} and an interval with hours, which a date has not; accepted are intervals of days, \
                 months and years, and CAST(… AS TIMESTAMP(3)) of the date",
                shown(expr)
            );
            return Err(SqlError::new(at, message));
        }
        if let Some((text, kind)) = self.converted(&planned, &typed) {
            self.text(expr, &text, &kind, at)?;
        }
        if let Planned::AggregateFunction(call) = &typed
            && call.func.name() != "count"
            && call.params.args.iter().any(|arg| matches!(arg.get_type(self.schema), Ok(DataType::Null)))
        {
            let message =
                format!("found NULL in `{}`; accepted is a value of a type: CAST(NULL AS BIGINT)", shown(expr));
            return Err(SqlError::new(at, message));
        }
        if let Planned::AggregateFunction(call) = &typed
            && (matches!(call.func.name(), "min" | "max") || call.params.distinct)
            && call.params.args.iter().any(|arg| arg.get_type(self.schema).is_ok_and(|kind| is_interval(&kind)))
        {
            let message = format!("`{}` can't be computed: {}", shown(expr), Incomparable::Computed);
            return Err(SqlError::new(at, message));
        }
        let computed = match parts(&typed) {
            Parts::Ranks => Ok(()),
            Parts::Groups => self.of_one_row(typed).and_then(|expr| self.physical(expr)).map(drop),
            Parts::Columns => self.physical(typed.clone()).and_then(|_| of_literals(typed, self.schema)),
            Parts::Constants => self.value(typed),
        };
        computed
            .map_err(|error| SqlError::new(at, format!("`{}` can't be computed: {}", shown(expr), words::of(&error))))
    }

    /// The date of these two, if the other is an interval that is not known to be of whole days.
    fn moved_by_less_than_days(&self, left: &Planned, right: &Planned) -> Option<Planned> {
        let kind = |operand: &Planned| operand.get_type(self.schema).ok();
        let (date, interval) = match (kind(left)?, kind(right)?) {
            (DataType::Date32, DataType::Interval(_)) => (left, right),
            (DataType::Interval(_), DataType::Date32) => (right, left),
            _ => return None,
        };
        let is_of_days = match self.physical(interval.clone()).and_then(|interval| fold::evaluated(&interval)) {
            Ok(ScalarValue::IntervalMonthDayNano(Some(moved))) => moved.nanoseconds % NANOSECONDS_OF_A_DAY == 0,
            Ok(ScalarValue::IntervalDayTime(Some(moved))) => moved.milliseconds == 0,
            Ok(value) => value.is_null() || matches!(value, ScalarValue::IntervalYearMonth(_)),
            Err(_) => false,
        };
        (!is_of_days).then(|| date.clone())
    }

    /// Whether an expression is the same for every row.
    pub(super) fn is_constant(&self, expr: &Expr) -> bool {
        self.typed(expr).is_ok_and(|typed| parts(&typed) == Parts::Constants)
    }

    /// Refuses what stands where a condition must, and is none.
    pub(super) fn condition(&self, clause: &str, condition: &Expr, near: Position) -> Result<(), SqlError> {
        let found = self.typed(condition).and_then(|typed| typed.get_type(self.schema));
        match found {
            Err(_) | Ok(DataType::Boolean | DataType::Null) => Ok(()),
            Ok(found) => Err(SqlError::new(
                start(condition).unwrap_or(near),
                format!(
                    "found an expression of type {} after {clause}; accepted is a condition, true or false",
                    type_name(&found)
                ),
            )),
        }
    }

    /// An operand or argument, and the type of another kind that it would be converted to without being asked for.
    fn converted(&self, planned: &Planned, typed: &Planned) -> Option<(Planned, DataType)> {
        let before = children(planned);
        children(typed).into_iter().find_map(|operand| {
            let Planned::Cast(cast) = &operand else { return None };
            let (from, to) = (cast.expr.get_type(self.schema).ok()?, operand.get_type(self.schema).ok()?);
            (!is_widened(&from, &to) && !before.contains(&operand)).then(|| ((*cast.expr).clone(), to))
        })
    }

    /// Accepts a literal that is a value of `kind`.
    fn text(&self, expr: &Expr, text: &Planned, kind: &DataType, near: Position) -> Result<(), SqlError> {
        let kind_name = type_name(kind);
        let Planned::Literal(ScalarValue::Utf8(Some(literal)), _) = text else {
            let found = text.get_type(self.schema).map_or_else(|_| "…".to_owned(), |found| type_name(&found));
            return Err(SqlError::new(
                near,
                format!(
                    "`{}` mixes {found} and {kind_name}; accepted are values of one kind, so write what is meant: \
                     CAST(… AS {}), or TRY_CAST for NULL where it is none",
                    shown(expr),
                    kind_name.to_uppercase()
                ),
            ));
        };
        let kind_name = match kind {
            DataType::Timestamp(..) => "timestamp, such as '2026-01-31T12:00:00Z'".to_owned(),
            _ => kind_name,
        };
        let is_value =
            self.value(Planned::Cast(datafusion_expr::Cast::new(Box::new(text.clone()), kind.clone()))).is_ok();
        if is_value && !loses_digits(literal, kind) {
            return Ok(());
        }
        let more = if is_value { ", which has no room for all its digits" } else { "" };
        Err(SqlError::new(
            place(expr, literal).unwrap_or(near),
            format!("found '{literal}' in `{}`; accepted is a value of type {kind_name}{more}", shown(expr)),
        ))
    }

    fn physical(&self, expr: Planned) -> Result<Arc<dyn PhysicalExpr>, DataFusionError> {
        let expr = checked_expr(expr, self.schema)?;
        // As it will be for the rows: a list of constants is not one before they are folded.
        let expr = fold::expr(expr, self.schema)?;
        let (props, context) = (ExecutionProps::new(), PhysicalPlanningContext::default());
        create_physical_expr(&expr, self.schema, &props, &context)
    }

    /// The expression with a null where an aggregate was.
    fn of_one_row(&self, expr: Planned) -> Result<Planned, DataFusionError> {
        let expr = expr.transform_down(|part| {
            if !matches!(part, Planned::AggregateFunction(_)) {
                return Ok(Transformed::no(part));
            }
            let null = ScalarValue::try_from(&part.get_type(self.schema)?)?;
            Ok(Transformed::new(Planned::Literal(null, None), true, TreeNodeRecursion::Jump))
        });
        expr.map(|expr| expr.data)
    }

    /// Computes an expression without columns.
    fn value(&self, expr: Planned) -> Result<(), DataFusionError> {
        fold::evaluated(&self.physical(expr)?).map(drop)
    }

    fn why(&self, expr: &Expr, error: &DataFusionError) -> String {
        let kind = |expr: &Expr| self.kind(expr);
        match expr {
            Expr::Function(function) => self.call(function).unwrap_or_else(|| words::of(error)),
            Expr::BinaryOp { left, op, right } => match (kind(left), kind(right)) {
                (Some(left), Some(right)) => format!(
                    "found {} {op} {} in `{}`; accepted are operands that {op} is defined for, of one kind",
                    type_name(&left),
                    type_name(&right),
                    shown(expr)
                ),
                _ => words::of(error),
            },
            Expr::UnaryOp { op, expr: operand } => match kind(operand) {
                Some(kind) => {
                    format!(
                        "found {op} {} in `{}`; accepted is a number for + and -, a condition for NOT",
                        type_name(&kind),
                        shown(expr)
                    )
                }
                None => words::of(error),
            },
            Expr::InList { expr: operand, list, .. } => match (kind(operand), list.iter().find_map(kind)) {
                (Some(left), Some(right)) => format!(
                    "found {} IN a list of {} in `{}`; accepted are values of one kind",
                    type_name(&left),
                    type_name(&right),
                    shown(expr)
                ),
                _ => words::of(error),
            },
            _ => format!("`{}`: {}", shown(expr), words::of(error)),
        }
    }

    /// Why the arguments of a call do not fit.
    fn call(&self, function: &Function) -> Option<String> {
        let FunctionArguments::List(list) = &function.args else { return None };
        let name = function.name.to_string().to_lowercase();
        let kinds = list.args.iter().map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)) => self.kind(arg),
            _ => None,
        });
        let kinds: Vec<DataType> = kinds.collect::<Option<_>>()?;
        let found: Vec<String> = kinds.iter().map(type_name).collect();
        let found = if found.is_empty() { "no arguments".to_owned() } else { format!("({})", found.join(", ")) };
        let fits = |kinds: &[DataType]| self.fits(&name, kinds);
        let accepted = (0..kinds.len()).find_map(|place| {
            let accepted: Vec<String> = candidates()
                .into_iter()
                .filter(|candidate| {
                    let mut kinds = kinds.clone();
                    kinds.splice(place..=place, [candidate.clone()]);
                    fits(&kinds)
                })
                .map(|candidate| type_name(&candidate))
                .collect();
            let which = if kinds.len() == 1 { String::new() } else { format!(" as argument {}", place + 1) };
            (!accepted.is_empty()).then(|| format!("accepted{which} are {}", accepted.join(", ")))
        });
        let accepted = accepted.unwrap_or_else(|| {
            let counts: Vec<String> = (0..6_usize)
                .filter(|count| {
                    *count != kinds.len() && candidates().into_iter().any(|candidate| fits(&vec![candidate; *count]))
                })
                .map(|count| count.to_string())
                .collect();
            if counts.is_empty() { "it takes others".to_owned() } else { format!("it takes {}", counts.join(" or ")) }
        });
        Some(format!("`{name}` can't be called with {found}; {accepted}"))
    }

    fn fits(&self, name: &str, kinds: &[DataType]) -> bool {
        let fields: Vec<FieldRef> =
            kinds.iter().map(|kind| FieldRef::new(Field::new("argument", kind.clone(), true))).collect();
        if let Some(function) = self.functions.get_function_meta(name) {
            return fields_with_udf(&fields, function.as_ref()).is_ok();
        }
        let function = self.functions.get_aggregate_meta(name);
        function.is_some_and(|function| fields_with_udf(&fields, function.as_ref()).is_ok())
    }
}

/// Whether a text is a value of `kind` only without its last digits: then it is compared with another value than is written.
/// Instants are compared with all of theirs.
fn loses_digits(text: &str, kind: &DataType) -> bool {
    let finer = match kind {
        DataType::Date32 => DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Decimal128(precision, scale) => DataType::Decimal128(38, 38 - (*precision as i8 - scale)),
        _ => return false,
    };
    let text = ScalarValue::Utf8(Some(text.to_owned()));
    let Ok(exact) = text.cast_to(&finer) else { return false };
    text.cast_to(kind).and_then(|value| value.cast_to(&finer)).is_ok_and(|value| value != exact)
}

/// A type of each kind that a column may have.
fn candidates() -> [DataType; 10] {
    [
        DataType::Utf8,
        DataType::Boolean,
        DataType::Int32,
        DataType::Int64,
        DataType::Float32,
        DataType::Float64,
        DataType::Decimal128(12, 2),
        DataType::Date32,
        DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
        DataType::Binary,
    ]
}

/// Computes a call with NULL for all arguments but its literals: a pattern or a unit that is none fails for every row.
fn of_literals(expr: Planned, schema: &DFSchemaRef) -> Result<(), DataFusionError> {
    let Planned::ScalarFunction(ScalarFunction { func, mut args }) = fold::expr(expr, schema)? else { return Ok(()) };
    if !args.iter().any(|arg| matches!(arg, Planned::Literal(..))) {
        return Ok(());
    }
    let (mut fields, mut nulls) = (Vec::new(), Vec::new());
    for (index, arg) in args.iter_mut().enumerate().filter(|(_, arg)| !matches!(arg, Planned::Literal(..))) {
        let (name, kind) = (format!("argument{index}"), arg.get_type(schema)?);
        nulls.push(new_null_array(&kind, 1));
        fields.push(Field::new(&name, kind, true));
        *arg = Planned::Column(Column::new_unqualified(name));
    }
    let row = RecordBatch::try_new(Arc::new(Schema::new(fields)), nulls)?;
    let columns = Arc::new(DFSchema::try_from(row.schema())?);
    let call = fold::expr(Planned::ScalarFunction(ScalarFunction { func, args }), &columns)?;
    let (props, context) = (ExecutionProps::new(), PhysicalPlanningContext::default());
    create_physical_expr(&call, &columns, &props, &context)?.evaluate(&row).map(drop)
}

/// Behind GROUP BY and HAVING a name may be an alias, which is no column of what is read.
fn is_about_a_name(error: &DataFusionError) -> bool {
    error.diagnostic().is_some_and(|diagnostic| diagnostic.message.contains("column"))
        || matches!(error.find_root(), DataFusionError::SchemaError(..))
}

fn children(expr: &Planned) -> Vec<Planned> {
    let mut children = Vec::new();
    // What collects can't fail.
    let _ = expr.apply_children(|child| {
        children.push(child.clone());
        Ok(TreeNodeRecursion::Continue)
    });
    children
}

/// What an expression is made of, from the least that is known of it to the most.
#[derive(PartialEq, Eq, PartialOrd, Ord, Clone, Copy)]
enum Parts {
    Constants,
    Columns,
    /// An aggregate: no expression of one row.
    Groups,
    /// A row's rank.
    Ranks,
}

fn parts(expr: &Planned) -> Parts {
    let mut parts = Parts::Constants;
    let _ = expr.apply(|part| {
        let part = match part {
            Planned::WindowFunction(_) | Planned::Placeholder(_) => Parts::Ranks,
            Planned::AggregateFunction(_) => Parts::Groups,
            Planned::Column(_) => Parts::Columns,
            _ => Parts::Constants,
        };
        parts = parts.max(part);
        Ok(TreeNodeRecursion::Continue)
    });
    parts
}

/// Whether a value is only made wider: a number stays a number, a date becomes an instant. Anything but bytes is text.
fn is_widened(from: &DataType, to: &DataType) -> bool {
    let is_time = |kind: &DataType| matches!(kind, DataType::Date32 | DataType::Date64 | DataType::Timestamp(..));
    let is_bytes = |kind: &DataType| kind.is_binary();
    from.is_null()
        || (from.is_numeric() && to.is_numeric())
        || (is_time(from) && is_time(to))
        || (is_bytes(from) && is_bytes(to))
        || (to.is_string() && !is_bytes(from))
        || !(from.is_numeric() || is_time(from) || is_bytes(from) || from.is_string() || *from == DataType::Boolean)
        || from == to
}

/// Enough of an expression to know it by, as it was written: names that were resolved have quotes.
pub(super) fn shown(expr: &Expr) -> String {
    let text = short(expr);
    let is_plain =
        |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let pieces: Vec<&str> = text.split('"').collect();
    let mut shown = String::new();
    for (index, piece) in pieces.iter().enumerate() {
        let is_name = index % 2 == 1 && index + 1 < pieces.len();
        if is_name && !is_plain(piece) {
            shown.extend(["\"", piece, "\""]);
        } else {
            shown.push_str(piece);
        }
    }
    shown
}

/// Where the literal stands among the operands and arguments.
fn place(expr: &Expr, literal: &str) -> Option<Position> {
    let operands: Vec<&Expr> = match expr {
        Expr::BinaryOp { left, right, .. } => vec![left, right],
        Expr::Between { expr, low, high, .. } => vec![expr, low, high],
        Expr::InList { expr, list, .. } => std::iter::once(expr.as_ref()).chain(list).collect(),
        Expr::Function(Function { args: FunctionArguments::List(list), .. }) => {
            let args = list.args.iter().filter_map(|arg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)) => Some(arg),
                _ => None,
            });
            args.collect()
        }
        _ => Vec::new(),
    };
    operands.into_iter().find_map(|operand| match operand {
        Expr::Value(value) if matches!(&value.value, Value::SingleQuotedString(text) if text == literal) => {
            Position::of(value.span)
        }
        _ => None,
    })
}
