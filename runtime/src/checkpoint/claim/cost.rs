//! What a claim costs, by a store that counts, with a log of ten million records.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::{Arc, Mutex},
};

use bytes::Bytes;

use super::{
    tests::{Anything, identity, ours, owners},
    *,
};
use crate::{
    checkpoint::{
        log::segments::{Place, Spans},
        record::{Hint, LOG, Trigger},
        sample::started,
        store::{Create, Listed, ObjectPath},
    },
    ids::Epoch,
};

/// How long each attempt of a log is, which nobody has written: its records are made up when they are asked for.
#[derive(Debug)]
struct MadeUp {
    attempts: Vec<u64>,
    /// Whether all is deleted that may be.
    is_compacted: bool,
    /// A folder with so many entries takes no more: how HDFS does.
    most_in_folder: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    written: BTreeMap<String, Bytes>,
    deleted: BTreeSet<Place>,
    requests: usize,
    listed: usize,
}

impl MadeUp {
    fn new(attempts: Vec<u64>, is_compacted: bool) -> Self {
        Self { attempts, is_compacted, most_in_folder: usize::MAX, state: Mutex::default() }
    }

    /// Ten million records of one attempt.
    fn long(is_compacted: bool) -> Self {
        Self::new(vec![10_000_000], is_compacted)
    }

    /// Ten million records of five thousand attempts.
    fn wide(is_compacted: bool) -> Self {
        Self::new(vec![2000; 5000], is_compacted)
    }

    fn records(&self, attempt: Attempt) -> u64 {
        self.attempts.get((attempt.0 as usize).wrapping_sub(1)).copied().unwrap_or_default()
    }

    fn has(&self, (attempt, seq): Place, state: &State) -> bool {
        let spans = Spans::FORMAT;
        let last = Seq(self.records(attempt).saturating_sub(1));
        let newest = Attempt(self.attempts.len() as u64);
        let may_go = seq < spans.deletable_below(last, Some(last)) && !spans.is_head(seq)
            || attempt < spans.deletable_attempts_below(newest) && !(seq == Seq(0) && spans.heads_block(attempt));
        seq <= last
            && self.records(attempt) > 0
            && !(self.is_compacted && may_go)
            && !state.deleted.contains(&(attempt, seq))
    }

    fn record(&self, (attempt, seq): Place) -> Record {
        let is_newest = attempt.0 as usize == self.attempts.len();
        let body = match seq {
            Seq(0) => of_this_spec(started(attempt.0, None)),
            _ if seq.0 + 1 == self.records(attempt) && !is_newest => Body::Sealed { by: "successor".into() },
            _ => Body::CheckpointCompleted {
                checkpoint: CheckpointRef {
                    epoch: Epoch(attempt.0 * 100_000_000 + seq.0),
                    manifest: ObjectPath("data/manifest".into()),
                    sha256: String::new(),
                },
                trigger: Trigger::Interval,
            },
        };
        Record { record_id: format!("{attempt}/{seq}"), path: None, at_ms: 0, body }
    }

    fn in_folder(&self, attempt: Attempt, after: u64) -> Vec<ObjectPath> {
        let state = self.state.lock().unwrap();
        let made_up =
            (after..self.records(attempt)).map(|seq| (attempt, Seq(seq))).filter(|place| self.has(*place, &state));
        let written = state.written.keys().filter_map(|path| record::parse_path(&ObjectPath(path.clone())));
        let written = written.filter(|(of, seq)| *of == attempt && seq.0 >= after);
        made_up.chain(written).map(|(attempt, seq)| record::path(attempt, seq)).collect()
    }

    /// Requests and listed entries since it was asked before.
    fn cost(&self) -> (usize, usize) {
        let mut state = self.state.lock().unwrap();
        (std::mem::take(&mut state.requests), std::mem::take(&mut state.listed))
    }

    fn hint(&self, attempt: u64, seq: u64) {
        let hint = serde_json::to_vec(&Hint { attempt: Attempt(attempt), seq: Seq(seq) }).unwrap();
        self.state.lock().unwrap().written.insert("hint".into(), hint.into());
    }
}

fn of_this_spec(mut started: Body) -> Body {
    if let Body::AttemptStarted { spec_digest, .. } = &mut started {
        *spec_digest = identity("me", 1).spec_digest;
    }
    started
}

#[async_trait]
impl Store for MadeUp {
    async fn create(&self, path: &ObjectPath, bytes: Bytes) -> Result<Create, StoreError> {
        if self.get(path).await?.is_some() {
            return Ok(Create::Exists);
        }
        let folder = record::parse_path(path).map_or(0, |(attempt, _)| {
            if self.most_in_folder == usize::MAX { 0 } else { self.in_folder(attempt, 0).len() }
        });
        if folder >= self.most_in_folder {
            let cause = "MaxDirectoryItemsExceededException".into();
            return Err(StoreError::Failed {
                action: "create",
                path: path.to_string(),
                location: self.location(),
                cause,
            });
        }
        self.put(path, bytes).await.map(|()| Create::Created)
    }

