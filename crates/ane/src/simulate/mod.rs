//! What a plan would do on a device: when which unit works on what, and what each op waits for.
//!
//! The planner's estimates say what Core ML would choose. [`simulate`] prices the choice with rates that were measured
//! on devices: the multiply-add array, weights streamed from memory, activations on and off the chip, starting an
//! engine, handing tensors over. Every number has a source ([`Coefficients`]); what is not known is said in
//! [`Timeline::notes`]. A segment starts when the one before has ended: within one call, units wait for each other.

mod changes;
mod coefficients;
mod demand;
mod machine;
mod price;

pub use changes::Change;
pub use coefficients::{Coefficient, Coefficients, Spread};
pub use demand::{Class, Demand, Scheme, WeightUse};
pub use price::{Bound, Parts};

use crate::plan::Plan;
use crate::units::{Unit, Units};
use anemone_mil::{OpId, VerifiedFunction};
use anemone_tensor::num::f64_of_usize;
use demand::Demands;
use machine::Machine;
use std::ops::Range;

/// How a program reaches the engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Route {
    /// Through Core ML.
    #[default]
    CoreMl,
    /// Compiled and handed over through the private interface: for comparing with measurements that were taken so.
    Direct,
}

/// What is asked of the device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// Items in one call, as the function's shapes have them; throughput counts items.
    pub batch: usize,
    /// Calls, one after another.
    pub iterations: usize,
    /// True when the first call finds nothing compiled and the engine switched off.
    pub cold: bool,
    /// How the program reaches the engine.
    pub route: Route,
}

impl Default for Load {
    fn default() -> Load {
        Load { batch: 1, iterations: 1, cold: false, route: Route::CoreMl }
    }
}

/// A time and how far off it may be, in ms.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Interval {
    /// The most likely time.
    pub ms: f64,
    /// Eight of ten measurements are above the lower and below the upper end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Interval {
    fn around(ms: f64, (low, high): (f64, f64)) -> Interval {
        Interval { ms, low: ms * low, high: ms * high }
    }

    /// The interval of the sum.
    #[must_use]
    pub fn plus(self, other: Interval) -> Interval {
        Interval { ms: self.ms + other.ms, low: self.low + other.low, high: self.high + other.high }
    }

    /// The interval of a multiple.
    #[must_use]
    pub fn times(self, factor: f64) -> Interval {
        Interval { ms: self.ms * factor, low: self.low * factor, high: self.high * factor }
    }
}

/// One op on the timeline.
#[derive(Clone, Debug, PartialEq)]
pub struct OpTime {
    /// The op.
    pub id: OpId,
    /// Position in [`Plan::ops`].
    pub index: usize,
    /// Name of its first result.
    pub name: String,
    /// Op kind.
    pub kind: String,
    /// What kind of work it is.
    pub class: Class,
    /// Where it runs.
    pub unit: Unit,
    /// When it starts, in ms from the start of the call.
    pub start: f64,
    /// How long it takes.
    pub time: Interval,
    /// What it is made of.
    pub parts: Parts,
    /// What it waits for most.
    pub bound: Bound,
    /// Additions and multiplications.
    pub flops: f64,
    /// Bytes of weights, as stored.
    pub weight_bytes: f64,
    /// Bytes of activations that it reads and writes.
    pub activation_bytes: f64,
    /// Bytes of those that do not stay on the engine.
    pub spilled_bytes: f64,
    /// Pieces that the engine cuts it into.
    pub tiles: usize,
    /// True when it costs nothing because its producer does it while writing.
    pub fused: bool,
}

/// A run of ops on one unit.
#[derive(Clone, Debug, PartialEq)]
pub struct Lane {
    /// The unit.
    pub unit: Unit,
    /// Positions in [`Timeline::ops`].
    pub ops: Range<usize>,
    /// When it starts, in ms.
    pub start: f64,
    /// How long it takes, in ms.
    pub ms: f64,
    /// Of that, starting it.
    pub dispatch: f64,
    /// Of that, handing tensors over.
    pub handoff: f64,
    /// Energy, in mJ; `None` when no power of the unit is published.
    pub millijoules: Option<f64>,
}

/// What comes before the first call is answered at its usual speed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cold {
    /// Compiling for the engine, once after installing the model or updating the system.
    pub compile: Interval,
    /// Waking the engine and loading the program, after it was idle.
    pub first_call: Interval,
}

