//! Random jobs over random records, compared with DuckDB row by row, while they are killed, rescaled and changed.
//!
//! A [`case`] is drawn from a seed: records with nulls, Unicode and extreme numbers, spread over splits and out of order
//! within the delay; a first version of a job over them ([`draw`]); and what is done to it ([`act`]): kills, failures of
//! subtasks, rescales, and other versions that take over ([`change`]), some of them as another job that begins with a copy
//! ([`copies`]). The job is the real engine from the document on, in the simulation's time ([`crate::sim`]), with a source
//! that has the case's records ([`feed`]) and sinks that keep their rows as JSON ([`capture`]). Each version is written once,
//! as [`logical`], and told twice: as a [`document`], and as SQL of DuckDB ([`translate`]), which says what every version
//! must have put out. [`history`] plays it all, with what is done on the way ([`deeds`]), and [`verdict`] has [`oracle`]
//! compare.
//!
//! Same seed, same case, same history. [RFC 0018](../../../docs/rfcs/0018-differential-tests.md) has the reasons.

mod act;
mod capture;
mod case;
mod change;
mod choose;
mod copies;
mod cut;
mod data;
mod deeds;
mod document;
mod draw;
mod expr;
mod feed;
mod history;
mod kind;
mod logical;
mod oracle;
mod play;
mod process;
mod program;
mod series;
mod translate;
mod verdict;

pub use self::{
    oracle::{Oracle, PROGRAM},
    play::{PlayedCase, play},
    program::{Ran, run_program},
    series::{CaseSeries, series},
};
