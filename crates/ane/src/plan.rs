//! The plan of a function: where each op would go, why, and what that costs.

use crate::cost::{self, Backend, Basis, Estimate, Reach};
use crate::device::{Device, Seen, Strength, signature};
use crate::eligibility::{self, Answer, Verdict};
use crate::fact::Fact;
use crate::operands::is_load_time;
use crate::reason::{Reasons, ms};
use crate::segment::{self, Path, TIE};
use crate::units::{Unit, Units};
use anemone_mil::ops::Site;
use anemone_mil::{Function, Op, OpId, TensorType, Uses, VerifiedFunction};
use anemone_tensor::num::f64_of_usize;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// Where one op would go.
#[derive(Clone, Debug)]
pub struct OpPlan {
    /// The op.
    pub id: OpId,
    /// Name of its first result; the op's own name when it has none.
    pub name: String,
    /// Op kind, such as `conv`.
    pub kind: String,
    /// Units that take it, in the order CPU, GPU, ANE; always some.
    pub supported: Vec<Unit>,
    /// Allowed units of which nothing is known.
    pub unknown: Vec<Unit>,
    /// The unit that Core ML would choose.
    pub preferred: Unit,
    /// True when the other of CPU and ANE gives the same total, so that either answer is as good.
    pub equal_cost_alternative: bool,
    /// Estimated times; `None` for an op that the op table does not have.
    pub estimate: Option<Estimate>,
    /// Part of the plan's estimated cost, 0 to 1; `None` when the op costs nothing to the planner.
    pub cost_share: Option<f64>,
    /// True when the choice of unit rests on something unknown.
    pub uncertain: bool,
    /// True when what decided was observed on another chip and is carried over to this one.
    pub carried: bool,
    /// Why the op goes there, in one sentence without a full stop.
    pub reason: String,
    /// The facts behind `supported` and `reason`.
    pub facts: Vec<&'static Fact>,
}

/// Consecutive ops on one unit.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// The unit.
    pub unit: Unit,
    /// Positions in [`Plan::ops`].
    pub ops: Range<usize>,
    /// Estimated time of its ops, in ms; without fixed costs.
    pub ms: f64,
}

/// A change from one unit to another, before an op.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Boundary {
    /// Position in [`Plan::ops`] of the first op on the new unit.
    pub at: usize,
    /// The unit before.
    pub from: Unit,
    /// The unit after.
    pub to: Unit,
    /// What the planner counts for it, in ms: the change, and entering the ANE.
    pub ms: f64,
    /// Bytes that cross: results of ops before it that ops behind it on other units read; an op's inputs count once.
    pub bytes: u64,
}

/// Convolutions of a plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Convolutions {
    /// All of them.
    pub all: usize,
    /// Those that prefer the ANE.
    pub on_ane: usize,
}

impl Convolutions {
    /// True when none is off the ANE.
    pub const fn all_on_ane(&self) -> bool {
        self.all == self.on_ane
    }
}

/// Totals of a plan that might be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outlook {
    /// Part of the ops that prefer the ANE, 0 to 1.
    pub ane_share_by_count: f64,
    /// Estimated time with fixed costs, in ms.
    pub total_ms: f64,
}

/// Where the ops of a function would go.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The device.
    pub device: Arc<Device>,
    /// The setting.
    pub units: Units,
    /// The ops of the function's body in program order, without constants and `constexpr_*` ops.
    pub ops: Vec<OpPlan>,
    /// Runs of ops on one unit, in order.
    pub segments: Vec<Segment>,
    /// How often the plan goes from one unit to another.
    pub crossings: usize,
    /// Where it does, and what that costs, in order.
    pub boundaries: Vec<Boundary>,
    /// How many convolutions there are (`conv`, `conv_transpose`), and how many of them prefer the ANE.
    pub convolutions: Convolutions,
    /// The plan if the ANE took everything of which that is unknown; `None` when nothing is unknown.
    pub if_taken: Option<Outlook>,
    /// Estimated time of all ops where they are placed, in ms; without fixed costs.
    pub cost_ms: f64,
    /// Fixed costs of the plan's segments, in ms.
    pub fixed_ms: f64,
    /// Part of the ops that prefer the ANE, 0 to 1; 0 without ops.
    pub ane_share_by_count: f64,
    /// Part of the estimated cost that falls on the ANE, 0 to 1; 0 without cost.
    pub ane_share_by_cost: f64,
    /// What the reader should know before trusting the plan, one sentence each.
    pub notes: Vec<String>,
}

