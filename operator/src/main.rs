//! The place of the Kubernetes operator. It will run jobs as pods; until then jobs are run by `tidegate run`.

use std::process::ExitCode;

fn main() -> ExitCode {
    eprintln!("the operator is not part of this version; run a job with `tidegate run`");
    ExitCode::FAILURE
}
