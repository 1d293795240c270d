//! Exit codes, the same for every program of Weir. (Usage errors exit 2, by the parser of arguments.)

use std::process::ExitCode;

/// All is well.
pub const WELL: ExitCode = ExitCode::SUCCESS;
/// The answer is no, or the configuration is wrong.
pub const WRONG: ExitCode = ExitCode::FAILURE;

/// Of a command whose only work is to print.
pub fn printed(outcome: std::io::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => WELL,
        Err(error) => {
            eprintln!("cannot write to standard output: {error}");
            WRONG
        }
    }
}
