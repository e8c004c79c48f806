//! Which parts of the program a document asks for.

use tidegate_crds::{JobSpec, Problem, Problems, StateBackend};

use crate::features::Feature;

/// Names every field that asks for a part that was left out of this build.
pub(super) fn check(spec: &JobSpec) -> Result<(), Problems> {
    let mut needed = Vec::new();
    for (index, source) in spec.sources.iter().enumerate() {
        needed.push((source.kafka.is_some(), format!("spec.sources[{index}].kafka"), Feature::Kafka));
    }
    for (index, sink) in spec.sinks.iter().enumerate() {
        needed.push((sink.kafka.is_some(), format!("spec.sinks[{index}].kafka"), Feature::Kafka));
        needed.push((sink.click_house.is_some(), format!("spec.sinks[{index}].clickHouse"), Feature::ClickHouse));
    }
    let storage = &spec.checkpoint.storage;
    needed.push((storage.s3.is_some(), "spec.checkpoint.storage.s3".to_owned(), Feature::S3));
    needed.push((storage.hdfs.is_some(), "spec.checkpoint.storage.hdfs".to_owned(), Feature::Hdfs));
    needed.push((spec.state_backend == StateBackend::RocksDb, "spec.stateBackend".to_owned(), Feature::RocksDb));
    let problems: Vec<Problem> = needed
        .into_iter()
        .filter(|(is_needed, ..)| *is_needed)
        .filter_map(|(_, field, feature)| Some(Problem::new(field, feature.check().err()?.to_string())))
        .collect();
    if problems.is_empty() { Ok(()) } else { Err(Problems(problems)) }
}

#[cfg(test)]
mod tests {
    use tidegate_crds::StreamJob;

    use super::*;
    use crate::features::NotBuilt;

    /// With all features, as tests are built, everything is there; so the words are looked at by themselves.
    #[test]
    fn what_is_left_out_is_named_with_its_feature() {
        let text = NotBuilt(Feature::ClickHouse).to_string();
        assert!(text.contains("without ClickHouse") && text.contains("feature `clickhouse`"), "{text}");
        let job = StreamJob::from_yaml(include_str!("../../../examples/store-sales-local.yaml")).unwrap();
        assert_eq!(check(&job.spec), Ok(()));
    }
}
