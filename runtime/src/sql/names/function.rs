//! One function call: is there such a function, and may it stand here.

use datafusion_sql::sqlparser::{
    ast::{
        DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Spanned, Value,
        WindowSpec, WindowType,
    },
    keywords::Keyword,
};
use tidegate_crds::nearest;

use super::{Clause, Context, Ranking, Resolver};
use crate::sql::{
    date_format::{ACCEPTED, Pattern},
    error::{Position, SqlError},
    functions::{AGGREGATES, Kind},
    long_text::LONGEST,
    unsupported,
};

impl Resolver<'_> {
    pub(super) fn function(&mut self, function: &mut Function, context: Context) -> Result<(), SqlError> {
        let at = Position::of(function.name.span()).unwrap_or(context.near);
        let name = function.name.to_string().to_lowercase();
        let refused = |message: String| Err(SqlError::new(at, message));
        let plain = matches!(function.parameters, FunctionArguments::None)
            && function.null_treatment.is_none()
            && function.within_group.is_empty()
            && !function.uses_odbc_syntax;
        match self.check.functions.kind(&name) {
            _ if !plain => refused(format!("this form of `{name}` is not supported yet; accepted is `{name}(…)`")),
            Kind::Scalar => {
                if function.over.is_some() || function.filter.is_some() {
                    return refused(format!("`{name}` is no aggregate: it takes neither OVER nor FILTER"));
                }
                if name == "from_unixtime"
                    && matches!(&function.args, FunctionArguments::List(list) if list.args.len() > 1)
                {
                    return refused(
                        "from_unixtime with a pattern or a time zone is not supported yet; accepted are from_unixtime(seconds), \
                         which gives an instant, and DATE_FORMAT of that with a pattern"
                            .into(),
                    );
                }
                check_pattern(&name, function, at)?;
                check_length(&name, function, at)?;
                self.arguments(function, at, context)
            }
            Kind::Volatile => refused(format!(
                "`{name}` gives another value each time it runs, so rows replayed after a failure would differ; \
                 accepted are functions of the row's columns"
            )),
            Kind::Aggregate => self.aggregate(function, &name, at, context),
            Kind::RowNumber => self.row_number(function, at, context),
            Kind::Unsupported => refused(format!(
                "the function `{name}` is not supported yet; accepted aggregates are {}, accepted over a window is row_number",
                AGGREGATES.join(", ")
            )),
            Kind::Unknown if name == "tumble" => refused(
                "TUMBLE is accepted after FROM: FROM TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE)".into(),
            ),
            Kind::Unknown => refused(unsupported::window(&name).map_or_else(
                || format!("there is no function `{name}`{}", nearest(&name, self.check.functions.names())),
                str::to_owned,
            )),
        }
    }

    fn aggregate(
        &mut self,
        function: &mut Function,
        name: &str,
        at: Position,
        context: Context,
    ) -> Result<(), SqlError> {
        let refused = |message: String| Err(SqlError::new(at, message));
        if function.over.is_some() {
            return refused(format!(
                "`{name}(…) OVER (…)` is not supported yet; accepted is an aggregate of a window: GROUP BY window_start, window_end"
            ));
        }
        if context.inside_aggregate {
            return refused(format!("`{name}` stands inside another aggregate; accepted is an expression of columns"));
        }
        if !matches!(context.clause, Clause::Select | Clause::Having) || context.inside_over {
            return refused(format!("the aggregate `{name}` is accepted in the SELECT list and after HAVING only"));
        }
        let FunctionArguments::List(list) = &function.args else {
            return refused(format!("`{name}` takes one argument"));
        };
        let distinct = matches!(list.duplicate_treatment, Some(DuplicateTreatment::Distinct));
        let star = matches!(list.args.as_slice(), [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)]);
        if distinct && (name != "count" || star) {
            return refused(format!("DISTINCT is accepted in count(DISTINCT column) only, found `{function}`"));
        }
        if list.args.len() != 1 {
            return refused(format!("`{name}` takes one argument, found {}", list.args.len()));
        }
        self.facts.aggregate.get_or_insert(at);
        let context = Context { inside_aggregate: true, ..context };
        if !(star && name == "count") {
            self.arguments(function, at, context)?;
        }
        function.filter.iter_mut().try_for_each(|filter| self.expr(filter, context))
    }

    fn row_number(&mut self, function: &mut Function, at: Position, context: Context) -> Result<(), SqlError> {
        let refused = |message: &str| Err(SqlError::new(at, message));
        let accepted = "accepted is ROW_NUMBER() OVER (PARTITION BY key ORDER BY <event time> ASC)";
        if !matches!(context.clause, Clause::Select | Clause::Qualify)
            || context.inside_aggregate
            || context.inside_over
            || function.filter.is_some()
        {
            return refused("ROW_NUMBER() is accepted in the SELECT list and after QUALIFY only");
        }
        if self.facts.ranking.is_some() {
            return refused("a SELECT takes one ROW_NUMBER() only");
        }
        let Some(WindowType::WindowSpec(WindowSpec { window_name: None, partition_by, order_by, window_frame: None })) =
            &mut function.over
        else {
            return Err(SqlError::new(at, format!("found `{function}`; {accepted}")));
        };
        let context = Context { inside_over: true, ..context };
        self.exprs(partition_by, context)?;
        for order in order_by.iter_mut() {
            self.expr(&mut order.expr, context)?;
        }
        let order = order_by.first().and_then(|order| super::start(&order.expr)).unwrap_or(at);
        let has_key = !partition_by.is_empty();
        self.facts.ranking = Some(Ranking { at, order });
        if !has_key {
            return Err(SqlError::new(at, format!("ROW_NUMBER() has no PARTITION BY; {accepted}")));
        }
        if order_by.len() != 1 {
            let at = if order_by.is_empty() { at } else { self.text.keyword_before(Keyword::ORDER, order) };
            return Err(SqlError::new(at, format!("ROW_NUMBER() takes one ORDER BY column; {accepted}")));
        }
        self.arguments(function, at, context)
    }

    fn arguments(&mut self, function: &mut Function, at: Position, context: Context) -> Result<(), SqlError> {
        let name = function.name.to_string();
        let FunctionArguments::List(list) = &mut function.args else { return Ok(()) };
        if !list.clauses.is_empty() {
            return Err(SqlError::new(at, format!("`{name}` takes arguments only, found `{list}`")));
        }
        if list.duplicate_treatment.is_some() && !context.inside_aggregate {
            return Err(SqlError::new(at, format!("`{name}` is no aggregate: it takes neither DISTINCT nor ALL")));
        }
        for arg in &mut list.args {
            match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => self.expr(expr, context)?,
                other => {
                    let at = Position::of(other.span()).unwrap_or(at);
                    return Err(SqlError::new(
                        at,
                        format!("found `{other}` as an argument of `{name}`; accepted is an expression"),
                    ));
                }
            }
        }
        Ok(())
    }
}

