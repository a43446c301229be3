//! `anemone.trace/1`.

use super::placed::{Convolutions, PlacedOp, Shares, Stretch, words};
use anemone::ane::Unit;
use anemone::trace::{self, Calibration, Compared, Comparison, Lane, Part, Pattern};
use serde::Serialize;
use std::collections::BTreeMap;

/// What a device said. Times are in milliseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Traced {
    schema: &'static str,
    file: String,
    layout: &'static str,
    parts: Vec<TracedPart>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeline: Option<Timeline>,
    patterns: Vec<Recognised>,
    #[serde(skip_serializing_if = "Option::is_none")]
    against: Option<Against>,
    #[serde(skip_serializing_if = "Option::is_none")]
    calibration: Option<Learned>,
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct TracedPart {
    name: String,
    function: String,
    units: Option<String>,
    chip: String,
    os: String,
    ops: Vec<Op>,
    segments: Vec<Segment>,
    summary: Summary,
    fixed_ms: BTreeMap<String, f64>,
}

#[derive(Debug, Serialize)]
struct Op {
    #[serde(flatten)]
    placed: PlacedOp,
    cost_share: Option<f64>,
    estimated_ms: BTreeMap<String, f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    measured_ms: Option<f64>,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
}

#[derive(Debug, Serialize)]
struct Segment {
    #[serde(flatten)]
    stretch: Stretch,
    share: Option<f64>,
    ms: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Summary {
    #[serde(flatten)]
    shares: Shares,
    #[serde(flatten)]
    convolutions: Convolutions,
}

#[derive(Debug, Serialize)]
struct Timeline {
    ms: f64,
    lanes: Vec<LaneTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    predictions: Option<Predictions>,
    load_ms: f64,
    compile_ms: f64,
}

#[derive(Debug, Serialize)]
struct LaneTime {
    lane: &'static str,
    intervals: usize,
    busy_ms: f64,
    share: f64,
}

/// Medians.
#[derive(Debug, Serialize)]
struct Predictions {
    count: usize,
    ms: f64,
    ane_ms: f64,
    gpu_ms: f64,
    rest_ms: f64,
    changes: f64,
    /// False when the engine's intervals stand in for calls.
    whole: bool,
}

#[derive(Debug, Serialize)]
struct Recognised {
    part: usize,
    pattern: &'static str,
    good: bool,
    seen: String,
    advice: String,
    facts: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Against {
    device: String,
    units: String,
    part: Option<usize>,
    agreed: usize,
    equal: usize,
    differs: usize,
    unmatched: usize,
    ane_share_by_cost: f64,
    ane_share_by_count: f64,
    predicted_ms: f64,
    predicted_ane_ms: f64,
    ops: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    predicted: Option<usize>,
    traced: Option<usize>,
    name: String,
    #[serde(rename = "type")]
    kind: String,
    predicted_unit: Option<String>,
    traced_unit: Option<String>,
    predicted_share: Option<f64>,
    traced_share: Option<f64>,
    outcome: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    why: String,
}

#[derive(Debug, Serialize)]
struct Learned {
    figures: Vec<Fitted>,
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Fitted {
    what: String,
    value: String,
    count: usize,
    error: Option<f64>,
}

impl Traced {
    pub(crate) fn of(
        trace: &trace::Trace,
        patterns: &[(usize, Pattern)],
        against: Option<&Comparison>,
        calibration: Option<&Calibration>,
    ) -> Traced {
        Traced {
            schema: "anemone.trace/1",
            file: trace.path.display().to_string(),
            layout: trace.layout.name(),
            parts: trace.parts.iter().map(TracedPart::of).collect(),
            timeline: trace.timeline.as_ref().map(Timeline::of),
            patterns: patterns.iter().map(|(part, p)| Recognised::of(*part, p)).collect(),
            against: against.map(|c| Against::of(trace, c)),
            calibration: calibration.map(Learned::of),
            notes: trace.notes.clone(),
        }
    }
}

impl TracedPart {
    fn of(part: &Part) -> TracedPart {
        let runs = part.runs();
        let (convolutions, convolutions_on_ane) = part.convolutions();
        let segment =
            |r: &trace::Run| Segment { stretch: Stretch::of(r.unit, &r.ops), share: r.share, ms: r.ms };
        TracedPart {
            name: part.name.clone(),
            function: part.function.clone(),
            units: part.units.map(|u| u.name().to_owned()),
            chip: part.chip.clone(),
            os: part.os.clone(),
            ops: part.ops.iter().enumerate().map(|(i, op)| Op::of(i, op)).collect(),
            segments: runs.iter().map(segment).collect(),
            summary: Summary {
                shares: Shares {
                    ane_share_by_count: part.share_by_count(Unit::Ane),
                    ane_share_by_cost: part.share_by_cost(Unit::Ane),
                    crossings: runs.len().saturating_sub(1),
                },
                convolutions: Convolutions { convolutions, convolutions_on_ane },
            },
            fixed_ms: part.fixed.iter().cloned().collect(),
        }
    }
}

impl Op {
    fn of(index: usize, op: &trace::TracedOp) -> Op {
        Op {
            placed: PlacedOp {
                index,
                name: op.name.clone(),
                kind: op.kind.clone(),
                supported: words(&op.supported),
                preferred: op.unit.map(|u| u.to_string()),
            },
            cost_share: op.share,
            estimated_ms: op.estimates.iter().cloned().collect(),
            measured_ms: op.measured_ms,
            reason: op.why.clone(),
        }
    }
}

impl Timeline {
    fn of(t: &trace::Timeline) -> Timeline {
        let lane = |l: &trace::LaneTime| LaneTime {
            lane: match l.lane {
                Lane::CoreMl => "coreml",
                Lane::NeuralEngine => "ANE",
                Lane::Gpu => "GPU",
                Lane::Cpu => "CPU",
            },
            intervals: l.intervals,
            busy_ms: l.busy_ms,
            share: l.share,
        };
        let medians = |p: trace::Predictions| Predictions {
            count: p.count,
            ms: p.ms,
            ane_ms: p.engine_ms,
            gpu_ms: p.gpu_ms,
            rest_ms: p.rest_ms,
            changes: p.changes,
            whole: p.whole,
        };
        Timeline {
            ms: t.ms,
            lanes: t.lanes.iter().map(lane).collect(),
            predictions: t.predictions.map(medians),
            load_ms: t.load_ms,
            compile_ms: t.compile_ms,
        }
    }
}

impl Recognised {
    fn of(part: usize, p: &Pattern) -> Recognised {
        Recognised {
            part,
            pattern: p.key,
            good: p.good,
            seen: p.seen.clone(),
            advice: p.advice.clone(),
            facts: p.facts.iter().map(|f| f.id.clone()).collect(),
        }
    }
}

impl Against {
    fn of(trace: &trace::Trace, c: &Comparison) -> Against {
        let part = c.part.map(|i| &trace.parts[i]);
        Against {
            device: c.plan.device.name.clone(),
            units: c.plan.units.name().to_owned(),
            part: c.part,
            agreed: c.count(Compared::Agreed),
            equal: c.count(Compared::Equal),
            differs: c.count(Compared::Differs),
            unmatched: c.count(Compared::Unmatched),
            ane_share_by_cost: c.plan.ane_share_by_cost,
            ane_share_by_count: c.plan.ane_share_by_count,
            predicted_ms: c.plan.cost_ms + c.plan.fixed_ms,
            predicted_ane_ms: c.predicted_ane_ms,
            ops: c.rows.iter().map(|r| Row::of(r, c, part)).collect(),
        }
    }
}

impl Row {
    fn of(row: &trace::Row, c: &Comparison, part: Option<&Part>) -> Row {
        let ours = row.predicted.map(|i| &c.plan.ops[i]);
        let theirs = row.traced.and_then(|i| part?.ops.get(i));
        let either =
            |ours: Option<&String>, theirs: Option<&String>| ours.or(theirs).cloned().unwrap_or_default();
        Row {
            predicted: row.predicted,
            traced: row.traced,
            name: either(ours.map(|o| &o.name), theirs.map(|t| &t.name)),
            kind: either(ours.map(|o| &o.kind), theirs.map(|t| &t.kind)),
            predicted_unit: ours.map(|o| o.preferred.to_string()),
            traced_unit: theirs.and_then(|t| t.unit).map(|u| u.to_string()),
            predicted_share: ours.and_then(|o| o.cost_share),
            traced_share: theirs.and_then(|t| t.share),
            outcome: match row.compared {
                Compared::Agreed => "agreed",
                Compared::Equal => "equal",
                Compared::Differs => "differs",
                Compared::Unmatched => "unmatched",
            },
            why: row.why.clone(),
        }
    }
}

impl Learned {
    fn of(c: &Calibration) -> Learned {
        let fitted = |f: &trace::Fitted| Fitted {
            what: f.what.clone(),
            value: f.value.clone(),
            count: f.count,
            error: f.error,
        };
        Learned { figures: c.fitted.iter().map(fitted).collect(), notes: c.notes.clone() }
    }
}
