//! How long an expression is once all that it reads is written out in it, told without writing it out.
//!
//! A view computes a column once, and the next one may use it twice: 24 views of `a + a` are 16,000,000 additions where each
//! column is replaced by what it stands for. So lengths are counted from the source up, each column's once, before
//! anything is replaced.

use datafusion_common::{
    Column, Result, ScalarValue,
    tree_node::{TreeNode, TreeNodeRecursion},
};
use datafusion_expr::{Expr, LogicalPlan};

use super::lineage;

/// What an operator, a function or a CAST is counted as.
const PART: usize = 8;

/// About how many characters the text of `expr` has, if that of each column has as many as `column` says.
pub(super) fn length(expr: &Expr, mut column: impl FnMut(&Column) -> usize) -> Result<usize> {
    let mut length = 0_usize;
    expr.apply(|part| {
        length = length.saturating_add(match part {
            Expr::Column(part) => column(part),
            Expr::Literal(value, _) => literal(value),
            _ => PART,
        });
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(length)
}

fn literal(value: &ScalarValue) -> usize {
    match value {
        ScalarValue::Utf8(Some(text)) | ScalarValue::LargeUtf8(Some(text)) | ScalarValue::Utf8View(Some(text)) => {
            text.len()
        }
        ScalarValue::Binary(Some(bytes)) | ScalarValue::LargeBinary(Some(bytes)) => bytes.len().saturating_mul(2),
        _ => PART,
    }
}

/// About how long each column of a plan is, down to the columns of sources, below views and deduplications.
pub(super) fn columns(plan: &LogicalPlan) -> Result<Vec<usize>> {
    match plan {
        LogicalPlan::TableScan(scan) => {
            let all = match lineage::stage_table(scan) {
                Some(table) => match &table.below {
                    Some(below) => columns(below)?,
                    None => table.schema.fields().iter().map(|field| field.name().len()).collect(),
                },
                None => Vec::new(),
            };
            Ok(match &scan.projection {
                Some(kept) => kept.iter().map(|index| all.get(*index).copied().unwrap_or(PART)).collect(),
                None => all,
            })
        }
        LogicalPlan::SubqueryAlias(alias) => columns(&alias.input),
        LogicalPlan::Filter(filter) => columns(&filter.input),
        LogicalPlan::Projection(projection) => over(&projection.expr, &projection.input),
        LogicalPlan::Window(window) => {
            let mut all = columns(&window.input)?;
            all.extend(over(&window.window_expr, &window.input)?);
            Ok(all)
        }
        other => Ok(vec![PART; other.schema().fields().len()]),
    }
}

/// About how long expressions over the columns of `input` are, down to the columns of sources.
pub(super) fn over<'a>(exprs: impl IntoIterator<Item = &'a Expr>, input: &LogicalPlan) -> Result<Vec<usize>> {
    let below = columns(input)?;
    let column = |column: &Column| {
        let index = input.schema().maybe_index_of_column(column);
        index.and_then(|index| below.get(index).copied()).unwrap_or(PART)
    };
    exprs.into_iter().map(|expr| length(expr, column)).collect()
}
