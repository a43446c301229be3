//! Prediction and measurement side by side, op by op.

use super::{Part, Trace, TracedOp};
use crate::{Error, ErrorKind, Opened, open};
use anemone_ane::{Device, OpPlan, Plan, Unit, Units, device};
use anemone_formats::analytics_mil::plain_name;
use anemone_mil::ops::Site;
use anemone_mil::{Function, OpId};
use anemone_package::Kept;
use anemone_tensor::num::{f64_of, f64_of_usize};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// What a trace is compared with.
#[derive(Clone, Debug, Default)]
pub struct Against<'a> {
    /// The model; `None` for the program that the trace itself holds.
    pub package: Option<&'a Path>,
    /// Its function; `None` for the default one.
    pub function: Option<&'a str>,
    /// The device to plan for; `None` for the one that the trace names, else an M4.
    pub device: Option<Arc<Device>>,
    /// The setting; `None` for that of the trace, else CPU and ANE.
    pub units: Option<Units>,
}

/// How an op compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compared {
    /// Same unit.
    Agreed,
    /// Another unit, at the same predicted total, so that either is as good.
    Equal,
    /// Another unit.
    Differs,
    /// Only predicted, only traced, or without a unit in the trace.
    Unmatched,
}

/// One op, predicted and traced.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Position in the ops of the plan.
    pub predicted: Option<usize>,
    /// Position in the ops of the part.
    pub traced: Option<usize>,
    /// How they compare.
    pub compared: Compared,
    /// What differs and why, as far as either side tells; empty when nothing does.
    pub why: String,
}

/// A prediction beside a trace.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The prediction.
    pub plan: Plan,
    /// Which part of the trace; `None` for a recording, which has times alone.
    pub part: Option<usize>,
    /// Ops in program order, with those of the trace that have no match behind their neighbours.
    pub rows: Vec<Row>,
    /// Estimated time on the ANE of the ops that are predicted there, in ms; of all that it takes where none is.
    pub predicted_ane_ms: f64,
    /// The longest extent of a value, and whose it is.
    pub longest: Option<(String, usize)>,
    /// Arithmetic of all ops; `None` where an extent is unknown.
    pub flops: Option<f64>,
    /// Signatures of the ops of the plan; empty for ops that are not in the op table.
    pub(super) signatures: Vec<String>,
}

impl Comparison {
    /// How many ops compare so.
    pub fn count(&self, compared: Compared) -> usize {
        self.rows.iter().filter(|r| r.compared == compared).count()
    }

    /// True when every op is matched, and goes where it was predicted or to an equally good place.
    pub fn agrees(&self) -> bool {
        self.rows.iter().all(|r| matches!(r.compared, Compared::Agreed | Compared::Equal))
    }
}

/// Compares a trace with the plan of a model.
///
/// # Errors
/// When there is no model to compare with, or it does not open, or has no such function.
pub fn against(trace: &Trace, with: &Against<'_>) -> Result<Comparison, Error> {
    let opened = model(trace, with)?;
    let place = with.package.unwrap_or(&trace.path);
    let function = opened.verified(with.function).map_err(|e| e.at(place))?;
    let best = best_part(trace, function.function(), with.units);
    let part = best.map(|i| &trace.parts[i]);
    let device = with.device.clone().or_else(|| Device::named(&part?.chip).ok());
    let device = device.map_or_else(|| Device::named("m4").map_err(Error::from_cause), Ok)?;
    let units = with.units.or_else(|| part?.units).unwrap_or(Units::CpuAndNe);
    let plan = anemone_ane::plan(function, &device, units);
    let mut comparison = Comparison {
        part: best,
        rows: Vec::new(),
        predicted_ane_ms: on_ane(&plan),
        longest: longest(function.function(), &plan),
        flops: flops(function.function(), &plan),
        signatures: plan.ops.iter().map(|op| signature(function.function(), op.id)).collect(),
        plan,
    };
    if let Some(part) = part {
        comparison.rows = rows(&comparison.plan, part, with.package.is_none());
    }
    Ok(comparison)
}

fn model(trace: &Trace, with: &Against<'_>) -> Result<Opened, Error> {
    if let Some(package) = with.package {
        return open(package);
    }
    let Some(text) = &trace.program else {
        let what =
            "holds no program, so that nothing can be predicted from it alone; name its model with --against";
        return Err(Error::new(what).of_kind(ErrorKind::Unsupported).at(&trace.path));
    };
    let program = anemone_mil::text::parse(text, &|_, _, _| None)
        .map_err(|e| Error::from_cause(e).of_kind(ErrorKind::Malformed).at(&trace.path))?;
    let (kept, maps) = (Kept::default(), crate::files::Maps::default());
    Ok(Opened { container: crate::Container::Text, program, kept, notes: Vec::new(), maps })
}

