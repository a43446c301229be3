//! `trace`: what a device said, in the words of a plan.

mod against;
mod calibrate;
mod patterns;
mod read;
mod timeline;

pub use against::{Against, Compared, Comparison, Row, against};
pub use calibrate::{Calibration, Fitted, calibrate};
pub use patterns::{Pattern, patterns};
pub use read::read;
pub use timeline::{LaneTime, Predictions, Timeline};

use anemone_ane::{Unit, Units};
use anemone_formats::compute_plan::Layout;
use anemone_formats::instruments::Interval;
use std::ops::Range;
use std::path::PathBuf;

pub use anemone_formats::instruments::{Activity, Interval as Span, Lane};

/// A file that a device, or a tool that asked one, has written.
#[derive(Clone, Debug)]
pub struct Trace {
    /// Where it is.
    pub path: PathBuf,
    /// How it is laid out.
    pub layout: TraceLayout,
    /// Plans in it, in written order; none in a recording of Instruments.
    pub parts: Vec<Part>,
    /// Times in it.
    pub timeline: Option<Timeline>,
    /// What was left out, one sentence each.
    pub notes: Vec<String>,
    /// The program that the file itself holds, as MIL text.
    pub(crate) program: Option<String>,
}

/// How a trace is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceLayout {
    /// A compute plan.
    Plan(Layout),
    /// The segmenter's `analytics.mil`.
    Analytics,
    /// Tables of Instruments.
    Instruments,
}

impl TraceLayout {
    /// Name for people.
    pub const fn name(self) -> &'static str {
        match self {
            TraceLayout::Plan(Layout::Json) => "compute plan (JSON)",
            TraceLayout::Plan(Layout::Remote) => "compute plan (JSON of coremltools)",
            TraceLayout::Plan(Layout::Lines) => "compute plans (JSON lines)",
            TraceLayout::Plan(Layout::OwnPlan) => "anemone.plan/1",
            TraceLayout::Plan(Layout::OwnBench) => "anemone.bench/1",
            TraceLayout::Plan(Layout::Tabs) => "compute plans (table)",
            TraceLayout::Plan(Layout::Commas) => "estimates of the compiler (table)",
            TraceLayout::Plan(Layout::Log) => "compute plan (log)",
            TraceLayout::Plan(Layout::Listing) => "compute plan (listing)",
            TraceLayout::Analytics => "analytics.mil",
            TraceLayout::Instruments => "recording of Instruments",
        }
    }
}

/// Where the ops of one function went under one setting.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// Model, graph or component; empty when not told.
    pub name: String,
    /// Function; empty when not told.
    pub function: String,
    /// Setting of compute units; `None` when not told.
    pub units: Option<Units>,
    /// Chip; empty when not told.
    pub chip: String,
    /// System; empty when not told.
    pub os: String,
    /// Ops in written order.
    pub ops: Vec<TracedOp>,
    /// The planner's fixed costs by name, in ms.
    pub fixed: Vec<(String, f64)>,
}

/// One op.
#[derive(Clone, Debug, Default)]
pub struct TracedOp {
    /// Name of its first result; empty when not told.
    pub name: String,
    /// Kind; empty when not told.
    pub kind: String,
    /// Unit that it went to; `None` when not told.
    pub unit: Option<Unit>,
    /// Units that take it, in the order CPU, GPU, ANE; empty when not told.
    pub supported: Vec<Unit>,
    /// Part of the cost, 0 to 1.
    pub share: Option<f64>,
    /// Estimated time by backend, in ms.
    pub estimates: Vec<(String, f64)>,
    /// Measured time, in ms.
    pub measured_ms: Option<f64>,
    /// Why a unit refuses it, in the words of the trace; empty when not told.
    pub why: String,
}

impl TracedOp {
    /// The estimate of a backend, in ms.
    pub fn estimate(&self, backend: &str) -> Option<f64> {
        self.estimates.iter().find(|(b, _)| b == backend).map(|(_, ms)| *ms)
    }

    /// The better of the CPU backends' estimates, in ms.
    pub fn cpu_ms(&self) -> Option<f64> {
        let both = ["bnns", "classic_cpu"].into_iter().filter_map(|b| self.estimate(b));
        both.reduce(f64::min)
    }

    /// The measured time, or the estimate on the unit that the op went to, in ms.
    pub fn ms(&self) -> Option<f64> {
        let estimated = match self.unit {
            Some(Unit::Ane) => self.estimate("ane"),
            Some(Unit::Gpu) => self.estimate("mps_graph"),
            _ => self.cpu_ms(),
        };
        self.measured_ms.or(estimated)
    }
}

