//! Judges, recorders and measurements of the workspace: `cargo xtask TASK`.

mod bench;
mod ci;
mod conformance;
mod fidelity;
mod fit;
mod fit_simulator;
mod fuzz;
mod import_cases;
mod latencies;
mod neon;
mod onnx_backend;
mod oracle;
mod peers;
mod picture;
mod place;
mod python;
mod record;
mod report_check;
mod unpack;

use std::process::ExitCode;

/// How a task ended, if it could run at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing to complain of.
    Clean,
    /// There are findings; they are printed.
    Findings,
}

impl Outcome {
    /// `Clean` when nothing was found.
    pub fn of(findings: usize) -> Outcome {
        if findings == 0 { Outcome::Clean } else { Outcome::Findings }
    }
}

type Task = fn(&[String]) -> Result<Outcome, String>;

/// Name, arguments, what it does, and who does it.
const TASKS: &[(&str, &str, &str, Task)] = &[
    (
        "oracle",
        "[--only TEXT]",
        "let coremltools load and rebuild every package that we write",
        oracle::run_task,
    ),
    (
        "conformance",
        "[--packages] [--run] [--serve] [--accept]",
        "check what coremltools wrote, replay every recorded case, renew docs/status.md",
        conformance::run_task,
    ),
    (
        "fidelity",
        "[--data DIR] [--plans] [--latencies]",
        "compare the planner and the simulator with what was measured on devices",
        fidelity::run_task,
    ),
    (
        "fit",
        "[--check]",
        "fit the planner's rates and the simulator's numbers to published figures",
        fit::run_task,
    ),
    (
        "onnx-backend",
        "[--only TEXT] [--write] [--models DIR]",
        "run the backend tests of ONNX through the importer",
        onnx_backend::run_task,
    ),
    (
        "neon",
        "[--all] [FILTER]",
        "run the engine's tests as ARM does, under an emulator: the NEON kernels",
        neon::run_task,
    ),
    (
        "fuzz",
        "[--seconds N] [--advisory] [TARGET [FILE]]",
        "try kept inputs, which must pass, then mutated ones; --advisory: a new find is told, not failed",
        fuzz::run_task,
    ),
    ("picture", "", "draw the README's terminal picture, docs/convert.svg", picture::run_task),
    (
        "bench",
        "[compress [--large] [--alone] [--only TEXT]]",
        "measure what large models cost against bars of time and memory; compression beside coremltools",
        bench::run_task,
    ),
    (
        "bench-peers",
        "[--only TEXT] [--rounds N] [--json] [--profile]",
        "race the engine against ONNX Runtime: time, load, memory",
        peers::run_task,
    ),
    ("report-check", "", "work pages of `anemone report` in headless Chromium", report_check::run_task),
    ("record", "[NAME]", "run the scripts that record expectations", record::run_task),
    ("ci", "", "everything that must hold before a change lands", ci::run_task),
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = args.split_first() else { return usage("no task was named") };
    let Some((.., task)) = TASKS.iter().find(|t| t.0 == name) else {
        return usage(&format!("there is no task `{name}`"));
    };
    match task(rest) {
        Ok(Outcome::Clean) => ExitCode::SUCCESS,
        Ok(Outcome::Findings) => ExitCode::from(1),
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(2)
        }
    }
}

fn usage(problem: &str) -> ExitCode {
    eprintln!("error: {problem}\n\nusage: cargo xtask TASK\n");
    for (name, args, what, _) in TASKS {
        eprintln!("  {:<42} {what}", format!("{name} {args}"));
    }
    ExitCode::from(2)
}
