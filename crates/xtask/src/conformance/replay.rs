//! The conformance cases through the reference evaluator: inputs in, outputs compared with what is expected.
//!
//! Rules of comparison: `conformance/README.md` of the shared data. For information only.

use super::{in_parallel, open};
use anemone_formats::safetensors::SafeTensors;
use anemone_mil::eval::{self, Options};
use anemone_mil::interface::{ColorSpace, DefaultValue, Feature, FeatureKind, FunctionInterface};
use anemone_mil::{DType, Function, Literal, Name, Tensor, Type};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;

type Values = BTreeMap<Name, Literal>;

/// How close a case came.
#[derive(Clone, Debug, PartialEq)]
enum Verdict {
    Strict,
    Tolerance,
    Wrong(String),
    Error(String),
}

/// Replays every case and prints counts by suite.
///
/// # Errors
/// When there are no cases.
pub fn run(folder: &Path) -> Result<(), String> {
    let entries = fs::read_dir(folder).map_err(|e| format!("cannot list {}: {e}", folder.display()))?;
    let mut cases: Vec<_> = entries.filter_map(|e| Some(e.ok()?.path())).filter(|p| p.is_dir()).collect();
    cases.sort();
    let results: Mutex<Vec<(String, String, Verdict)>> = Mutex::default();
    in_parallel(&cases, |case| {
        let (suite, name, verdict) = replay(case);
        if let Ok(mut results) = results.lock() {
            results.push((suite, name, verdict));
        }
    });
    let mut results = results.into_inner().map_err(|e| e.to_string())?;
    results.sort_by(|a, b| a.1.cmp(&b.1));
    let mut suites: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
    let mut lines = Vec::new();
    for (suite, name, verdict) in &results {
        let counts = suites.entry(suite).or_default();
        match verdict {
            Verdict::Strict => counts[0] += 1,
            Verdict::Tolerance => counts[1] += 1,
            Verdict::Wrong(why) => (counts[2] += 1, lines.push(format!("wrong {name}: {why}"))).0,
            Verdict::Error(why) => (counts[3] += 1, lines.push(format!("error {name}: {why}"))).0,
        }
    }
    println!("\nreference evaluation (for information)");
    println!("{:<10} {:>7} {:>10} {:>7} {:>7}", "suite", "strict", "tolerance", "wrong", "error");
    for (suite, [strict, tolerance, wrong, error]) in &suites {
        println!("{suite:<10} {strict:>7} {tolerance:>10} {wrong:>7} {error:>7}");
    }
    let file = folder.with_file_name("replay.txt");
    fs::write(&file, lines.join("\n")).map_err(|e| format!("cannot write {}: {e}", file.display()))?;
    println!("{} cases, {} not within tolerance, listed in {}", results.len(), lines.len(), file.display());
    Ok(())
}

fn replay(case: &Path) -> (String, String, Verdict) {
    let meta = fs::read(case.join("meta.json")).ok().and_then(|b| serde_json::from_slice::<Value>(&b).ok());
    let meta = meta.unwrap_or_default();
    let text = |key: &str| meta[key].as_str().unwrap_or_default().to_string();
    let name = format!("{} {}", text("case"), text("test"));
    let verdict = steps(case, &meta).unwrap_or_else(Verdict::Error);
    (text("suite"), name, verdict)
}

