//! The `anemone` command: arguments in, tables or JSON out.
//!
//! stdout is data, stderr is talk. Exit status: 0 clean, 1 findings (a difference, a failed check), 2 failure.
#![forbid(unsafe_code)]

mod args;
mod human;
mod json;
mod progress;
mod style;
mod table;
mod verbs;

use clap::Parser;
use std::io::Write;
use std::process::ExitCode;

/// How a verb ended.
pub(crate) enum Outcome {
    /// Nothing to object to.
    Clean,
    /// It worked, and found something.
    Findings,
}

fn main() -> ExitCode {
    let args = args::Args::parse();
    match verbs::run(args) {
        Ok(Outcome::Clean) => ExitCode::SUCCESS,
        Ok(Outcome::Findings) => ExitCode::from(1),
        Err(error) => {
            // The exit status says it too, where stderr takes nothing.
            let _ = writeln!(std::io::stderr(), "{} {error}", style::error("error:"));
            if error.kind() == anemone::ErrorKind::MissingInput {
                verbs::note(
                    "--inputs takes them from a file, --random 1 makes them up; `anemone inspect MODEL` lists what a \
                     model takes",
                );
            }
            ExitCode::from(2)
        }
    }
}
