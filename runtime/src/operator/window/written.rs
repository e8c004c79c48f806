//! Aggregates as checkpoints name them, and which of them an aggregate goes on from.

use datafusion_common::Result;
use datafusion_physical_expr::aggregate::AggregateFunctionExpr;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    graph::{Called, Operand, Used, is_positional},
    state::changes::{Change, Holder, Verdict, spoken, verdict},
};

/// An aggregate as a checkpoint names it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Written {
    /// What it computes, such as `sum(amount)`.
    pub computes: String,
    /// That without any cast, if it has some: two that differ in casts only may be one whose types have changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bare: Option<String>,
    /// How many columns of states it has.
    pub states: usize,
    /// The types that it was computed in; programs that named arguments by their places did not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<Vec<Types>>,
    /// Of one that the job has; a checkpoint does not need it.
    #[serde(skip)]
    uses: Uses,
}

/// The types of an argument, as Arrow writes them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Types {
    /// Of its values.
    value: String,
    /// That the aggregate is given them as.
    taken_as: String,
    /// Of what is computed or compared inside, in the order of the text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    operands: Vec<String>,
}

/// The function, and what its arguments do with their operands.
#[derive(Debug, Clone, Default)]
struct Uses {
    function: String,
    distinct: bool,
    operands: Vec<Vec<Used>>,
}

/// What an aggregate goes on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// The states of the one at this place of the checkpoint's list.
    Of(usize),
    /// It is new.
    Nothing,
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum WrittenError {
    #[error(
        "`{computes}` was written with {found} columns of states, and has {wanted}: by another version of the engine"
    )]
    States { computes: String, found: usize, wanted: usize },
    #[error(
        "`{computes}` was computed of {found} and is of {wanted}, and what windows that are open have of it can't become \
         that. Take the change back; or take the aggregate out, and put it in again with a later change: then it begins \
         with what comes"
    )]
    Type { computes: String, found: String, wanted: String },
    #[error(
        "`{found}` is gone, and `{wanted}` differs from it in casts only: whether it is the same one nobody can tell. Take the \
         change back; or take the aggregate out, and put it in again with a later change: then it begins with what comes"
    )]
    Casts { found: String, wanted: String },
    #[error(
        "several aggregates are called `{computes}` and differ in types only, which have changed: nobody can tell which \
         is which. Change the types and the aggregates one after the other"
    )]
    Ambiguous { computes: String },
    #[error(
        "the checkpoint is of an earlier version of Tidegate, which named aggregates by the places of their columns, or as \
         views called them: {found}. By such names a changed list can't be told from another one; now they would be {wanted}. Run this \
         version with the SQL and the types of before until it has taken a checkpoint, and change them then"
    )]
    Positional { found: String, wanted: String },
}

impl Written {
    pub fn of(called: &Called, aggregate: &AggregateFunctionExpr) -> Result<Self> {
        let types = called.arguments.iter().map(|argument| Types {
            value: argument.value.to_string(),
            taken_as: argument.taken_as.to_string(),
            operands: argument.operands.iter().map(|operand| operand.data_type.to_string()).collect(),
        });
        let used = |operands: &[Operand]| operands.iter().map(|operand| operand.used).collect();
        let uses = Uses {
            function: called.function.clone(),
            distinct: called.distinct,
            operands: called.arguments.iter().map(|argument| used(&argument.operands)).collect(),
        };
        let states = aggregate.state_fields()?.len();
        let (computes, bare) = (called.text(), called.bare());
        let bare = (bare != computes).then_some(bare);
        Ok(Self { computes, bare, states, arguments: Some(types.collect()), uses })
    }

    fn bare(&self) -> &str {
        self.bare.as_deref().unwrap_or(&self.computes)
    }

    fn is(&self, other: &Self) -> bool {
        self.computes == other.computes && self.arguments == other.arguments
    }

    fn taken_as(&self) -> Vec<&str> {
        self.arguments.iter().flatten().map(|types| types.taken_as.as_str()).collect()
    }
}

