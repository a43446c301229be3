//! Plans in JSON: lists of ops are looked for wherever they stand.

use super::{
    ComputePlan, ComputePlans, FORMAT, Layout, PlannedOp, Processor, bare, is_data, is_nothing, wrong,
};
use crate::{Error, ErrorKind};
use serde_json::{Map, Value};
use std::collections::HashMap;

type Object = Map<String, Value>;

const OPERATOR: &[&str] = &[
    "operator",
    "operator_name",
    "operatorName",
    "operator_type",
    "operatorType",
    "op",
    "op_type",
    "opType",
    "type",
    "kind",
    "coreml_type",
];
const NAME: &[&str] =
    &["output", "outputs", "output_name", "output_names", "outputName", "outputNames", "identity", "name"];
const PREFERRED: &[&str] = &[
    "preferred",
    "preferred_device",
    "preferredDevice",
    "preferred_compute_device",
    "preferredComputeDevice",
    "preferred_unit",
    "compute_device",
    "device",
];
const SUPPORTED: &[&str] = &[
    "supported",
    "supported_devices",
    "supportedDevices",
    "supported_compute_devices",
    "supportedComputeDevices",
    "supported_units",
];
const COST: &[&str] = &[
    "cost",
    "cost_share",
    "cost_weight",
    "costWeight",
    "weight",
    "estimated_cost",
    "estimatedCost",
    "estimated_cost_weight",
    "estimatedCostWeight",
];
const MODEL: &[&str] = &["model", "id", "component", "graph", "package", "model_name", "modelName"];
const FUNCTION: &[&str] = &["function", "function_name", "functionName"];
const UNITS: &[&str] = &["compute_units", "computeUnits", "units", "compute_unit"];
const CHIP: &[&str] = &["chip", "device_chip", "soc"];
const OS: &[&str] = &["os", "macos", "os_version", "osVersion"];
/// Keys of reports that count ops instead of listing them.
const COUNTS: &[&str] = &[
    "by_count",
    "by_count_fraction",
    "by_cost_fraction",
    "preferred_counts",
    "preferred_operation_counts",
    "totals",
];

/// Most plans that are read.
pub(super) const MAX_PLANS: usize = 4096;

/// Most ops that are read.
const MAX_OPS: usize = 1 << 20;

pub(super) fn read(bytes: &[u8]) -> Result<ComputePlans, Error> {
    let mut found = Found::default();
    let layout = match serde_json::from_slice::<Value>(bytes) {
        Ok(value) => one(&value, &mut found)?,
        Err(whole) => lines(bytes, &whole, &mut found)?,
    };
    if found.plans.is_empty() {
        let cause = if found.counts {
            "counts ops, but does not list them; write one object per op with its operator and its preferred unit"
        } else {
            "has no list of ops; expected objects with an operator (`operator`, `operatorName`, `op_type`, …) and a unit \
             (`preferred`, `preferredDevice`, `preferred_compute_device`, …)"
        };
        return Err(wrong(ErrorKind::Missing, cause));
    }
    let notes =
        if found.data > 0 { vec![format!("{} constants are left out.", found.data)] } else { Vec::new() };
    Ok(ComputePlans { layout, plans: found.plans, notes })
}

/// What was found so far.
#[derive(Default)]
struct Found {
    plans: Vec<ComputePlan>,
    ops: usize,
    data: usize,
    counts: bool,
    remote: bool,
}

/// What enclosing objects say of the plans below.
#[derive(Clone, Default)]
struct Around {
    name: String,
    function: String,
    units: String,
    chip: String,
    os: String,
}

fn one(value: &Value, found: &mut Found) -> Result<Layout, Error> {
    let schema = value.get("schema").and_then(Value::as_str);
    match schema {
        Some("anemone.bench/1") => return bench(value, found).map(|()| Layout::OwnBench),
        Some("anemone.plan/1") | None => {}
        Some(s) if !s.starts_with("anemone.") => {}
        Some(other) => {
            let cause = format!(
                "is of schema {other}, which holds no trace; expected anemone.plan/1 or anemone.bench/1"
            );
            return Err(wrong(ErrorKind::Unsupported, cause));
        }
    }
    walk(value, &Around::default(), found).map_err(|e| e.format(FORMAT))?;
    Ok(match schema {
        Some("anemone.plan/1") => Layout::OwnPlan,
        _ if found.remote => Layout::Remote,
        _ => Layout::Json,
    })
}

