//! Our engine beside ONNX Runtime, in one run: time of a prediction, time to load, peak memory, all in `f32`.
//!
//! Both sides stay warm and take turns, so that noise of the machine meets both; a time is the 10th percentile of all
//! runs. With 2 threads ours races the faster of spinning and not spinning. Load and memory are those of fresh processes
//! that load and run once: load is opening, rewriting, planning and packing here, and creating the session there (the
//! least of several); memory is how far the peak rises above the process before it loads.

mod models;
mod ours;
mod theirs;

use crate::place::{cargo, run, target};
use crate::{Outcome, python};
use anemone::compare::{Tolerance, compare};
use anemone_exec::Session;
use anemone_model::{Features, Predict};
use models::{MODELS, Model, SCRIPT};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use theirs::Peer;

/// Bars of the issue: geometric mean and worst row of time, worst row of load and memory; as ours over theirs.
const MEAN_BAR: f64 = 1.3;
const WORST_BAR: f64 = 2.0;
/// Milliseconds that a turn should take.
const TURN: f64 = 30.0;
/// Threads and spinning of the sessions of ONNX Runtime.
const CONFIGS: [(usize, bool); 3] = [(1, false), (2, true), (2, false)];
/// Share of the largest magnitude within which outputs must agree: beyond it the race means nothing.
const AGREEMENT: f64 = 1e-3;
/// What single precision leaves of a probability is noise below this.
const NOISE: f64 = 1e-6;

/// `[--only TEXT] [--rounds N] [--json] [--profile] [--threads N]`.
///
/// # Errors
/// When there is no Python with ONNX Runtime, or a release build fails.
pub fn run_task(args: &[String]) -> Result<Outcome, String> {
    if cfg!(debug_assertions) {
        run(cargo().args(["build", "--release", "--quiet", "-p", "xtask"]))?;
        let status = Command::new(target().join("release/xtask")).arg("bench-peers").args(args).status();
        let status = status.map_err(|e| format!("cannot run the release build: {e}"))?;
        return match status.code() {
            Some(0) => Ok(Outcome::Clean),
            Some(1) => Ok(Outcome::Findings),
            _ => Err(format!("the release build failed: {status}")),
        };
    }
    let option = |name: &str| args.iter().position(|a| a == name).and_then(|i| args.get(i + 1));
    let flag = |name: &str| args.iter().any(|a| a == name);
    let number = |name: &str, default: usize| match option(name) {
        Some(text) => text.parse().map_err(|e| format!("{name} {text}: {e}")),
        None => Ok(default),
    };
    let threads = number("--threads", 1)?;
    if let Some((name, inputs)) = option("--fresh").zip(option("--inputs")) {
        let model = MODELS.iter().find(|m| m.name == name).ok_or("no such model")?;
        return ours::fresh(model, Path::new(inputs), threads).map(|()| Outcome::Clean);
    }
    let only = option("--only").map_or("", String::as_str);
    let chosen: Vec<&Model> = MODELS.iter().filter(|m| m.name.contains(only)).collect();
    if flag("--profile") {
        chosen.iter().try_for_each(|m| ours::profile(m, threads))?;
        return Ok(Outcome::Clean);
    }
    let rounds = number("--rounds", 10)?;
    race_all(&chosen, rounds, flag("--json"))
}

/// Times in milliseconds, memory in kilobytes.
struct Row {
    name: &'static str,
    /// With 1 and 2 threads: ours, and theirs.
    one: (f64, f64),
    two: (f64, f64),
    /// Theirs with 2 threads: spinning, and not.
    spinning: [f64; 2],
    load: (f64, f64),
    memory: (f64, f64),
}

impl Row {
    fn ratios(&self) -> [f64; 4] {
        [self.one, self.two, self.load, self.memory].map(|(ours, theirs)| ours / theirs)
    }
}