/// What each of the `wanted` aggregates goes on from, of those that a checkpoint has. `positional` is what programs that
/// named by places would have called them.
pub fn matched(written: &[Written], wanted: &[Written], positional: &[String]) -> Result<Vec<Kept>, WrittenError> {
    let kept = if written.iter().any(|known| known.arguments.is_none()) {
        of_places(written, wanted, positional)?
    } else {
        of_names(written, wanted)?
    };
    for (kept, own) in kept.iter().zip(wanted) {
        let Kept::Of(index) = kept else { continue };
        let found = written.get(*index).map_or(0, |known| known.states);
        if found != own.states {
            let (computes, wanted) = (own.computes.clone(), own.states);
            return Err(WrittenError::States { computes, found, wanted });
        }
    }
    Ok(kept)
}

/// First those that are as they were; then, of what is left, those of which only types have changed.
fn of_names(written: &[Written], wanted: &[Written]) -> Result<Vec<Kept>, WrittenError> {
    let mut kept: Vec<Option<usize>> =
        wanted.iter().map(|own| written.iter().position(|known| known.is(own))).collect();
    let (exact, mut taken) = (kept.clone(), Vec::new());
    for (index, own) in wanted.iter().enumerate().filter(|(index, _)| exact.get(*index) == Some(&None)) {
        let is_left = |known: usize| !exact.contains(&Some(known));
        let known: Vec<usize> =
            (0..written.len()).filter(|known| is_left(*known) && written[*known].computes == own.computes).collect();
        let rivals = (0..wanted.len())
            .filter(|other| exact.get(*other) == Some(&None) && wanted[*other].computes == own.computes)
            .count();
        let found = match known.as_slice() {
            [] => {
                differs_in_casts(written, own, is_left)?;
                continue;
            }
            [only] if rivals == 1 => *only,
            // They differ in what they are given as, which a change of a column's type may leave as it was.
            several => {
                let mut alike = several.iter().filter(|known| written[**known].taken_as() == own.taken_as());
                match (alike.next(), alike.next()) {
                    (Some(only), None) if !taken.contains(only) => *only,
                    _ => return Err(WrittenError::Ambiguous { computes: own.computes.clone() }),
                }
            }
        };
        may_go_on(&written[found], own)?;
        taken.push(found);
        if let Some(kept) = kept.get_mut(index) {
            *kept = Some(found);
        }
    }
    Ok(kept.into_iter().map(|index| index.map_or(Kept::Nothing, Kept::Of)).collect())
}

/// Refuses to begin an aggregate anew where one is left that differs in casts only: that may be the same one.
fn differs_in_casts(written: &[Written], own: &Written, is_left: impl Fn(usize) -> bool) -> Result<(), WrittenError> {
    let other = written.iter().enumerate().find(|(index, known)| is_left(*index) && known.bare() == own.bare());
    other.map_or(Ok(()), |(_, known)| {
        let (found, wanted) = (known.computes.clone(), own.computes.clone());
        Err(WrittenError::Casts { found, wanted })
    })
}

/// Whether the table lets an aggregate go on over its change of types.
fn may_go_on(found: &Written, wanted: &Written) -> Result<(), WrittenError> {
    let Uses { function, distinct, operands } = &wanted.uses;
    let holder = Holder::of(function, *distinct);
    let arguments = found.arguments.iter().flatten().zip(wanted.arguments.iter().flatten());
    for ((from, to), uses) in arguments.zip(operands) {
        // Of equal values, what they are given as has changed.
        let (value_from, value_to) =
            if from.value == to.value { (&from.taken_as, &to.taken_as) } else { (&from.value, &to.value) };
        let holds = (holder, value_from, value_to);
        // What was compared is over: rows that came were compared as they were then.
        let computed = from.operands.iter().zip(&to.operands).zip(uses).filter(|(_, used)| **used == Used::Computed);
        let computed = computed.map(|((from, to), _)| (Some(Holder::Computed), from, to));
        for (holder, from, to) in std::iter::once(holds).chain(computed) {
            if is_refused(holder, from, to) {
                let told = |name: &String| name.parse().map_or_else(|_| name.clone(), |data_type| spoken(&data_type));
                let (found, wanted_type) = (told(from), told(to));
                return Err(WrittenError::Type { computes: wanted.computes.clone(), found, wanted: wanted_type });
            }
        }
    }
    Ok(())
}

fn is_refused(holder: Option<Holder>, from: &str, to: &str) -> bool {
    if from == to {
        return false;
    }
    let (Some(holder), Ok(from), Ok(to)) = (holder, from.parse(), to.parse()) else { return true };
    verdict(holder, Change::of(&from, &to)) == Verdict::Refused
}

