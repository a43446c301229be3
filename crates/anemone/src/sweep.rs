//! Sweeps: one figure of a simulation after another while one thing changes.

use crate::extents::{Allowed, Axis, axes, fed_bytes, with_extents};
use crate::open::{open_to_look, verified};
use crate::simulate::priced;
use crate::{Error, ErrorKind, SimulateOptions, Simulated, simulated};
use anemone_ane::simulate::Interval;
use anemone_ane::{Device, Unit};
use anemone_mil::{Function, Program};
use anemone_tensor::num::f64_of_usize;
use std::path::Path;
use std::sync::Arc;

/// Most points of a sweep.
const MOST: usize = 64;

/// What changes from point to point, and to what: `context=512..32768`, `batch=1,4,16`, `device=all`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SweepSpec {
    /// `device`, `batch`, `context`, a dim's name, an input, or an input and an axis (`tokens.1`).
    pub name: String,
    /// The values.
    pub values: SweepValues,
}

/// Values of a sweep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SweepValues {
    /// Every known device.
    All,
    /// Names of devices.
    Names(Vec<String>),
    /// Numbers, ascending.
    Numbers(Vec<usize>),
}

impl SweepSpec {
    /// Reads `NAME=VALUES`. Values are `a..b` (doubling from `a`), `a..b:step`, a list with commas, or `all`.
    ///
    /// # Errors
    /// When it has no `=`, values are no numbers from 1 on in ascending order, or there are more than 64.
    pub fn read(text: &str) -> Result<SweepSpec, Error> {
        let wrong = |what: String| Error::new(format!("sweep `{text}`: {what}"));
        let (name, values) = text
            .split_once('=')
            .filter(|(n, v)| !n.trim().is_empty() && !v.trim().is_empty())
            .ok_or_else(|| wrong("must be NAME=VALUES, such as context=512..32768 or device=all".into()))?;
        let (name, values) = (name.trim().to_owned(), values.trim());
        if name == "device" {
            let names = values.split(',').map(|v| v.trim().to_owned()).collect();
            let values = if values == "all" { SweepValues::All } else { SweepValues::Names(names) };
            return Ok(SweepSpec { name, values });
        }
        let numbers = numbers(values).map_err(wrong)?;
        if numbers.len() > MOST {
            return Err(wrong(format!("has {} points, but {MOST} are the most", numbers.len())));
        }
        Ok(SweepSpec { name, values: SweepValues::Numbers(numbers) })
    }
}

fn number(text: &str) -> Result<usize, String> {
    let found = text.trim().parse().ok().filter(|n| (1..=1 << 30).contains(n));
    found.ok_or_else(|| format!("`{}` is no whole number from 1 to {}", text.trim(), 1 << 30))
}

fn numbers(text: &str) -> Result<Vec<usize>, String> {
    let Some((from, rest)) = text.split_once("..") else {
        let all = text.split(',').map(number).collect::<Result<Vec<usize>, String>>()?;
        let ascending = all.windows(2).all(|w| w[0] < w[1]);
        return if ascending { Ok(all) } else { Err("values must be ascending".into()) };
    };
    let (to, step) = match rest.split_once(':') {
        Some((to, step)) => (to, Some(number(step)?)),
        None => (rest, None),
    };
    let (from, to) = (number(from)?, number(to)?);
    if from > to {
        return Err(format!("{from} is above {to}; write the smaller end first"));
    }
    let next = |n: &usize| Some(step.map_or(n * 2, |s| n + s)).filter(|n| *n < to);
    // One more than is allowed is enough to refuse it.
    let mut all: Vec<usize> = std::iter::successors(Some(from), next).take(MOST + 1).collect();
    if all.last() != Some(&to) {
        all.push(to);
    }
    Ok(all)
}

/// One point of a sweep.
#[derive(Clone, Debug)]
pub struct SweepPoint {
    /// The value, as people write it.
    pub label: String,
    /// The value when it is a number.
    pub value: Option<f64>,
    /// One warm call.
    pub latency: Interval,
    /// Items per second.
    pub per_second: f64,
    /// Part of the ops on the ANE, 0 to 1.
    pub on_ane: f64,
    /// Part of the time on the ANE, 0 to 1.
    pub on_ane_time: f64,
    /// Changes of unit.
    pub crossings: usize,
    /// Bytes of weights, states and inputs.
    pub bytes: u64,
    /// Why ops are off the ANE, most frequent reason first; `None` when none is.
    pub reason: Option<String>,
}

