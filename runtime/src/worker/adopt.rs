//! The operators of a checkpoint under the ids that they have now.
//!
//! State finds its operator by how that is written: what it does, reads and goes by, and in which view or `INSERT`
//! ([`WrittenAs`]). Ids are labels: two operators that could share one are told apart by more words, and get these when the
//! second is added. So whatever is written elsewhere, an operator keeps its state.
//!
//! - One that was written in two statements, since it was the same there, and differs now, is two: both go on from its
//!   state. If nobody goes on for one of the two, what it had is lost with it, and refused as any such state.
//! - One that is written elsewhere, as under another sink, goes on if nobody else could be meant.
//! - One that reads another source is refused: what it remembers is of the rows of the former.
//! - Checkpoints of earlier versions have ids only, made of names, and of contents where names were not enough. They are
//!   found as long as the same id would be made now.
//!
//! [`WrittenAs`]: crate::checkpoint::manifest::WrittenAs

use super::restore::RestoreError;
use crate::{
    checkpoint::manifest::{Manifest, OperatorState, StateKind},
    graph::{Node, NodeKind, StreamGraph},
    ids::OperatorId,
};

/// An operator and the state that it goes on from.
type Heir<'a> = (&'a Node, &'a OperatorState);

/// A manifest as the graph's job reads it. What nobody goes on from keeps an id of its own.
pub fn adopt(manifest: &Manifest, graph: &StreamGraph) -> Result<Manifest, RestoreError> {
    let (exchanges, states): (Vec<_>, Vec<_>) =
        manifest.operators.iter().partition(|state| state.kind == StateKind::InFlight);
    let nodes: Vec<&Node> = graph.nodes.iter().filter(|node| node.state_kind().is_some()).collect();
    let mut heirs = known(&nodes, &states)?;
    heirs.extend(moved(&nodes, &states, &heirs));
    heirs.iter().try_for_each(|heir| same_source(heir, &heirs))?;

    let mut operators = Vec::new();
    for (node, state) in &heirs {
        operators.push(OperatorState { id: node.id.clone(), ..(*state).clone() });
        let in_flight = exchanges.iter().find(|exchange| exchange.id == exchange_of(&state.id));
        operators.extend(in_flight.map(|rows| OperatorState { id: exchange_of(&node.id), ..(*rows).clone() }));
    }
    let is_taken = |id: &OperatorId| heirs.iter().any(|(_, state)| state.id == *id || exchange_of(&state.id) == *id);
    for state in manifest.operators.iter().filter(|state| !is_taken(&state.id)) {
        let is_used = graph.stateful().any(|(id, _)| id == state.id);
        let id = if is_used { told_apart(state, &places(state)) } else { state.id.clone() };
        operators.push(OperatorState { id, ..state.clone() });
    }
    for state in states.into_iter().filter(|state| is_taken(&state.id)) {
        let left = left_places(state, &nodes);
        // Else that is who was written there.
        let has_moved = heirs.iter().any(|(node, of)| of.id == state.id && !is_known(node, state));
        if !left.is_empty() && !has_moved {
            operators.push(OperatorState { id: told_apart(state, &left), ..state.clone() });
        }
    }
    Ok(Manifest { operators, ..manifest.clone() })
}

/// Who is written as what has left a state.
fn known<'a>(nodes: &[&'a Node], states: &[&'a OperatorState]) -> Result<Vec<Heir<'a>>, RestoreError> {
    let mut heirs = Vec::new();
    for node in nodes {
        let mut known = states.iter().filter(|state| is_known(node, state));
        match (known.next(), known.next()) {
            (Some(state), None) => heirs.push((*node, *state)),
            (Some(one), Some(other)) => {
                let (one, other) = (one.id.clone(), other.id.clone());
                return Err(RestoreError::Joined { now: node.id.clone(), one, other });
            }
            (None, _) => {}
        }
    }
    Ok(heirs)
}

/// Where an operator was written that has left a state, and nobody of its name is now.
fn left_places<'a>(state: &'a OperatorState, nodes: &[&Node]) -> Vec<&'a str> {
    let own = state.written_as.as_ref();
    let has = |place: &str| {
        let mut alike = nodes.iter().filter(|node| is_alike(node, state));
        alike.any(|node| node.known_as.written_as.within.iter().any(|within| within == place))
    };
    places(state).into_iter().filter(|place| own.is_some() && !has(place)).collect()
}