/// What is known of one op before the path is chosen.
struct Candidate {
    id: OpId,
    verdicts: [Verdict; 3],
    estimate: Option<Estimate>,
    /// Estimated time on the ANE, whether or not the ANE takes it.
    on_ane: Option<f64>,
}

/// Plans a function for a device.
///
/// Nested blocks run where the op that holds them runs. Symbolic extents count as 1 and are noted.
pub fn plan(function: VerifiedFunction<'_>, device: &Arc<Device>, units: Units) -> Plan {
    let function = function.function();
    let uses = Uses::of(function);
    let body = &function.block(function.body()).ops;
    let planned = body.iter().copied().filter(|&id| !is_load_time(function.op(id)));
    let candidates: Vec<Candidate> = planned.map(|id| candidate(function, id, &uses, device)).collect();
    let estimates: Vec<Estimate> = candidates.iter().map(Candidate::counted).collect();
    let path = segment::shortest(&estimates, &device.fixed, units.allows(Unit::Ane));
    let reasons = Reasons::new(&estimates, &path, &device.fixed);
    let mut ops = Vec::with_capacity(candidates.len());
    for (index, candidate) in candidates.iter().enumerate() {
        ops.push(op_plan(function, candidate, index, units, &reasons));
    }
    let mut plan = finish(ops, device, units, &estimates, &path);
    plan.if_taken = outlook(&candidates, device, units);
    plan.boundaries = boundaries(function, &plan, &uses);
    plan
}

/// The totals if every op of which nothing is known ran on the ANE.
fn outlook(candidates: &[Candidate], device: &Device, units: Units) -> Option<Outlook> {
    let open = |c: &Candidate| c.verdict(Unit::Ane).answer == Answer::Unknown;
    if !units.allows(Unit::Ane) || !candidates.iter().any(open) {
        return None;
    }
    let hopeful = |c: &Candidate| {
        let counted = c.counted();
        if open(c) { Estimate { ane: Some(c.on_ane.unwrap_or(0.0)), ..counted } } else { counted }
    };
    let estimates: Vec<Estimate> = candidates.iter().map(hopeful).collect();
    let path = segment::shortest(&estimates, &device.fixed, true);
    let on_ane = path.chosen.iter().filter(|b| **b == Backend::Ane).count();
    let share = f64_of_usize(on_ane) / f64_of_usize(candidates.len().max(1));
    Some(Outlook { ane_share_by_count: share, total_ms: path.total })
}

/// Where the plan changes unit, with the bytes that cross.
///
/// A value crosses once: at the first boundary behind its producer beyond which another unit reads it.
fn boundaries(function: &Function, plan: &Plan, uses: &Uses) -> Vec<Boundary> {
    let at: HashMap<OpId, usize> = plan.ops.iter().enumerate().map(|(i, op)| (op.id, i)).collect();
    let starts: Vec<usize> = plan.segments.iter().skip(1).map(|s| s.ops.start).collect();
    let mut bytes = vec![0_u64; starts.len()];
    for (index, op) in plan.ops.iter().enumerate() {
        for &value in &function.op(op.id).outputs {
            let readers = uses.ops(value).iter().filter_map(|id| at.get(id));
            let elsewhere = readers.filter(|&&r| plan.ops[r].preferred != op.preferred).min();
            let Some(&reader) = elsewhere else { continue };
            let boundary = starts.partition_point(|&s| s <= reader);
            if let Some(slot) =
                boundary.checked_sub(1).and_then(|b| bytes.get_mut(b)).filter(|_| index < reader)
            {
                let size = function.value(value).ty.tensor().and_then(TensorType::byte_len).unwrap_or(0);
                *slot = slot.saturating_add(u64::try_from(size).unwrap_or(u64::MAX));
            }
        }
    }
    let fixed = &plan.device.fixed;
    let units = plan.segments.windows(2).zip(starts).zip(bytes);
    let one = |((pair, at), bytes): ((&[Segment], usize), u64)| {
        let (from, to) = (pair[0].unit, pair[1].unit);
        let enter = if to == Unit::Ane { fixed.enter_ane } else { 0.0 };
        Boundary { at, from, to, ms: fixed.change + enter, bytes }
    };
    units.map(one).collect()
}