/// What a sweep found.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// What changed.
    pub name: String,
    /// The points, in order.
    pub points: Vec<SweepPoint>,
    /// What the reader should know, one sentence each.
    pub notes: Vec<String>,
}

/// Simulates a function once for each value.
///
/// # Errors
/// As [`crate::simulate`]; when nothing in the function has the name, its extents are not free to take the values, or
/// an op has another extent baked in.
pub fn sweep(path: &Path, options: &SimulateOptions, spec: &SweepSpec) -> Result<Sweep, Error> {
    let opened = open_to_look(path)?;
    let function = opened.function(options.function.as_deref()).map_err(|e| e.at(path))?;
    let found = match &spec.values {
        SweepValues::All => devices(&opened.program, function, options, Device::known().to_vec()),
        SweepValues::Names(names) => names
            .iter()
            .map(|n| crate::device_named(n))
            .collect::<Result<Vec<_>, Error>>()
            .and_then(|all| devices(&opened.program, function, options, all)),
        SweepValues::Numbers(values) if spec.name == "batch" => {
            batches(&opened.program, function, options, values)
        }
        SweepValues::Numbers(values) => extents(&opened.program, function, options, &spec.name, values),
    };
    let (points, notes) = found.map_err(|e| e.at(path))?;
    Ok(Sweep { name: spec.name.clone(), points, notes })
}

type Found = Result<(Vec<SweepPoint>, Vec<String>), Error>;

fn devices(
    program: &Program,
    function: &Function,
    options: &SimulateOptions,
    devices: Vec<Arc<Device>>,
) -> Found {
    let reached = devices.into_iter().filter(|d| d.estimates.is_some());
    let mut points = Vec::new();
    for device in reached {
        let label = device.chip.clone();
        let options = SimulateOptions { device, ..options.clone() };
        points.push(point(label, None, function, &simulated(program, function, &options)?));
    }
    Ok((
        points,
        vec!["Rates of most chips are carried over from their relatives; see `anemone devices`.".into()],
    ))
}

fn batches(program: &Program, function: &Function, options: &SimulateOptions, values: &[usize]) -> Found {
    let mut points = Vec::new();
    for &batch in values {
        let mut options = options.clone();
        options.load.batch = batch;
        let found = simulated(program, function, &options)?;
        points.push(point(batch.to_string(), Some(f64_of_usize(batch)), function, &found));
    }
    Ok((points, Vec::new()))
}

fn extents(
    program: &Program,
    function: &Function,
    options: &SimulateOptions,
    name: &str,
    values: &[usize],
) -> Found {
    verified(program, Some(&function.name))?;
    let moved = named(program, function, name)?;
    for &value in values {
        let refuses = |a: &&Axis| a.allowed != Allowed::Fixed && !a.allowed.takes(value);
        if let Some(axis) = moved.iter().find(refuses) {
            return Err(Error::new(format!(
                "`{}` axis {} cannot be {value}; the package allows {}",
                axis.name,
                axis.axis,
                axis.allowed.words()
            ))
            .of_kind(ErrorKind::WrongShape));
        }
    }
    let mut points = Vec::new();
    for &value in values {
        let all: Vec<(Axis, usize)> = moved.iter().map(|a| (a.clone(), value)).collect();
        let fixed = with_extents(program, function, &all)?;
        let found = priced(program, &fixed, options)?;
        let function = fixed.functions.first().unwrap_or(function);
        points.push(point(value.to_string(), Some(f64_of_usize(value)), function, &found));
    }
    let which: Vec<String> = moved.iter().map(|a| format!("{}.{}", a.name, a.axis)).collect();
    let note = format!(
        "{name} is {}; each point is planned as if the package had that shape alone.",
        which.join(" and ")
    );
    Ok((points, vec![note]))
}

