//! The command line: `tidegate run | coordinator | worker | validate | inspect`.

mod arguments;
mod exit;
mod inspect;
mod last_word;
mod logs;
mod query;
mod run;
mod signals;
mod stdout;
mod validate;
mod work;

use std::{io::Write, path::Path, sync::Arc};

pub use arguments::Arguments;
use arguments::{Command, JobArguments};
use exit::Exit;
use last_word::LastWord;
use run::Crew;
use tidegate_crds::{
    StreamJob,
    api::{Failure, FailureReason},
};

use crate::{env, failure::Reason, job::JobPlan, metrics::Metrics};

/// Bytes of address space of each thread's stack, of which it takes as much as it uses: a hundred views, each over the one
/// before, are planned on it.
const STACK: usize = 64 << 20;

/// Does what the arguments say, and ends the process; errors go to standard error, in words for the user.
pub fn main(arguments: Arguments) -> ! {
    logs::start(arguments.log_format);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(STACK).build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            tell(&format!("failed to start threads: {error}"));
            Exit::Failure.at_once();
        }
    };
    let handle = runtime.handle().clone();
    let result = runtime.block_on(async {
        match &arguments.command {
            Command::Run(run) => run::run(run, Crew::Here, handle).await,
            Command::Coordinator(coordinator) => {
                let security = coordinator.link.security(coordinator.workers_listen)?;
                let crew = Crew::Elsewhere {
                    listen: coordinator.workers_listen,
                    security,
                    silence: coordinator.link.heartbeat_timeout.0,
                    expected: coordinator.workers,
                };
                run::run(&coordinator.run, crew, handle).await
            }
            Command::Worker(worker) => work::work(worker, handle).await,
            Command::Validate(job) => validate::validate(job).await,
            Command::Inspect(inspect) => inspect::inspect(inspect).await,
        }
    });
    let exit = match result {
        Ok(()) => Exit::Success,
        Err(message) => {
            tell(&message);
            Exit::Failure
        }
    };
    // What is still under way, such as an upload of an attempt that has failed, must not hold the exit back.
    exit.at_once()
}

fn tell(message: &str) {
    for line in message.lines() {
        // Nobody may be there to read it.
        let _unread = writeln!(std::io::stderr(), "error: {line}");
    }
}

/// Reads the document that the arguments name.
fn read(arguments: &JobArguments) -> Result<StreamJob, String> {
    let path: &Path = &arguments.job;
    let text = std::fs::read_to_string(path).map_err(|error| format!("failed to read {}: {error}", path.display()))?;
    StreamJob::from_yaml_with(&text, &arguments.set).map_err(|error| prefixed(path, &error.to_string()))
}

/// The job that the arguments name, planned.
fn given(arguments: &JobArguments) -> Result<JobPlan, LastWord> {
    let job = read(arguments).map_err(|message| {
        LastWord::new(Failure { reason: FailureReason::DocumentInvalid, message: message.clone() }, message)
    })?;
    let planned = JobPlan::new(&job, Arc::new(Metrics::new()));
    planned.map_err(|error| LastWord::refused(arguments, error.failure()))
}

/// The file's name before each line of a message.
fn prefixed(path: &Path, message: &str) -> String {
    message.lines().map(|line| format!("{}: {line}", path.display())).collect::<Vec<_>>().join("\n")
}

/// A process's name that no other has.
fn own_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname");
    let host = host.map_or_else(|_| "localhost".to_owned(), |name| name.trim().to_owned());
    format!("{host}:{}:{}", std::process::id(), env::unique_id())
}
