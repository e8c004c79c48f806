//! How the newest of a log is found, of which the beginning may be deleted while it is looked for.
//!
//! Attempts are numbered without a gap, and so are the places of an attempt; what is deleted lies at the lower end, and
//! heads stay ([`super::segments`]). So the end is found by steps that double and are halved again, and no listing is
//! needed. Then the records go back from there that [`summarize`] needs. Last of all come the looks: while the witness of
//! the oldest of these places is not there, nothing was deleted that was read, or found missing.
//!
//! [`read`] is pure: it is told what is known, and says what it has to know next.

use std::{collections::BTreeMap, fmt};

use super::{
    AttemptLog, read_next,
    segments::{Place, Spans},
    summarize,
};
use crate::{
    checkpoint::record::{self, Body, Record},
    ids::{Attempt, Seq},
};

/// What is at a place.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Found {
    Nothing,
    Record(Record),
    /// An object that is no record, and why.
    Unreadable(String),
}

/// What is known of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Facts {
    found: BTreeMap<Place, Found>,
    /// Whether there was something when all else was known.
    looked: BTreeMap<Place, bool>,
}

/// What has to be known next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ask {
    Read(Place),
    /// Asked now, whatever was found there before.
    Look(Place),
}

/// Why a log is not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread {
    Ask(Ask),
    /// A record that has to be there is not: it was deleted meanwhile, or the store has lost it.
    Missing(Place),
    /// This witness is there: what was found may be deleted, or a late request in the place of what was.
    GoneOn(Place),
    Damaged(String),
}

/// The end of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    pub last: Seq,
    /// Where its newest checkpoint is.
    pub checkpoint: Option<Seq>,
    /// The oldest place that is needed, but for the first.
    oldest: Seq,
    /// The first record, and then all from the newest checkpoint on.
    records: Vec<Record>,
}

impl Ask {
    pub fn place(self) -> Place {
        match self {
            Self::Read(place) | Self::Look(place) => place,
        }
    }
}

impl Facts {
    pub fn heard(&mut self, ask: Ask, found: Found) {
        match ask {
            Ask::Read(place) => drop(self.found.insert(place, found)),
            Ask::Look(place) => drop(self.looked.insert(place, found != Found::Nothing)),
        }
    }

    fn at(&self, place: Place) -> Result<&Found, Unread> {
        self.found.get(&place).ok_or(Unread::Ask(Ask::Read(place)))
    }

    fn has(&self, attempt: u64, seq: u64) -> Result<bool, Unread> {
        Ok(*self.at((Attempt(attempt), Seq(seq)))? != Found::Nothing)
    }

    fn record(&self, place: Place) -> Result<&Record, Unread> {
        match self.at(place)? {
            Found::Record(record) => Ok(record),
            Found::Nothing => Err(Unread::Missing(place)),
            Found::Unreadable(why) => Err(Unread::Damaged(format!("`{}`: {why}", record::path(place.0, place.1)))),
        }
    }

    /// What comes after the looks is asked after them.
    fn look(&self, witness: Place) -> Result<(), Unread> {
        match self.looked.get(&witness) {
            None => Err(Unread::Ask(Ask::Look(witness))),
            Some(true) => Err(Unread::GoneOn(witness)),
            Some(false) => Ok(()),
        }
    }
}

/// What the newest attempt says; `None` if nobody ran the job yet. The steps begin at `hint`, a place that once had a
/// record, if it is good.
pub fn read(facts: &Facts, spans: Spans, hint: Option<Place>) -> Result<Option<AttemptLog>, Unread> {
    let attempt = newest_attempt(facts, spans, hint)?;
    let log = match attempt {
        Attempt(0) => None,
        _ => {
            let end = end_from(facts, spans, attempt, hint)?;
            // In this order: the witness of a place may go with its attempt, when the attempt's own is there.
            facts.look(spans.witness((attempt, end.oldest)))?;
            Some(end)
        }
    };
    facts.look(spans.witness_of_attempt(attempt))?;
    let summary = log.map(|end| summarize(attempt, end.last.next(), &end.records));
    summary.transpose().map_err(Unread::Damaged)
}

/// The places that a search reads which begins at a good hint: they may be asked for side by side.
pub fn likely((attempt, seq): Place) -> Vec<Place> {
    let steps = (0..8).map(|step| (attempt, Seq(seq.0.saturating_add((1 << step) - 1))));
    steps.chain([(attempt, Seq(0)), (attempt.next(), Seq(0))]).collect()
}

/// The end of an attempt that has begun.
pub fn end(facts: &Facts, spans: Spans, attempt: Attempt) -> Result<End, Unread> {
    end_from(facts, spans, attempt, None)
}

/// 0 if none has begun.
fn newest_attempt(facts: &Facts, spans: Spans, hint: Option<Place>) -> Result<Attempt, Unread> {
    let has_begun = |attempt| facts.has(attempt, 0);
    if let Some((Attempt(attempt @ 1..), _)) = hint
        && has_begun(attempt)?
    {
        return search(attempt, None, has_begun).map(Attempt);
    }
    let block = search(0, None, |block| has_begun(block * spans.block))?;
    search(block * spans.block, Some((block + 1) * spans.block), has_begun).map(Attempt)
}

fn end_from(facts: &Facts, spans: Spans, attempt: Attempt, hint: Option<Place>) -> Result<End, Unread> {
    let last = last_place(facts, spans, attempt, hint)?;
    let (mut records, mut checkpoint, mut oldest, mut next) = (Vec::new(), None, last, Some(last));
    while let Some(seq) = next {
        let record = facts.record((attempt, seq))?;
        if seq > Seq(0) {
            oldest = seq;
            checkpoint = matches!(record.body, Body::CheckpointCompleted { .. }).then_some(seq);
        }
        next = read_next(seq, record);
        records.push(record.clone());
    }
    records.reverse();
    Ok(End { last, checkpoint, oldest, records })
}

fn last_place(facts: &Facts, spans: Spans, attempt: Attempt, hint: Option<Place>) -> Result<Seq, Unread> {
    let has = |seq| facts.has(attempt.0, seq);
    if let Some((of, Seq(seq @ 1..))) = hint
        && of == attempt
        && has(seq)?
    {
        return search(seq, None, has).map(Seq);
    }
    let segment = search(0, None, |segment| has(segment * spans.segment))?;
    search(segment * spans.segment, Some((segment + 1) * spans.segment), has).map(Seq)
}

/// The last number from `first` on, which there is, and before `end`, that there is, if there is none behind one that
/// there is not.
fn search(first: u64, end: Option<u64>, is_there: impl Fn(u64) -> Result<bool, Unread>) -> Result<u64, Unread> {
    let (mut last, mut end, mut step) = (first, end.unwrap_or(u64::MAX), 1);
    while end - last > 1 {
        let probe = if step == 0 { last + (end - last) / 2 } else { (last + step).min(end - 1) };
        if is_there(probe)? {
            last = probe;
            step *= 2;
        } else {
            end = probe;
            step = 0;
        }
    }
    Ok(last)
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ask(ask) => write!(f, "`{}` was not looked at", path(ask.place())),
            Self::Missing(place) => write!(f, "`{}` is missing", path(*place)),
            Self::GoneOn(place) => {
                write!(f, "it goes on faster than it can be read, or has `{}` in a wrong place", path(*place))
            }
            Self::Damaged(why) => f.write_str(why),
        }
    }
}

fn path((attempt, seq): Place) -> crate::checkpoint::store::ObjectPath {
    record::path(attempt, seq)
}

#[cfg(test)]
mod tests;
