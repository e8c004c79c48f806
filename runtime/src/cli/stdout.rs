//! Standard output, whose reader may have read enough.

use std::{
    error::Error,
    io::{self, Write},
};

use crate::error_chain;

/// Writes lines.
pub(super) fn print(lines: &[String]) -> Result<(), String> {
    written(lines.iter().try_for_each(|line| writeln!(io::stdout().lock(), "{line}")))?;
    Ok(())
}

/// None where nobody reads on, such as `head`: that is no error.
pub(super) fn written<T>(result: Result<T, impl Error + 'static>) -> Result<Option<T>, String> {
    match result {
        Ok(done) => Ok(Some(done)),
        Err(error) if is_broken_pipe(&error) => Ok(None),
        Err(error) => Err(format!("failed to write to standard output: {}", error_chain(&error))),
    }
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    let own = error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
    own || error.source().is_some_and(is_broken_pipe) || error.to_string().contains("Broken pipe")
}
