//! A job of many processes on one thread, in a time of its own, with faults: all of it decided by one seed.
//!
//! The engine is the real one: coordinators, workers, gRPC, Arrow Flight, checkpoints, recovery. What it asks of the
//! machine it asks at two doors, `tidegate::env` and `tidegate::net`, and behind them is a [`world`]: a queue of events in
//! virtual time. A [`process`] has a runtime of its own, which runs when an event concerns it, until it has nothing to do;
//! then the next event is due, however far away. Network ([`net`]), object store ([`store`]) and brokers ([`broker`]) are
//! the world's, and outlive every process. [`faults`] says what goes wrong when, [`job`] what the processes run,
//! [`run`] plays it all to the end and asks the oracle.
//!
//! Same seed, same trace: the world draws from one generator, and nothing else is left to chance. A failure prints its
//! seed; `make sim SEED=…` plays it again, with the engine's log.

mod broker;
mod digests;
mod disk;
mod doors;
mod faults;
mod job;
mod ledger;
mod met;
mod net;
mod panics;
mod places;
mod process;
mod run;
mod sales;
mod series;
mod store;
mod table;
mod telling;
mod topic;
mod topic_source;
mod trace;
mod verdict;
mod world;

pub(crate) use self::{
    doors::{Inside, Pace},
    faults::Moment,
    ledger::standing,
    net::address,
    panics::panics,
    process::Process,
    run::local_disks,
    store::StoreAt,
    telling::tell,
    world::{Host, Micros, Outlet, Pid, Shared, Weather, World},
};
pub use self::{
    met::{Kind, Met},
    places::{ELSEWHERE, places},
    run::{Played, play},
    series::{ENOUGH, Series, series},
    store::TableFiles,
};
