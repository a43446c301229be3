//! What opening, inspecting and converting large models costs, against bars that a user would notice.
//!
//! Times are those of the release build of the command, the median of several runs with warm file caches, of fewer when they are slow; memory is the
//! high-water mark of a process that does the same through the library. Prints, and never fails: a busy machine is slow.

mod compress;
mod models;

use crate::Outcome;
use crate::place::{cargo, run, target};
use anemone::ConvertOptions;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Opening and inspecting 500 MB of weights.
const INSPECT_SECONDS: f64 = 0.050;
const INSPECT_BYTES: f64 = 30e6;
/// Converting: times that it takes to read and write the bytes, plus a second; and times the file in memory.
const CONVERT_FACTOR: f64 = 1.5;
const CONVERT_SECONDS: f64 = 1.0;
const CONVERT_MEMORY: f64 = 3.0;

/// The task; `--measure VERB PATH` is how it asks a process of its own for the memory that a verb takes.
///
/// # Errors
/// When something cannot be built or written.
pub fn run_task(args: &[String]) -> Result<Outcome, String> {
    match args {
        [] => bench(),
        [what, rest @ ..] if what == "compress" => compress::bench(rest),
        [flag, verb, path] if flag == "--measure" => measure(verb, Path::new(path)),
        _ => Err(format!("unknown arguments {args:?}")),
    }?;
    Ok(Outcome::Clean)
}

fn bench() -> Result<(), String> {
    eprintln!("building the release");
    run(cargo().args(["build", "--release", "--quiet", "-p", "anemone-cli", "-p", "xtask"]))?;
    let folder = target().join("bench");
    fs::create_dir_all(&folder).map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
    let (package, onnx) = (folder.join("large.mlpackage"), folder.join("large.onnx"));
    models::package(&package)?;
    models::onnx(&onnx)?;
    println!("{:<44} {:>10} {:>10}", "", "measured", "bar");
    inspect(&package)?;
    plan("in a row", &folder.join("long.mil"), &models::long_text(PLAN_OPS))?;
    plan("side by side", &folder.join("wide.mil"), &models::wide_text(PLAN_OPS))?;
    convert(&onnx, &folder.join("converted.mlpackage"))?;
    emulate(&folder)
}

fn inspect(package: &Path) -> Result<(), String> {
    let size = anemone::files::size_of(package);
    let time = median(9, || command("inspect", package, &[]))?;
    row(&format!("inspect, {} of weights", megabytes(size)), seconds(time), INSPECT_SECONDS, "s");
    row("inspect, peak memory", high_water("inspect", package)?, INSPECT_BYTES, "B");
    Ok(())
}

/// Planning a program of 100,000 ops.
const PLAN_OPS: usize = 100_000;
const PLAN_SECONDS: f64 = 2.0;
const PLAN_BYTES: f64 = 500e6;

fn plan(how: &str, path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    let time = median(3, || command("plan", path, &[]))?;
    let what = format!("plan, {PLAN_OPS} ops {how}");
    row(&what, seconds(time), PLAN_SECONDS, "s");
    row(&format!("{what}, peak memory"), high_water("plan", path)?, PLAN_BYTES, "B");
    Ok(())
}

fn convert(onnx: &Path, output: &Path) -> Result<(), String> {
    let size = anemone::files::size_of(onnx);
    let copy = output.with_extension("copy");
    let through = median(5, || {
        let bytes = fs::read(onnx).map_err(|e| format!("cannot read {}: {e}", onnx.display()))?;
        fs::write(&copy, bytes).map_err(|e| format!("cannot write {}: {e}", copy.display()))
    })?;
    let bar = CONVERT_FACTOR * seconds(through) + CONVERT_SECONDS;
    let to = output.to_string_lossy();
    let name = format!("convert, {} of ONNX", megabytes(size));
    let unchecked = median(5, || command("convert", onnx, &["--no-check", "-o", &to]))?;
    row(&format!("{name}, without the check"), seconds(unchecked), bar, "s");
    let checked = median(3, || command("convert", onnx, &["-o", &to]))?;
    row(&format!("{name}, with the check"), seconds(checked), bar, "s");
    let limit = CONVERT_MEMORY * size as f64;
    row("convert, peak memory without the check", high_water("convert-unchecked", onnx)?, limit, "B");
    row("convert, peak memory with the check", high_water("convert", onnx)?, limit, "B");
    Ok(())
}

