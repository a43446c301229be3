//! `cargo xtask bench compress`: our compression beside that of coremltools, as whole processes on the same package.
//!
//! Both take turns; times are medians, and the memory is the high-water mark of the process, mapped files included.

use super::{models, release};
use crate::place::{cargo, run, target};
use crate::python;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A scheme: its name in the script, what it is in words, our arguments, and how many times faster it should be.
const SCHEMES: [(&str, &str, &[&str], f64); 6] = [
    ("int8", "int8 per channel", &["--linear", "int8"], 10.0),
    (
        "int4-blocks",
        "int4 per block of 32",
        &["--linear", "int4", "--granularity", "per-block", "--block-size", "32"],
        10.0,
    ),
    ("palette-4", "4-bit k-means per tensor", &["--palettize", "4"], 25.0),
    (
        "palette-4-groups",
        "4-bit k-means per 16 channels",
        &["--palettize", "4", "--granularity", "per-grouped-channel", "--group-size", "16"],
        25.0,
    ),
    ("uniform-4", "4-bit uniform palette", &["--palettize", "4", "--mode", "uniform"], 0.0),
    ("prune", "half pruned", &["--prune", "0.5"], 0.0),
];

/// Rows and columns of every weight.
const SIDE: usize = 2048;
/// Memory that a compression may take, beside twice the largest weight.
const MEMORY: f64 = 300e6;

/// What to measure.
struct Plan {
    /// Weights of the packages, each with the number of turns.
    sizes: Vec<(usize, usize)>,
    only: Option<String>,
    peer: bool,
}

/// `[--large] [--alone] [--only TEXT]`.
///
/// # Errors
/// When the release or a package cannot be made, or a run fails.
pub(super) fn bench(args: &[String]) -> Result<(), String> {
    let mut plan = Plan { sizes: vec![(6, 3)], only: None, peer: true };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--large" => plan.sizes.push((72, 1)),
            "--alone" => plan.peer = false,
            "--only" => plan.only = args.next().cloned(),
            _ => return Err(format!("unknown argument {arg}; there are --large, --alone and --only TEXT")),
        }
    }
    eprintln!("building the release");
    run(cargo().args(["build", "--release", "--quiet", "-p", "anemone-cli"]))?;
    println!(
        "{:<14} {:<30} {:>9} {:>9} {:>8} {:>6} {:>10}",
        "weights", "scheme", "ours", "theirs", "ratio", "bar", "our memory"
    );
    for (layers, turns) in &plan.sizes {
        one_size(&plan, *layers, *turns)?;
    }
    Ok(())
}

fn one_size(plan: &Plan, layers: usize, turns: usize) -> Result<(), String> {
    let folder = target().join("bench");
    fs::create_dir_all(&folder).map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
    let package = folder.join(format!("normal-{layers}.mlpackage"));
    models::normal(&package, layers, SIDE)?;
    let bar = MEMORY + 2.0 * (SIDE * SIDE * 2) as f64;
    for (name, words, flags, factor) in SCHEMES {
        if plan.only.as_ref().is_some_and(|o| !words.contains(o.as_str())) {
            continue;
        }
        let (ours_to, theirs_to) = (folder.join("ours.mlpackage"), folder.join("theirs.mlpackage"));
        let (mut ours, mut theirs, mut memory) = (Vec::new(), Vec::new(), 0f64);
        for _ in 0..turns {
            let mut command = Command::new(release("anemone"));
            let (time, peak) =
                timed(command.arg("compress").arg(&package).arg("-o").arg(&ours_to).args(flags))?;
            ours.push(time);
            memory = memory.max(peak);
            if plan.peer {
                theirs.push(timed(&mut peer(&package, &theirs_to, name)?)?.0);
            }
        }
        let (ours, theirs) = (median(ours), median(theirs));
        let ratio = theirs.zip(ours).map(|(t, o)| t / o);
        let spell = |v: Option<f64>, unit: &str| v.map_or("-".into(), |v| format!("{v:.2}{unit}"));
        let missed = ratio.is_some_and(|r| r < factor) || memory > bar;
        println!(
            "{:<14} {words:<30} {:>9} {:>9} {:>8} {:>6} {:>10}{}",
            format!("{:.0} M", (layers * SIDE * SIDE) as f64 / 1e6),
            spell(ours, " s"),
            spell(theirs, " s"),
            spell(ratio, "x"),
            if factor > 0.0 { format!("{factor:.0}x") } else { "-".into() },
            format!("{:.0} MB", memory / 1e6),
            if missed { "  missed" } else { "" },
        );
    }
    Ok(())
}

fn peer(package: &Path, output: &PathBuf, scheme: &str) -> Result<Command, String> {
    let mut command = python::script("crates/xtask/python/bench_compress.py")?;
    command.arg(package).arg(output).arg(scheme);
    Ok(command)
}

fn median(mut times: Vec<f64>) -> Option<f64> {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied()
}

/// Seconds that a process takes, and its peak of memory in bytes; 0 where the system does not tell.
fn timed(command: &mut Command) -> Result<(f64, f64), String> {
    let start = Instant::now();
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut child = child.map_err(|e| format!("cannot run {command:?}: {e}"))?;
    let status = PathBuf::from(format!("/proc/{}/status", child.id()));
    let mut peak = 0f64;
    loop {
        if let Some(done) = child.try_wait().map_err(|e| format!("{command:?}: {e}"))? {
            return if done.success() {
                Ok((start.elapsed().as_secs_f64(), peak))
            } else {
                Err(format!("{command:?} failed: {done}"))
            };
        }
        peak = peak.max(high_water(&status).unwrap_or(0.0));
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn high_water(status: &Path) -> Option<f64> {
    let text = fs::read_to_string(status).ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches("kB").trim().parse::<f64>().ok().map(|kb| kb * 1024.0)
}
