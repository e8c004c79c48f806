//! DuckDB, in a process of Python that answers case after case.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::{Value as Json, json};

use super::translate::Translation;
use crate::counterparts::{
    Error,
    cache::{self, Program},
};

const NAME: &str = "duckdb";

/// A Python environment with `DuckDB`.
pub const PROGRAM: Program = Program { name: NAME, version: "1.4.1", fill };

/// A process that compares.
#[derive(Debug)]
pub struct Oracle {
    child: Child,
    asked: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// What differs, by what was expected.
#[derive(Debug)]
pub struct Difference {
    /// Rows that were expected.
    pub rows: u64,
    pub differences: Vec<Vec<String>>,
    /// Some number has no room in its type.
    pub overflows: bool,
}

impl Oracle {
    /// Starts it; installs it first if needed.
    pub fn start() -> Result<Self, Error> {
        let installed = PROGRAM.install()?;
        let program = installed.join("venv/bin/python");
        let mut child = Command::new(&program)
            .arg(cache::recipe("duckdb/oracle.py"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|source| Error::Spawn { program: program.display().to_string(), source })?;
        let (Some(asked), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Error::NotRunning { server: NAME });
        };
        let mut this = Self { child, asked, answers: BufReader::new(answers) };
        this.answer().map_err(|_| Error::NotRunning { server: NAME })?;
        Ok(this)
    }

    /// Compares what `found` has of each expected sink. The error is of a translation that DuckDB does not take.
    pub fn compare<'a>(
        &mut self,
        translation: &Translation,
        found: impl Fn(&str, usize) -> Vec<&'a String>,
    ) -> Result<Difference, String> {
        let sinks: Vec<Json> = translation
            .expected
            .iter()
            .map(|expected| {
                let columns: Vec<Json> =
                    expected.columns.iter().map(|column| json!([column.name, column.kind.compared()])).collect();
                json!({ "sql": expected.sql, "columns": columns, "found": found(&expected.sink, expected.span) })
            })
            .collect();
        let request = json!({ "statements": translation.statements, "sinks": sinks });
        writeln!(self.asked, "{request}").and_then(|()| self.asked.flush()).map_err(|error| error.to_string())?;
        let answer = self.answer()?;
        if answer["overflows"] == true {
            return Ok(Difference { rows: 0, differences: Vec::new(), overflows: true });
        }
        if let Some(error) = answer["error"].as_str() {
            return Err(format!("DuckDB: {error}\nin {}", answer["statement"].as_str().unwrap_or_default()));
        }
        let sinks = answer["sinks"].as_array().ok_or("the oracle's answer names no sinks")?;
        let texts = |sink: &Json| {
            let all = sink["differences"].as_array().map(Vec::as_slice).unwrap_or_default();
            all.iter().filter_map(|text| text.as_str().map(str::to_owned)).collect()
        };
        Ok(Difference {
            rows: sinks.iter().filter_map(|sink| sink["rows"].as_u64()).sum(),
            differences: sinks.iter().map(texts).collect(),
            overflows: sinks.iter().any(|sink| sink["overflows"] == true),
        })
    }

    fn answer(&mut self) -> Result<Json, String> {
        let mut line = String::new();
        self.answers.read_line(&mut line).map_err(|error| error.to_string())?;
        serde_json::from_str(&line).map_err(|error| format!("the oracle has answered {line:?}: {error}"))
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        // One that has ended can't be killed, which is as good.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

fn fill(folder: &Path) -> Result<(), Error> {
    let venv = folder.join("venv");
    cache::run(NAME, Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    let requirements = cache::recipe("duckdb/requirements.txt");
    cache::run(
        NAME,
        // Not `bin/pip`: its first line names the folder before it is renamed.
        Command::new(venv.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--no-deps"])
            .args(["--disable-pip-version-check", "--requirement"])
            .arg(requirements),
    )
}