/// Running a network of some 400 million products as the Neural Engine computes them, on one thread.
const EMULATE_SECONDS: f64 = 10.0;

fn emulate(folder: &Path) -> Result<(), String> {
    let package = folder.join("efficientnet-lite0.mlpackage");
    let to = package.to_string_lossy();
    command("convert", Path::new("examples/efficientnet-lite0.onnx"), &["--no-check", "-o", &to])?;
    let once = ["--random", "1", "--threads", "1", "--emulate", "ane-eligible", "--assume", "m6"];
    let run = median(3, || command("run", &package, &once))?;
    row("run --emulate, efficientnet-lite0", seconds(run), EMULATE_SECONDS, "s");
    Ok(())
}

fn row(what: &str, measured: f64, bar: f64, unit: &str) {
    let spell = |v: f64| match unit {
        "s" if v < 1.0 => format!("{:.1} ms", v * 1e3),
        "s" => format!("{v:.2} s"),
        _ => format!("{:.1} MB", v / 1e6),
    };
    let verdict = if measured <= bar { "" } else { "  missed" };
    println!("{what:<44} {:>10} {:>10}{verdict}", spell(measured), spell(bar));
}

fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes / 1_000_000)
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

/// Seconds that the runs of one measurement may take together: on a busy machine there are fewer of them.
const PATIENCE: f64 = 15.0;

/// The median time of several runs, of one at least.
fn median(runs: usize, mut work: impl FnMut() -> Result<(), String>) -> Result<Duration, String> {
    let mut times = Vec::with_capacity(runs);
    let begin = Instant::now();
    while times.len() < runs && (times.is_empty() || seconds(begin.elapsed()) < PATIENCE) {
        let start = Instant::now();
        work()?;
        times.push(start.elapsed());
    }
    times.sort();
    Ok(times[times.len() / 2])
}

fn release(binary: &str) -> PathBuf {
    target().join("release").join(binary)
}

/// Runs a verb of the command.
fn command(verb: &str, path: &Path, more: &[&str]) -> Result<(), String> {
    let mut command = Command::new(release("anemone"));
    run(command.arg(verb).arg(path).args(more).stdout(Stdio::null()).stderr(Stdio::null()))
}

/// Peak of resident memory of a process that runs a verb, in bytes.
fn high_water(verb: &str, path: &Path) -> Result<f64, String> {
    let output = Command::new(release("xtask")).args(["bench", "--measure", verb]).arg(path).output();
    let output = output.map_err(|e| format!("cannot run the release build of xtask: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_string();
    text.parse().map_err(|_| format!("{verb} failed: {}", String::from_utf8_lossy(&output.stderr)))
}

/// Runs a verb through the library and prints the high-water mark of this process.
fn measure(verb: &str, path: &Path) -> Result<(), String> {
    match verb {
        "inspect" => drop(anemone::inspect(path).map_err(|e| e.to_string())?),
        "plan" => {
            let device = anemone::device_named("m4").map_err(|e| e.to_string())?;
            let units = anemone::ane::Units::CpuAndNe;
            drop(anemone::plan(path, None, &device, units).map_err(|e| e.to_string())?);
        }
        _ => {
            let output = Some(path.with_file_name("measured.mlpackage"));
            let options = ConvertOptions { output, check: verb == "convert", ..ConvertOptions::default() };
            drop(anemone::convert(path, &options, &mut |_| {}).map_err(|e| e.to_string())?);
        }
    }
    let status =
        fs::read_to_string("/proc/self/status").map_err(|e| format!("no memory figures here: {e}"))?;
    let line =
        status.lines().find_map(|l| l.strip_prefix("VmHWM:")).ok_or("no VmHWM in /proc/self/status")?;
    let kilobytes: f64 =
        line.trim().trim_end_matches("kB").trim().parse().map_err(|e| format!("{line}: {e}"))?;
    println!("{}", kilobytes * 1024.0);
    Ok(())
}
