//! Our side: an ONNX file becomes a session in `f32`, as `convert --precision fp32` would make it.

use super::models::Model;
use anemone_exec::{Options, Profiler, Session, StepInfo};
use anemone_formats::npy::read_npz;
use anemone_formats::onnx::ModelProto;
use anemone_formats::{Error, ErrorKind};
use anemone_import::onnx;
use anemone_mil::{DType, Level, Opset, Program, verify};
use anemone_model::{Features, Predict};
use anemone_passes::{canonicalize, legalize};
use anemone_tensor::Bytes;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

/// The program of a model, rewritten.
pub fn program(model: &Model) -> Result<Program, String> {
    let path = model.file()?;
    let bytes = anemone::files::map(&path).map_err(|e| e.to_string())?;
    let proto = ModelProto::read(&bytes).map_err(|e| e.to_string())?;
    let options = onnx::Options { opset: Opset::Ios18, shapes: model.shapes() };
    let mut imported = onnx::import(&proto, &options, &no_files).map_err(|e| e.to_string())?.program;
    for function in &mut imported.functions {
        canonicalize(function);
        legalize(function, DType::F32);
    }
    Ok(imported)
}

fn no_files(location: &str, _: usize, _: usize) -> Result<Bytes, Error> {
    Err(Error::new(ErrorKind::Missing, format!("no file {location}")))
}

/// A session that has planned.
pub fn session(program: &Program, threads: usize) -> Result<Session, String> {
    let verified = verify(program, Level::Canonical).map_err(|e| e.to_string())?;
    let function = verified.function(None).ok_or("no function")?;
    let mut session =
        Session::new(function, &Options { threads, ..Options::default() }).map_err(|e| e.to_string())?;
    session.prepare().map_err(|e| e.to_string())?;
    Ok(session)
}

/// Arrays that the script wrote.
pub fn arrays(path: &Path) -> Result<Features, String> {
    let bytes = anemone::files::map(path).map_err(|e| e.to_string())?;
    Ok(read_npz(&bytes).map_err(|e| e.to_string())?.into_iter().collect())
}

/// Milliseconds of `count` predictions after one that does not count.
pub fn times(session: &mut Session, inputs: &Features, count: usize) -> Result<Vec<f64>, String> {
    let mut one = || {
        let start = Instant::now();
        session.predict(inputs).map_err(|e| e.to_string())?;
        Ok(start.elapsed().as_secs_f64() * 1e3)
    };
    one()?;
    (0..count).map(|_| one()).collect()
}

/// In a process of its own: loads, runs once, and prints what that took.
pub fn fresh(model: &Model, inputs: &Path, threads: usize) -> Result<(), String> {
    let inputs = arrays(inputs)?;
    let idle = high_water()?;
    let start = Instant::now();
    let mut session = session(&program(model)?, threads)?;
    let load = start.elapsed().as_secs_f64() * 1e3;
    session.predict(&inputs).map_err(|e| e.to_string())?;
    let first = start.elapsed().as_secs_f64() * 1e3 - load;
    println!("{}", json!({"load": load, "first": first, "idle": idle, "peak": high_water()?}));
    Ok(())
}

/// Peak of resident memory of this process, in kilobytes.
fn high_water() -> Result<u64, String> {
    let status =
        std::fs::read_to_string("/proc/self/status").map_err(|e| format!("no memory figures here: {e}"))?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).ok_or("no VmHWM here")?;
    line.trim().trim_end_matches("kB").trim().parse().map_err(|e| format!("{line}: {e}"))
}

/// The shortest time of each step over several runs, in ms.
struct Best {
    steps: Vec<(String, f64)>,
    last: Instant,
}

impl Profiler for Best {
    fn start(&mut self) {
        self.last = Instant::now();
    }

    fn step(&mut self, step: usize, describe: &dyn Fn() -> StepInfo) {
        let spent = self.last.elapsed().as_secs_f64() * 1e3;
        match self.steps.get_mut(step) {
            Some(best) => best.1 = best.1.min(spent),
            None => self.steps.push((label(&describe()), spent)),
        }
        self.last = Instant::now();
    }
}

/// Kind, kernel, result shape and name of a step.
fn label(step: &StepInfo) -> String {
    let shape = step.results.first().map_or(&[][..], |(_, shape)| shape);
    format!("{} ({}) {shape:?} {}", step.kind, step.kernel, step.name)
}

/// Prints where the time of a prediction goes: kinds of op, and the slowest ops.
pub fn profile(model: &Model, threads: usize) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    super::theirs::Peer::start()?.open(model, folder.path(), &[(1, false)])?;
    let inputs = arrays(&folder.path().join("given.npz"))?;
    let mut session = session(&program(model)?, threads)?;
    let mut best = Best { steps: Vec::new(), last: Instant::now() };
    for _ in 0..30 {
        session.predict_profiled(&inputs, &mut best).map_err(|e| e.to_string())?;
    }
    let mut best = best.steps;
    let total: f64 = best.iter().map(|b| b.1).sum();
    let mut kinds: BTreeMap<&str, (f64, usize)> = BTreeMap::new();
    for (step, ms) in &best {
        let entry = kinds.entry(step.split(' ').next().unwrap_or("")).or_default();
        *entry = (entry.0 + ms, entry.1 + 1);
    }
    let mut kinds: Vec<_> = kinds.into_iter().collect();
    kinds.sort_by(|a, b| b.1.0.total_cmp(&a.1.0));
    println!("{}: {total:.3} ms in {} steps", model.name, best.len());
    for (kind, (ms, count)) in kinds.iter().take(14) {
        println!("  {ms:9.3} ms {:5.1} % {count:4} {kind}", 100.0 * ms / total);
    }
    best.sort_by(|a, b| b.1.total_cmp(&a.1));
    for (step, ms) in best.iter().take(30) {
        println!("    {ms:9.4} ms {step}");
    }
    Ok(())
}