/// Runs all steps of a case; the worst of them counts.
fn steps(case: &Path, meta: &Value) -> Result<Verdict, String> {
    let package = open(&case.join("model.mlpackage"), false)?;
    let program = &package.program;
    let function = match meta["function"].as_str() {
        Some(name) => program.function(name),
        None => program.default_function(),
    };
    let function = function.ok_or("no such function")?;
    let interface = program.interface.function(&function.name).ok_or("the function is not described")?;
    let mut states = Values::new();
    let mut worst = Verdict::Strict;
    for step in 0..meta["steps"].as_u64().unwrap_or(1) {
        let suffix = if step == 0 { String::new() } else { format!(".{step}") };
        let inputs =
            inputs(function, interface, &arrays(&case.join(format!("inputs{suffix}.safetensors")))?)?;
        if meta["stateful"] != true {
            states.clear();
        }
        let outputs =
            eval::run(function, &inputs, &mut states, &mut Options::default()).map_err(|e| e.to_string())?;
        let expected = arrays(&case.join(format!("expected{suffix}.safetensors")))?;
        match compare(interface, &outputs, &expected, meta)? {
            Verdict::Strict => {}
            Verdict::Tolerance => worst = Verdict::Tolerance,
            other => return Ok(other),
        }
    }
    Ok(worst)
}

pub(super) fn arrays(path: &Path) -> Result<BTreeMap<String, Tensor>, String> {
    if !path.exists() {
        return Ok(BTreeMap::new());
    }
    let bytes = fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(SafeTensors::read(&bytes.into()).map_err(|e| e.to_string())?.tensors)
}

/// What the function takes, from what the case gives under the features' names.
fn inputs(
    function: &Function,
    interface: &FunctionInterface,
    given: &BTreeMap<String, Tensor>,
) -> Result<Values, String> {
    let mut inputs = Values::new();
    for &id in &function.inputs {
        let value = function.value(id);
        let Type::Tensor(ty) = &value.ty else { continue };
        let feature = interface.inputs.iter().find(|f| f.name == *value.name);
        let tensor = match (given.get(&*value.name), feature) {
            (Some(t), Some(Feature { kind: FeatureKind::Image(image), .. })) => planes(t, image.color)?,
            (Some(t), _) => t.clone(),
            (None, Some(feature)) => left_out(feature).ok_or_else(|| format!("no input {}", value.name))?,
            (None, None) => return Err(format!("no input {}", value.name)),
        };
        let tensor = tensor.cast(ty.dtype);
        let tensor = if ty.rank() == 0 { tensor.reshaped([]).map_err(|e| e.to_string())? } else { tensor };
        inputs.insert(value.name.clone(), Literal::Tensor(tensor));
    }
    Ok(inputs)
}

/// An optional input that was not given.
fn left_out(feature: &Feature) -> Option<Tensor> {
    let FeatureKind::MultiArray(array) = &feature.kind else { return None };
    let value = match array.default.filter(|_| feature.optional)? {
        DefaultValue::Int(v) => f64::from(v),
        DefaultValue::Float(v) => f64::from(v),
        DefaultValue::Double(v) => v,
    };
    let shape: Vec<usize> = array.shape.iter().map(|&d| usize::try_from(d).ok()).collect::<Option<_>>()?;
    let values = vec![value; shape.iter().product()];
    Tensor::from_f64s(DType::F32, shape, &values).ok()
}

/// `[height, width, 3]` or `[height, width]` to `[1, channels, height, width]`.
fn planes(picture: &Tensor, color: ColorSpace) -> Result<Tensor, String> {
    let (height, width, channels) = match *picture.shape() {
        [height, width] => (height, width, 1),
        [height, width, channels] => (height, width, channels),
        _ => return Err(format!("a picture of shape {:?}", picture.shape())),
    };
    let values = picture.to_f64s();
    let mut out = vec![0.0; values.len()];
    for (at, &value) in values.iter().enumerate() {
        let (pixel, channel) = (at / channels, at % channels);
        let channel = if color == ColorSpace::Bgr { channels - 1 - channel } else { channel };
        out[channel * height * width + pixel] = value;
    }
    Tensor::from_f64s(DType::F32, [1, channels, height, width], &out).map_err(|e| e.to_string())
}