fn race_all(chosen: &[&Model], rounds: usize, as_json: bool) -> Result<Outcome, String> {
    let mut peer = Peer::start()?;
    if !as_json {
        println!(
            "{:<22}{:^26}{:^26}{:^17}{:^17}",
            "", "1 thread, ms", "2 threads, ms", "load, ms", "peak, MB"
        );
        let pair = format!("{:>8}{:>9}{:>7}  ", "ours", "theirs", "ratio");
        println!("{:<22}{pair}{pair}{:>8}{:>8} {:>8}{:>8}", "", "ours", "theirs", "ours", "theirs");
    }
    let (mut rows, mut failed) = (Vec::new(), Vec::new());
    for model in chosen {
        match race(model, &mut peer, rounds) {
            Ok(row) => {
                if !as_json {
                    print_row(&row);
                }
                rows.push(row);
            }
            Err(why) => {
                let why = why.lines().next().unwrap_or("").to_owned();
                eprintln!("{:<22} cannot be raced: {why}", model.name);
                failed.push((model.name, why));
            }
        }
    }
    if as_json {
        println!("{}", to_json(&rows, &failed));
    } else if !rows.is_empty() {
        print_summary(&rows);
    }
    Ok(Outcome::of(failed.len()))
}

fn print_row(row: &Row) {
    let pair = |(ours, theirs): (f64, f64)| format!("{ours:>8.3}{theirs:>9.3}{:>7.2}  ", ours / theirs);
    let (load, memory) = (row.load, row.memory);
    print!("{:<22}{}{}{:>8.1}{:>8.1} ", row.name, pair(row.one), pair(row.two), load.0, load.1);
    println!("{:>8.1}{:>8.1}", memory.0 / 1e3, memory.1 / 1e3);
}

fn print_summary(rows: &[Row]) {
    println!("{:<22}{:>10}{:>10}  {:<22}", "ours / theirs", "mean", "worst", "worst model");
    let bars = [(MEAN_BAR, WORST_BAR), (MEAN_BAR, WORST_BAR), (1.0, 1.0), (1.0, 1.0)];
    for (i, what) in ["1 thread", "2 threads", "load", "peak memory"].into_iter().enumerate() {
        let (mean, worst) = (mean(rows, i), worst(rows, i));
        let met = mean <= bars[i].0 && worst.0 <= bars[i].1;
        let verdict = if met { "" } else { "  missed" };
        println!("{what:<22}{mean:>10.2}{:>10.2}  {:<22}{verdict}", worst.0, worst.1);
    }
}

/// The geometric mean of a ratio.
fn mean(rows: &[Row], i: usize) -> f64 {
    (rows.iter().map(|r| r.ratios()[i].ln()).sum::<f64>() / rows.len() as f64).exp()
}

fn worst(rows: &[Row], i: usize) -> (f64, &'static str) {
    rows.iter().map(|r| (r.ratios()[i], r.name)).fold((0.0, ""), |a, b| if b.0 > a.0 { b } else { a })
}

fn to_json(rows: &[Row], failed: &[(&str, String)]) -> Value {
    let row = |r: &Row| {
        json!({
            "model": r.name,
            "one_thread_ms": {"ours": r.one.0, "theirs": r.one.1},
            "two_threads_ms": {"ours": r.two.0, "theirs_spinning": r.spinning[0], "theirs_parking": r.spinning[1]},
            "load_ms": {"ours": r.load.0, "theirs": r.load.1},
            "peak_kb": {"ours": r.memory.0, "theirs": r.memory.1},
        })
    };
    let names = ["one_thread", "two_threads", "load", "peak"];
    let summary = |i: usize| {
        let worst = worst(rows, i);
        json!({"mean": mean(rows, i), "worst": worst.0, "worst_model": worst.1})
    };
    let summaries: serde_json::Map<String, Value> =
        names.iter().enumerate().map(|(i, n)| ((*n).to_owned(), summary(i))).collect();
    let failed: Vec<Value> = failed.iter().map(|(n, why)| json!({"model": n, "why": why})).collect();
    json!({
        "schema": "anemone.bench-peers/1",
        "rows": rows.iter().map(row).collect::<Vec<_>>(),
        "ratios": summaries,
        "failed": failed,
    })
}

