//! How much of ONNX is imported: ONNX's own backend tests, imported, run and compared.
//!
//! `[--data DIR] [--only TEXT] [--verbose] [--target ios18] [--write]`: `DIR` holds what
//! `python/dump_onnx_node_tests.py` writes, and is made when it is not given. `--only` runs the cases whose name
//! contains the text, `--verbose` prints every case that does not pass. Cases listed in `corpus/import/passing.txt`
//! must pass; `--write` renews that list and `docs/status-onnx.md`.
//!
//! `--models DIR [--only TEXT] [--verbose] [--target ios18]`: runs the cases of `DIR/index.json`, as
//! `python/record_models.py` writes them.

use crate::place::repository;
use crate::{Outcome, python};
use anemone::compare::{Tolerance, tensors};
use anemone_exec::Session;
use anemone_formats::onnx::{ModelProto, TensorProto};
use anemone_formats::safetensors::SafeTensors;
use anemone_import::onnx;
use anemone_mil::{Level, Opset, verify};
use anemone_model::{Features, Predict};
use anemone_tensor::{Bytes, DType, Tensor};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Relative tolerance of the backend tests; a case may ask for a wider one.
const RTOL: f64 = 1e-3;

/// Absolute tolerance of the backend tests.
const ATOL: f64 = 1e-5;

/// Share of the largest magnitude within which a model must agree with ONNX Runtime in `fp32`.
const MODEL_LIMIT: f64 = 1e-4;

const STATUS: &str = "docs/status-onnx.md";
const PASSING: &str = "corpus/import/passing.txt";
const SCRIPT: &str = "crates/xtask/python/dump_onnx_node_tests.py";

/// Runs the tests and prints a table.
///
/// # Errors
/// When the cases cannot be made or read.
pub fn run_task(args: &[String]) -> Result<Outcome, String> {
    let option = |name: &str| args.iter().position(|a| a == name).and_then(|i| args.get(i + 1));
    let flag = |name: &str| args.iter().any(|a| a == name);
    let opset = match option("--target") {
        Some(name) => Opset::from_name(name).ok_or_else(|| format!("unknown op set {name}"))?,
        None => Opset::Ios18,
    };
    let only = option("--only").map_or("", String::as_str);
    if let Some(dir) = option("--models") {
        return models(Path::new(dir), opset, only, flag("--verbose"));
    }
    let made;
    let data = match option("--data") {
        Some(dir) => PathBuf::from(dir),
        None => {
            made = dump()?;
            made.path().to_path_buf()
        }
    };
    let index = json(&data.join("index.json"))?;
    let report = judge_all(&data, &index, opset, only, flag("--verbose"))?;
    print!("{}", report.text());
    if flag("--write") {
        let version = index["onnx"].as_str().unwrap_or("?");
        write(STATUS, &report.markdown(version))?;
        write(PASSING, &(report.passing.join("\n") + "\n"))?;
        return Ok(Outcome::Clean);
    }
    // The list is that of the newest op set.
    if opset == Opset::Ios18 { report.compare(only) } else { Ok(Outcome::Clean) }
}

fn judge_all(data: &Path, index: &Value, opset: Opset, only: &str, verbose: bool) -> Result<Report, String> {
    let cases = index["cases"].as_array().ok_or("index.json has no cases")?;
    // A panic is a failure of its case; its message would only be noise here.
    std::panic::set_hook(Box::new(|_| {}));
    let mut report = Report::default();
    for case in cases {
        let (name, op) = (text(case, "name")?, text(case, "op")?);
        if !name.contains(only) {
            continue;
        }
        let verdict = judge(&data.join(name), opset, case);
        match &verdict {
            Verdict::Fail(why) if verbose => println!("{name} ({op}) differs: {why}"),
            Verdict::Unsupported(why) if verbose => println!("{name} ({op}) refused: {why}"),
            _ => {}
        }
        report.add(name, op, &verdict);
    }
    let _ = std::panic::take_hook();
    Ok(report)
}

fn write(path: &str, text: &str) -> Result<(), String> {
    fs::write(repository().join(path), text).map_err(|e| format!("{path}: {e}"))
}

