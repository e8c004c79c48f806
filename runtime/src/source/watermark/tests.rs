use proptest::prelude::*;

use super::*;

const DELAY: Duration = Duration::from_millis(100);
const TIMEOUT: Duration = Duration::from_secs(10);

fn split(name: &str) -> SplitState {
    SplitState { split: name.into(), ..SplitState::default() }
}

/// A task with its splits, and a clock.
struct Reading {
    watermarks: Watermarks,
    now: Duration,
    remaining: Vec<Option<Remaining>>,
    known_at: Option<Duration>,
}

impl Reading {
    fn new(delay: Duration, timeout: Option<Duration>, splits: &[SplitState], known: &[SplitState]) -> Self {
        let mut watermarks = Watermarks::new(delay, timeout, Duration::ZERO);
        watermarks.assign(splits, known, Duration::ZERO);
        Self { watermarks, now: Duration::ZERO, remaining: vec![None; splits.len()], known_at: None }
    }

    fn advance(&mut self) -> Option<Progress> {
        self.watermarks.advance(|split| self.remaining.get(split).copied().flatten(), self.known_at)
    }

    /// Asks for so long, as a task does, and gets nothing. What is said meanwhile.
    fn asks(&mut self, time: Duration) -> Vec<Progress> {
        let (until, mut said) = (self.now + time, Vec::new());
        while self.now < until {
            self.watermarks.ask(self.now);
            self.now = until.min(self.now + self.watermarks.look().unwrap_or(time));
            self.watermarks.wait(self.now);
            self.watermarks.leave();
            said.extend(self.advance());
        }
        said
    }

    /// Is busy otherwise: paused, in a send that waits, in its operators.
    fn asks_nobody(&mut self, time: Duration) {
        self.now += time;
    }

    /// The process stands still while the reader is asked.
    fn is_stopped(&mut self, time: Duration) -> Option<Progress> {
        self.watermarks.ask(self.now);
        self.now += time;
        self.watermarks.wait(self.now);
        self.watermarks.leave();
        self.advance()
    }

    /// Asks, and gets this at once.
    fn reads(&mut self, split: usize, times: &[i64]) -> Option<Progress> {
        self.watermarks.ask(self.now);
        self.watermarks.wait(self.now);
        self.watermarks.leave();
        let runs = [Run { split, records: 0..times.len() }];
        self.watermarks.observe(&times.to_vec().into(), &runs, self.now).unwrap();
        self.advance()
    }

    fn says(&mut self, split: usize, records: bool) {
        self.remaining[split] = Some(Remaining { records, asked_at: self.now });
    }
}

fn watermark(time: i64) -> Progress {
    Progress::Watermark(EventTime(time))
}

fn two(timeout: Option<Duration>) -> Reading {
    Reading::new(DELAY, timeout, &[split("a"), split("b")], &[])
}

#[test]
fn the_slowest_split_holds_the_watermark_until_it_is_idle() {
    let mut reading = two(Some(TIMEOUT));
    assert_eq!(reading.reads(0, &[5_000, 4_000]), None, "b may bring anything");
    assert_eq!(reading.asks(Duration::from_secs(1)), []);
    assert_eq!(reading.reads(1, &[3_000]), Some(watermark(2_899)));
    assert_eq!(reading.asks(Duration::from_secs(9)), [], "it has not risen");
    assert_eq!(reading.reads(0, &[6_000]), None);
    assert_eq!(reading.asks(Duration::from_secs(1)), [watermark(5_899)], "b is idle");
    assert_eq!(reading.asks(Duration::from_mins(1)), [Progress::Idle], "all idle: time stands still, said once");
    assert_eq!(reading.reads(1, &[5_000]), Some(watermark(5_899)), "it never falls");
}

#[test]
fn a_source_is_not_idle_before_its_watermark_is_told() {
    let mut reading = two(Some(TIMEOUT));
    reading.known_at = Some(reading.now);
    reading.asks(Duration::from_secs(1));
    assert_eq!(reading.reads(0, &[5_000]), None);
    assert_eq!(reading.asks(TIMEOUT * 2), [], "whether all splits were known is not");
    reading.known_at = Some(reading.now);
    assert_eq!(reading.advance(), Some(watermark(4_899)));
    assert_eq!(reading.advance(), Some(Progress::Idle));
}