fn candidate(function: &Function, id: OpId, uses: &Uses, device: &Device) -> Candidate {
    let op = function.op(id);
    let Ok(site) = Site::new(function, op) else {
        let verdicts = Unit::ALL.map(|unit| eligibility::foreign(op.kind.name(), unit));
        return Candidate { id, verdicts, estimate: None, on_ane: None };
    };
    let mut verdicts = Unit::ALL.map(|unit| eligibility::verdict(&site, device, unit));
    let rates = device.estimates.as_ref().map_or(cost::Rates::h16g(), |e| &e.rates);
    let mut estimate = cost::estimate(&site, uses, rates);
    if let Some(seen) = seen(&site, device) {
        overrule(&mut verdicts, &mut estimate, seen);
    }
    let taken = verdicts[2].answer == Answer::Yes;
    let on_ane = estimate.ane;
    Candidate { id, verdicts, estimate: Some(if taken { estimate } else { estimate.without_ane() }), on_ane }
}

/// What the device itself said of an op.
fn seen<'d>(site: &Site<'_>, device: &'d Device) -> Option<&'d Seen> {
    if device.seen.is_empty() { None } else { device.seen.get(&signature(site)) }
}

/// Puts what was seen in the place of what rules and formulas say.
fn overrule(verdicts: &mut [Verdict; 3], estimate: &mut Estimate, seen: &Seen) {
    for (verdict, taken) in verdicts[1..].iter_mut().zip([seen.gpu, seen.ane]) {
        let Some(taken) = taken else { continue };
        verdict.answer = if taken { Answer::Yes } else { Answer::No };
        let why =
            if seen.why.is_empty() { String::new() } else { format!("{}, ", seen.why.trim_end_matches('.')) };
        verdict.why = format!("{why}{}", seen.source);
    }
    if let Some(ms) = seen.ms {
        let ane = ms.ane.or(estimate.ane);
        let basis = Basis { reach: Reach::Observed, guessed_extent: false, ..estimate.basis };
        *estimate = Estimate { ane, bnns: ms.bnns, classic_cpu: ms.classic_cpu, basis };
    }
}

impl Candidate {
    /// What the path counts: an op without an estimate costs nothing and stays on the CPU.
    fn counted(&self) -> Estimate {
        let basis = Basis { family: "none", reach: Reach::Observed, guessed_extent: false };
        self.estimate.unwrap_or(Estimate { ane: None, bnns: 0.0, classic_cpu: 0.0, basis })
    }

    fn verdict(&self, unit: Unit) -> &Verdict {
        match unit {
            Unit::Cpu => &self.verdicts[0],
            Unit::Gpu => &self.verdicts[1],
            Unit::Ane => &self.verdicts[2],
        }
    }
}

fn op_plan(
    function: &Function,
    candidate: &Candidate,
    index: usize,
    units: Units,
    reasons: &Reasons<'_>,
) -> OpPlan {
    let op = function.op(candidate.id);
    let quirk = quirk(op, candidate, units);
    let (supported, unknown) = (listed(candidate, units, quirk), unrecorded(candidate, units));
    let on_ane = reasons.path.chosen[index] == Backend::Ane;
    let gpu = !on_ane && supported.contains(&Unit::Gpu) && gpu_takes_over(op.kind.name(), candidate);
    let preferred = if on_ane {
        Unit::Ane
    } else if gpu {
        Unit::Gpu
    } else {
        Unit::Cpu
    };
    let equal = reasons.path.ane_penalty(index).abs() <= TIE;
    OpPlan {
        id: candidate.id,
        name: op.outputs.first().map_or(&op.name, |&v| &function.value(v).name).to_string(),
        kind: op.kind.name().to_owned(),
        reason: reason(index, preferred, units, candidate, reasons),
        facts: facts(candidate, units, gpu.then(|| Fact::named("gpu-large-conv")).flatten(), quirk),
        uncertain: gpu || !unknown.is_empty() || candidate.estimate.is_none_or(|e| !e.basis.is_sure()),
        equal_cost_alternative: equal && !gpu,
        carried: false,
        cost_share: None,
        estimate: candidate.estimate,
        preferred,
        supported,
        unknown,
    }
}