    async fn put(&self, path: &ObjectPath, bytes: Bytes) -> Result<(), StoreError> {
        let mut state = self.state.lock().unwrap();
        state.requests += 1;
        state.written.insert(path.0.clone(), bytes);
        Ok(())
    }

    async fn get(&self, path: &ObjectPath) -> Result<Option<Bytes>, StoreError> {
        let mut state = self.state.lock().unwrap();
        state.requests += 1;
        let written = state.written.get(&path.0).cloned();
        let place = record::parse_path(path).filter(|place| self.has(*place, &state));
        Ok(written.or_else(|| place.map(|place| self.record(place).to_bytes().unwrap())))
    }

    async fn get_range(&self, path: &ObjectPath, _: Range<u64>) -> Result<Option<Bytes>, StoreError> {
        self.get(path).await
    }

    async fn list(&self, prefix: &str, after: Option<&ObjectPath>) -> Result<Vec<Listed>, StoreError> {
        let folder = prefix.strip_prefix(LOG).and_then(|folder| folder.strip_suffix('/')).unwrap_or_default();
        let attempt = Attempt(folder.parse().expect("one attempt is listed, and not the log"));
        let after = after.and_then(record::parse_path).map_or(0, |(_, seq)| seq.0 + 1);
        let found = self.in_folder(attempt, after);
        let mut state = self.state.lock().unwrap();
        state.requests += 1 + found.len() / 1000;
        state.listed += found.len();
        Ok(found.into_iter().map(|path| Listed { path, bytes: 1 }).collect())
    }

    async fn list_folders(&self, _: &str) -> Result<Vec<String>, StoreError> {
        panic!("there may be any number")
    }

    async fn delete(&self, path: &ObjectPath) -> Result<(), StoreError> {
        let mut state = self.state.lock().unwrap();
        state.requests += 1;
        state.written.remove(&path.0);
        state.deleted.extend(record::parse_path(path));
        Ok(())
    }

    fn location(&self) -> String {
        "made up".to_owned()
    }
}

async fn claim_it(store: &Arc<MadeUp>) -> Claimed {
    let store: Arc<dyn Store> = store.clone();
    ours(claim(store, &identity("me", 1), &owners(OwnerAnswer::Gone), &Anything::default()).await.unwrap())
}

type Hinting<'a> = &'a dyn Fn(&MadeUp);

#[tokio::test]
async fn ten_million_records_are_claimed_with_a_few_requests() {
    let good = |store: &MadeUp| {
        let newest = store.attempts.len() as u64;
        store.hint(newest, store.attempts[newest as usize - 1] - 40);
    };
    let nothing = |_: &MadeUp| {};
    let bad = |store: &MadeUp| store.hint(1, 5);
    let hints: [(&str, Hinting<'_>, usize); 3] =
        [("a good hint", &good, 26), ("no hint", &nothing, 75), ("a bad hint", &bad, 140)];
    for (shape, make) in [("long", MadeUp::long as fn(bool) -> MadeUp), ("wide", MadeUp::wide)] {
        for is_compacted in [false, true] {
            for (what, hint, most) in hints {
                let store = Arc::new(make(is_compacted));
                hint(&store);
                let what = format!("{shape}, compacted: {is_compacted}, {what}");
                let newest = read_newest(store.as_ref()).await.unwrap().unwrap();
                let (requests, listed) = store.cost();
                println!("{what}: {requests} requests, {listed} listed");
                assert_eq!(newest.attempt.0 as usize, store.attempts.len(), "{what}");
                assert_eq!(newest.next.0, *store.attempts.last().unwrap(), "{what}");
                assert!(requests <= most, "{what}: {requests} requests");
                assert_eq!(listed, 0, "{what}");
                // With the seal, and what is read again after it.
                let claimed = claim_it(&store).await;
                assert_eq!(claimed.journal.attempt().0 as usize, store.attempts.len() + 1, "{what}");
                let (requests, listed) = store.cost();
                assert!(requests <= 2 * most + 200 && listed < 70, "{what}: {requests} requests, {listed} listed");
            }
        }
    }
}

#[tokio::test]
async fn an_attempt_whose_folder_is_full_can_be_ended() {
    let store = Arc::new(MadeUp { most_in_folder: 5000, ..MadeUp::new(vec![5000], false) });
    let claimed = claim_it(&store).await;
    assert_eq!(claimed.journal.attempt(), Attempt(2));
    let newest = claimed.restored_from.unwrap();
    assert_eq!(newest.epoch, Epoch(100_000_000 + 4999));
}