#[test]
fn a_restored_source_goes_on_with_its_watermark() {
    let known = [SplitState { newest: Some(EventTime(700)), ..split("a") }];
    let mut reading = Reading::new(Duration::ZERO, None, &[split("a")], &known);
    assert_eq!(reading.advance(), Some(watermark(699)));
    assert_eq!(reading.watermarks.complete(vec![split("a")])[0].newest, Some(EventTime(700)));
}

#[test]
fn an_ended_split_holds_nothing_back() {
    let mut reading = Reading::new(Duration::ZERO, None, &[split("a"), split("b")], &[]);
    assert_eq!(reading.reads(0, &[900]), None);
    reading.watermarks.update_ends(|index| [End::Open, End::Reached][index]);
    assert_eq!(reading.advance(), Some(watermark(899)));
}

#[test]
fn time_in_which_nobody_asked_makes_no_split_idle() {
    let minute = Duration::from_mins(1);
    for break_in in [Reading::asks_nobody, |reading: &mut Reading, time| assert_eq!(reading.is_stopped(time), None)] {
        let mut reading = two(Some(TIMEOUT));
        reading.reads(0, &[1_000]);
        reading.reads(1, &[1_000]);
        break_in(&mut reading, minute);
        assert_eq!(reading.reads(0, &[61_000]), None, "b has a backlog, too");
        assert_eq!(reading.reads(1, &[30_000]), Some(watermark(29_899)));
    }
}

#[test]
fn a_split_that_was_idle_is_not_after_a_time_in_which_nobody_asked() {
    let mut reading = two(Some(TIMEOUT));
    reading.reads(1, &[1_000]);
    assert_eq!(reading.asks(Duration::from_secs(20)), [watermark(899), Progress::Idle]);
    assert_eq!(reading.reads(0, &[20_000]), Some(watermark(19_899)), "b is idle");
    reading.asks_nobody(Duration::from_mins(1));
    assert_eq!(reading.reads(0, &[80_000]), None, "and may have got some");
    assert_eq!(reading.reads(1, &[50_000]), Some(watermark(49_899)));
}

#[test]
fn who_pauses_says_that_nothing_is_known_to_be_idle() {
    let mut reading = two(Some(TIMEOUT));
    assert_eq!(reading.asks(TIMEOUT), [Progress::Idle]);
    reading.watermarks.pause(reading.now);
    assert_eq!(reading.advance(), Some(watermark(i64::MIN)), "others wait for this source again");
}

#[test]
fn a_reader_that_is_kept_busy_by_one_split_has_not_asked_the_other_in_vain() {
    let mut reading = two(Some(TIMEOUT));
    reading.reads(1, &[1_000]);
    for second in 1..60 {
        reading.asks_nobody(Duration::from_secs(1));
        let said = reading.reads(0, &[second * 1_000]);
        assert_eq!(said.filter(|said| *said != watermark(899)), None, "after {second} s");
    }
}

#[test]
fn what_the_system_says_counts_more_than_silence() {
    let mut reading = two(Some(TIMEOUT));
    reading.reads(0, &[1_000]);
    reading.says(1, true);
    assert_eq!(reading.asks(TIMEOUT * 2), [], "b has records that do not come");
    // The reader is kept busy by a, and the system is asked beside it.
    reading.reads(1, &[1_000]);
    reading.says(1, false);
    reading.asks_nobody(TIMEOUT / 2);
    assert_eq!(reading.reads(0, &[2_000]), None);
    reading.asks_nobody(TIMEOUT / 2);
    reading.says(1, false);
    assert_eq!(reading.reads(0, &[3_000]), Some(watermark(2_899)), "b has had none for the whole time");
    // What was said before a long break says nothing of the time since.
    reading.asks_nobody(TIMEOUT);
    assert_eq!(reading.reads(0, &[90_000]), None);
}

#[test]
fn a_split_that_is_not_at_its_end_is_never_idle() {
    let bounded = SplitState { end: Some(5), ..split("b") };
    let mut reading = Reading::new(DELAY, Some(TIMEOUT), &[split("a"), bounded.clone()], &[]);
    reading.reads(0, &[1_000]);
    assert_eq!(reading.asks(TIMEOUT * 3), []);
    reading.watermarks.update_ends(|index| [End::Open, End::of(5, bounded.end)][index]);
    assert_eq!(reading.advance(), Some(watermark(899)), "the most that any had, before it is idle");
    assert_eq!(reading.advance(), Some(Progress::Idle));
}

