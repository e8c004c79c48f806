//! Tools of the system, run to their end.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use super::super::{Error, cache};

/// What the command printed.
pub(super) fn run(command: &mut Command) -> Result<String, Error> {
    let output = command.output().map_err(|source| Error::Spawn { program: program(command), source })?;
    printed(command, output)
}

/// As [`run`], with `input` on standard input.
pub(super) fn feed(command: &mut Command, input: &str) -> Result<String, Error> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| Error::Spawn { program: program(command), source })?;
    // A command that doesn't read to the end says why by its status.
    let _ = child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().map_err(Error::io("wait for", command.get_program()))?;
    printed(command, output)
}

/// Standard output of a command that succeeded; an error that shows all it printed otherwise.
pub(super) fn printed(command: &Command, output: Output) -> Result<String, Error> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Error::Command {
        command: words(command),
        status: output.status,
        output: cache::tail(&[output.stdout, output.stderr].concat(), 40),
    })
}

/// The command line, for people: without the scripts in it.
fn words(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args()).map(|word| word.to_string_lossy());
    words.map(|word| if word.contains('\n') { "…".into() } else { word }).collect::<Vec<_>>().join(" ")
}

fn program(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}
