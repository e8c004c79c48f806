use std::collections::BTreeMap;

use arrow::{
    array::{ArrayRef, AsArray, Int64Array},
    datatypes::Int64Type,
};
use futures::FutureExt;
use proptest::prelude::*;

use super::*;
use crate::exchange::{
    capture::Caught,
    local::{Sender, channels},
};

fn barrier(epoch: u64) -> Element {
    Element::Barrier(Barrier { epoch: Epoch(epoch), last: false, open: false })
}

/// The `nth` row of a channel; of so many bytes, or more.
fn row(channel: usize, nth: i64, bytes: usize) -> RecordBatch {
    let number = |number: i64| Arc::new(Int64Array::from(vec![number; bytes.div_ceil(16).max(1)])) as ArrayRef;
    RecordBatch::try_from_iter([("channel", number(channel as i64)), ("nth", number(nth))]).unwrap()
}

fn batch(channel: usize, nth: i64) -> Element {
    Element::Batch(row(channel, nth, 1))
}

/// Channel and number of a row.
fn read(row: &RecordBatch) -> (usize, i64) {
    let number = |column: usize| row.column(column).as_primitive::<Int64Type>().value(0);
    (number(0) as usize, number(1))
}

fn read_all(caught: &[Caught]) -> Vec<(usize, i64)> {
    caught.iter().map(|caught| read(&caught.rows)).collect()
}

/// What the gate delivers without waiting.
fn now(gate: &mut Gate) -> Option<Delivery> {
    gate.next().now_or_never().flatten()
}

fn next_row(gate: &mut Gate) -> (usize, i64) {
    match now(gate) {
        Some(Delivery::Element(Element::Batch(row))) => read(&row),
        other => panic!("{other:?}"),
    }
}

