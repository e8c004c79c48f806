//! Whether the rows that a job has put out are those that DuckDB expects.

use std::{collections::BTreeMap, fmt::Write as _};

use tidegate::checkpoint::record::Trigger;

use super::{
    cut::{self, Cut},
    history::{Begun, History, lock},
    oracle::{Difference, Oracle},
    translate::{Span, translate},
};

/// What the checkpoints tell that versions have begun from.
#[derive(Default)]
struct Told {
    spans: Vec<Span>,
    /// Whose each span is.
    jobs: Vec<usize>,
    /// Of each job that another one has begun with a copy of, the epoch of that.
    copied: BTreeMap<usize, u64>,
}

/// What came of comparing.
#[derive(Debug, Default)]
pub struct Compared {
    /// Rows that are expected.
    pub rows: u64,
    /// What differs, for people.
    pub told: String,
    /// Some checkpoint does not tell which version puts out what.
    pub is_undecided: bool,
}

impl History {
    /// Whether a job that has failed had to: some number had no room, and it says so.
    pub fn overflowed(&mut self, oracle: &mut Oracle, cause: String) -> Result<(), String> {
        let Told { spans, .. } = self.told()?;
        let translation = translate(&self.case, &spans);
        let overflows = oracle.compare(&translation, |_, _| Vec::new()).is_ok_and(|found| found.overflows);
        if overflows && ["doesn't fit", "verflow"].iter().any(|word| cause.contains(word)) {
            return Ok(());
        }
        Err(cause)
    }

    /// Reads the cuts, and asks the oracle.
    pub fn compare(&mut self, oracle: &mut Oracle) -> Result<Compared, String> {
        let Told { spans, jobs, copied } = self.told()?;
        if spans.iter().any(|span| span.cut.is_ambiguous) {
            return Ok(Compared { is_undecided: true, ..Compared::default() });
        }
        let translation = translate(&self.case, &spans);
        let published = lock(&self.published);
        let found = |sink: &str, span: usize| -> Vec<&String> {
            let (from, to) = (spans[span].cut.epoch, spans.get(span + 1).map_or(u64::MAX, |next| next.cut.epoch));
            let is_own =
                |of: usize, name: &str, epoch: u64| jobs[span] == of && name == sink && epoch > from && epoch <= to;
            let own = published.lines.iter().filter(|((of, name, epoch), _)| is_own(*of, name, *epoch));
            own.flat_map(|(_, lines)| lines).collect()
        };
        // What a job has put out since it was copied is nobody's.
        let counts = |of: &usize, epoch: u64| copied.get(of).is_none_or(|last| epoch <= *last);
        let counted = published.lines.iter().filter(|((of, _, epoch), _)| counts(of, *epoch));
        let count: usize = counted.map(|(_, lines)| lines.len()).sum();
        let of_spans: usize =
            translation.expected.iter().map(|expected| found(&expected.sink, expected.span).len()).sum();
        if count != of_spans {
            return Err(format!("{count} rows were published, and {of_spans} are of sinks that their version has"));
        }
        let Difference { rows, differences, overflows } = oracle.compare(&translation, found)?;
        if overflows {
            return Err("a number has no room in its type, and the job went on".to_owned());
        }
        let mut told = String::new();
        for (expected, differences) in translation.expected.iter().zip(&differences) {
            if differences.is_empty() {
                continue;
            }
            writeln!(told, "{} of version {}: {} rows differ", expected.sink, expected.span, differences.len())
                .expect("memory");
            for difference in differences.iter().take(8) {
                writeln!(told, "  {difference}").expect("memory");
            }
        }
        if !told.is_empty() {
            drop(published);
            for source in &self.case.sources {
                for (index, records) in source.splits.iter().enumerate() {
                    writeln!(self.story, "-- {} of {}", cut::split_name(index), source.name).expect("memory");
                    for record in records {
                        writeln!(self.story, "--   {}", record.json).expect("memory");
                    }
                }
            }
            for statement in &translation.statements {
                writeln!(self.story, "-- {}", statement["sql"].as_str().unwrap_or_default()).expect("memory");
            }
            for expected in &translation.expected {
                writeln!(self.story, "-- {} of version {}: {}", expected.sink, expected.span, expected.sql)
                    .expect("memory");
            }
            writeln!(self.story, "-- cuts: {:?}", spans.iter().map(|span| &span.cut).collect::<Vec<_>>())
                .expect("memory");
        }
        Ok(Compared { rows, told, is_undecided: false })
    }

    fn told(&self) -> Result<Told, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|error| error.to_string())?;
        let mut told = Told::default();
        let mut before: Option<usize> = None;
        for Begun { stage, objects, .. } in lock(&self.begun).iter() {
            let (version, job) = (self.stages[*stage].version.clone(), self.stages[*stage].job);
            let newest = runtime.block_on(cut::newest(objects))?;
            let epoch = newest.as_ref().map_or(0, |newest| newest.epoch.0);
            if let Some(copied) = before.filter(|before| *before != job) {
                told.copied.insert(copied, epoch);
            }
            before = Some(job);
            // A version that has no checkpoint by then has left nothing behind.
            while told.spans.last().is_some_and(|last| last.cut.epoch >= epoch) {
                told.spans.pop();
                told.jobs.pop();
            }
            let cut = match (newest, told.spans.last()) {
                (Some(newest), Some(last)) => {
                    // Those of all others wait as long as it takes.
                    let may_overtake =
                        newest.trigger == Trigger::Interval && self.case.setting.alignment_timeout_ms.is_some();
                    runtime.block_on(cut::read(objects, &newest, &last.version, !may_overtake))?
                }
                _ => Cut::default(),
            };
            told.spans.push(Span { version, cut });
            told.jobs.push(job);
        }
        Ok(told)
    }
}