/// One object a line.
fn lines(bytes: &[u8], whole: &serde_json::Error, found: &mut Found) -> Result<Layout, Error> {
    let malformed = |e: &serde_json::Error, line: usize| {
        let kind = if e.is_eof() { ErrorKind::Truncated } else { ErrorKind::Malformed };
        wrong(kind, format!("is no JSON: {e}").replace(" at line 1 column", " at column"))
            .within(&format!("line {line}"))
    };
    let full = |(_, l): &(usize, &[u8])| !l.trim_ascii().is_empty();
    let numbered = bytes.split(|&b| b == b'\n').enumerate().filter(full);
    for (read, (i, line)) in numbered.enumerate() {
        match serde_json::from_slice::<Value>(line) {
            Ok(value) => walk(&value, &Around::default(), found)
                .map_err(|e| e.within(&format!("line {}", i + 1)).format(FORMAT))?,
            Err(_) if read == 0 => return Err(malformed(whole, whole.line())),
            Err(e) => return Err(malformed(&e, i + 1)),
        }
    }
    Ok(Layout::Lines)
}

/// The first value of an object under any of these keys, and the key.
fn any<'v, 'k>(object: &'v Object, keys: &[&'k str]) -> Option<(&'k str, &'v Value)> {
    keys.iter().find_map(|k| object.get(*k).map(|v| (*k, v)))
}

/// Longest name that is kept, in characters.
const MAX_NAME: usize = 256;

fn text(object: &Object, keys: &[&str]) -> Option<String> {
    let mut texts = keys.iter().filter_map(|k| object.get(*k)?.as_str());
    texts.next().map(|t| t.chars().take(MAX_NAME).collect())
}

fn is_op(value: &Value) -> bool {
    let Some(object) = value.as_object() else { return false };
    let placed = PREFERRED.iter().chain(SUPPORTED).any(|k| object.contains_key(*k));
    let named = OPERATOR.iter().chain(NAME).any(|k| object.contains_key(*k));
    (placed && named)
        || (object.get("deviceUsage").is_some_and(Value::is_object) && object.contains_key("path"))
}

fn walk(value: &Value, around: &Around, found: &mut Found) -> Result<(), Error> {
    match value {
        Value::Object(object) => {
            let here = around.with(object);
            found.counts |= COUNTS.iter().any(|k| object.contains_key(*k));
            if object.len() > 1 && object.values().all(is_op)
                || object.len() == 1 && object.values().all(|v| is_op(v) && v.get("deviceUsage").is_some())
            {
                let ops = object.iter().map(|(k, v)| (format!("[{k:?}]"), v));
                return plan(ops, &here, found);
            }
            object.iter().try_for_each(|(key, value)| {
                let found = if is_units(key) {
                    walk(value, &Around { units: key.clone(), ..here.clone() }, found)
                } else {
                    walk(value, &here, found)
                };
                found.map_err(|e| e.within(key))
            })
        }
        Value::Array(items) if items.iter().any(is_op) => {
            plan(items.iter().enumerate().map(|(i, v)| (format!("[{i}]"), v)), around, found)
        }
        Value::Array(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(i, v)| walk(v, around, found).map_err(|e| e.within(&format!("[{i}]")))),
        _ => Ok(()),
    }
}

/// True for names of settings, which some tools use as keys.
fn is_units(key: &str) -> bool {
    let plain: String = key.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
    matches!(&*plain, "all" | "cpuandne" | "cpuandneuralengine" | "cpuandgpu" | "cpuonly")
}