/// Energy of one call.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Energy {
    /// Energy of the parts whose power is known, in mJ; `None` when none is.
    pub millijoules: Option<f64>,
    /// Part of the time whose power is known, 0 to 1.
    pub known_share: f64,
}

/// What a plan would do.
#[derive(Clone, Debug)]
pub struct Timeline {
    /// What was asked.
    pub load: Load,
    /// Every op, in program order.
    pub ops: Vec<OpTime>,
    /// Runs of ops on one unit, in order.
    pub lanes: Vec<Lane>,
    /// One call on a warm device.
    pub latency: Interval,
    /// All calls, with what comes before the first one when cold.
    pub total: Interval,
    /// Items per second on a warm device.
    pub per_second: Interval,
    /// What comes before the first call, when that was asked for.
    pub cold: Option<Cold>,
    /// Energy of one call.
    pub energy: Energy,
    /// The changes that would help most, best first; at most three.
    pub changes: Vec<Change>,
    /// What the figures rest on, one sentence each.
    pub notes: Vec<String>,
}

impl Timeline {
    /// Time of a unit within one call, in ms.
    pub fn busy(&self, unit: Unit) -> f64 {
        self.lanes.iter().filter(|l| l.unit == unit).map(|l| l.ms).sum::<f64>() + 0.0
    }

    /// Part of the time that ops with that bound take, 0 to 1.
    pub fn share(&self, bound: Bound) -> f64 {
        let all = self.latency.ms;
        let part: f64 = self.ops.iter().filter(|o| o.bound == bound).map(|o| o.time.ms).sum();
        if all > 0.0 { part / all + 0.0 } else { 0.0 }
    }
}

/// Simulates calls of a planned function; `plan` must be the plan of that function.
///
/// Symbolic extents count as 1, as the planner counts them.
pub fn simulate(function: VerifiedFunction<'_>, plan: &Plan, load: &Load) -> Timeline {
    simulate_with(function, plan, load, Coefficients::known())
}

/// As [`simulate`], with other numbers: for fitting them.
pub fn simulate_with(
    function: VerifiedFunction<'_>,
    plan: &Plan,
    load: &Load,
    coefficients: &Coefficients,
) -> Timeline {
    let demands = Demands::of(function.function());
    let machine = Machine::of(&plan.device, load, coefficients);
    let case = Case { demands, units: placement(plan), machine, coefficients };
    let run = case.run();
    timeline(&case, plan, load, &run)
}

/// A function whose latency is asked for again and again with other coefficients.
#[derive(Clone, Debug)]
pub struct Prepared {
    demands: Demands,
    units: Vec<Unit>,
    device: std::sync::Arc<crate::Device>,
    load: Load,
}

impl Prepared {
    /// Looks at the function once.
    pub fn new(function: VerifiedFunction<'_>, plan: &Plan, load: &Load) -> Prepared {
        let demands = Demands::of(function.function());
        Prepared { demands, units: placement(plan), device: plan.device.clone(), load: *load }
    }

    /// Latency of one warm call, in ms.
    pub fn latency(&self, coefficients: &Coefficients) -> f64 {
        let machine = Machine::of(&self.device, &self.load, coefficients);
        run(&self.demands, &self.units, &machine, coefficients).iter().map(Parts::total).sum()
    }

    /// The spread that an interval of this function's latency uses: what the measurements ran on.
    pub fn kind(&self, coefficients: &Coefficients) -> &'static str {
        let machine = Machine::of(&self.device, &self.load, coefficients);
        let parts = run(&self.demands, &self.units, &machine, coefficients);
        kind(&self.units, &parts, &machine)
    }
}

/// Where ops run: where the plan has them; where the ANE is not allowed and the GPU is, on the GPU if it takes them.
fn placement(plan: &Plan) -> Vec<Unit> {
    let gpu = plan.units == Units::CpuAndGpu;
    let on = |op: &crate::OpPlan| {
        if gpu && op.supported.contains(&Unit::Gpu) { Unit::Gpu } else { op.preferred }
    };
    plan.ops.iter().map(on).collect()
}

/// Everything that a price depends on.
pub(super) struct Case<'c> {
    demands: Demands,
    units: Vec<Unit>,
    machine: Machine,
    coefficients: &'c Coefficients,
}

impl Case<'_> {
    fn run(&self) -> Vec<Parts> {
        run(&self.demands, &self.units, &self.machine, self.coefficients)
    }
}