/// The other way, rounded to what a picture can hold.
fn picture(planes: &Tensor, color: ColorSpace) -> Result<Tensor, String> {
    let [1, channels, height, width] = *planes.shape() else {
        return Err(format!("a picture from shape {:?}", planes.shape()));
    };
    let values = planes.to_f64s();
    let mut out = vec![0.0; values.len()];
    for (at, slot) in out.iter_mut().enumerate() {
        let (pixel, channel) = (at / channels, at % channels);
        let channel = if color == ColorSpace::Bgr { channels - 1 - channel } else { channel };
        let value = values[channel * height * width + pixel];
        *slot = if color == ColorSpace::GrayscaleF16 { value } else { value.round().clamp(0.0, 255.0) };
    }
    let shape = if channels == 1 { vec![height, width] } else { vec![height, width, channels] };
    Tensor::from_f64s(DType::F32, shape, &out).map_err(|e| e.to_string())
}

fn compare(
    interface: &FunctionInterface,
    outputs: &Values,
    expected: &BTreeMap<String, Tensor>,
    meta: &Value,
) -> Result<Verdict, String> {
    let mut verdict = Verdict::Strict;
    for (name, wanted) in expected {
        let literal = outputs.get(name.as_str()).ok_or_else(|| format!("no output {name}"))?;
        let actual = literal.as_tensor().ok_or_else(|| format!("output {name} is no tensor"))?;
        let actual = match interface.outputs.iter().find(|f| f.name == *name) {
            Some(Feature { kind: FeatureKind::Image(image), .. }) => picture(actual, image.color)?,
            _ => actual.clone(),
        };
        let scalar = actual.rank() == 0 && wanted.len() == 1;
        if meta["compare_shapes"] == true && !scalar && actual.shape() != wanted.shape() {
            let why = format!("{name} has shape {:?}, expected {:?}", actual.shape(), wanted.shape());
            return Ok(Verdict::Wrong(why));
        }
        let allowed = meta["mismatch_ratio"].as_f64().unwrap_or(0.0);
        let (strict, _) = outside(&actual, wanted, &meta["strict"])?;
        let (tolerance, worst) = outside(&actual, wanted, &meta["tolerance"])?;
        if tolerance > allowed {
            return Ok(Verdict::Wrong(format!("{name}: {worst}")));
        }
        if strict > allowed {
            verdict = Verdict::Tolerance;
        }
    }
    for (name, label) in meta["labels"].as_object().into_iter().flatten() {
        let found = outputs.get(name.as_str()).ok_or_else(|| format!("no label {name}"))?;
        let same = match label {
            Value::String(text) => found.as_str() == Some(text),
            number => found.as_tensor().is_some_and(|t| t.len() == 1 && Some(t.f64_at(0)) == number.as_f64()),
        };
        if !same {
            return Ok(Verdict::Wrong(format!("{name} is {found:?}, expected {label}")));
        }
    }
    Ok(verdict)
}

/// The share of elements outside of a tolerance, and the worst of them in words.
pub(super) fn outside(
    actual: &Tensor,
    expected: &Tensor,
    tolerance: &Value,
) -> Result<(f64, String), String> {
    let limit = |key: &str| tolerance[key].as_f64().ok_or_else(|| format!("no {key}"));
    let (atol, rtol) = (limit("atol")?, limit("rtol")?);
    let (actual, expected) = (actual.to_f64s(), expected.to_f64s());
    if actual.is_empty() && expected.is_empty() {
        return Ok((0.0, String::new()));
    }
    if actual.len() != expected.len() && actual.len() != 1 {
        return Err(format!("{} elements, expected {}", actual.len(), expected.len()));
    }
    let (mut count, mut worst, mut words) = (0usize, 0.0, String::new());
    for (at, &wanted) in expected.iter().enumerate() {
        let found = actual[if actual.len() == 1 { 0 } else { at }];
        let same = found == wanted || found.is_nan() && wanted.is_nan();
        let gap = (found - wanted).abs();
        let within = same || gap <= atol + rtol * wanted.abs();
        if !within {
            count += 1;
            if words.is_empty() || gap > worst {
                (worst, words) = (gap, format!("element {at} is {found}, expected {wanted}"));
            }
        }
    }
    Ok((count as f64 / expected.len() as f64, words))
}
