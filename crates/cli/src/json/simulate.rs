//! `anemone.simulate/1` and `anemone.sweep/1`.

use super::finite;
use anemone::Simulated;
use anemone::ane::Unit;
use anemone::ane::simulate::{self, Bound, Coefficients};
use serde::Serialize;
use std::path::Path;

/// A simulation.
#[derive(Debug, Serialize)]
pub(crate) struct Simulate {
    schema: &'static str,
    package: String,
    function: String,
    device: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    os: Option<String>,
    units: String,
    batch: usize,
    iterations: usize,
    latency: Interval,
    total: Interval,
    per_second: Interval,
    #[serde(skip_serializing_if = "Option::is_none")]
    cold: Option<Cold>,
    energy: Energy,
    weight_bytes: u64,
    state_bytes: u64,
    busy_ms: Busy,
    bounds: Vec<Share>,
    lanes: Vec<Lane>,
    ops: Vec<Op>,
    changes: Vec<Change>,
    coefficients: Vec<Coefficient>,
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Interval {
    #[serde(rename = "value")]
    ms: f64,
    low: f64,
    high: f64,
}

#[derive(Debug, Serialize)]
struct Cold {
    compile_ms: Interval,
    first_call_ms: Interval,
}

/// Energy of one call; `null` where no power is published.
#[derive(Debug, Serialize)]
struct Energy {
    millijoules: Option<f64>,
    known_share: f64,
}

#[derive(Debug, Serialize)]
struct Busy {
    ane: f64,
    gpu: f64,
    cpu: f64,
}

#[derive(Debug, Serialize)]
struct Share {
    bound: &'static str,
    share: f64,
}

#[derive(Debug, Serialize)]
struct Lane {
    unit: String,
    first: usize,
    ops: usize,
    start_ms: f64,
    ms: f64,
    dispatch_ms: f64,
    handoff_ms: f64,
    millijoules: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Op {
    index: usize,
    name: String,
    #[serde(rename = "type")]
    kind: String,
    class: &'static str,
    unit: String,
    start_ms: f64,
    ms: f64,
    low_ms: f64,
    high_ms: f64,
    bound: &'static str,
    compute_ms: f64,
    weights_ms: f64,
    activations_ms: f64,
    dispatch_ms: f64,
    handoff_ms: f64,
    flops: f64,
    weight_bytes: f64,
    activation_bytes: f64,
    spilled_bytes: f64,
    tiles: usize,
    fused: bool,
}

#[derive(Debug, Serialize)]
struct Change {
    key: &'static str,
    what: String,
    ms: f64,
    saves_ms: f64,
    saves_share: f64,
    but: &'static str,
}

#[derive(Debug, Serialize)]
struct Coefficient {
    name: String,
    value: f64,
    unit: String,
    strength: String,
    source: String,
}

const BOUNDS: [Bound; 5] =
    [Bound::Compute, Bound::Weights, Bound::Activations, Bound::Dispatch, Bound::Handoff];

impl Simulate {
    pub(crate) fn of(package: &Path, simulated: &Simulated) -> Simulate {
        let (plan, t) = (&simulated.plan, &simulated.timeline);
        Simulate {
            schema: "anemone.simulate/1",
            package: package.display().to_string(),
            function: simulated.function.clone(),
            device: plan.device.name.clone(),
            os: plan.device.os.map(|os| os.to_string()),
            units: plan.units.name().to_owned(),
            batch: t.load.batch,
            iterations: t.load.iterations,
            latency: Interval::of(&t.latency),
            total: Interval::of(&t.total),
            per_second: Interval::of(&t.per_second),
            cold: t.cold.map(|c| Cold {
                compile_ms: Interval::of(&c.compile),
                first_call_ms: Interval::of(&c.first_call),
            }),
            energy: Energy { millijoules: t.energy.millijoules, known_share: t.energy.known_share },
            weight_bytes: simulated.weight_bytes,
            state_bytes: simulated.state_bytes,
            busy_ms: Busy { ane: t.busy(Unit::Ane), gpu: t.busy(Unit::Gpu), cpu: t.busy(Unit::Cpu) },
            bounds: BOUNDS.iter().map(|b| Share { bound: b.name(), share: t.share(*b) }).collect(),
            lanes: t.lanes.iter().map(Lane::of).collect(),
            ops: t.ops.iter().map(Op::of).collect(),
            changes: t.changes.iter().map(Change::of).collect(),
            coefficients: Coefficients::known().listed.iter().map(Coefficient::of).collect(),
            notes: t.notes.iter().chain(&plan.notes).cloned().collect(),
        }
    }
}

impl Interval {
    fn of(i: &simulate::Interval) -> Interval {
        Interval { ms: i.ms, low: i.low, high: i.high }
    }
}

impl Lane {
    fn of(l: &simulate::Lane) -> Lane {
        Lane {
            unit: l.unit.to_string(),
            first: l.ops.start,
            ops: l.ops.len(),
            start_ms: l.start,
            ms: l.ms,
            dispatch_ms: l.dispatch,
            handoff_ms: l.handoff,
            millijoules: l.millijoules,
        }
    }
}

impl Op {
    fn of(op: &simulate::OpTime) -> Op {
        Op {
            index: op.index,
            name: op.name.clone(),
            kind: op.kind.clone(),
            class: op.class.name(),
            unit: op.unit.to_string(),
            start_ms: op.start,
            ms: op.time.ms,
            low_ms: op.time.low,
            high_ms: op.time.high,
            bound: op.bound.name(),
            compute_ms: op.parts.compute,
            weights_ms: op.parts.weights,
            activations_ms: op.parts.activations,
            dispatch_ms: op.parts.dispatch,
            handoff_ms: op.parts.handoff,
            flops: op.flops,
            weight_bytes: op.weight_bytes,
            activation_bytes: op.activation_bytes,
            spilled_bytes: op.spilled_bytes,
            tiles: op.tiles,
            fused: op.fused,
        }
    }
}

impl Change {
    fn of(c: &simulate::Change) -> Change {
        Change {
            key: c.key,
            what: c.what.clone(),
            ms: c.ms,
            saves_ms: c.saves,
            saves_share: c.share,
            but: c.but,
        }
    }
}

impl Coefficient {
    fn of(c: &simulate::Coefficient) -> Coefficient {
        Coefficient {
            name: c.name.clone(),
            value: c.value,
            unit: c.unit.clone(),
            strength: c.strength.to_string(),
            source: c.source.to_string(),
        }
    }
}

/// A sweep.
#[derive(Debug, Serialize)]
pub(crate) struct Sweep {
    schema: &'static str,
    package: String,
    name: String,
    points: Vec<Point>,
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Point {
    label: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<f64>,
    latency: Interval,
    per_second: Option<f64>,
    ane_share_by_count: f64,
    ane_share_by_time: f64,
    crossings: usize,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Sweep {
    pub(crate) fn of(package: &Path, sweep: &anemone::Sweep) -> Sweep {
        let point = |p: &anemone::SweepPoint| Point {
            label: p.label.clone(),
            value: p.value,
            latency: Interval::of(&p.latency),
            per_second: finite(p.per_second),
            ane_share_by_count: p.on_ane,
            ane_share_by_time: p.on_ane_time,
            crossings: p.crossings,
            bytes: p.bytes,
            reason: p.reason.clone(),
        };
        Sweep {
            schema: "anemone.sweep/1",
            package: package.display().to_string(),
            name: sweep.name.clone(),
            points: sweep.points.iter().map(point).collect(),
            notes: sweep.notes.clone(),
        }
    }
}