/// True when the op's producer, on the same unit, does its work.
fn is_fused(demand: &Demand, index: usize, units: &[Unit]) -> bool {
    demand.fused && demand.producer.is_none_or(|p| units.get(p) == units.get(index))
}

/// The parts of every op's time, with starting units and handing over.
fn run(demands: &Demands, units: &[Unit], machine: &Machine, c: &Coefficients) -> Vec<Parts> {
    let on = |i: usize| units.get(i).copied().unwrap_or(Unit::Cpu);
    let mut parts: Vec<Parts> = Vec::with_capacity(demands.ops.len());
    for (i, demand) in demands.ops.iter().enumerate() {
        let mut part = price::price(demand, on(i), is_fused(demand, i, units), machine, c);
        if i == 0 || on(i - 1) != on(i) {
            part.dispatch += match on(i) {
                Unit::Ane => machine.dispatch_ms,
                Unit::Gpu => c.gpu_dispatch_us / 1e3,
                Unit::Cpu if i == 0 => c.cpu_call_us / 1e3,
                Unit::Cpu => 0.0,
            };
        }
        parts.push(part);
    }
    for flow in &demands.flows {
        let ms = flow.bytes / machine.handoff * 1e3;
        let home = flow.from.map_or(Unit::Cpu, on);
        for unit in Unit::ALL.into_iter().filter(|u| *u != home) {
            if let Some(&first) = flow.to.iter().find(|&&t| on(t) == unit) {
                parts[first].handoff += ms;
            }
        }
        if let (true, Some(from)) = (flow.leaves && home != Unit::Cpu, flow.from) {
            parts[from].handoff += ms;
        }
    }
    parts
}

/// What most of the time is spent on, as the spreads name it.
fn kind(units: &[Unit], parts: &[Parts], machine: &Machine) -> &'static str {
    let on = |unit: Unit| -> f64 {
        parts.iter().zip(units).filter(|(_, u)| **u == unit).map(|(p, _)| p.total()).sum()
    };
    let (cpu, gpu, ane) = (on(Unit::Cpu), on(Unit::Gpu), on(Unit::Ane));
    match (ane >= cpu.max(gpu), machine.measured) {
        (true, true) => "ane",
        (true, false) => "ane-carried",
        (false, _) if gpu > cpu => "gpu",
        (false, _) => "cpu",
    }
}

fn timeline(case: &Case<'_>, plan: &Plan, load: &Load, run: &[Parts]) -> Timeline {
    let spread = case.coefficients.spread(kind(&case.units, run, &case.machine));
    let ops = op_times(case, plan, run, spread);
    let lanes = lanes(case, &ops);
    let call: f64 = ops.iter().map(|o| o.time.ms).sum::<f64>() + 0.0;
    let latency = Interval::around(call, spread);
    let cold = load.cold.then(|| cold(case));
    let mut total = latency.times(f64_of_usize(load.iterations));
    if let Some(cold) = cold {
        total = total.plus(cold.compile).plus(cold.first_call);
    }
    let items = f64_of_usize(load.batch) * 1e3;
    let rate = |ms: f64| if ms > 0.0 { items / ms } else { 0.0 };
    Timeline {
        load: *load,
        energy: energy(&lanes, call),
        changes: changes::best(case, plan, load, call),
        notes: notes(case, plan, &lanes),
        per_second: Interval { ms: rate(latency.ms), low: rate(latency.high), high: rate(latency.low) },
        ops,
        lanes,
        latency,
        total,
        cold,
    }
}

fn op_times(case: &Case<'_>, plan: &Plan, run: &[Parts], spread: (f64, f64)) -> Vec<OpTime> {
    let mut at = 0.0;
    let mut ops = Vec::with_capacity(run.len());
    for (index, ((parts, demand), planned)) in run.iter().zip(&case.demands.ops).zip(&plan.ops).enumerate() {
        let on_ane = case.units[index] == Unit::Ane;
        let fused = is_fused(demand, index, &case.units);
        let tiles = if on_ane { price::tiles(demand, &case.machine) } else { 1.0 };
        ops.push(OpTime {
            id: demand.id,
            index,
            name: planned.name.clone(),
            kind: planned.kind.clone(),
            class: demand.class,
            unit: case.units[index],
            start: at,
            time: Interval::around(parts.total(), spread),
            parts: *parts,
            bound: parts.bound(),
            flops: demand.flops,
            weight_bytes: demand.stored_weights(),
            activation_bytes: demand.reads.iter().chain(&demand.writes).sum(),
            spilled_bytes: if on_ane && !fused { price::spilled(demand, &case.machine) } else { 0.0 },
            tiles: whole(tiles),
            fused,
        });
        at += parts.total();
    }
    ops
}