fn on_ane(plan: &Plan) -> f64 {
    let sum = |only: fn(&&OpPlan) -> bool| {
        plan.ops.iter().filter(only).filter_map(|op| op.estimate?.ane).sum::<f64>() + 0.0
    };
    let placed = sum(|op| op.preferred == Unit::Ane);
    if placed > 0.0 { placed } else { sum(|_| true) }
}

fn signature(function: &Function, id: OpId) -> String {
    Site::new(function, function.op(id)).map_or_else(|_| String::new(), |site| device::signature(&site))
}

fn flops(function: &Function, plan: &Plan) -> Option<f64> {
    plan.ops
        .iter()
        .map(|op| {
            let site = Site::new(function, function.op(op.id)).ok()?;
            let work = (site.def.work)(&site)?;
            Some(f64_of(i64::try_from(work.flops).ok()?))
        })
        .sum()
}

fn longest(function: &Function, plan: &Plan) -> Option<(String, usize)> {
    let results = plan.ops.iter().flat_map(|op| &function.op(op.id).outputs);
    let extents = results.filter_map(|&v| {
        let value = function.value(v);
        let longest = value.ty.tensor()?.dims.iter().filter_map(|d| d.known()).max()?;
        Some((value.name.to_string(), longest))
    });
    extents.max_by_key(|(_, extent)| *extent)
}

/// The part whose ops are most like those of the function.
fn best_part(trace: &Trace, function: &Function, units: Option<Units>) -> Option<usize> {
    let names: HashMap<&str, ()> = function.values().map(|(_, v)| (plain_name(&v.name), ())).collect();
    let body = &function.block(function.body()).ops;
    let mut kinds: HashMap<&str, i64> = HashMap::new();
    for &id in body {
        *kinds.entry(function.op(id).kind.name()).or_default() += 1;
    }
    let like = |part: &Part| {
        let named = part.ops.iter().filter(|op| names.contains_key(&*op.name)).count();
        let mut left = kinds.clone();
        let take = |op: &&TracedOp| {
            left.get_mut(&*op.kind).is_some_and(|n| {
                *n -= 1;
                *n >= 0
            })
        };
        let same = part.ops.iter().filter(take).count();
        let asked = units.is_none() || part.units == units;
        (f64_of_usize(named + same) / f64_of_usize(part.ops.len().max(1)), asked)
    };
    let mut best: Option<(usize, (f64, bool))> = None;
    for (i, part) in trace.parts.iter().enumerate() {
        let found = like(part);
        if best.is_none_or(|(_, b)| found.0 > b.0 || (found.0 >= b.0 && found.1 && !b.1)) {
            best = Some((i, found));
        }
    }
    best.map(|(i, _)| i)
}

/// Pairs of positions, in program order, and what is left on either side.
fn rows(plan: &Plan, part: &Part, own: bool) -> Vec<Row> {
    // The conversions at the edges of the program that a trace holds are not in its list of ops.
    let shown = |op: &OpPlan| !(own && op.kind == "identity");
    let predicted: Vec<usize> = (0..plan.ops.len()).filter(|&i| shown(&plan.ops[i])).collect();
    let partner = matches(plan, &predicted, part);
    let mut rows = Vec::new();
    let mut traced = (0..part.ops.len()).peekable();
    let mut taken = vec![false; part.ops.len()];
    partner.iter().flatten().for_each(|&t| taken[t] = true);
    for (slot, &p) in predicted.iter().enumerate() {
        let Some(t) = partner[slot] else {
            rows.push(Row {
                predicted: Some(p),
                traced: None,
                compared: Compared::Unmatched,
                why: "not in the trace".to_owned(),
            });
            continue;
        };
        while let Some(before) = traced.next_if(|&i| i < t) {
            rows.extend((!taken[before]).then(|| lone(before)));
        }
        rows.push(row(p, t, &plan.ops[p], &part.ops[t]));
    }
    rows.extend(traced.filter(|&t| !taken[t]).map(lone));
    rows
}

fn lone(traced: usize) -> Row {
    Row {
        predicted: None,
        traced: Some(traced),
        compared: Compared::Unmatched,
        why: "not in the model".to_owned(),
    }
}