impl Around {
    fn with(&self, object: &Object) -> Around {
        let or = |keys, old: &String| text(object, keys).unwrap_or_else(|| old.clone());
        Around {
            name: or(MODEL, &self.name),
            function: or(FUNCTION, &self.function),
            units: or(UNITS, &self.units),
            chip: or(CHIP, &self.chip),
            os: or(OS, &self.os),
        }
    }
}

/// The plans of a list of ops: one for each function that the ops name.
fn plan<'v>(
    ops: impl Iterator<Item = (String, &'v Value)>,
    around: &Around,
    found: &mut Found,
) -> Result<(), Error> {
    let mut of: HashMap<String, usize> = HashMap::new();
    for (step, value) in ops {
        let Some(object) = value.as_object() else {
            return Err(
                wrong(ErrorKind::Malformed, "is no object, but the others in the list are ops").within(&step)
            );
        };
        let op = op(object, found).map_err(|e| e.within(&step))?;
        found.ops += 1;
        if found.ops > MAX_OPS {
            return Err(wrong(ErrorKind::TooLarge, format!("more than {MAX_OPS} ops")).within(&step));
        }
        if is_data(&op.kind) || (op.preferred.is_none() && op.supported.is_empty() && op.share.is_none()) {
            found.data += 1;
            continue;
        }
        let function = text(object, FUNCTION).unwrap_or_else(|| around.function.clone());
        let at = match of.get(&function) {
            Some(&at) => at,
            None => {
                if found.plans.len() >= MAX_PLANS {
                    return Err(
                        wrong(ErrorKind::TooLarge, format!("more than {MAX_PLANS} plans")).within(&step)
                    );
                }
                let Around { name, units, chip, os, .. } = around.clone();
                of.insert(function.clone(), found.plans.len());
                found.plans.push(ComputePlan { name, function, units, chip, os, ops: Vec::new() });
                found.plans.len() - 1
            }
        };
        found.plans[at].ops.push(op);
    }
    Ok(())
}

fn op(object: &Object, found: &mut Found) -> Result<PlannedOp, Error> {
    if let Some(usage) = object.get("deviceUsage").and_then(Value::as_object) {
        found.remote = true;
        let mut op = placed(usage).map_err(|e| e.within("deviceUsage"))?;
        op.share = share(object)?;
        op.name = object.get("path").and_then(last_name).unwrap_or_default();
        return Ok(op);
    }
    let mut op = placed(object)?;
    let ours = object.contains_key("index") && object.contains_key("type");
    op.kind = text(object, if ours { &["type"] } else { OPERATOR }).map(|k| bare(&k)).unwrap_or_default();
    op.name = name(object);
    op.share = share(object)?;
    if let Some((key, ms)) = any(object, &["estimated_ms"]) {
        op.estimates =
            numbers(ms).ok_or_else(|| must(ms, "an object with a number for each backend").within(key))?;
    }
    if let Some(why) = text(object, &["reason", "fallbackReason", "validation_message", "message"]) {
        op.messages.push((String::new(), why));
    }
    Ok(op)
}

/// Preferred and supported units.
fn placed(object: &Object) -> Result<PlannedOp, Error> {
    let mut op = PlannedOp::default();
    if let Some((key, value)) = any(object, PREFERRED) {
        op.preferred = processor(value).map_err(|e| e.within(key))?;
    }
    let Some((key, value)) = any(object, SUPPORTED) else { return Ok(op) };
    let each: Vec<Value> = match value {
        Value::Array(items) => items.clone(),
        Value::String(text) => {
            text.split([',', '|', ' ']).filter(|t| !t.is_empty()).map(Value::from).collect()
        }
        Value::Null => Vec::new(),
        other => return Err(must(other, "a list of units").within(key)),
    };
    for (i, unit) in each.iter().enumerate() {
        let unit = processor(unit).map_err(|e| e.within(&format!("[{i}]")).within(key))?;
        op.supported.extend(unit.filter(|u| !op.supported.contains(u)));
    }
    Ok(op)
}

fn must(value: &Value, expected: &str) -> Error {
    let shown = value.to_string();
    let shown: String = shown.chars().take(40).collect();
    wrong(ErrorKind::Malformed, format!("is {shown}, but must be {expected}"))
}