/// A small whole number that is kept as a float.
fn whole(value: f64) -> usize {
    format!("{:.0}", value.clamp(0.0, 1e9)).parse().unwrap_or(1)
}

fn lanes(case: &Case<'_>, ops: &[OpTime]) -> Vec<Lane> {
    let mut lanes: Vec<Lane> = Vec::new();
    for (i, op) in ops.iter().enumerate() {
        let fresh = lanes.last().is_none_or(|l| l.unit != op.unit);
        if fresh {
            let (unit, start) = (op.unit, op.start);
            lanes.push(Lane {
                unit,
                ops: i..i,
                start,
                ms: 0.0,
                dispatch: 0.0,
                handoff: 0.0,
                millijoules: None,
            });
        }
        if let Some(lane) = lanes.last_mut() {
            lane.ops.end = i + 1;
            lane.ms += op.time.ms;
            lane.dispatch += op.parts.dispatch;
            lane.handoff += op.parts.handoff;
            let eight_bits = case.demands.ops[i].eight_bits;
            if let Some(watts) = case.machine.power(op.unit, eight_bits) {
                *lane.millijoules.get_or_insert(0.0) += watts * op.time.ms;
            }
        }
    }
    lanes
}

fn energy(lanes: &[Lane], call: f64) -> Energy {
    let known: f64 = lanes.iter().filter(|l| l.millijoules.is_some()).map(|l| l.ms).sum();
    let sum = lanes.iter().filter_map(|l| l.millijoules).reduce(|a, b| a + b);
    Energy { millijoules: sum, known_share: if call > 0.0 { known / call + 0.0 } else { 0.0 } }
}

/// Compile times were seen from seconds to minutes for models of one size, so the interval is wide.
const COMPILE: (f64, f64) = (0.3, 30.0);
/// The one figure of a first call is from one chip.
const FIRST_CALL: (f64, f64) = (0.5, 4.0);

fn cold(case: &Case<'_>) -> Cold {
    let on_ane = case.demands.ops.iter().zip(&case.units).filter(|(_, u)| **u == Unit::Ane);
    let bytes: f64 = on_ane.flat_map(|(d, _)| &d.weights).map(|w| w.unpacked).sum();
    let compile = bytes / (case.coefficients.compile_mb_s * 1e6) * 1e3;
    let used = case.units.contains(&Unit::Ane);
    let first = if used { case.coefficients.first_call_ms } else { 0.0 };
    Cold { compile: Interval::around(compile, COMPILE), first_call: Interval::around(first, FIRST_CALL) }
}

fn notes(case: &Case<'_>, plan: &Plan, lanes: &[Lane]) -> Vec<String> {
    let mut notes = Vec::new();
    let uses = |unit: Unit| lanes.iter().any(|l| l.unit == unit);
    if uses(Unit::Ane) {
        notes.extend(case.machine.notes.iter().filter(|n| !n.contains("GPU")).cloned());
    }
    if uses(Unit::Gpu) {
        notes.extend(case.machine.notes.iter().filter(|n| n.contains("GPU")).cloned());
        notes.push("GPU times rest on one published measurement and on figures of the chip.".to_owned());
    }
    if plan.units == Units::CpuAndGpu {
        notes.push(
            "The GPU is taken to run every op that it supports; Core ML's choice is not known.".to_owned(),
        );
    }
    if uses(Unit::Cpu) {
        notes.push(
            "CPU times use the rates that the planner counts with; they are not of this chip.".to_owned(),
        );
    }
    if lanes.iter().any(|l| l.millijoules.is_none() && l.ms > 0.0) {
        let mut unknown: Vec<String> =
            lanes.iter().filter(|l| l.millijoules.is_none()).map(|l| l.unit.to_string()).collect();
        unknown.sort_unstable();
        unknown.dedup();
        let chip = &plan.device.chip;
        notes.push(format!(
            "Energy is unknown where no power is published: {} of {chip}.",
            unknown.join(", ")
        ));
    }
    if plan.ops.iter().any(|o| o.estimate.is_none()) {
        notes.push("Ops that the op table does not have count by their bytes alone.".to_owned());
    }
    notes
}
