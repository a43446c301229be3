//! `anemone.report/1`: what the page of `report` shows, embedded in it.

use super::finite;
use crate::verbs::{container_name, encoding_name};
use anemone::ane::{self, Fact};
use anemone::report::{self, End, Timeline};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Everything that the page shows.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    schema: &'static str,
    package: String,
    function: String,
    container: &'static str,
    device: Device,
    summary: Summary,
    ops: Vec<Op>,
    /// Sentences that ops refer to by number.
    reasons: Vec<String>,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    /// From, to, bytes; ends are numbers of ops, inputs as `i0`, outputs as `o0`.
    edges: Vec<(Place, Place, u64)>,
    segments: Vec<Segment>,
    timeline: Spans,
    findings: Vec<Finding>,
    /// Claims of the facts that are named, by id.
    facts: BTreeMap<String, String>,
    sizes: Sizes,
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Device {
    name: String,
    chip: String,
    os: Option<String>,
    units: String,
}

#[derive(Debug, Serialize)]
struct Summary {
    ops: usize,
    ops_on_ane: usize,
    ane_share_by_count: f64,
    ane_share_by_cost: f64,
    crossings: usize,
    estimate_ms: f64,
    fixed_ms: f64,
    convolutions: usize,
    convolutions_on_ane: usize,
    parameters: u64,
    weight_bytes: u64,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct Op {
    name: String,
    kind: String,
    unit: String,
    takes: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unknown: Vec<String>,
    ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    bound: Option<&'static str>,
    share: Option<f64>,
    ane_ms: Option<f64>,
    cpu_ms: Option<f64>,
    #[serde(skip_serializing_if = "is_false")]
    fused: bool,
    #[serde(skip_serializing_if = "is_false")]
    uncertain: bool,
    #[serde(skip_serializing_if = "is_false")]
    carried: bool,
    #[serde(skip_serializing_if = "is_false")]
    tie: bool,
    reason: usize,
    facts: Vec<String>,
    results: Vec<Port>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    weight_bytes: u64,
    line: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(v: &bool) -> bool {
    !v
}

#[derive(Debug, Serialize)]
struct Port {
    name: String,
    #[serde(rename = "type")]
    ty: String,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Place {
    Op(usize),
    Port(String),
}

#[derive(Debug, Serialize)]
struct Segment {
    unit: String,
    first: usize,
    ops: usize,
    ms: f64,
}

#[derive(Debug, Serialize)]
struct Spans {
    /// `simulation`, or `estimate`: what the planner counts.
    basis: &'static str,
    total_ms: f64,
    low_ms: f64,
    high_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    millijoules: Option<f64>,
    /// Start and duration of each op, in ms.
    ops: Vec<(f64, f64)>,
    changes: Vec<Change>,
}

#[derive(Debug, Serialize)]
struct Change {
    what: String,
    saves_ms: f64,
}

#[derive(Debug, Serialize)]
struct Finding {
    rule: String,
    severity: String,
    message: String,
    help: String,
    op: Option<usize>,
    facts: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Sizes {
    weights: Vec<Weights>,
}

#[derive(Debug, Serialize)]
struct Weights {
    encoding: String,
    dtype: String,
    tensors: usize,
    parameters: u64,
    bytes: u64,
}

impl Report {
    pub(crate) fn of(path: &Path, report: &report::Report) -> Report {
        let plan = &report.plan;
        let mut reasons = Texts::default();
        let all = report.timeline.spans.iter().map(|s| s.ms).sum();
        let ops: Vec<Op> = (0..plan.ops.len()).map(|i| Op::of(report, i, all, &mut reasons)).collect();
        let findings = findings(report);
        let named = ops.iter().flat_map(|o| &o.facts).chain(findings.iter().flat_map(|f| &f.facts));
        let facts = named.filter_map(|id| Some((id.clone(), Fact::named(id)?.claim.clone()))).collect();
        let mut notes = plan.notes.clone();
        notes.extend(report.timeline.notes.iter().chain(&report.notes).cloned());
        Report {
            schema: "anemone.report/1",
            package: path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned()),
            function: report.function.clone(),
            container: container_name(Some(report.container)),
            device: Device {
                name: plan.device.name.clone(),
                chip: plan.device.chip.clone(),
                os: plan.device.os.map(|os| os.to_string()),
                units: plan.units.name().to_owned(),
            },
            summary: Summary::of(report),
            ops,
            reasons: reasons.all,
            inputs: report.inputs.iter().map(Port::of).collect(),
            outputs: report.outputs.iter().map(Port::of).collect(),
            edges: report.edges.iter().map(|e| (place(e.from), place(e.to), e.bytes)).collect(),
            segments: plan
                .segments
                .iter()
                .map(|s| Segment { unit: s.unit.to_string(), first: s.ops.start, ops: s.ops.len(), ms: s.ms })
                .collect(),
            timeline: Spans::of(&report.timeline),
            findings,
            facts,
            sizes: Sizes::of(report),
            notes,
        }
    }
}

fn place(end: End) -> Place {
    match end {
        End::Op(i) => Place::Op(i),
        End::Input(i) => Place::Port(format!("i{i}")),
        End::Output(i) => Place::Port(format!("o{i}")),
    }
}

/// Texts, each once.
#[derive(Default)]
struct Texts {
    all: Vec<String>,
    at: HashMap<String, usize>,
}

impl Texts {
    fn number(&mut self, text: &str) -> usize {
        if let Some(&at) = self.at.get(text) {
            return at;
        }
        self.all.push(text.to_owned());
        self.at.insert(text.to_owned(), self.all.len() - 1);
        self.all.len() - 1
    }
}

impl Summary {
    fn of(report: &report::Report) -> Summary {
        let plan = &report.plan;
        Summary {
            ops: plan.ops.len(),
            ops_on_ane: plan.ops.iter().filter(|op| op.preferred == ane::Unit::Ane).count(),
            ane_share_by_count: plan.ane_share_by_count,
            ane_share_by_cost: plan.ane_share_by_cost,
            crossings: plan.crossings,
            estimate_ms: plan.cost_ms + plan.fixed_ms,
            fixed_ms: plan.fixed_ms,
            convolutions: plan.convolutions.all,
            convolutions_on_ane: plan.convolutions.on_ane,
            parameters: report.summary.parameters,
            weight_bytes: report.summary.weight_bytes,
            bytes: report.bytes,
        }
    }
}

impl Op {
    /// `all` is the time of all ops, in ms.
    fn of(report: &report::Report, index: usize, all: f64, reasons: &mut Texts) -> Op {
        let time = report.timeline.spans.get(index).map_or(0.0, |s| s.ms);
        let (op, node) = (&report.plan.ops[index], &report.nodes[index]);
        let mut facts: Vec<String> = op.facts.iter().map(|f| f.id.clone()).collect();
        facts.dedup();
        Op {
            name: op.name.clone(),
            kind: op.kind.clone(),
            unit: op.preferred.to_string(),
            takes: op.supported.iter().map(ToString::to_string).collect(),
            unknown: op.unknown.iter().map(ToString::to_string).collect(),
            ms: time,
            bound: report
                .timeline
                .spans
                .get(index)
                .and_then(|s| s.bound)
                .map(anemone::ane::simulate::Bound::name),
            share: Some(time / all).filter(|_| time > 0.0).and_then(finite),
            ane_ms: op.estimate.as_ref().and_then(|e| e.ane),
            cpu_ms: op.estimate.as_ref().map(|e| e.bnns.min(e.classic_cpu)),
            fused: report.timeline.spans.get(index).is_some_and(|s| s.fused),
            uncertain: op.uncertain,
            carried: op.carried,
            tie: op.equal_cost_alternative,
            reason: reasons.number(&op.reason),
            facts,
            results: node.results.iter().map(Port::of).collect(),
            source: node.source.clone(),
            weight_bytes: node.weight_bytes,
            line: node.line.clone(),
        }
    }
}

impl Port {
    fn of(port: &report::Port) -> Port {
        Port { name: port.name.clone(), ty: port.ty.clone() }
    }
}

impl Spans {
    fn of(timeline: &Timeline) -> Spans {
        Spans {
            basis: if timeline.simulated { "simulation" } else { "estimate" },
            total_ms: timeline.latency.ms,
            low_ms: timeline.latency.low,
            high_ms: timeline.latency.high,
            millijoules: timeline.millijoules.and_then(finite),
            changes: timeline
                .changes
                .iter()
                .map(|(what, saves)| Change { what: what.clone(), saves_ms: *saves })
                .collect(),
            ops: timeline.spans.iter().map(|s| (s.start, s.ms)).collect(),
        }
    }
}

fn findings(report: &report::Report) -> Vec<Finding> {
    let at: HashMap<_, usize> = report.plan.ops.iter().enumerate().map(|(i, op)| (op.id, i)).collect();
    let finding = |located: &anemone::lint::Located| {
        let f = &located.finding;
        let facts = f.rule.facts.iter().filter_map(|k| Fact::named(k));
        Finding {
            rule: f.rule.name.to_owned(),
            severity: f.severity.to_string(),
            message: f.message.clone(),
            help: f.rule.help.to_owned(),
            op: f.op.and_then(|id| at.get(&id).copied()),
            facts: facts.map(|k| k.id.clone()).collect(),
        }
    };
    let mut found: Vec<Finding> = report.findings.iter().map(finding).collect();
    let rank = |f: &Finding| ["error", "warning", "note"].iter().position(|s| *s == f.severity);
    found.sort_by_key(rank);
    found
}

impl Sizes {
    fn of(report: &report::Report) -> Sizes {
        let group = |g: &anemone::package::WeightGroup| Weights {
            encoding: encoding_name(&g.encoding),
            dtype: g.dtype.to_string(),
            tensors: g.tensors,
            parameters: g.parameters,
            bytes: g.bytes,
        };
        Sizes { weights: report.summary.weights.iter().map(group).collect() }
    }
}
