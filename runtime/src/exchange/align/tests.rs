use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::ids::Epoch;

fn barrier(epoch: u64) -> Element {
    Element::Barrier(Barrier { epoch: Epoch(epoch), last: false, open: false })
}

#[test]
fn a_barrier_is_delivered_when_every_channel_has_brought_it() {
    let mut aligner = Aligner::new(2, true);
    assert_eq!(aligner.on_element(0, &barrier(1)), Verdict::Consumed);
    assert_eq!(aligner.on_element(0, &Element::Watermark(EventTime(9))), Verdict::Hold);
    assert_eq!(aligner.on_element(1, &Element::Watermark(EventTime(5))), Verdict::Consumed);
    assert_eq!(
        aligner.on_element(1, &barrier(1)),
        Verdict::Aligned(Barrier { epoch: Epoch(1), last: false, open: false })
    );
    assert_eq!(aligner.on_element(0, &Element::Watermark(EventTime(9))), Verdict::Advance(EventTime(5)));
}

#[test]
fn the_watermark_is_the_least_of_all_channels_and_never_falls() {
    let mut aligner = Aligner::new(2, true);
    assert_eq!(aligner.on_element(0, &Element::Watermark(EventTime(9))), Verdict::Consumed);
    assert_eq!(aligner.on_element(1, &Element::Watermark(EventTime(3))), Verdict::Advance(EventTime(3)));
    assert_eq!(aligner.on_element(1, &Element::Watermark(EventTime(2))), Verdict::Consumed);
    assert_eq!(aligner.on_element(1, &Element::End), Verdict::Consumed);
    assert_eq!(aligner.on_element(0, &Element::Watermark(EventTime(11))), Verdict::Advance(EventTime(11)));
    assert_eq!(aligner.on_element(0, &Element::End), Verdict::End);
}

#[test]
fn an_idle_channel_does_not_hold_the_watermark_back() {
    let mut aligner = Aligner::new(2, true);
    assert_eq!(aligner.on_element(0, &Element::Watermark(EventTime(9))), Verdict::Consumed);
    assert_eq!(aligner.on_element(1, &Element::Idle), Verdict::Advance(EventTime(9)));
    assert_eq!(aligner.on_element(1, &Element::Watermark(EventTime(4))), Verdict::Consumed);
    assert_eq!(aligner.on_element(0, &Element::Watermark(EventTime(20))), Verdict::Consumed, "channel 1 is back");
}

#[test]
fn channels_that_are_all_idle_have_told_their_time_whichever_was_idle_first() {
    for order in [[0, 1], [1, 0]] {
        let mut aligner = Aligner::new(2, true);
        assert_eq!(aligner.on_element(0, &Element::Watermark(EventTime(9))), Verdict::Consumed);
        let verdicts = order.map(|channel| aligner.on_element(channel, &Element::Idle));
        assert!(verdicts.contains(&Verdict::Advance(EventTime(9))), "{order:?}: {verdicts:?}");
    }
}

#[test]
fn at_least_once_holds_nothing() {
    let mut aligner = Aligner::new(2, false);
    assert_eq!(aligner.on_element(0, &barrier(1)), Verdict::Consumed);
    assert_eq!(aligner.on_element(0, &Element::Watermark(EventTime(9))), Verdict::Consumed);
    assert!(matches!(aligner.on_element(1, &barrier(1)), Verdict::Aligned(_)));
}

#[test]
fn at_least_once_delivers_barriers_of_several_epochs_in_order() {
    let mut aligner = Aligner::new(2, false);
    for epoch in 1..=3 {
        assert_eq!(aligner.on_element(0, &barrier(epoch)), Verdict::Consumed, "channel 1 has brought none");
    }
    assert_eq!(aligner.aligning(), Some(Epoch(1)));
    for epoch in 1..=2 {
        assert!(
            matches!(aligner.on_element(1, &barrier(epoch)), Verdict::Aligned(found) if found.epoch == Epoch(epoch))
        );
    }
    // What comes no more was given up.
    assert!(matches!(aligner.on_element(1, &barrier(4)), Verdict::Aligned(Barrier { epoch: Epoch(3), .. })));
    assert!(matches!(aligner.on_element(0, &barrier(4)), Verdict::Aligned(Barrier { epoch: Epoch(4), .. })));
    assert_eq!(aligner.on_element(0, &barrier(5)), Verdict::Consumed);
    assert_eq!(aligner.on_element(1, &Element::End), Verdict::Consumed);
    assert!(matches!(aligner.on_element(0, &barrier(6)), Verdict::Aligned(Barrier { epoch: Epoch(6), .. })));
}

#[test]
fn a_given_up_barrier_is_overtaken_by_the_next() {
    let mut aligner = Aligner::new(2, true);
    assert_eq!(aligner.on_element(0, &barrier(1)), Verdict::Consumed);
    assert_eq!(aligner.on_element(1, &barrier(2)), Verdict::Superseded);
    assert!(!aligner.holds(0), "channel 0 goes on until it brings the newer barrier");
    assert!(matches!(aligner.on_element(0, &barrier(2)), Verdict::Aligned(Barrier { epoch: Epoch(2), .. })));
}