fn places(state: &OperatorState) -> Vec<&str> {
    state.written_as.iter().flat_map(|was| was.within.iter().map(String::as_str)).collect()
}

/// Whether both are called the same.
fn is_alike(node: &Node, state: &OperatorState) -> bool {
    let name = state.written_as.as_ref().map(|was| &was.name);
    node.state_kind() == Some(state.kind) && name == Some(&node.known_as.written_as.name)
}

/// Who is written elsewhere, of those that have nothing yet: where one state and one operator of a name are left.
fn moved<'a>(nodes: &[&'a Node], states: &[&'a OperatorState], heirs: &[Heir<'a>]) -> Vec<Heir<'a>> {
    let is_taken = |state: &OperatorState| heirs.iter().any(|(_, taken)| taken.id == state.id);
    let states: Vec<&'a OperatorState> =
        states.iter().copied().filter(|state| !is_taken(state) || !left_places(state, nodes).is_empty()).collect();
    let nodes: Vec<&'a Node> =
        nodes.iter().copied().filter(|node| !heirs.iter().any(|(heir, _)| heir.id == node.id)).collect();
    let only = |node: &'a Node| {
        let mut alike = states.iter().filter(|state| is_alike(node, state));
        let state = alike.next().filter(|_| alike.next().is_none())?;
        let rivals = nodes.iter().filter(|rival| is_alike(rival, state)).count();
        (rivals == 1).then_some((node, *state))
    };
    nodes.iter().copied().filter_map(only).collect()
}

/// Refuses state of the rows of another source.
fn same_source((node, state): &Heir<'_>, heirs: &[Heir<'_>]) -> Result<(), RestoreError> {
    let Some(wanted) = &node.known_as.written_as.source else { return Ok(()) };
    let operator = || node.id.clone();
    match state.written_as.as_ref().and_then(|was| was.source.as_ref()) {
        Some(found) if found == wanted => Ok(()),
        Some(found) => Err(RestoreError::Source { operator: operator(), found: found.clone(), wanted: wanted.clone() }),
        // Untold: it can't have been a source that the checkpoint does not have.
        None => {
            let mut sources = heirs.iter().filter_map(|(node, _)| match &node.kind {
                NodeKind::Source { source, .. } => Some(source),
                _ => None,
            });
            if sources.any(|source| source == wanted) {
                Ok(())
            } else {
                Err(RestoreError::UntoldSource { operator: operator(), wanted: wanted.clone() })
            }
        }
    }
}

/// Whether a node is the operator that has left the state.
fn is_known(node: &Node, state: &OperatorState) -> bool {
    let own = &node.known_as.written_as;
    match &state.written_as {
        _ if node.state_kind() != Some(state.kind) => false,
        None => state.id == node.known_as.former,
        Some(was) if was.name != own.name => false,
        // A source stands by itself.
        Some(was) if was.within.is_empty() => own.within.is_empty(),
        Some(was) => was.within.iter().any(|place| own.within.contains(place)),
    }
}

fn exchange_of(id: &OperatorId) -> OperatorId {
    OperatorId(format!("exchange-{id}"))
}

/// An id for the state of an operator that is gone, from these places, and whose id another one has now.
fn told_apart(state: &OperatorState, places: &[&str]) -> OperatorId {
    let within = if places.is_empty() { "before".to_owned() } else { places.join(" and ") };
    OperatorId(format!("{} of {within}", state.id))
}