#[test]
fn records_of_a_split_that_is_not_discovered_yet_are_not_late() {
    let known = [SplitState { newest: Some(EventTime(1_000)), ..split("a") }];
    let mut reading = Reading::new(Duration::ZERO, None, &[split("a")], &known);
    reading.known_at = Some(reading.now);
    assert_eq!(reading.advance(), Some(watermark(999)), "it was told before");
    reading.asks_nobody(Duration::from_secs(1));
    // A split is made, gets a record of 1,500, and is not known yet.
    assert_eq!(reading.reads(0, &[2_000]), None);
    reading.watermarks.assign(&[split("a"), split("new")], &known, reading.now);
    reading.asks_nobody(Duration::from_secs(1));
    reading.known_at = Some(reading.now);
    assert_eq!(reading.advance(), None, "it may bring anything since");
    assert_eq!(reading.reads(1, &[1_500]), Some(watermark(1_499)));
    reading.known_at = Some(reading.now);
    assert_eq!(reading.reads(0, &[3_000]), None);
    assert_eq!(reading.reads(1, &[3_000]), Some(watermark(2_999)));
}

#[test]
fn a_time_at_the_edge_of_the_calendar_does_not_turn_round() {
    let mut reading = Reading::new(Duration::MAX, None, &[split("a")], &[]);
    assert_eq!(reading.reads(0, &[i64::MIN]), None);
    assert_eq!(reading.reads(0, &[-5]), None);
    let mut reading = Reading::new(DELAY, None, &[split("a")], &[]);
    assert_eq!(reading.reads(0, &[i64::MIN]), None);
    assert_eq!(reading.reads(0, &[i64::MAX]), Some(watermark(i64::MAX - 101)));
}

/// What befalls a task that reads two splits, each of which gets a record every 100 ms.
#[derive(Debug, Clone)]
enum Event {
    /// Asks, and gets what there is, a split at a time, in this order; the second may be slower by so many milliseconds.
    Reads {
        first: usize,
        slower: u64,
    },
    Pauses(u64),
    IsBusy(u64),
    IsStopped(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..2usize, 0..400u64).prop_map(|(first, slower)| Event::Reads { first, slower }),
        1 => (0..20_000u64).prop_map(Event::Pauses),
        1 => (0..20_000u64).prop_map(Event::IsBusy),
        1 => (0..20_000u64).prop_map(Event::IsStopped),
    ]
}

proptest! {
    /// Splits that are in order lose nothing, whatever happens to the task, as long as none is silent when it is asked.
    #[test]
    fn no_break_of_the_task_makes_records_late(events in prop::collection::vec(event(), 1..60)) {
        let mut reading = Reading::new(Duration::ZERO, Some(Duration::from_secs(1)), &[split("a"), split("b")], &[]);
        let mut read = [0i64; 2];
        let mut said = EventTime::MIN;
        // Who was stopped asks when it goes on.
        let events = events.into_iter().flat_map(|event| match event {
            Event::IsStopped(time) => vec![event, Event::Reads { first: time as usize % 2, slower: 0 }],
            event => vec![event],
        });
        for event in events {
            let progress = match event {
                Event::Pauses(time) => {
                    reading.watermarks.pause(reading.now);
                    reading.asks_nobody(Duration::from_millis(time));
                    reading.advance().into_iter().collect()
                }
                Event::IsBusy(time) => {
                    reading.asks_nobody(Duration::from_millis(time));
                    Vec::new()
                }
                Event::IsStopped(time) => reading.is_stopped(Duration::from_millis(time)).into_iter().collect(),
                Event::Reads { first, slower } => {
                    let mut progress = Vec::new();
                    for (split, slower) in [(first, 0), (1 - first, slower)] {
                        progress.extend(reading.asks(Duration::from_millis(slower)));
                        let until = reading.now.as_millis() as i64;
                        let times: Vec<i64> = (read[split]..until).step_by(100).collect();
                        if let Some(first) = times.first() {
                            prop_assert!(*first > said.0, "split {split} has a record of {first} after {said:?}");
                            read[split] = times.last().unwrap() + 100;
                            progress.extend(reading.reads(split, &times));
                        }
                    }
                    progress
                }
            };
            for progress in progress {
                let Progress::Watermark(watermark) = progress else {
                    return Err(TestCaseError::fail("idle"));
                };
                said = said.max(watermark);
            }
        }
    }
}
