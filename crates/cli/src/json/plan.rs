//! `anemone.plan/1`: comparable with recorded Core ML plans.

use super::placed::{Convolutions, PlacedOp, Shares, Stretch, words};
use anemone::ane;
use serde::Serialize;
use std::path::Path;

/// A plan.
#[derive(Debug, Serialize)]
pub(crate) struct Plan {
    schema: &'static str,
    package: String,
    device: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    os: Option<String>,
    units: String,
    ops: Vec<Op>,
    segments: Vec<Segment>,
    boundaries: Vec<Boundary>,
    summary: Summary,
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Op {
    #[serde(flatten)]
    placed: PlacedOp,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost_share: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    estimated_ms: Option<Estimate>,
    equal_cost_alternative: bool,
    uncertain: bool,
    /// True when what decided was observed on another chip.
    carried: bool,
    unknown: Vec<String>,
    reason: String,
    facts: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Estimate {
    #[serde(skip_serializing_if = "Option::is_none")]
    ane: Option<f64>,
    bnns: f64,
    classic_cpu: f64,
}

#[derive(Debug, Serialize)]
struct Segment {
    #[serde(flatten)]
    stretch: Stretch,
    ms: f64,
}

#[derive(Debug, Serialize)]
struct Summary {
    #[serde(flatten)]
    shares: Shares,
    cost_ms: f64,
    fixed_ms: f64,
    #[serde(flatten)]
    convolutions: Convolutions,
    /// The plan if the ANE took everything of which that is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    if_unknown_is_taken: Option<Outlook>,
}

#[derive(Debug, Serialize)]
struct Outlook {
    ane_share_by_count: f64,
    total_ms: f64,
}

#[derive(Debug, Serialize)]
struct Boundary {
    before: usize,
    from: String,
    to: String,
    ms: f64,
    bytes: u64,
}

impl Plan {
    pub(crate) fn of(package: &Path, plan: &ane::Plan) -> Plan {
        Plan {
            schema: "anemone.plan/1",
            package: package.display().to_string(),
            device: plan.device.name.clone(),
            os: plan.device.os.map(|os| os.to_string()),
            units: plan.units.name().to_owned(),
            ops: plan.ops.iter().enumerate().map(|(i, op)| Op::of(i, op)).collect(),
            segments: plan.segments.iter().map(Segment::of).collect(),
            boundaries: plan.boundaries.iter().map(Boundary::of).collect(),
            summary: Summary {
                shares: Shares {
                    ane_share_by_count: plan.ane_share_by_count,
                    ane_share_by_cost: Some(plan.ane_share_by_cost),
                    crossings: plan.crossings,
                },
                cost_ms: plan.cost_ms,
                fixed_ms: plan.fixed_ms,
                convolutions: Convolutions {
                    convolutions: plan.convolutions.all,
                    convolutions_on_ane: plan.convolutions.on_ane,
                },
                if_unknown_is_taken: plan
                    .if_taken
                    .map(|o| Outlook { ane_share_by_count: o.ane_share_by_count, total_ms: o.total_ms }),
            },
            notes: plan.notes.clone(),
        }
    }
}

impl Op {
    fn of(index: usize, op: &ane::OpPlan) -> Op {
        Op {
            placed: PlacedOp {
                index,
                name: op.name.clone(),
                kind: op.kind.clone(),
                supported: words(&op.supported),
                preferred: Some(op.preferred.to_string()),
            },
            cost_share: op.cost_share,
            estimated_ms: op.estimate.as_ref().map(|e| Estimate {
                ane: e.ane,
                bnns: e.bnns,
                classic_cpu: e.classic_cpu,
            }),
            equal_cost_alternative: op.equal_cost_alternative,
            uncertain: op.uncertain,
            carried: op.carried,
            unknown: words(&op.unknown),
            reason: op.reason.clone(),
            facts: op.facts.iter().map(|f| f.id.clone()).collect(),
        }
    }
}

impl Boundary {
    fn of(b: &ane::Boundary) -> Boundary {
        let (from, to) = (b.from.to_string(), b.to.to_string());
        Boundary { before: b.at, from, to, ms: b.ms, bytes: b.bytes }
    }
}

impl Segment {
    fn of(s: &ane::Segment) -> Segment {
        Segment { stretch: Stretch::of(s.unit, &s.ops), ms: s.ms }
    }
}
