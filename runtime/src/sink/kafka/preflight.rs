//! What can be said of a sink before the job starts.

use arrow::datatypes::Schema;
use tidegate_crds::nearest;

use crate::kafka::{Cluster, Trouble, describe_topic};

/// The topic is there, and the key's columns are in the rows. Blocks.
pub(super) fn check(cluster: &Cluster, topic: &str, key: &[String], schema: &Schema) -> Result<(), Trouble> {
    check_key(key, schema).map_err(Trouble::Refused)?;
    describe_topic(cluster, topic).map(drop)
}

fn check_key(key: &[String], schema: &Schema) -> Result<(), String> {
    for column in key {
        if schema.field_with_name(column).is_err() {
            let columns = || schema.fields().iter().map(|field| field.name().as_str());
            return Err(format!(
                "kafka.key: the rows have no column `{column}`{}; they have {}",
                nearest(column, columns()),
                columns().collect::<Vec<_>>().join(", ")
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};

    use super::*;

    #[test]
    fn a_key_column_that_is_missing_names_the_nearest() {
        let schema = Schema::new(vec![
            Field::new("window_start", DataType::Int64, false),
            Field::new("store_id", DataType::Int64, false),
        ]);
        assert_eq!(check_key(&["store_id".into()], &schema), Ok(()));
        let error = check_key(&["store_idd".into()], &schema).unwrap_err();
        assert!(error.contains("did you mean `store_id`?"), "{error}");
        assert!(error.contains("window_start, store_id"), "{error}");
    }
}
