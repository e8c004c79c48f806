//! Whether the rows that a job has put out are those that DuckDB expects.

use std::fmt::Write as _;

use super::{
    cut::{self, Cut},
    history::{Begun, History, lock},
    oracle::{Difference, Oracle},
    translate::{Span, translate},
};

impl History {
    /// Whether a job that has failed had to: some number had no room, and it says so.
    pub fn overflowed(&mut self, oracle: &mut Oracle, cause: String) -> Result<(), String> {
        let spans = self.spans()?;
        let translation = translate(&self.case, &spans);
        let overflows = oracle.compare(&translation, |_, _| Vec::new()).is_ok_and(|found| found.overflows);
        if overflows && ["doesn't fit", "verflow"].iter().any(|word| cause.contains(word)) {
            return Ok(());
        }
        Err(cause)
    }

    /// Reads the cuts, and asks the oracle. Gives how many rows there are, and the differences.
    pub fn compare(&mut self, oracle: &mut Oracle) -> Result<(u64, String), String> {
        let spans = self.spans()?;
        let translation = translate(&self.case, &spans);
        let published = lock(&self.published);
        let found = |sink: &str, span: usize| -> Vec<&String> {
            let (from, to) = (spans[span].cut.epoch, spans.get(span + 1).map_or(u64::MAX, |next| next.cut.epoch));
            let own = published.lines.iter().filter(|((name, epoch), _)| name == sink && *epoch > from && *epoch <= to);
            own.flat_map(|(_, lines)| lines).collect()
        };
        let count: usize = published.lines.values().map(Vec::len).sum();
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
        Ok((rows, told))
    }

    fn spans(&self) -> Result<Vec<Span>, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|error| error.to_string())?;
        let mut spans: Vec<Span> = Vec::new();
        for Begun { stage, objects } in lock(&self.begun).iter() {
            let version = self.stages[*stage].version.clone();
            let cut = match spans.last() {
                None => Cut::default(),
                Some(before) => runtime.block_on(cut::read(objects, &before.version))?,
            };
            spans.push(Span { version, cut });
        }
        Ok(spans)
    }
}
