//! The command line: `tidegate run | validate | inspect`.

mod arguments;
mod inspect;
mod last_word;
mod logs;
mod run;
mod signals;
mod validate;

use std::{path::Path, process::ExitCode};

pub use arguments::Arguments;
use arguments::{Command, JobArguments};
use tidegate_crds::StreamJob;

/// Does what the arguments say; errors go to standard error, in words for the user.
pub fn main(arguments: Arguments) -> ExitCode {
    logs::start(arguments.log_format);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("failed to start threads: {error}")),
    };
    let handle = runtime.handle().clone();
    let result = runtime.block_on(async {
        match &arguments.command {
            Command::Run(run) => Box::pin(run::run(run, handle)).await,
            Command::Validate(job) => validate::validate(job).await,
            Command::Inspect(inspect) => inspect::inspect(inspect).await,
        }
    });
    // What is still under way, such as an upload of an attempt that has failed, must not hold the exit back.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => fail(&message),
    }
}

fn fail(message: &str) -> ExitCode {
    for line in message.lines() {
        eprintln!("error: {line}");
    }
    ExitCode::FAILURE
}

/// Reads the document that the arguments name.
fn read(arguments: &JobArguments) -> Result<StreamJob, String> {
    let path: &Path = &arguments.job;
    let text = std::fs::read_to_string(path).map_err(|error| format!("failed to read {}: {error}", path.display()))?;
    StreamJob::from_yaml_with(&text, &arguments.set).map_err(|error| prefixed(path, &error.to_string()))
}

/// The file's name before each line of a message.
fn prefixed(path: &Path, message: &str) -> String {
    message.lines().map(|line| format!("{}: {line}", path.display())).collect::<Vec<_>>().join("\n")
}