/// Consecutive ops on one unit.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// The unit.
    pub unit: Unit,
    /// Positions in [`Part::ops`].
    pub ops: Range<usize>,
    /// Part of the cost, 0 to 1; `None` where no op tells.
    pub share: Option<f64>,
    /// Measured or estimated time, in ms; `None` where an op does not tell.
    pub ms: Option<f64>,
}

impl Part {
    /// Ops of which the unit is told.
    pub fn placed(&self) -> impl Iterator<Item = (&TracedOp, Unit)> {
        self.ops.iter().filter_map(|op| Some((op, op.unit?)))
    }

    /// Runs of ops on one unit; ops without a unit belong to the run before them.
    pub fn runs(&self) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for (i, op) in self.ops.iter().enumerate() {
            let add = |sum: Option<f64>, more: Option<f64>| Some(sum? + more?);
            match (runs.last_mut(), op.unit) {
                (Some(last), unit) if unit.is_none_or(|u| u == last.unit) => {
                    last.ops.end = i + 1;
                    last.share = add(last.share, op.share);
                    last.ms = add(last.ms, op.ms());
                }
                (_, Some(unit)) => runs.push(Run { unit, ops: i..i + 1, share: op.share, ms: op.ms() }),
                (_, None) => {}
            }
        }
        runs
    }

    /// Part of the ops that went to a unit, 0 to 1; 0 without ops.
    pub fn share_by_count(&self, unit: Unit) -> f64 {
        let (all, on) =
            self.placed().fold((0u32, 0u32), |(all, on), (_, u)| (all + 1, on + u32::from(u == unit)));
        if all == 0 { 0.0 } else { f64::from(on) / f64::from(all) }
    }

    /// Part of the cost that fell on a unit, 0 to 1; `None` where the trace tells no cost.
    pub fn share_by_cost(&self, unit: Unit) -> Option<f64> {
        let sum = |only: Option<Unit>| -> f64 {
            let of = |(op, u): (&TracedOp, Unit)| {
                if only.is_none_or(|o| o == u) { op.share.unwrap_or(0.0) } else { 0.0 }
            };
            // An empty sum is -0.0, which adding 0.0 undoes.
            self.placed().map(of).sum::<f64>() + 0.0
        };
        let whole = sum(None);
        (whole > 0.0).then(|| sum(Some(unit)) / whole)
    }

    /// True when the setting allows the Neural Engine, or when the trace names it as a unit that takes an op.
    pub fn asked_ane(&self) -> bool {
        match self.units {
            Some(units) => units.allows(Unit::Ane),
            None => self.ops.iter().any(|op| {
                op.unit == Some(Unit::Ane) || op.supported.contains(&Unit::Ane) || !op.why.is_empty()
            }),
        }
    }

    /// Convolutions, and how many of them went to the Neural Engine.
    pub fn convolutions(&self) -> (usize, usize) {
        let conv = |op: &&TracedOp| matches!(&*op.kind, "conv" | "conv_transpose");
        let all = self.ops.iter().filter(conv);
        (all.clone().count(), all.filter(|op| op.unit == Some(Unit::Ane)).count())
    }
}

/// Intervals of ops that are laid one behind the other, where a plan tells times and nothing tells when.
impl Part {
    /// One interval for each op with a time, in ns; empty when no op has one.
    pub fn laid_out(&self) -> Vec<Interval> {
        let mut at = 0.0_f64;
        let mut found = Vec::new();
        for op in &self.ops {
            let Some(ms) = op.ms().filter(|ms| *ms > 0.0) else { continue };
            let lane = match op.unit {
                Some(Unit::Ane) => Lane::NeuralEngine,
                Some(Unit::Gpu) => Lane::Gpu,
                _ => Lane::Cpu,
            };
            let (start, duration) = (whole_ns(at), whole_ns(ms).max(1));
            let label = if op.name.is_empty() { op.kind.clone() } else { format!("{} {}", op.kind, op.name) };
            let (label, model, process) = (label.into(), self.name.clone().into(), "".into());
            found.push(Interval {
                schema: "",
                lane,
                activity: Activity::Prediction,
                start,
                duration,
                label,
                model,
                process,
            });
            at += ms;
        }
        found
    }
}

/// Milliseconds as whole nanoseconds.
fn whole_ns(ms: f64) -> u64 {
    std::time::Duration::try_from_secs_f64(ms / 1e3)
        .map_or(u64::MAX, |d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX))
}