fn json(path: &Path) -> Result<Value, String> {
    let bytes = fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    serde_json::from_slice(&bytes).map_err(|e| format!("{}: {e}", path.display()))
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str, String> {
    value[key].as_str().ok_or_else(|| format!("a case has no `{key}`"))
}

fn dump() -> Result<tempfile::TempDir, String> {
    let dir = tempfile::tempdir().map_err(|e| format!("cannot make a temporary folder: {e}"))?;
    let status = python::script(SCRIPT)?.arg(dir.path()).stdout(std::process::Stdio::null()).status();
    match status {
        Ok(status) if status.success() => Ok(dir),
        Ok(status) => Err(format!("{SCRIPT} failed: {status}")),
        Err(e) => Err(format!("{SCRIPT} cannot run: {e}")),
    }
}

/// How a case ended.
enum Verdict {
    /// As ONNX says, its operands computed at run time.
    Pass,
    /// As ONNX says, when its operands but the first, or all of them, are constant.
    PassConstant,
    /// Imported, but something else came out.
    Fail(String),
    /// Refused by the importer.
    Unsupported(String),
}

/// One case, its operands as inputs first, then as constants, as real models have them.
fn judge(folder: &Path, opset: Opset, case: &Value) -> Verdict {
    if case["tensors"] == false {
        return Verdict::Unsupported("sequences and optional values are not supported".into());
    }
    let tolerance = Tolerance {
        rtol: case["rtol"].as_f64().unwrap_or(RTOL).max(RTOL),
        atol: case["atol"].as_f64().unwrap_or(ATOL).max(ATOL),
    };
    let attempt = |constants| {
        let run = AssertUnwindSafe(|| node_case(folder, opset, tolerance, constants));
        catch_unwind(run).unwrap_or_else(|_| Verdict::Fail("panicked".into()))
    };
    let first = attempt(Constants::None);
    if !matches!(first, Verdict::Unsupported(_)) {
        return first;
    }
    for constants in [Constants::ButFirst, Constants::All] {
        match attempt(constants) {
            Verdict::Pass => return Verdict::PassConstant,
            Verdict::Fail(why) => return Verdict::Fail(why),
            _ => {}
        }
    }
    first
}

#[derive(Clone, Copy, PartialEq)]
enum Constants {
    None,
    ButFirst,
    All,
}

fn node_case(folder: &Path, opset: Opset, tolerance: Tolerance, constants: Constants) -> Verdict {
    let loaded = load(folder, constants);
    let (model, inputs, expected) = match loaded {
        Ok(loaded) => loaded,
        Err(e) => return Verdict::Unsupported(e),
    };
    let shapes = inputs.iter().map(|(n, t)| (n.clone(), t.shape().to_vec())).collect();
    let outputs = match outputs(&model, opset, shapes, &inputs) {
        Ok(outputs) => outputs,
        Err(verdict) => return verdict,
    };
    for ((name, actual), wanted) in outputs.iter().zip(&expected) {
        let actual = if actual.rank() == 1 && wanted.rank() == 0 {
            actual.reshaped([]).unwrap_or(actual.clone())
        } else {
            actual.clone()
        };
        let d = tensors(name, &actual, wanted, tolerance);
        if !d.passes() {
            let what = d.mismatch.unwrap_or_else(|| {
                format!(
                    "{} of {} elements differ by up to {:.3e}: {:?}",
                    d.failures,
                    d.elements,
                    d.max_error,
                    d.worst.first()
                )
            });
            return Verdict::Fail(format!("{name}: {what}"));
        }
    }
    Verdict::Pass
}

type Named = Vec<(String, Tensor)>;

/// The model with some of its inputs made constants, the inputs that are left, and the outputs expected.
fn load(folder: &Path, constants: Constants) -> Result<(ModelProto, Named, Vec<Tensor>), String> {
    let read = |name: String| fs::read(folder.join(name)).map(Bytes::from).map_err(|e| e.to_string());
    let mut model = ModelProto::read(&read("model.onnx".into())?).map_err(|e| e.to_string())?;
    let graph = model.graph.as_mut().ok_or("no graph")?;
    let tensor = |name: String| {
        let proto = TensorProto::read(&read(name)?).map_err(|e| e.to_string())?;
        let dense = proto.to_tensor(&no_files).map_err(|e| e.to_string())?;
        Ok::<_, String>((proto, dense))
    };
    let mut inputs = Vec::new();
    let names: Vec<String> = graph.input.iter().map(|i| i.name.clone()).collect();
    for (i, name) in names.into_iter().enumerate() {
        if !folder.join(format!("input_{i}.pb")).exists() {
            continue;
        }
        let (mut proto, dense) = tensor(format!("input_{i}.pb"))?;
        if constants == Constants::All || constants == Constants::ButFirst && i > 0 {
            proto.name = name;
            graph.initializer.push(proto);
        } else {
            inputs.push((name, dense));
        }
    }
    let outputs = (0..graph.output.len()).map(|i| tensor(format!("output_{i}.pb")).map(|t| t.1));
    let outputs = outputs.collect::<Result<_, _>>()?;
    Ok((model, inputs, outputs))
}

fn no_files(location: &str, _: usize, _: usize) -> Result<Bytes, anemone_formats::Error> {
    let kind = anemone_formats::ErrorKind::Missing;
    Err(anemone_formats::Error::new(kind, format!("no file {location}")))
}

/// Imports and runs a model; outputs in the order of the graph.
fn outputs(
    model: &ModelProto,
    opset: Opset,
    shapes: Vec<(String, Vec<usize>)>,
    inputs: &Named,
) -> Result<Named, Verdict> {
    let options = onnx::Options { opset, shapes };
    let imported =
        onnx::import(model, &options, &no_files).map_err(|e| Verdict::Unsupported(e.to_string()))?;
    let program = imported.program;
    let verified = verify(&program, Level::Canonical);
    let verified = verified.map_err(|e| Verdict::Fail(format!("does not verify: {e}")))?;
    let failed = |e: anemone_model::PredictError| Verdict::Fail(e.to_string());
    let function = verified.function(None).ok_or_else(|| Verdict::Fail("no function".into()))?;
    let mut session =
        Session::new(function, &anemone_exec::Options { threads: 1, ..anemone_exec::Options::default() })
            .map_err(failed)?;
    let ports = session.inputs().iter().map(|p| p.name.clone());
    let given: Features = ports.zip(inputs.iter().map(|(_, t)| wide(t))).collect();
    let found = session.predict(&given).map_err(failed)?;
    let named = |(n, f): (&str, &anemone_model::Feature)| f.tensor().map(|t| (n.to_owned(), t.clone()));
    Ok(found.iter().filter_map(named).collect())
}

/// In a type that a program's inputs have.
fn wide(t: &Tensor) -> Tensor {
    let t = &if t.rank() == 0 { t.reshaped([1]).unwrap_or_else(|_| t.clone()) } else { t.clone() };
    match t.dtype() {
        d if d.is_int() || d == DType::Bool => t.cast(DType::I32),
        DType::F64 | DType::Bf16 | DType::F8E4M3 | DType::F8E5M2 => t.cast(DType::F32),
        _ => t.clone(),
    }
}

fn models(dir: &Path, opset: Opset, only: &str, verbose: bool) -> Result<Outcome, String> {
    let index = json(&dir.join("index.json"))?;
    let mut failed = Vec::new();
    for case in index.as_array().ok_or("index.json is no list")? {
        let name = text(case, "name")?;
        if !name.contains(only) {
            continue;
        }
        match model_case(dir, opset, case, verbose) {
            Ok(worst) => {
                println!("{name}: largest error {worst:.2e} of the largest magnitude");
                if worst > MODEL_LIMIT {
                    failed.push(name);
                }
            }
            Err(why) => {
                let lines = if verbose { usize::MAX } else { 12 };
                let shown: Vec<&str> = why.lines().take(lines).collect();
                println!("{name}: {}", shown.join("\n  "));
                failed.push(name);
            }
        }
    }
    if failed.is_empty() {
        return Ok(Outcome::Clean);
    }
    println!("models that do not agree: {}", failed.join(", "));
    Ok(Outcome::Findings)
}

/// Largest error over the largest magnitude of the worst output.
fn model_case(dir: &Path, opset: Opset, case: &Value, verbose: bool) -> Result<f64, String> {
    let read = |key: &str| {
        let path = dir.join(text(case, key)?);
        fs::read(&path).map(Bytes::from).map_err(|e| format!("{}: {e}", path.display()))
    };
    let arrays = |key: &str| SafeTensors::read(&read(key)?).map_err(|e| e.to_string());
    let model = ModelProto::read(&read("model")?).map_err(|e| e.to_string())?;
    let shapes: BTreeMap<String, Vec<usize>> =
        serde_json::from_value(case["shapes"].clone()).map_err(|e| e.to_string())?;
    let options = onnx::Options { opset, shapes: shapes.into_iter().collect() };
    let imported = onnx::import(&model, &options, &no_files).map_err(|e| e.to_string())?;
    let verified = verify(&imported.program, Level::Canonical).map_err(|e| e.to_string())?;
    let function = verified.function(None).ok_or("no function")?;
    let mut session =
        Session::new(function, &anemone_exec::Options { threads: 2, ..anemone_exec::Options::default() })
            .map_err(|e| e.to_string())?;
    let given: Features = arrays("inputs")?.tensors.into_iter().collect();
    let found = session.predict(&given).map_err(|e| e.to_string())?;
    let mut worst = 0.0f64;
    for (name, wanted) in arrays("expected")?.tensors {
        let Some(actual) = found.tensor(&name) else { return Err(format!("no output `{name}`")) };
        let d = tensors(&name, actual, &wanted, Tolerance { atol: 0.0, rtol: 0.0 });
        if let Some(what) = d.mismatch {
            return Err(format!("{name}: {what}"));
        }
        if verbose {
            println!("  {name}: {:.2e}", d.relative);
        }
        worst = worst.max(if d.relative.is_nan() { f64::INFINITY } else { d.relative });
    }
    Ok(worst)
}

/// Cases of one operator by how they ended.
#[derive(Clone, Copy, Default)]
struct Tally {
    pass: usize,
    constant: usize,
    fail: usize,
    unsupported: usize,
}

impl Tally {
    fn cases(self) -> usize {
        self.pass + self.constant + self.fail + self.unsupported
    }
}

#[derive(Default)]
struct Report {
    operators: BTreeMap<String, Tally>,
    /// Names of the cases that pass.
    passing: Vec<String>,
}

impl Report {
    fn add(&mut self, name: &str, op: &str, verdict: &Verdict) {
        let tally = self.operators.entry(op.to_owned()).or_default();
        match verdict {
            Verdict::Pass => tally.pass += 1,
            Verdict::PassConstant => tally.constant += 1,
            Verdict::Fail(_) => tally.fail += 1,
            Verdict::Unsupported(_) => tally.unsupported += 1,
        }
        if matches!(verdict, Verdict::Pass | Verdict::PassConstant) {
            self.passing.push(name.to_owned());
        }
    }

    /// Names what passed before and does not pass now.
    fn compare(&self, only: &str) -> Result<Outcome, String> {
        let path = repository().join(PASSING);
        let listed = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let lost: Vec<&str> = listed
            .lines()
            .filter(|name| name.contains(only) && !self.passing.iter().any(|p| p == name))
            .collect();
        if lost.is_empty() {
            return Ok(Outcome::Clean);
        }
        println!("{} cases of {PASSING} do not pass any more:\n{}", lost.len(), lost.join("\n"));
        Ok(Outcome::Findings)
    }

    fn total(&self) -> Tally {
        let add = |a: Tally, b: &Tally| Tally {
            pass: a.pass + b.pass,
            constant: a.constant + b.constant,
            fail: a.fail + b.fail,
            unsupported: a.unsupported + b.unsupported,
        };
        self.operators.values().fold(Tally::default(), add)
    }

    fn text(&self) -> String {
        let row = |name: &str, t: &Tally| {
            format!(
                "{name:<32} {:>6} {:>6} {:>9} {:>6} {:>12}\n",
                t.cases(),
                t.pass,
                t.constant,
                t.fail,
                t.unsupported
            )
        };
        let mut out = format!(
            "{:<32} {:>6} {:>6} {:>9} {:>6} {:>12}\n",
            "operator", "cases", "pass", "constant", "fail", "unsupported"
        );
        self.operators.iter().for_each(|(name, t)| out += &row(name, t));
        out + &row("all", &self.total())
    }

    fn markdown(&self, version: &str) -> String {
        let t = self.total();
        let mut out = format!(
            "# ONNX operators\n\n\
             Made by `cargo xtask onnx-backend --write` from the {} node tests of onnx {version}.\n\
             {} cases pass with their operands as inputs, {} more when the operands that MIL wants constant are constant, \
             {} give something else, {} are refused with a message.\n\
             A case passes when every element is within {RTOL} of the expected one relative to it, plus {ATOL}.\n\n\
             | operator | cases | pass | pass with constants | differ | refused |\n|---|--:|--:|--:|--:|--:|\n",
            t.cases(),
            t.pass,
            t.constant,
            t.fail,
            t.unsupported
        );
        for (name, t) in &self.operators {
            out += &format!(
                "| {name} | {} | {} | {} | {} | {} |\n",
                t.cases(),
                t.pass,
                t.constant,
                t.fail,
                t.unsupported
            );
        }
        out
    }
}