/// CPU time of a convolution from which the GPU is taken instead, in ms; known only to lie between 0.35 and 3.2.
const GPU_TAKES_OVER_MS: f64 = 1.0;

fn gpu_takes_over(kind: &str, candidate: &Candidate) -> bool {
    kind == "conv" && candidate.estimate.is_some_and(|e| e.cpu() >= GPU_TAKES_OVER_MS)
}

fn reason(
    index: usize,
    preferred: Unit,
    units: Units,
    candidate: &Candidate,
    reasons: &Reasons<'_>,
) -> String {
    match (preferred, units.allows(Unit::Ane)) {
        (Unit::Gpu, _) => {
            let cpu = candidate.estimate.map_or(0.0, |e| e.cpu());
            format!(
                "about {} ms on the CPU, and large convolutions off the ANE were seen on the GPU; GPU estimates are \
                 not published, so this is a guess",
                ms(cpu)
            )
        }
        (_, true) => reasons.of(index, candidate.verdict(Unit::Ane)),
        (_, false) if units.allows(Unit::Gpu) => {
            "the ANE is not allowed; GPU estimates are not published, so whether the GPU is preferred is not known"
                .to_owned()
        }
        (_, false) => "only the CPU is allowed".to_owned(),
    }
}

fn facts(
    candidate: &Candidate,
    units: Units,
    gpu: Option<&'static Fact>,
    quirk: Option<&'static Fact>,
) -> Vec<&'static Fact> {
    let mut facts: Vec<&'static Fact> = gpu.into_iter().chain(quirk).collect();
    for unit in Unit::ALL.into_iter().rev().filter(|&u| units.allows(u)) {
        facts.extend(&candidate.verdict(unit).facts);
    }
    facts
}

/// The fact by which an op is listed for a unit that does not take it.
fn quirk(op: &Op, candidate: &Candidate, units: Units) -> Option<&'static Fact> {
    let guessed = candidate.estimate.is_some_and(|e| e.basis.guessed_extent);
    match op.kind.name() {
        "identity" => Fact::named("identity-dropped"),
        "cast" if guessed && units == Units::All => Fact::named("ane-cast-unknown-extent"),
        _ => None,
    }
}

fn listed(candidate: &Candidate, units: Units, quirk: Option<&Fact>) -> Vec<Unit> {
    if quirk.is_some() {
        return Unit::ALL.to_vec();
    }
    let taken = |u: &Unit| units.allows(*u) && candidate.verdict(*u).answer == Answer::Yes;
    Unit::ALL.into_iter().filter(taken).collect()
}

fn unrecorded(candidate: &Candidate, units: Units) -> Vec<Unit> {
    let open = |u: &Unit| units.allows(*u) && candidate.verdict(*u).answer == Answer::Unknown;
    Unit::ALL.into_iter().filter(open).collect()
}

/// Estimated time of an op where the path puts it, in ms; on the GPU the CPU's figure stands in.
fn placed_ms(estimate: &Estimate, backend: Backend) -> f64 {
    estimate.on(backend).unwrap_or_else(|| estimate.cpu())
}