/// Refuses a text that no row could have.
fn check_length(name: &str, function: &Function, at: Position) -> Result<(), SqlError> {
    let FunctionArguments::List(list) = &function.args else { return Ok(()) };
    let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value)))) = list.args.get(1) else { return Ok(()) };
    match &value.value {
        Value::Number(number, _)
            if ["repeat", "lpad", "rpad"].contains(&name)
                && number.parse().is_ok_and(|length: u64| length > LONGEST) =>
        {
            Err(SqlError::new(at, format!("found `{name}` with {number}; accepted are {LONGEST} at most")))
        }
        _ => Ok(()),
    }
}

/// Refuses a pattern for dates that is none, which the function would write as it stands.
fn check_pattern(name: &str, function: &Function, at: Position) -> Result<(), SqlError> {
    if !matches!(name, "date_format" | "to_char") {
        return Ok(());
    }
    let FunctionArguments::List(list) = &function.args else { return Ok(()) };
    let [_, FunctionArg::Unnamed(FunctionArgExpr::Expr(pattern))] = list.args.as_slice() else {
        return Err(SqlError::new(at, format!("found `{function}`; accepted is {name}(time, 'pattern')")));
    };
    let place = Position::of(pattern.span()).unwrap_or(at);
    let literal = match pattern {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text),
            _ => None,
        },
        _ => None,
    };
    match (name, literal) {
        ("date_format", Some(text)) => Pattern::read(text).map(drop).map_err(|found| {
            SqlError::new(place, format!("found {found} in the pattern '{text}' of date_format; {ACCEPTED}"))
        }),
        ("date_format", None) => Err(SqlError::new(
            place,
            format!("found `{pattern}` as the pattern of date_format; accepted is a text in quotes"),
        )),
        (_, Some(text)) if !text.contains('%') => Err(SqlError::new(
            place,
            format!(
                "found '{text}' as the pattern of to_char; accepted are strftime's letters, such as '%Y-%m-%d', or date_format(time, 'yyyy-MM-dd')"
            ),
        )),
        _ => Ok(()),
    }
}