/// The axes that a name stands for.
fn named(program: &Program, function: &Function, name: &str) -> Result<Vec<Axis>, Error> {
    let all = axes(program, function);
    let free = || all.iter().filter(|a| a.allowed != Allowed::Fixed);
    let by_symbol: Vec<Axis> = all.iter().filter(|a| a.symbol.as_deref() == Some(name)).cloned().collect();
    if !by_symbol.is_empty() {
        return Ok(by_symbol);
    }
    let exact = all.iter().find(|a| format!("{}.{}", a.name, a.axis) == name);
    if let Some(axis) = exact {
        return Ok(vec![axis.clone()]);
    }
    let of_input: Vec<Axis> = free().filter(|a| a.name == name).cloned().collect();
    if of_input.len() == 1 {
        return Ok(of_input);
    }
    let longest: Vec<Axis> = free().filter(|a| name == "context" && a.axis > 0).cloned().collect();
    let alike = longest.windows(2).all(|w| (w[0].usual, &w[0].allowed) == (w[1].usual, &w[1].allowed));
    if !longest.is_empty() && alike {
        return Ok(longest);
    }
    Err(nothing_named(&all, name))
}

fn nothing_named(all: &[Axis], name: &str) -> Error {
    let told =
        |a: &Axis| format!("{}.{} (usually {}, allowed: {})", a.name, a.axis, a.usual, a.allowed.words());
    let free: Vec<String> = all.iter().filter(|a| a.allowed != Allowed::Fixed).map(told).collect();
    let message = if free.is_empty() {
        let fixed: Vec<String> = all.iter().map(|a| format!("{}.{}", a.name, a.axis)).collect();
        format!(
            "nothing called `{name}` can change: every input has a fixed shape. Export the model with a flexible input \
             (ct.RangeDim or ct.EnumeratedShapes), or name an axis to infer anew, one of: {}",
            fixed.join(", ")
        )
    } else {
        format!("`{name}` does not say which axis changes; name one of: {}", free.join("; "))
    };
    Error::new(message).of_kind(ErrorKind::WrongShape)
}

fn point(label: String, value: Option<f64>, function: &Function, found: &Simulated) -> SweepPoint {
    let (plan, timeline) = (&found.plan, &found.timeline);
    let on_ane = timeline.ops.iter().filter(|o| o.unit == Unit::Ane).count();
    let share = |part: f64, all: f64| if all > 0.0 { part / all } else { 0.0 };
    let mut reasons: Vec<(&str, usize)> = Vec::new();
    for op in plan.ops.iter().filter(|o| o.preferred != Unit::Ane) {
        match reasons.iter_mut().find(|(r, _)| *r == op.reason) {
            Some((_, n)) => *n += 1,
            None => reasons.push((&op.reason, 1)),
        }
    }
    let reason = reasons.iter().max_by_key(|(_, n)| *n).map(|(r, _)| (*r).to_owned());
    SweepPoint {
        label,
        value,
        latency: timeline.latency,
        per_second: timeline.per_second.ms,
        on_ane: share(f64_of_usize(on_ane), f64_of_usize(timeline.ops.len())),
        on_ane_time: share(timeline.busy(Unit::Ane), timeline.latency.ms),
        crossings: timeline.lanes.len().saturating_sub(1),
        bytes: found.weight_bytes.saturating_add(found.state_bytes).saturating_add(fed_bytes(function).0),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_double_and_end_where_they_say() {
        let values = |text: &str| match SweepSpec::read(text).expect("good").values {
            SweepValues::Numbers(n) => n,
            other => unreachable!("{other:?}"),
        };
        assert_eq!(values("context=512..4096"), [512, 1024, 2048, 4096]);
        assert_eq!(values("batch=1..6"), [1, 2, 4, 6]);
        assert_eq!(values("x.1=10..30:10"), [10, 20, 30]);
        assert_eq!(values("batch=1,3,9"), [1, 3, 9]);
        assert_eq!(values("batch=4..4"), [4]);
    }

    #[test]
    fn impossible_sweeps_say_what_is_wrong() {
        let error = |text: &str| SweepSpec::read(text).expect_err("faulty").to_string();
        assert!(error("batch").contains("NAME=VALUES"));
        assert!(error("batch=").contains("NAME=VALUES"));
        assert!(error("batch=0..4").contains("`0`"));
        assert!(error("batch=8..4").contains("smaller end first"));
        assert!(error("batch=4,2").contains("ascending"));
        assert!(error("batch=1..1000:1").contains("64"));
        assert!(error("context=1..99999999999999999999").contains("whole number"));
    }
}
