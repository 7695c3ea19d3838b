//! What the programs of bn-inception share: how they end, and where they come from.

pub mod training;

use std::error::Error;
use std::process::ExitCode;

/// Anything that ends a program; its message is one line.
pub type Failure = Box<dyn Error>;

/// The git revision that the programs were built from, `+` behind it if files had been changed.
pub const REVISION: Option<&str> = option_env!("BN_INCEPTION_REVISION");

/// The program's own exit code, or the failure as one line on standard error and exit code 1.
pub fn exit_code(result: Result<ExitCode, Failure>) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}
