//! Coverage-guided fuzzing of every reader with libFuzzer, on the stable toolchain.
//!
//! The targets live in `fuzz/fuzz_targets`. A run has two parts. First every kept input is tried: the files of the
//! corpus, and those in `fuzz/regressions/<target>`, which once failed. That depends on the commit alone, so a failure
//! there always fails the run. Then each target explores for a while from a fresh random seed. What that finds is
//! chance: the same commit may be found faulty today and not tomorrow. With `--advisory` such a find is told, with the
//! input, and does not fail the run, so that CI judges the commit; without, it does.

mod explore;
mod seeds;

use crate::Outcome;
use crate::place::{run, target};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

/// A target and the files of the corpus that it starts from: folder, ending.
struct Target {
    name: &'static str,
    seeds: &'static [(&'static str, &'static str)],
    /// Largest input.
    max_len: usize,
}

const fn target_of(name: &'static str, seeds: &'static [(&'static str, &'static str)]) -> Target {
    Target { name, seeds, max_len: 1 << 16 }
}

const TARGETS: &[Target] = &[
    target_of("model", &[("corpus/packages", ".mlmodel"), ("corpus/bad/model", ".mlmodel")]),
    target_of("package", &[("corpus/packages", ".mlpackage")]),
    target_of("blob", &[("corpus/packages", "weight.bin"), ("corpus/bad/blob", ".bin")]),
    target_of("manifest", &[("corpus/packages", "Manifest.json"), ("corpus/bad/manifest", ".json")]),
    target_of("mil_text", &[("corpus", ".mil"), ("corpus/packages", ".mlpackage")]),
    target_of("onnx", &[("corpus", ".onnx"), ("corpus/import", "cases.safetensors")]),
    target_of("import_onnx", &[("corpus", ".onnx"), ("corpus/import", "cases.safetensors")]),
    target_of("safetensors", &[("corpus", ".safetensors")]),
    target_of("npy", &[("corpus", ".npy"), ("corpus", ".npz")]),
    target_of("mlmodelc", &[("corpus", ".mlmodelc")]),
    target_of(
        "compute_plan",
        &[
            ("corpus/traces", ".json"),
            ("corpus/traces", ".jsonl"),
            ("corpus/traces", ".tsv"),
            ("corpus/traces", ".csv"),
            ("corpus/traces", ".log"),
            ("corpus/traces", ".listing"),
        ],
    ),
    target_of("analytics_mil", &[("corpus/traces/analytics", ".mil"), ("corpus/bad/analytics_mil", ".mil")]),
    target_of("instruments", &[("corpus/traces/instruments", ".xml"), ("corpus/bad/instruments", ".xml")]),
];

/// Coverage counters, the table of places, and operands of comparisons: what libFuzzer steers by.
///
/// The same flags that cargo-fuzz passes; none of them needs a nightly compiler.
const INSTRUMENT: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
     -Cllvm-args=-sanitizer-coverage-trace-compares";

/// `[--seconds N] [--advisory] [TARGET [FILE...]]`: every target for N seconds, or one of them; with files, only those
/// are tried.
///
/// # Errors
/// When the targets cannot be built or started.
pub fn run_task(args: &[String]) -> Result<Outcome, String> {
    let mut words = args.iter();
    let (mut seconds, mut advisory, mut plain) = (60, false, Vec::new());
    while let Some(word) = words.next() {
        if word == "--seconds" {
            let given = words.next().and_then(|n| n.parse().ok());
            seconds = given.ok_or("--seconds needs a number")?;
        } else if word == "--advisory" {
            advisory = true;
        } else if word.starts_with('-') {
            return Err(format!("unknown option {word}; there are --seconds N and --advisory"));
        } else {
            plain.push(word.as_str());
        }
    }
    let (name, files) = plain.split_first().map_or((None, &[][..]), |(n, f)| (Some(*n), f));
    let chosen: Vec<&Target> = TARGETS.iter().filter(|t| name.is_none_or(|n| n == t.name)).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = TARGETS.iter().map(|t| t.name).collect();
        return Err(format!(
            "there is no fuzz target {}; there are {}",
            name.unwrap_or(""),
            names.join(", ")
        ));
    }
    let binaries = build()?;
    if !files.is_empty() {
        return run(Command::new(binaries.join(chosen[0].name)).args(files)).map(|()| Outcome::Clean);
    }
    let kept = side_by_side(&chosen, |target| explore::replay(target, &binaries))?;
    let found = side_by_side(&chosen, |target| explore::explore(target, &binaries, seconds))?;
    println!("kept inputs: {} targets, {kept} failed", chosen.len());
    let told = if advisory { " (told, not judged: --advisory)" } else { "" };
    println!("exploration: {} targets, {found} with a find{told}", chosen.len());
    Ok(Outcome::of(if advisory { kept } else { kept + found }))
}

/// Builds the targets; returns the folder that they are in.
fn build() -> Result<PathBuf, String> {
    let version = Command::new("rustc").arg("-vV").output().map_err(|e| format!("cannot run rustc: {e}"))?;
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let host = version.lines().find_map(|l| l.strip_prefix("host: ")).ok_or("rustc names no host")?;
    let folder = target().join("fuzz");
    let mut cargo = crate::place::cargo();
    // With --target, build scripts and macros stay free of the instrumentation.
    cargo.args(["build", "--release", "--bins", "--manifest-path", "fuzz/Cargo.toml", "--target", host]);
    run(cargo.arg("--target-dir").arg(&folder).env("RUSTFLAGS", INSTRUMENT))?;
    Ok(folder.join(host).join("release"))
}

/// Runs `work` for each target, as many side by side as there are processors; returns how many it is false for.
fn side_by_side(
    targets: &[&Target],
    work: impl Fn(&Target) -> Result<bool, String> + Sync,
) -> Result<usize, String> {
    let queue = Mutex::new(targets.iter());
    let results: Mutex<Vec<Result<bool, String>>> = Mutex::new(Vec::new());
    let next = || queue.lock().ok()?.next();
    let worker = || {
        while let Some(target) = next() {
            let result = work(target);
            results.lock().unwrap_or_else(|e| e.into_inner()).push(result);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(targets.len());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(worker);
        }
    });
    let results = results.into_inner().map_err(|e| e.to_string())?;
    let good = results.into_iter().collect::<Result<Vec<bool>, String>>()?;
    Ok(good.iter().filter(|good| !**good).count())
}