#[test]
fn an_overtaking_barrier_is_awaited_where_it_has_not_come() {
    let mut aligner = Aligner::new(3, true);
    assert_eq!(aligner.on_element(2, &Element::End), Verdict::Consumed);
    assert_eq!(aligner.on_element(0, &barrier(1)), Verdict::Consumed);
    let overtaking = aligner.overtake(Epoch(1)).unwrap();
    assert_eq!(overtaking.awaited, [false, true, false]);
    assert_eq!(overtaking.barrier, Barrier { epoch: Epoch(1), last: false, open: false });
    assert!(!aligner.holds(0), "what was held goes on");
    assert_eq!(aligner.on_element(1, &barrier(1)), Verdict::Consumed, "it has been delivered");
    assert_eq!(aligner.overtake(Epoch(1)), None);
    assert_eq!(aligner.on_element(0, &barrier(2)), Verdict::Consumed);
    assert!(matches!(aligner.on_element(1, &barrier(2)), Verdict::Aligned(Barrier { epoch: Epoch(2), .. })));
}

#[test]
fn a_barrier_may_overtake_before_it_has_come_anywhere_and_one_that_is_given_up() {
    let mut aligner = Aligner::new(2, true);
    assert_eq!(aligner.overtake(Epoch(1)).unwrap().awaited, [true, true]);
    assert_eq!(aligner.on_element(0, &barrier(2)), Verdict::Consumed);
    assert_eq!(aligner.overtake(Epoch(3)).unwrap().awaited, [true, true], "what has come is of another epoch");
}

#[test]
fn what_is_over_or_always_waits_does_not_overtake() {
    let last = Element::Barrier(Barrier { epoch: Epoch(2), last: true, open: false });
    let open = Element::Barrier(Barrier { epoch: Epoch(2), last: false, open: true });
    for (exactly_once, coming, epoch) in [(true, &last, 2), (true, &open, 2), (true, &last, 1), (false, &barrier(2), 2)]
    {
        let mut aligner = Aligner::new(2, exactly_once);
        aligner.on_element(0, coming);
        assert_eq!(aligner.overtake(Epoch(epoch)), None, "{coming:?}");
        assert!(matches!(aligner.on_element(1, coming), Verdict::Aligned(_)));
    }
}

proptest! {
    /// Where nothing is held, too, every barrier is delivered once, in order, and when the last channel has brought it.
    #[test]
    fn at_least_once_delivers_every_barrier_with_the_last_channel(
        channels in 1_usize..4,
        epochs in 1_u64..6,
        order in prop::collection::vec(any::<prop::sample::Index>(), 30),
    ) {
        let mut aligner = Aligner::new(channels, false);
        let mut brought = vec![0; channels];
        let mut delivered = 0;
        for index in order {
            let ready: Vec<usize> = (0..channels).filter(|channel| brought[*channel] < epochs).collect();
            if ready.is_empty() {
                break;
            }
            let channel = *index.get(&ready);
            brought[channel] += 1;
            let verdict = aligner.on_element(channel, &barrier(brought[channel]));
            let least = *brought.iter().min().unwrap();
            if least > delivered {
                delivered = least;
                prop_assert!(matches!(verdict, Verdict::Aligned(found) if found.epoch == Epoch(delivered)));
            } else {
                prop_assert_eq!(verdict, Verdict::Consumed);
            }
        }
    }

    /// Whatever the interleaving: between two delivered barriers lie exactly the rows that their channels had
    /// between theirs, each channel's in order.
    #[test]
    fn no_row_crosses_a_barrier(
        epochs in prop::collection::vec(prop::collection::vec(0_usize..4, 1..4), 1..6),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..200),
    ) {
        let width = epochs.iter().map(Vec::len).min().unwrap_or(1);
        // Channel c sends `epochs[e][c]` watermarks as stand-ins for rows, then barrier e + 1.
        let mut inputs: Vec<VecDeque<(usize, Element)>> = (0..width)
            .map(|channel| {
                let mut queue = VecDeque::new();
                for (epoch, counts) in epochs.iter().enumerate() {
                    queue.extend((0..counts[channel]).map(|_| (epoch, Element::Watermark(EventTime(0)))));
                    queue.push_back((epoch, barrier(epoch as u64 + 1)));
                }
                queue
            })
            .collect();
        let mut aligner = Aligner::new(width, true);
        let mut epoch_now = 0;
        let mut order = order.into_iter();
        while inputs.iter().any(|queue| !queue.is_empty()) {
            let ready: Vec<usize> = (0..width).filter(|c| !inputs[*c].is_empty() && !aligner.holds(*c)).collect();
            prop_assert!(!ready.is_empty(), "a barrier that never aligns");
            let channel = order.next().map_or(ready[0], |index| *index.get(&ready));
            let (epoch, element) = inputs[channel].pop_front().unwrap();
            match aligner.on_element(channel, &element) {
                Verdict::Aligned(barrier) => {
                    epoch_now += 1;
                    prop_assert_eq!(barrier.epoch, Epoch(epoch_now as u64));
                }
                Verdict::Hold => prop_assert!(false, "held although holds() said no"),
                _ => prop_assert_eq!(epoch, epoch_now),
            }
        }
        prop_assert_eq!(epoch_now, epochs.len());
    }
}