fn finish(
    mut ops: Vec<OpPlan>,
    device: &Arc<Device>,
    units: Units,
    estimates: &[Estimate],
    path: &Path,
) -> Plan {
    let times: Vec<f64> = estimates.iter().zip(&path.chosen).map(|(e, &b)| placed_ms(e, b)).collect();
    let cost_ms: f64 = times.iter().sum();
    // An empty sum is -0.0, which adding 0.0 undoes.
    let share = |part: f64, whole: f64| if whole > 0.0 { part / whole + 0.0 } else { 0.0 };
    let measured = device.estimates.as_ref().is_some_and(|e| e.strength == Strength::Measured);
    for (op, &time) in ops.iter_mut().zip(&times) {
        op.carried = !measured || op.facts.first().is_some_and(|f| !f.covers(device));
        op.cost_share = (time > 0.0).then(|| share(time, cost_ms));
    }
    let on_ane = || ops.iter().zip(&times).filter(|(op, _)| op.preferred == Unit::Ane);
    let ane_ms: f64 = on_ane().map(|(_, t)| t).sum();
    let segments = segments(&ops, &times);
    let conv = |op: &&OpPlan| matches!(&*op.kind, "conv" | "conv_transpose");
    let convolutions = Convolutions {
        all: ops.iter().filter(conv).count(),
        on_ane: ops.iter().filter(conv).filter(|op| op.preferred == Unit::Ane).count(),
    };
    Plan {
        device: Arc::clone(device),
        units,
        crossings: segments.len().saturating_sub(1),
        segments,
        boundaries: Vec::new(),
        convolutions,
        if_taken: None,
        cost_ms,
        fixed_ms: path.total - cost_ms,
        ane_share_by_count: share(f64_of_usize(on_ane().count()), f64_of_usize(ops.len())),
        ane_share_by_cost: share(ane_ms, cost_ms),
        notes: notes(&ops, device, units),
        ops,
    }
}

fn segments(ops: &[OpPlan], times: &[f64]) -> Vec<Segment> {
    let mut segments: Vec<Segment> = Vec::new();
    for (index, (op, &time)) in ops.iter().zip(times).enumerate() {
        match segments.last_mut() {
            Some(last) if last.unit == op.preferred => {
                last.ops.end = index + 1;
                last.ms += time;
            }
            _ => segments.push(Segment { unit: op.preferred, ops: index..index + 1, ms: time }),
        }
    }
    segments
}

/// What the plan as a whole rests on.
fn rests_on(device: &Device) -> String {
    let Some(estimates) = &device.estimates else {
        return format!("Core ML does not reach the Neural Engine of the {}.", device.chip);
    };
    let target = device.target.as_deref().unwrap_or(&device.engine);
    let seen = format!("{} ({target}), {}", device.chip, estimates.os);
    let os = device.os.filter(|os| *os != estimates.os).map(|os| format!(" {os} may plan otherwise."));
    match estimates.strength {
        Strength::Measured => {
            format!(
                "Observed on {seen}.{}",
                os.unwrap_or_else(|| " Another system may plan otherwise.".to_owned())
            )
        }
        strength => format!(
            "Nobody has published the planner's estimates on {}: they are {strength} ({}), so that the choice between \
             CPU and ANE is uncertain; what the ANE takes rests on the limits of the chip.{}",
            device.chip,
            estimates.source,
            os.unwrap_or_default()
        ),
    }
}

fn notes(ops: &[OpPlan], device: &Device, units: Units) -> Vec<String> {
    let mut notes = Vec::new();
    if units.allows(Unit::Gpu) {
        notes.push(
            "No estimates of the GPU are published: where it is allowed, what it takes over is a guess."
                .to_owned(),
        );
    }
    let mut unseen: Vec<&str> = ops.iter().filter(|o| o.estimate.is_none()).map(|o| &*o.kind).collect();
    unseen.sort_unstable();
    unseen.dedup();
    if !unseen.is_empty() {
        notes.push(format!(
            "Not in the op table, counted as free and kept on the CPU: {}.",
            unseen.join(", ")
        ));
    }
    let count = |wanted: fn(&Basis) -> bool| {
        ops.iter().filter_map(|o| o.estimate).filter(|e| wanted(&e.basis)).count()
    };
    let between = count(|b| matches!(b.reach, Reach::Between(_)));
    if between > 0 {
        notes.push(format!(
            "{between} estimates lie at sizes where the rate changes somewhere between two observed sizes."
        ));
    }
    let guessed = count(|b| b.guessed_extent);
    if guessed > 0 {
        notes.push(format!("{guessed} ops have extents known only at run time, counted as 1; fix them with fixed input shapes."));
    }
    notes.push(rests_on(device));
    notes
}
