//! Golden files of all passes: `tests/<pass>/<case>.mil`.

use anemone_mil::{Function, Program};
use anemone_passes::pipeline::{Pass, Run, pass};
use anemone_passes::{Exactness, misses, run};
use anemone_testkit::filetest::{Outcome, Suite};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    Suite { folder, package: "anemone-passes", target: "golden" }.main(&transform)
}

fn transform(name: &str, program: &mut Program) -> Option<Outcome> {
    let pass = pass(name)?;
    let mut outcome = Outcome { exact: pass.exactness == Exactness::Identical, ..Outcome::default() };
    for function in &mut program.functions {
        let report = run(function, std::slice::from_ref(pass));
        outcome.changed += report.iter().map(|(_, n)| n).sum::<usize>();
        outcome.misses.extend(reasons(pass, function));
    }
    Some(outcome)
}

fn reasons(pass: &Pass, function: &Function) -> Vec<(String, String)> {
    let Run::Rewrite(rewrite) = pass.run else { return Vec::new() };
    misses(function, rewrite).into_iter().map(|(op, why)| (op.to_string(), why)).collect()
}
