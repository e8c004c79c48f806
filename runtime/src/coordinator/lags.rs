//! How far a job's sources are behind: what each reader has told, added up.

use std::collections::BTreeMap;

use prometheus_client::metrics::{family::Family, gauge::Gauge};
use tidegate_crds::api::SourceStatus;

use crate::{
    ids::SubtaskIndex,
    metrics::{Named, named},
};

#[derive(Debug)]
pub struct Lags {
    /// How many readers each source has.
    readers: usize,
    told: BTreeMap<String, BTreeMap<SubtaskIndex, u64>>,
    gauge: Family<Named, Gauge>,
}

impl Lags {
    /// `gauge` shows what [`Lags::sources`] tells.
    pub fn new(readers: u32, gauge: Family<Named, Gauge>) -> Self {
        Self { readers: readers as usize, told: BTreeMap::new(), gauge }
    }

    /// Each source has so many readers from now on.
    pub fn expect(&mut self, readers: u32) {
        self.readers = readers as usize;
    }

    /// A reader knows its lag, or knows it no longer.
    pub fn tell(&mut self, source: &str, reader: SubtaskIndex, lag: Option<u64>) {
        let told = self.told.entry(source.to_owned()).or_default();
        match lag {
            Some(lag) => told.insert(reader, lag),
            None => told.remove(&reader),
        };
        match self.total(source) {
            Some(lag) => {
                self.gauge.get_or_create(&named(source)).set(lag as i64);
            }
            None => {
                self.gauge.remove(&named(source));
            }
        }
    }

    /// No reader reads any more.
    pub fn forget(&mut self) {
        for source in std::mem::take(&mut self.told).into_keys() {
            self.gauge.remove(&named(&source));
        }
    }

    /// The sources all of whose readers know their lag.
    pub fn sources(&self) -> Vec<SourceStatus> {
        let known = self.told.keys().filter_map(|name| Some((name, self.total(name)?)));
        known.map(|(name, lag)| SourceStatus { name: name.clone(), lag }).collect()
    }

    fn total(&self, source: &str) -> Option<u64> {
        self.told.get(source).filter(|told| told.len() == self.readers).map(|told| told.values().sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(lags: &Lags) -> Vec<(String, u64)> {
        lags.sources().into_iter().map(|source| (source.name, source.lag)).collect()
    }

    #[test]
    fn a_source_is_as_far_behind_as_all_its_readers_and_unknown_while_one_is() {
        let mut lags = Lags::new(2, Family::default());
        let (first, second) = (SubtaskIndex(0), SubtaskIndex(1));
        lags.tell("orders", first, Some(3));
        assert_eq!(shown(&lags), [], "the second reader is still to come");
        lags.tell("orders", second, Some(4));
        lags.tell("rates", first, Some(0));
        lags.tell("rates", second, Some(0));
        assert_eq!(shown(&lags), [("orders".into(), 7), ("rates".into(), 0)]);
        assert_eq!(lags.gauge.get_or_create(&named("orders")).get(), 7);
        lags.tell("orders", second, None);
        assert_eq!(shown(&lags), [("rates".into(), 0)], "the brokers do not answer");
        lags.tell("orders", second, Some(1));
        assert_eq!(shown(&lags), [("orders".into(), 4), ("rates".into(), 0)]);
        lags.forget();
        assert_eq!(shown(&lags), []);
    }
}
