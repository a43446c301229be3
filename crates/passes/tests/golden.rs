//! Golden files of all passes: `tests/<pass>/<case>.mil`.

use anemone_mil::{Function, Program};
use anemone_passes::pipeline::{Pass, Run, pass};
use anemone_passes::{Exactness, Limits, drive, misses, run};
use anemone_testkit::filetest::{Outcome, Suite};
use std::path::Path;
use std::process::ExitCode;

/// Limits so small that examples stay readable.
const SMALL: Limits = Limits {
    extent: 16,
    extent_nc: 16,
    outputs: 8,
    conv_width: 3,
    conv_height: 4,
    max_pool_width: 3,
    max_pool_wide: 9,
    matmul_row_bytes: 32,
    rank: 5,
    attention: 8,
    window: 4,
    sum: 8,
};

fn main() -> ExitCode {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    Suite { folder, package: "anemone-passes", target: "golden" }.main(&transform)
}

fn transform(name: &str, program: &mut Program) -> Option<Outcome> {
    let pass = pass(name)?;
    let mut outcome = Outcome { exact: pass.exactness == Exactness::Identical, ..Outcome::default() };
    for function in &mut program.functions {
        outcome.changed += match pass.run {
            Run::Limited(rewrite) => drive(function, |op| rewrite(op, &SMALL), pass.name),
            _ => run(function, std::slice::from_ref(pass)).iter().map(|(_, n)| n).sum(),
        };
        outcome.misses.extend(reasons(pass, function));
    }
    Some(outcome)
}

fn reasons(pass: &Pass, function: &Function) -> Vec<(String, String)> {
    let found = match pass.run {
        Run::Rewrite(rewrite) => misses(function, rewrite),
        Run::Limited(rewrite) => misses(function, |op| rewrite(op, &SMALL)),
        Run::Whole(_) => Vec::new(),
    };
    found.into_iter().map(|(op, why)| (op.to_string(), why)).collect()
}
