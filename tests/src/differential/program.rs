//! A case by the program itself: files in, files out, killed on its way.

use std::{fs, path::Path, time::Duration};

use super::{
    case::Case,
    cut::{Cut, split_name},
    document::{self, Places},
    oracle::{Difference, Oracle},
    translate::{Span, translate},
};
use crate::{
    job::{End, Job},
    local::lines,
};

const PATIENCE: Duration = Duration::from_mins(1);
/// Where a process is killed, which is started again; a case that does not come there has no kill.
const PLACES: [&str; 5] =
    ["before-own", "after-own", "files-between-chunks", "before-epoch-committed", "recovery-settling"];

/// What was done to the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ran {
    /// It was killed, and went on.
    Killed,
    /// It came to its end and never to the place where it was to be killed.
    Undisturbed,
    /// Nothing: some number may have no room.
    Nothing,
}

/// Runs the first version of a seed's job; the error is what differs.
pub fn run_program(seed: u64, oracle: &mut Oracle) -> Result<Ran, String> {
    let case = Case::draw(seed);
    if case.is_hazardous {
        return Ok(Ran::Nothing);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let places = Places { sources: path("in"), sinks: path("out"), storage: path("checkpoints") };
    for source in &case.sources {
        let own = Path::new(&places.sources).join(&source.name);
        fs::create_dir_all(&own).expect("a folder");
        for (index, records) in source.splits.iter().enumerate() {
            let text: String = records.iter().map(|record| record.json.clone() + "\n").collect();
            fs::write(own.join(format!("{}.jsonl", split_name(index))), text).expect("a file");
        }
    }
    let document = folder.path().join("job.yaml");
    fs::write(&document, document::text(&case, &case.first, &places)).expect("a document");
    let mut job = Job::of(document);
    let place = PLACES[seed as usize % PLACES.len()];
    let ran = match job.start_with_fault(place, 1).wait(PATIENCE) {
        End::Killed => {
            job.finish(PATIENCE);
            Ran::Killed
        }
        End::Finished => Ran::Undisturbed,
        End::Failed(log) => return Err(log),
    };
    let spans = [Span { version: case.first.clone(), cut: Cut::default() }];
    let translation = translate(&case, &spans);
    let found: Vec<(String, Vec<String>)> = case
        .first
        .inserts
        .iter()
        .map(|insert| {
            let rows = lines(&Path::new(&places.sinks).join(&insert.sink));
            let repeated = rows.iter().flat_map(|(row, count)| (0..count).map(|_| row.to_owned())).collect();
            (insert.sink.clone(), repeated)
        })
        .collect();
    let of_sink = |sink: &str, _| found.iter().filter(|(name, _)| name == sink).flat_map(|(_, rows)| rows).collect();
    let Difference { differences, .. } = oracle.compare(&translation, of_sink)?;
    let differences = differences.concat();
    if differences.is_empty() { Ok(ran) } else { Err(differences.join("\n")) }
}