/// A unit: its name, or an object whose only key is its name.
fn processor(value: &Value) -> Result<Option<Processor>, Error> {
    let name = match value {
        Value::Null => return Ok(None),
        Value::String(text) => text,
        Value::Object(object) if object.len() == 1 => object.keys().next().map_or("", String::as_str),
        other => return Err(must(other, "the name of a unit: CPU, GPU or ANE")),
    };
    if is_nothing(name) {
        return Ok(None);
    }
    Processor::named(name).map(Some).ok_or_else(|| must(value, "the name of a unit: CPU, GPU or ANE"))
}

fn share(object: &Object) -> Result<Option<f64>, Error> {
    let Some((key, value)) = any(object, COST) else { return Ok(None) };
    let expected = "a part of the whole cost, 0 to 1";
    match value {
        Value::Null => Ok(None),
        Value::Number(n) => {
            let share = n.as_f64().filter(|v| (0.0..=1.0 + 1e-9).contains(v));
            share.map(Some).ok_or_else(|| must(value, expected).within(key))
        }
        Value::Object(inner) if inner.get("weight").is_some_and(Value::is_number) => {
            share(inner).map_err(|e| e.within(key))
        }
        other => Err(must(other, expected).within(key)),
    }
}

fn name(object: &Object) -> String {
    let Some((_, value)) = any(object, NAME) else { return String::new() };
    let first = |text: &str| text.split(',').next().unwrap_or_default().trim().to_owned();
    match value {
        Value::String(text) => first(text),
        Value::Array(items) => items.first().and_then(Value::as_str).map(str::to_owned).unwrap_or_default(),
        _ => String::new(),
    }
}

/// Name of the op that a path of coremltools ends with.
fn last_name(path: &Value) -> Option<String> {
    let components = path.get("components").unwrap_or(path).as_array()?;
    let data = components.last()?.get("programOperation")?.get("data")?;
    data.get("outputName")?.as_str().map(str::to_owned)
}

fn numbers(value: &Value) -> Option<Vec<(String, f64)>> {
    value.as_object()?.iter().map(|(k, v)| Some((k.clone(), v.as_f64()?))).collect()
}

/// Measured steps of `anemone.bench/1`: all of them on the CPU.
fn bench(value: &Value, found: &mut Found) -> Result<(), Error> {
    let missing = |what: &str| wrong(ErrorKind::Missing, format!("has no {what}"));
    let models = value.get("models").and_then(Value::as_array).ok_or_else(|| missing("`models`, a list"))?;
    for (i, model) in models.iter().enumerate() {
        let at = |e: Error| e.within(&format!("models[{i}]"));
        let steps = model.get("profile").and_then(|p| p.get("steps")).and_then(Value::as_array);
        let steps = steps.ok_or_else(|| at(missing("`profile.steps`, a list")))?;
        let word = |key| model.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut plan =
            ComputePlan { name: word("package"), function: word("function"), ..ComputePlan::default() };
        for (j, step) in steps.iter().enumerate().take(MAX_OPS) {
            let op = measured(step).map_err(|e| at(e.within(&format!("profile.steps[{j}]"))))?;
            plan.ops.push(op);
        }
        plan.units = "CPU_ONLY".to_owned();
        found.plans.extend((!plan.ops.is_empty()).then_some(plan));
    }
    Ok(())
}

fn measured(step: &Value) -> Result<PlannedOp, Error> {
    let word = |key: &str| step.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let time = step.get("time_ms").unwrap_or(&Value::Null);
    let ms =
        time.as_f64().filter(|v| *v >= 0.0).ok_or_else(|| must(time, "a time in ms").within("time_ms"))?;
    let fused = step.get("fused").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    Ok(PlannedOp {
        kind: word("kind"),
        name: word("name"),
        preferred: Some(Processor::Cpu),
        share: step.get("share").and_then(Value::as_f64).filter(|v| (0.0..=1.0).contains(v)),
        measured_ms: Some(ms),
        fused: fused.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        ..PlannedOp::default()
    })
}
