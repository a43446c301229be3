//! Runs what CI runs.

use crate::Outcome;
use crate::place::{repository, run};
use std::process::Command;

/// Runs `.ci/run`.
///
/// # Errors
/// When a step fails.
pub fn run_task(_: &[String]) -> Result<Outcome, String> {
    run(Command::new("bash").arg(".ci/run").current_dir(repository()))?;
    Ok(Outcome::Clean)
}
