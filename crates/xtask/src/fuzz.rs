//! Coverage-guided fuzzing of every reader with libFuzzer, on the stable toolchain.
//!
//! The targets live in `fuzz/fuzz_targets`. Files that once failed are kept in `fuzz/regressions/<target>` and are
//! tried first in every run.

use crate::Outcome;
use crate::place::{ending_with, repository, run, target};
use anemone_formats::safetensors::SafeTensors;
use anemone_mil::text::PrintOptions;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Instant;

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
];

/// Coverage counters, the table of places, and operands of comparisons: what libFuzzer steers by.
///
/// The same flags that cargo-fuzz passes; none of them needs a nightly compiler.
const INSTRUMENT: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
     -Cllvm-args=-sanitizer-coverage-trace-compares";

/// `[--seconds N] [TARGET [FILE...]]`: every target for N seconds, or one of them; with files, only those are tried.
///
/// # Errors
/// When the targets cannot be built or started.
pub fn run_task(args: &[String]) -> Result<Outcome, String> {
    let mut words = args.iter();
    let (mut seconds, mut plain) = (60, Vec::new());
    while let Some(word) = words.next() {
        if word == "--seconds" {
            let given = words.next().and_then(|n| n.parse().ok());
            seconds = given.ok_or("--seconds needs a number")?;
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
    Ok(Outcome::of(all(&chosen, &binaries, seconds)?))
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

/// Runs targets side by side, as many as there are processors; returns how many failed.
fn all(targets: &[&Target], binaries: &Path, seconds: u64) -> Result<usize, String> {
    let work = target().join("fuzz");
    let queue = Mutex::new(targets.iter());
    let failed: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let next = || queue.lock().ok()?.next();
    let worker = || {
        while let Some(target) = next() {
            let start = Instant::now();
            let message = one(target, binaries, &work, seconds);
            let (mark, rest) = message.map_or_else(|e| ("FAILED", e), |line| ("ok", line));
            println!("{mark:<7} {:<12} {:>3} s  {rest}", target.name, start.elapsed().as_secs());
            if mark == "FAILED" {
                failed.lock().unwrap_or_else(|e| e.into_inner()).push(target.name.to_string());
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(targets.len());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(worker);
        }
    });
    let failed = failed.into_inner().map_err(|e| e.to_string())?;
    println!("fuzzing: {} targets, {} failed {}", targets.len(), failed.len(), failed.join(", "));
    Ok(failed.len())
}

/// Runs one target; gives libFuzzer's last line of progress, or what failed and how to see it again.
fn one(target: &Target, binaries: &Path, work: &Path, seconds: u64) -> Result<String, String> {
    let folder = |kind: &str| -> Result<PathBuf, String> {
        let path = work.join(kind).join(target.name);
        fs::create_dir_all(&path).map_err(|e| format!("cannot make {}: {e}", path.display()))?;
        Ok(path)
    };
    let (grown, seeds, found) = (folder("corpus")?, folder("seeds")?, folder("artifacts")?);
    plant(target, &seeds)?;
    let log = work.join(format!("{}.log", target.name));
    let output = fs::File::create(&log).map_err(|e| format!("cannot write {}: {e}", log.display()))?;
    let status = Command::new(binaries.join(target.name))
        .args([&grown, &seeds])
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={}", target.max_len))
        .arg(format!("-artifact_prefix={}/", found.display()))
        .args(["-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1"])
        .stderr(output)
        .status()
        .map_err(|e| format!("cannot run {}: {e}", target.name))?;
    let text = fs::read(&log).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default();
    if status.success() {
        let progress = text.lines().rev().find(|l| l.starts_with('#') && l.contains("cov:"));
        return Ok(progress.unwrap_or_default().to_string());
    }
    let panic = text.lines().skip_while(|l| !l.contains("panicked at")).take(2).collect::<Vec<_>>().join(" ");
    let input = text.lines().find_map(|l| l.split("Test unit written to ").nth(1)).unwrap_or("no file");
    Err(format!(
        "{panic}\n        see {}; again with: cargo xtask fuzz {} {input}\n        once it is mended, keep the file in \
         fuzz/regressions/{}/",
        log.display(),
        target.name,
        target.name
    ))
}

/// Copies the seeds of a target, and what once failed, into `folder`.
fn plant(target: &Target, folder: &Path) -> Result<(), String> {
    let files = target.seeds.iter().flat_map(|(root, end)| ending_with(&repository().join(root), end));
    let kept = ending_with(&repository().join("fuzz/regressions").join(target.name), "");
    let mut inputs = Vec::new();
    for path in files.chain(kept) {
        inputs.extend(seeds(target.name, &path)?);
    }
    inputs.retain(|bytes| bytes.len() <= target.max_len);
    for (index, bytes) in inputs.iter().enumerate() {
        let seed = folder.join(format!("{index:04}"));
        fs::write(&seed, bytes).map_err(|e| format!("cannot write {}: {e}", seed.display()))?;
    }
    Ok(())
}

/// The inputs that a file or folder gives a target.
fn seeds(target: &str, path: &Path) -> Result<Vec<Vec<u8>>, String> {
    let whole = || fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()));
    Ok(match target {
        "package" => vec![sections(path, &["Data/com.apple.CoreML/model.mlmodel", PACKAGE_WEIGHTS])],
        "mlmodelc" => {
            vec![sections(path, &["coremldata.bin", "metadata.json", "model.mil", "weights/weight.bin"])]
        }
        "mil_text" if path.is_dir() => vec![text(path)?],
        "onnx" | "import_onnx" if path.extension().is_some_and(|e| e == "safetensors") => {
            let cases =
                SafeTensors::read(&whole()?.into()).map_err(|e| format!("{}: {e}", path.display()))?;
            let models = cases.tensors.iter().filter(|(key, _)| key.ends_with("/model"));
            models.map(|(_, model)| model.bytes().to_vec()).collect()
        }
        _ => vec![whole()?],
    })
}

/// The program of a package as MIL text.
fn text(path: &Path) -> Result<Vec<u8>, String> {
    let opened = anemone::open(path).map_err(|e| e.to_string())?;
    Ok(anemone_mil::text::print(&opened.program, &PrintOptions::default()).into_bytes())
}

const PACKAGE_WEIGHTS: &str = "Data/com.apple.CoreML/weights/weight.bin";

/// Files of a folder as one input: a length in 4 bytes and the bytes of each. A plain file is taken as it is.
fn sections(path: &Path, names: &[&str]) -> Vec<u8> {
    if path.is_file() {
        return fs::read(path).unwrap_or_default();
    }
    let mut input = Vec::new();
    for name in names {
        let bytes = fs::read(path.join(name)).unwrap_or_default();
        input.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
        input.extend(bytes);
    }
    input
}