/// By the names of before: all the same, or all of plain columns.
fn of_places(written: &[Written], wanted: &[Written], positional: &[String]) -> Result<Vec<Kept>, WrittenError> {
    let names = || written.iter().map(|known| known.computes.as_str());
    if names().eq(positional.iter().map(String::as_str)) {
        return Ok((0..wanted.len()).map(Kept::Of).collect());
    }
    let refused = || {
        let list = |names: Vec<&str>| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        WrittenError::Positional {
            found: list(names().collect()),
            wanted: list(positional.iter().map(String::as_str).collect()),
        }
    };
    // By a name that a view gave: it may have been another column's.
    let is_alias = |(own, positional): (&Written, &String)| !has_place(positional) && own.computes != *positional;
    if names().any(has_place) || wanted.iter().zip(positional).any(is_alias) {
        return Err(refused());
    }
    let kept = wanted.iter().zip(positional).map(|(own, positional)| {
        match written.iter().position(|known| known.computes == *positional) {
            Some(index) => Ok(Kept::Of(index)),
            // A column that has changed its type is computed now, and was not.
            None if names().any(|known| known == own.computes) => Err(refused()),
            None => Ok(Kept::Nothing),
        }
    });
    kept.collect()
}

/// Whether one of the arguments is a place.
fn has_place(computes: &str) -> bool {
    let arguments = computes.split_once('(').map_or("", |(_, arguments)| arguments);
    let arguments = arguments.strip_suffix(')').unwrap_or(arguments);
    arguments.strip_prefix("DISTINCT ").unwrap_or(arguments).split(", ").any(is_positional)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `sum(a)` of values of one type, given as another, with what is computed inside.
    fn sum(value: &str, taken_as: &str, operands: &[&str]) -> Written {
        let operands: Vec<String> = operands.iter().map(|operand| (*operand).to_owned()).collect();
        let used = operands.iter().map(|_| Used::Computed).collect();
        let types = Types { value: value.to_owned(), taken_as: taken_as.to_owned(), operands };
        let uses = Uses { function: "sum".to_owned(), distinct: false, operands: vec![used] };
        Written { computes: "sum(a)".to_owned(), bare: None, states: 1, arguments: Some(vec![types]), uses }
    }

    #[test]
    fn twins_that_differ_in_types_only_are_never_taken_for_each_other() {
        let (exact, rough) = (sum("Int32", "Int64", &[]), sum("Int32", "Float64", &[]));
        let wider = [sum("Int64", "Float64", &[]), sum("Int64", "Int64", &[])];
        let go_on = |written: &[Written], wanted: &[Written]| matched(written, wanted, &[]);
        let both = [exact.clone(), rough.clone()];
        assert_eq!(go_on(&both, &[rough.clone(), exact.clone()]), Ok(vec![Kept::Of(1), Kept::Of(0)]));
        assert_eq!(go_on(&both[..1], &both), Ok(vec![Kept::Of(0), Kept::Nothing]), "one more");
        assert_eq!(go_on(&both, &both[1..]), Ok(vec![Kept::Of(1)]), "one less");
        assert_eq!(go_on(&both, &wider), Ok(vec![Kept::Of(1), Kept::Of(0)]), "by what they are given as");
        // Inside, integers are divided otherwise than doubles, and both are summed as doubles.
        let divided = |operand: &str| sum("Float64", "Float64", &[operand]);
        let before = [divided("Int32"), divided("Float32")];
        assert_eq!(go_on(&before, &before), Ok(vec![Kept::Of(0), Kept::Of(1)]));
        let after = [divided("Int64"), divided("Float64")];
        assert_eq!(go_on(&before, &after), Err(WrittenError::Ambiguous { computes: "sum(a)".to_owned() }));
        assert!(matches!(go_on(&before[..1], &after[1..]), Err(WrittenError::Type { .. })), "another division");
        assert_eq!(go_on(&before[..1], &after[..1]), Ok(vec![Kept::Of(0)]));
    }

    #[test]
    fn an_argument_is_known_for_a_place() {
        assert!(["sum($2)", "count(DISTINCT $12)", "count(a, $1)"].iter().all(|named| has_place(named)));
        assert!(["sum(a)", "count(1)", "sum($price)", "count(DISTINCT $)"].iter().all(|named| !has_place(named)));
    }
}