fn race(model: &Model, peer: &mut Peer, rounds: usize) -> Result<Row, String> {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let folder = folder.path();
    peer.open(model, folder, &CONFIGS)?;
    let inputs = ours::arrays(&folder.join("given.npz"))?;
    let program = ours::program(model)?;
    let mut sessions = [ours::session(&program, 1)?, ours::session(&program, 2)?];
    agree(&mut sessions, &inputs, &ours::arrays(&folder.join("expected.npz"))?)?;
    let [one, two, their_one, spinning, parking] = turns(&mut sessions, &inputs, peer, rounds)?;
    drop(sessions);
    let (mut load, mut memory) = ((f64::INFINITY, f64::INFINITY), (0.0f64, 0.0f64));
    for _ in 0..5 {
        let (a, b) = (fresh_ours(model, folder)?, fresh_theirs(model, folder)?);
        load = (load.0.min(a.0), load.1.min(b.0));
        memory = (memory.0.max(a.1), memory.1.max(b.1));
    }
    Ok(Row {
        name: model.name,
        one: (one, their_one),
        two: (two, spinning.min(parking)),
        spinning: [spinning, parking],
        load,
        memory,
    })
}

/// Both sides must compute the same.
fn agree(sessions: &mut [Session; 2], inputs: &Features, expected: &Features) -> Result<(), String> {
    for session in sessions {
        let found = session.predict(inputs).map_err(|e| e.to_string())?;
        for d in compare(&found, expected, Tolerance { atol: 0.0, rtol: 0.0 }) {
            if let Some(what) = d.mismatch {
                return Err(format!("{}: {what}", d.name));
            }
            // NaN is neither.
            if !(d.relative <= AGREEMENT || d.max_error <= NOISE) {
                return Err(format!("{} differs by {:.1e} of the largest magnitude", d.name, d.relative));
            }
        }
    }
    Ok(())
}

/// 10th percentiles: ours with 1 and 2 threads, then theirs as in [`CONFIGS`].
fn turns(
    sessions: &mut [Session; 2],
    inputs: &Features,
    peer: &mut Peer,
    rounds: usize,
) -> Result<[f64; 5], String> {
    let mut times: [Vec<f64>; 5] = Default::default();
    for _ in 0..rounds {
        for (side, times) in times.iter_mut().enumerate() {
            let known = percentile(times).unwrap_or(TURN);
            let count = ((TURN / known) as usize).clamp(2, 200);
            times.extend(match side {
                0 | 1 => ours::times(&mut sessions[side], inputs, count)?,
                _ => peer.times(side - 2, count)?,
            });
            // Threads that still spin would meet the next side.
            std::thread::sleep(Duration::from_millis(3));
        }
    }
    Ok(times.map(|t| percentile(&t).unwrap_or(f64::NAN)))
}

/// The 10th percentile.
fn percentile(times: &[f64]) -> Option<f64> {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 10).copied()
}

/// Milliseconds to load and kilobytes of growth of a fresh process.
fn figures(command: &mut Command) -> Result<(f64, f64), String> {
    let output = command.output().map_err(|e| format!("cannot run {command:?}: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let wrong = || format!("a fresh process failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    let report: Value = serde_json::from_str(&text).map_err(|_| wrong())?;
    let number = |key: &str| report[key].as_f64().ok_or_else(wrong);
    Ok((number("load")?, number("peak")? - number("idle")?))
}

/// Threads of the fresh processes.
const FRESH_THREADS: &str = "2";

fn fresh_ours(model: &Model, folder: &Path) -> Result<(f64, f64), String> {
    let binary = std::env::current_exe().map_err(|e| e.to_string())?;
    let mut command = Command::new(binary);
    command.args(["bench-peers", "--fresh", model.name, "--threads", FRESH_THREADS, "--inputs"]);
    figures(command.arg(folder.join("given.npz")))
}

fn fresh_theirs(model: &Model, folder: &Path) -> Result<(f64, f64), String> {
    let mut command = python::script(SCRIPT)?;
    figures(command.arg("fresh").arg(model.file()?).arg(folder.join("inputs.npz")).arg(FRESH_THREADS))
}