/// For each predicted op the traced one: by name where names are told, else by kind in order.
fn matches(plan: &Plan, predicted: &[usize], part: &Part) -> Vec<Option<usize>> {
    let at: HashMap<&str, usize> = part
        .ops
        .iter()
        .enumerate()
        .filter(|(_, op)| !op.name.is_empty())
        .map(|(i, op)| (&*op.name, i))
        .collect();
    let by_name: Vec<Option<usize>> =
        predicted.iter().map(|&p| at.get(plain_name(&plan.ops[p].name)).copied()).collect();
    if by_name.iter().flatten().count() * 2 >= part.ops.len().min(predicted.len()).max(1) {
        return by_name;
    }
    let kinds: Vec<&str> = predicted.iter().map(|&p| &*plan.ops[p].kind).collect();
    let theirs: Vec<&str> = part.ops.iter().map(|op| &*op.kind).collect();
    aligned(&kinds, &theirs)
}

/// Most comparisons that are made to find the longest common sequence.
const MOST_COMPARED: usize = 1 << 22;

/// The longest common sequence of two lists of kinds, as partners of the first; an empty kind fits every other.
///
/// Of lists that are too long, what is equal from the front on.
fn aligned(ours: &[&str], theirs: &[&str]) -> Vec<Option<usize>> {
    let same = |i: usize, j: usize| ours[i] == theirs[j] || theirs[j].is_empty();
    let front = (0..ours.len().min(theirs.len())).take_while(|&i| same(i, i)).count();
    let mut partner: Vec<Option<usize>> = (0..ours.len()).map(|i| (i < front).then_some(i)).collect();
    let (n, m) = (ours.len() - front, theirs.len() - front);
    if n == 0 || m == 0 || n.saturating_mul(m) > MOST_COMPARED {
        return partner;
    }
    let width = m + 1;
    let mut length = vec![0_u32; (n + 1) * width];
    for i in (0..n).rev() {
        for j in (0..m).rev() {
            length[i * width + j] = if same(front + i, front + j) {
                length[(i + 1) * width + j + 1] + 1
            } else {
                length[(i + 1) * width + j].max(length[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < n && j < m {
        if same(front + i, front + j) {
            partner[front + i] = Some(front + j);
            (i, j) = (i + 1, j + 1);
        } else if length[(i + 1) * width + j] >= length[i * width + j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    partner
}

fn row(predicted: usize, traced: usize, ours: &OpPlan, theirs: &TracedOp) -> Row {
    let (predicted, traced) = (Some(predicted), Some(traced));
    let Some(unit) = theirs.unit else {
        return Row {
            predicted,
            traced,
            compared: Compared::Unmatched,
            why: "the trace names no unit".to_owned(),
        };
    };
    let takes = takes(ours, theirs);
    if unit == ours.preferred {
        return Row { predicted, traced, compared: Compared::Agreed, why: takes };
    }
    let equal = ours.equal_cost_alternative && unit != Unit::Gpu && ours.preferred != Unit::Gpu;
    let compared = if equal { Compared::Equal } else { Compared::Differs };
    let said = if theirs.why.is_empty() {
        String::new()
    } else {
        format!("; the trace says: {}", theirs.why.trim_end_matches('.'))
    };
    let why = if equal {
        "both cost the same".to_owned()
    } else {
        format!("predicted {}: {}{said}", ours.preferred, ours.reason)
    };
    let why = if takes.is_empty() || equal { why } else { format!("{takes}; {why}") };
    Row { predicted, traced, compared, why }
}

/// Where the two lists of units that take the op differ, as far as both tell; empty when they do not.
fn takes(ours: &OpPlan, theirs: &TracedOp) -> String {
    if theirs.supported.is_empty() {
        return String::new();
    }
    let (we, they) = (ours.supported.contains(&Unit::Ane), theirs.supported.contains(&Unit::Ane));
    let open = ours.unknown.contains(&Unit::Ane);
    match (we, they) {
        (true, false) => "the ANE refuses it, and was predicted to take it".to_owned(),
        (false, true) if open => "the ANE takes it, which was not known".to_owned(),
        (false, true) => "the ANE takes it, and was predicted to refuse it".to_owned(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::aligned;

    #[test]
    fn kinds_are_aligned_around_what_only_one_side_has() {
        let ours = ["conv", "relu", "add", "conv", "softmax"];
        assert_eq!(
            aligned(&ours, &["conv", "relu", "conv", "softmax"]),
            [Some(0), Some(1), None, Some(2), Some(3)]
        );
        assert_eq!(aligned(&ours, &["cast", "conv", "relu"]), [Some(1), Some(2), None, None, None]);
        assert_eq!(aligned(&ours, &["", "", "", "", ""]), [0, 1, 2, 3, 4].map(Some));
        assert_eq!(aligned(&[], &["conv"]), []);
    }
}
