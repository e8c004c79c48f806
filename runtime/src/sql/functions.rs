//! The functions that SQL may call, and the planner's view of them.

use std::{collections::BTreeMap, sync::Arc};

use arrow::datatypes::DataType;
use datafusion_common::{Result, TableReference, config::ConfigOptions, plan_err};
use datafusion_expr::{
    AggregateUDF, Expr, HigherOrderUDF, ScalarUDF, TableSource, Volatility, WindowUDF,
    expr::ScalarFunction,
    planner::{ContextProvider, ExprPlanner, PlannerResult},
};

use super::{arithmetic::Aggregate, date_format::date_format, wrapped::wrapped};

/// Of the general functions only those that take and give plain columns.
const CORE: [&str; 6] = ["coalesce", "greatest", "least", "nullif", "nvl", "nvl2"];
/// Aggregates that are kept exactly, in bounded state a group (`count(DISTINCT x)` aside).
pub(super) const AGGREGATES: [&str; 5] = ["avg", "count", "max", "min", "sum"];

/// What a name in front of `(` is.
pub(super) enum Kind {
    Scalar,
    /// Its value depends on when or where it runs.
    Volatile,
    Aggregate,
    RowNumber,
    /// There is such a function, but not here.
    Unsupported,
    Unknown,
}

pub(super) struct Functions {
    scalars: BTreeMap<String, Arc<ScalarUDF>>,
    aggregates: BTreeMap<String, Arc<AggregateUDF>>,
    row_number: Arc<WindowUDF>,
    unsupported: Vec<String>,
    planners: Vec<Arc<dyn ExprPlanner>>,
    pub(super) options: ConfigOptions,
}

impl Functions {
    pub(super) fn new() -> Self {
        let mut unsupported = Vec::new();
        let core = datafusion_functions::core::functions();
        let core: Vec<String> = core.iter().map(|function| function.name().to_owned()).collect();
        let mut scalars = BTreeMap::new();
        for function in datafusion_functions::all_default_functions() {
            let function = wrapped(function);
            let names = std::iter::once(function.name().to_owned()).chain(function.aliases().iter().cloned());
            if core.iter().any(|name| name == function.name()) && !CORE.contains(&function.name()) {
                unsupported.extend(names);
            } else {
                scalars.extend(names.map(|name| (name, Arc::clone(&function))));
            }
        }
        scalars.insert("date_format".to_owned(), Arc::new(date_format()));
        let mut aggregates = BTreeMap::new();
        for function in datafusion_functions_aggregate::all_default_aggregate_functions() {
            let names: Vec<String> =
                std::iter::once(function.name().to_owned()).chain(function.aliases().iter().cloned()).collect();
            if AGGREGATES.contains(&function.name()) {
                let function = exact(function);
                aggregates.extend(names.into_iter().map(|name| (name, Arc::clone(&function))));
            } else {
                unsupported.extend(names);
            }
        }
        unsupported.extend(
            datafusion_functions_window::all_default_window_functions()
                .iter()
                .map(|function| function.name().to_owned())
                .filter(|name| name != "row_number"),
        );
        Self {
            scalars,
            aggregates,
            row_number: datafusion_functions_window::row_number::row_number_udwf(),
            unsupported,
            planners: vec![
                Arc::new(datafusion_functions::core::planner::CoreFunctionPlanner::default()),
                Arc::new(datafusion_functions::unicode::planner::UnicodeFunctionPlanner),
                Arc::new(Extract),
                Arc::new(datafusion_functions_aggregate::planner::AggregateFunctionPlanner),
                Arc::new(datafusion_functions_window::planner::WindowFunctionPlanner),
            ],
            options: options(),
        }
    }

    /// `name` in lower case.
    pub(super) fn kind(&self, name: &str) -> Kind {
        if let Some(scalar) = self.scalars.get(name) {
            return match scalar.signature().volatility {
                Volatility::Immutable => Kind::Scalar,
                Volatility::Stable | Volatility::Volatile => Kind::Volatile,
            };
        }
        if self.aggregates.contains_key(name) {
            Kind::Aggregate
        } else if name == "row_number" {
            Kind::RowNumber
        } else if self.unsupported.iter().any(|other| other == name) {
            Kind::Unsupported
        } else {
            Kind::Unknown
        }
    }

    /// Every name that [`Functions::kind`] has a use for.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let scalars = self.scalars.iter().filter(|(_, scalar)| scalar.signature().volatility == Volatility::Immutable);
        scalars
            .map(|(name, _)| name.as_str())
            .chain(self.aggregates.keys().map(String::as_str))
            .chain(["row_number", "tumble"])
    }
}

/// `extract(part FROM time)` as a call of `date_part`, ours.
#[derive(Debug)]
struct Extract;

impl ExprPlanner for Extract {
    fn plan_extract(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        let function = wrapped(datafusion_functions::datetime::date_part());
        Ok(PlannerResult::Planned(Expr::ScalarFunction(ScalarFunction::new_udf(function, args))))
    }
}

/// The aggregate as ours, where the library's would go on with a wrong number.
fn exact(function: Arc<AggregateUDF>) -> Arc<AggregateUDF> {
    match function.name() {
        "sum" => Arc::new(Aggregate::sum(function).into()),
        "avg" => Arc::new(Aggregate::average(function).into()),
        "min" => Arc::new(Aggregate::least(function).into()),
        "max" => Arc::new(Aggregate::greatest(function).into()),
        _ => function,
    }
}

fn options() -> ConfigOptions {
    let mut options = ConfigOptions::default();
    options.sql_parser.collect_spans = true;
    // `amount * 1.1` of a decimal column must stay exact, as the standard has it.
    options.sql_parser.parse_float_as_decimal = true;
    // Sources decode strings to Utf8; views would be cast to and fro.
    options.sql_parser.map_string_types_to_utf8view = false;
    options
}

impl ContextProvider for Functions {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        plan_err!("there is no source or view `{name}`")
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.scalars.get(name).cloned()
    }

    fn get_higher_order_meta(&self, _: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.aggregates.get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        (name == "row_number").then(|| Arc::clone(&self.row_number))
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.options
    }

    fn udf_names(&self) -> Vec<String> {
        self.scalars.keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.aggregates.keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        vec!["row_number".to_owned()]
    }
}