/// The barrier that must be next, and what it has overtaken.
fn overtaken(gate: &mut Gate, epoch: u64) -> InFlight {
    match now(gate) {
        Some(Delivery::Barrier { barrier, in_flight: Some(in_flight), .. }) if barrier.epoch == Epoch(epoch) => {
            in_flight
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_follows_a_barrier_is_delivered_after_it() {
    let (senders, mut gate) = channels(2, true);
    senders[0].send(barrier(1)).await.unwrap();
    senders[0].send(Element::Watermark(EventTime(7))).await.unwrap();
    senders[1].send(Element::Watermark(EventTime(7))).await.unwrap();
    let pause = Duration::from_millis(30);
    let late = async {
        env::sleep(pause).await;
        senders[1].send(barrier(1)).await.unwrap();
    };
    let (delivered, ()) = tokio::join!(gate.next(), late);
    let Some(Delivery::Barrier { alignment, in_flight: None, .. }) = delivered else { panic!("{delivered:?}") };
    assert!(alignment >= pause);
    assert!(matches!(gate.next().await, Some(Delivery::Element(Element::Watermark(EventTime(7))))));
}

/// Bytes of a row of which a few fill a channel.
const LARGE: usize = 1 << 18;

/// One of the rows that [`fill`] sends on channel 0.
fn large(nth: i64) -> Element {
    Element::Batch(row(0, nth, LARGE))
}

/// Fills a channel; gives how many rows it took.
fn fill(sender: &Sender, channel: usize) -> i64 {
    let mut sent = 0;
    while sender.send(Element::Batch(row(channel, sent, LARGE))).now_or_never().is_some() {
        sent += 1;
    }
    sent
}

#[tokio::test]
async fn a_full_channel_makes_its_sender_wait() {
    let (senders, mut gate) = channels(1, true);
    let sent = fill(&senders[0], 0);
    assert!(sent > 1);
    let mut blocked = Box::pin(senders[0].send(large(sent)));
    assert!(futures::poll!(&mut blocked).is_pending());
    assert_eq!(next_row(&mut gate), (0, 0));
    blocked.await.unwrap();
    assert_eq!((1..=sent).map(|_| next_row(&mut gate).1).collect::<Vec<_>>(), (1..=sent).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_gate_without_senders_and_a_sender_without_a_gate_are_told() {
    let (senders, mut gate) = channels(2, true);
    senders[0].push(batch(0, 0)).unwrap();
    drop(senders);
    assert_eq!(next_row(&mut gate), (0, 0));
    assert!(gate.next().await.is_none());
    let (senders, gate) = channels(1, true);
    let sent = fill(&senders[0], 0);
    let mut blocked = Box::pin(senders[0].send(large(sent)));
    assert!(futures::poll!(&mut blocked).is_pending());
    drop(gate);
    assert!(blocked.await.is_err());
    assert!(senders[0].push(Element::End).is_err());
}

#[tokio::test]
async fn an_urged_sender_does_not_wait_for_room() {
    let (senders, mut gate) = channels(1, true);
    let sent = fill(&senders[0], 0);
    let urge = Urge::default();
    let mut blocked = Box::pin(senders[0].send_unless_urged(large(sent), &urge));
    assert!(futures::poll!(&mut blocked).is_pending());
    urge.overtake(Epoch(1));
    blocked.await.unwrap();
    assert_eq!((0..=sent).map(|_| next_row(&mut gate).1).collect::<Vec<_>>(), (0..=sent).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_barrier_overtakes_full_channels_whose_rows_are_caught_once_and_still_delivered() {
    let (senders, mut gate) = channels(2, true);
    let sent = [fill(&senders[0], 0), fill(&senders[1], 1)];
    senders[0].push(barrier(1)).unwrap();
    senders[0].push(batch(0, 100)).unwrap();
    assert_eq!(next_row(&mut gate), (0, 0));
    gate.urge().overtake(Epoch(1));
    let mut in_flight = Box::pin(overtaken(&mut gate, 1).caught());
    // The other channel's sender has not been cut yet: one more of its rows finds room, and is in flight.
    assert!(futures::poll!(&mut in_flight).is_pending());
    assert!(senders[1].send(batch(1, sent[1])).now_or_never().is_some(), "there is room until its marker");
    senders[1].push(barrier(1)).unwrap();
    senders[1].push(batch(1, 100)).unwrap();
    let caught = read_all(&in_flight.await.unwrap());
    let expected: Vec<_> = (1..sent[0]).map(|nth| (0, nth)).chain((0..=sent[1]).map(|nth| (1, nth))).collect();
    assert_eq!(caught, expected);
    let delivered: Vec<_> = (0..expected.len() + 2).map(|_| next_row(&mut gate)).collect();
    let of = |channel: usize| delivered.iter().filter(move |row| row.0 == channel).map(|row| row.1);
    assert_eq!(of(0).collect::<Vec<_>>(), (1..sent[0]).chain([100]).collect::<Vec<_>>());
    assert_eq!(of(1).collect::<Vec<_>>(), (0..=sent[1]).chain([100]).collect::<Vec<_>>());
    assert!(now(&mut gate).is_none(), "the barrier comes once");
}

#[tokio::test]
async fn a_channel_takes_in_only_so_much_more_while_its_marker_is_awaited() {
    let (senders, mut gate) = channels(1, true);
    let sent = fill(&senders[0], 0);
    gate.urge().overtake(Epoch(1));
    let _in_flight = overtaken(&mut gate, 1);
    let more = fill(&senders[0], 0);
    assert!(more >= sent && more <= 4 * sent, "{more} after {sent}");
}

#[tokio::test]
async fn what_is_held_behind_a_barrier_is_no_part_of_what_it_overtakes() {
    let (senders, mut gate) = channels(2, true);
    senders[0].push(barrier(1)).unwrap();
    senders[0].push(batch(0, 0)).unwrap();
    assert!(now(&mut gate).is_none(), "held");
    senders[1].push(batch(1, 0)).unwrap();
    gate.urge().overtake(Epoch(1));
    let in_flight = overtaken(&mut gate, 1);
    senders[1].push(barrier(1)).unwrap();
    assert_eq!(read_all(&in_flight.caught().await.unwrap()), [(1, 0)]);
    assert_eq!((next_row(&mut gate), next_row(&mut gate)), ((0, 0), (1, 0)));
}

#[tokio::test]
async fn what_is_held_behind_a_barrier_that_is_given_up_is_overtaken_by_the_next() {
    let (senders, mut gate) = channels(2, true);
    senders[0].push(barrier(1)).unwrap();
    senders[0].push(batch(0, 0)).unwrap();
    assert!(now(&mut gate).is_none(), "held");
    gate.urge().overtake(Epoch(2));
    let in_flight = overtaken(&mut gate, 2);
    senders.iter().for_each(|sender| sender.push(barrier(2)).unwrap());
    assert_eq!(read_all(&in_flight.caught().await.unwrap()), [(0, 0)]);
    assert_eq!(next_row(&mut gate), (0, 0));
}

#[tokio::test]
async fn what_is_held_behind_a_barrier_that_is_given_up_goes_on_when_the_next_one_comes() {
    let (senders, mut gate) = channels(2, true);
    senders[0].push(barrier(1)).unwrap();
    senders[0].push(batch(0, 0)).unwrap();
    senders[0].push(barrier(2)).unwrap();
    assert!(now(&mut gate).is_none(), "held");
    // Its sender was cut at the second epoch, and never at the first.
    senders[1].push(barrier(2)).unwrap();
    assert_eq!(next_row(&mut gate), (0, 0));
    assert!(
        matches!(now(&mut gate), Some(Delivery::Barrier { barrier, in_flight: None, .. }) if barrier.epoch == Epoch(2))
    );
}

#[tokio::test]
async fn an_epoch_that_is_given_up_before_its_last_marker_comes_has_no_rows() {
    let (senders, mut gate) = channels(2, true);
    gate.urge().overtake(Epoch(1));
    let in_flight = overtaken(&mut gate, 1);
    senders[0].push(barrier(1)).unwrap();
    senders[0].push(barrier(2)).unwrap();
    assert!(in_flight.caught().await.is_none());
    gate.urge().overtake(Epoch(3));
    let in_flight = overtaken(&mut gate, 3);
    drop(gate);
    assert!(in_flight.caught().await.is_none(), "nobody will read them");
}

#[tokio::test]
async fn a_savepoint_waits_for_its_barriers() {
    let (senders, mut gate) = channels(2, true);
    let open = Element::Barrier(Barrier { epoch: Epoch(1), last: false, open: true });
    senders[0].push(open).unwrap();
    assert!(now(&mut gate).is_none());
    gate.urge().overtake(Epoch(1));
    assert!(now(&mut gate).is_none());
    assert_eq!(gate.urge().due(), None, "it is not asked again");
}

#[tokio::test]
async fn restored_rows_come_first_and_are_in_flight_until_they_are_delivered() {
    let (senders, mut gate) = channels(1, true);
    senders[0].push(batch(0, 0)).unwrap();
    gate.restore((1..=3).map(|nth| (EventTime(7), row(9, nth, 1))).collect());
    assert!(matches!(now(&mut gate), Some(Delivery::Restored { rows, as_of: EventTime(7) }) if read(&rows) == (9, 1)));
    gate.urge().overtake(Epoch(1));
    let in_flight = overtaken(&mut gate, 1);
    senders[0].push(barrier(1)).unwrap();
    let caught = in_flight.caught().await.unwrap();
    assert_eq!(read_all(&caught), [(9, 2), (9, 3), (0, 0)]);
    assert_eq!(
        caught.iter().map(|caught| caught.as_of).collect::<Vec<_>>(),
        [Some(EventTime(7)), Some(EventTime(7)), None]
    );
}

/// What happens to a gate.
#[derive(Debug, Clone)]
enum Happening {
    /// Something more arrives on some channel.
    Arrival(prop::sample::Index),
    /// The task takes what is next.
    Delivery,
    /// The barrier of an epoch is to wait no more.
    Overtake(u64),
}

fn happening(epochs: u64) -> impl Strategy<Value = Happening> {
    prop_oneof![
        8 => any::<prop::sample::Index>().prop_map(Happening::Arrival),
        8 => Just(Happening::Delivery),
        1 => (1..=epochs).prop_map(Happening::Overtake),
    ]
}

/// A gate's task, as the rows of each channel that it has taken in.
#[derive(Default)]
struct Task {
    taken: BTreeMap<usize, Vec<i64>>,
    /// At each cut: the epoch, what had been taken in, and what was in flight.
    cuts: Vec<(u64, BTreeMap<usize, Vec<i64>>, Option<InFlight>)>,
}

impl Task {
    fn take(&mut self, gate: &mut Gate) -> bool {
        match now(gate) {
            None => return false,
            Some(Delivery::Element(Element::Batch(rows))) => {
                let (channel, nth) = read(&rows);
                self.taken.entry(channel).or_default().push(nth);
            }
            Some(Delivery::Barrier { barrier, in_flight, .. }) => {
                self.cuts.push((barrier.epoch.0, self.taken.clone(), in_flight));
            }
            Some(_) => {}
        }
        true
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the interleaving: what the task had taken in at a cut, and what was in flight, are exactly the rows that
    /// were sent before the cut's markers, none twice, each channel's in order. And the task gets every row once.
    #[test]
    fn every_row_is_on_one_side_of_a_cut(
        scripts in prop::collection::vec(prop::collection::vec(0_i64..4, 4), 1..4),
        happenings in prop::collection::vec(happening(4), 0..120),
    ) {
        let width = scripts.len();
        // Channel c sends `scripts[c][e]` rows, then barrier e + 1.
        let mut before: Vec<Vec<i64>> = Vec::new();
        let mut inputs: Vec<std::collections::VecDeque<Element>> = Vec::new();
        for (channel, counts) in scripts.iter().enumerate() {
            let (mut elements, mut sent, mut until) = (std::collections::VecDeque::new(), 0, Vec::new());
            for (epoch, count) in counts.iter().enumerate() {
                elements.extend((sent..sent + count).map(|nth| batch(channel, nth)));
                sent += count;
                until.push(sent);
                elements.push_back(barrier(epoch as u64 + 1));
            }
            inputs.push(elements);
            before.push(until);
        }
        let (senders, mut gate) = channels(width, true);
        let mut task = Task::default();
        for happening in happenings {
            match happening {
                Happening::Arrival(index) => {
                    let channel = index.index(width);
                    if let Some(element) = inputs[channel].pop_front() {
                        senders[channel].push(element).unwrap();
                    }
                }
                Happening::Delivery => _ = task.take(&mut gate),
                Happening::Overtake(epoch) => gate.urge().overtake(Epoch(epoch)),
            }
        }
        for (channel, rest) in inputs.into_iter().enumerate() {
            rest.into_iter().for_each(|element| senders[channel].push(element).unwrap());
        }
        while task.take(&mut gate) {}

        for (channel, until) in before.iter().enumerate() {
            let all: Vec<i64> = (0..until[3]).collect();
            prop_assert_eq!(task.taken.get(&channel).cloned().unwrap_or_default(), all);
        }
        let mut newest = 0;
        for (epoch, mut taken, in_flight) in task.cuts {
            prop_assert!(epoch > newest, "epoch {} after {}", epoch, newest);
            newest = epoch;
            if let Some(in_flight) = in_flight {
                // Of an epoch that is given up nothing counts.
                let Some(caught) = in_flight.caught().now_or_never().flatten() else { continue };
                for (channel, nth) in read_all(&caught) {
                    taken.entry(channel).or_default().push(nth);
                }
            }
            for (channel, until) in before.iter().enumerate() {
                let sent: Vec<i64> = (0..until[epoch as usize - 1]).collect();
                prop_assert_eq!(taken.get(&channel).cloned().unwrap_or_default(), sent, "channel {}, epoch {}", channel, epoch);
            }
        }
        prop_assert_eq!(newest, 4, "the last barrier has come everywhere");
    }
}
