//! What DataFusion's planner may use.

use std::{collections::BTreeMap, sync::Arc};

use arrow::datatypes::DataType;
use datafusion_common::{Result, TableReference, config::ConfigOptions, plan_err};
use datafusion_expr::{
    AggregateUDF, HigherOrderUDF, ScalarUDF, TableSource, WindowUDF,
    planner::{ContextProvider, ExprPlanner},
};

/// The tables that the query names, and all functions but those over windows.
pub struct Provider {
    pub tables: BTreeMap<String, Arc<dyn TableSource>>,
    scalars: BTreeMap<String, Arc<ScalarUDF>>,
    aggregates: BTreeMap<String, Arc<AggregateUDF>>,
    planners: Vec<Arc<dyn ExprPlanner>>,
    pub options: ConfigOptions,
}

impl Provider {
    pub fn new(tables: BTreeMap<String, Arc<dyn TableSource>>) -> Self {
        let mut options = ConfigOptions::default();
        options.sql_parser.parse_float_as_decimal = true;
        options.sql_parser.map_string_types_to_utf8view = false;
        // As joins: there is no operator here for the other way.
        options.optimizer.enable_physical_uncorrelated_scalar_subquery = false;
        let scalars = datafusion_functions::all_default_functions().into_iter();
        let scalars = scalars.flat_map(|function| called(function.name(), function.aliases(), &function));
        let aggregates = datafusion_functions_aggregate::all_default_aggregate_functions().into_iter();
        let aggregates = aggregates.flat_map(|function| called(function.name(), function.aliases(), &function));
        Self {
            tables,
            scalars: scalars.collect(),
            aggregates: aggregates.collect(),
            planners: vec![
                Arc::new(datafusion_functions::core::planner::CoreFunctionPlanner::default()),
                Arc::new(datafusion_functions::unicode::planner::UnicodeFunctionPlanner),
                Arc::new(datafusion_functions::datetime::planner::DatetimeFunctionPlanner),
                Arc::new(datafusion_functions_aggregate::planner::AggregateFunctionPlanner),
            ],
            options,
        }
    }
}

/// A function under each of its names.
fn called<F: Clone>(name: &str, aliases: &[String], function: &F) -> Vec<(String, F)> {
    std::iter::once(name)
        .chain(aliases.iter().map(String::as_str))
        .map(|name| (name.to_owned(), function.clone()))
        .collect()
}

impl ContextProvider for Provider {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        match self.tables.get(&name.to_string()) {
            Some(table) => Ok(table.clone()),
            None => plan_err!("there is no table `{name}`"),
        }
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

    fn get_window_meta(&self, _: &str) -> Option<Arc<WindowUDF>> {
        None
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
        Vec::new()
    }
}
