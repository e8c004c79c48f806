//! Whether a job would go on past an end that its state has seen.
//!
//! When a source has ended, its watermark rises to the end of time: windows and deduplications put out all they hold.
//! Their state remembers that, and whatever comes for it later is late. So a job whose sources have more to read than they
//! had then (`until` taken away, a higher `count`) can't go on with such state: a window that was put out with what it
//! held can neither be taken back nor put out again. State that no time goes through, the positions of sources, goes on.

use std::collections::BTreeSet;

use super::restore::{RestoreError, splits};
use crate::{
    checkpoint::manifest::{Manifest, OperatorState},
    graph::{NodeId, NodeKind},
    ids::EventTime,
    job::JobPlan,
};

/// Refuses state that has seen the end of sources which have more to read now.
pub fn check(plan: &JobPlan, manifest: &Manifest) -> Result<(), RestoreError> {
    for (index, node) in plan.graph.nodes.iter().enumerate() {
        if !manifest.operator(&node.id).is_some_and(has_seen_the_end) {
            continue;
        }
        for source in sources_of(plan, NodeId(index)) {
            if has_more(plan, manifest, source)?
                && let Some(NodeKind::Source { source, .. }) = plan.graph.nodes.get(source.0).map(|node| &node.kind)
            {
                return Err(RestoreError::Ended { operator: node.id.clone(), source_name: source.clone() });
            }
        }
    }
    Ok(())
}

fn has_seen_the_end(state: &OperatorState) -> bool {
    state.subtasks.iter().any(|subtask| subtask.value["watermark"].as_i64() == Some(EventTime::MAX.0))
}

/// The sources whose rows come to a node.
fn sources_of(plan: &JobPlan, node: NodeId) -> BTreeSet<NodeId> {
    let (mut sources, mut ahead) = (BTreeSet::new(), vec![node]);
    while let Some(id) = ahead.pop() {
        let Some(node) = plan.graph.nodes.get(id.0) else { continue };
        if matches!(node.kind, NodeKind::Source { .. }) {
            sources.insert(id);
        }
        ahead.extend(&node.inputs);
    }
    sources
}

fn has_more(plan: &JobPlan, manifest: &Manifest, source: NodeId) -> Result<bool, RestoreError> {
    let Some(node) = plan.graph.nodes.get(source.0) else { return Ok(false) };
    let NodeKind::Source { source, .. } = &node.kind else { return Ok(false) };
    let (Some(table), Some(state)) = (plan.source(source), manifest.operator(&node.id)) else { return Ok(true) };
    Ok(!table.source.is_at_end(&splits(state)?))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidegate_crds::StreamJob;

    use super::*;
    use crate::{
        checkpoint::{
            manifest::{StateKind, SubtaskState},
            sample,
        },
        metrics::Metrics,
        source::SplitState,
    };

    const WINDOWS: &str = "SELECT window_start, SUM(amount) AS total \
                           FROM TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE) GROUP BY window_start, window_end";
    const ROWS: &str = "SELECT order_id, amount FROM orders";

    fn plan(count: Option<u64>, sql: &str) -> JobPlan {
        let count = count.map_or(String::new(), |count| format!("count: {count}, "));
        let document = format!(
            "
apiVersion: tidegate.dev/v1alpha1
kind: StreamJob
metadata: {{ name: sales }}
spec:
  sources:
    - name: orders
      generator: {{ {count}seed: 1 }}
      watermark: {{ column: ts }}
  sql: \"INSERT INTO sales {sql}\"
  sinks: [{{ name: sales, files: {{ path: /nowhere }} }}]
  checkpoint: {{ storage: {{ local: {{ path: /nowhere }} }} }}
"
        );
        JobPlan::new(&StreamJob::from_yaml(&document).unwrap(), Arc::new(Metrics::new())).unwrap()
    }

    /// A checkpoint in which the generator has put out 80 orders, and time has come to `watermark`.
    fn manifest(plan: &JobPlan, watermark: i64) -> Manifest {
        let splits: Vec<SplitState> = (0..8)
            .map(|stripe| SplitState {
                split: format!("stripe-{stripe}"),
                next: 80 + stripe,
                end: Some(80),
                ..SplitState::default()
            })
            .collect();
        let operators = plan.graph.stateful().filter(|(_, kind)| *kind != StateKind::InFlight).map(|(id, kind)| {
            let value = match kind {
                StateKind::Source => serde_json::json!({ "splits": splits }),
                _ => serde_json::json!({ "watermark": watermark }),
            };
            OperatorState {
                id,
                kind,
                written_as: None,
                subtasks: vec![SubtaskState { value, ..SubtaskState::default() }],
            }
        });
        Manifest { operators: operators.collect(), ..sample::manifest(1, 1, Vec::new()) }
    }

    #[test]
    fn windows_that_were_put_out_at_the_end_are_not_gone_on_with_when_there_is_more_to_read() {
        let ended = manifest(&plan(Some(80), WINDOWS), i64::MAX);
        for (count, sql, is_refused) in [
            (Some(80), WINDOWS, false),
            (Some(40), WINDOWS, false),
            (Some(81), WINDOWS, true),
            (None, WINDOWS, true),
            (None, ROWS, false),
        ] {
            let checked = check(&plan(count, sql), &ended);
            assert_eq!(checked.is_err(), is_refused, "{count:?} {sql}: {checked:?}");
            if let Err(error) = checked {
                let message = error.to_string();
                assert!(message.contains("`orders`") && message.contains("jobId"), "{message}");
            }
        }
        check(&plan(None, WINDOWS), &manifest(&plan(Some(80), WINDOWS), 5)).expect("that was not at the end");
    }
}
