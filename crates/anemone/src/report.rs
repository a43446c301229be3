//! `report`: everything that is known of a function on a device, for one page.

use crate::lint::{CheckOptions, Located};
use crate::open::open_to_look;
use crate::simulate::{SimulateOptions, Simulated, simulated};
use crate::{Container, Error, files};
use anemone_ane::simulate::{Bound, Interval};
use anemone_ane::{Device, Plan, Unit, Units};
use anemone_lint::Severity;
use anemone_mil::ops::Effect;
use anemone_mil::text::{self, ConstOrder, PrintOptions};
use anemone_mil::{Def, Function, OpId, Program, Type, ValueId};
use anemone_package::Summary;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

/// What to report on.
#[derive(Clone, Debug)]
pub struct ReportOptions {
    /// The device, with the system to plan for.
    pub device: Arc<Device>,
    /// The compute units.
    pub units: Units,
    /// The function; `None` is the package's default one.
    pub function: Option<String>,
}

/// A function, its plan, and what there is to say about it.
#[derive(Clone, Debug)]
pub struct Report {
    /// What it was read from.
    pub container: Container,
    /// Name of the function.
    pub function: String,
    /// Where each op would go.
    pub plan: Plan,
    /// One per op of the plan.
    pub nodes: Vec<Node>,
    /// What goes in and comes out; states are inputs.
    pub inputs: Vec<Port>,
    /// What comes out.
    pub outputs: Vec<Port>,
    /// Values that go from one op to another, and in and out.
    pub edges: Vec<Edge>,
    /// When each op would run.
    pub timeline: Timeline,
    /// What `check` finds in the function.
    pub findings: Vec<Located>,
    /// Ops and weights of the whole program.
    pub summary: Summary,
    /// Bytes of the model on disk.
    pub bytes: u64,
    /// What was left out while reading.
    pub notes: Vec<String>,
}

/// What the plan does not say about an op.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// Its line of compact MIL text; empty where it has none.
    pub line: String,
    /// Name and type of each result.
    pub results: Vec<Port>,
    /// Node of the source model that it comes from.
    pub source: Option<String>,
    /// Bytes of its constants, as stored.
    pub weight_bytes: u64,
}

/// A named value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Its type, such as `fp16 [1, 3, 224, 224]`.
    pub ty: String,
}

/// One end of an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum End {
    /// An op, by its place in the plan.
    Op(usize),
    /// An input, by its place in [`Report::inputs`].
    Input(usize),
    /// An output, by its place in [`Report::outputs`].
    Output(usize),
}

/// A value on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Where it is made.
    pub from: End,
    /// Where it is used.
    pub to: End,
    /// Its bytes; 0 where they depend on the input.
    pub bytes: u64,
}

/// When each op would run.
#[derive(Clone, Debug, PartialEq)]
pub struct Timeline {
    /// True when it is simulated; false when the planner's estimates stand one after the other.
    pub simulated: bool,
    /// One per op of the plan, in order.
    pub spans: Vec<Span>,
    /// One call.
    pub latency: Interval,
    /// Energy of one call, in mJ, where the power is known.
    pub millijoules: Option<f64>,
    /// What would help most, best first, and the ms that each saves.
    pub changes: Vec<(String, f64)>,
    /// What it rests on, one sentence each.
    pub notes: Vec<String>,
}

/// An op in time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Span {
    /// When it begins, in ms.
    pub start: f64,
    /// How long it takes, in ms.
    pub ms: f64,
    /// What it waits for most; `None` where that is not worked out.
    pub bound: Option<Bound>,
    /// True when its producer does it while writing, so that it takes no time of its own.
    pub fused: bool,
}

/// Gathers the report of a function.
///
/// # Errors
/// When the model does not open, is faulty, or has no such function.
pub fn report(path: &Path, options: &ReportOptions) -> Result<Report, Error> {
    let opened = open_to_look(path)?;
    let ticket = opened.verified(options.function.as_deref()).map_err(|e| e.at(path))?;
    let function = ticket.function();
    let plan = anemone_ane::plan(ticket, &options.device, options.units);
    let checked = crate::lint::check(path, &check_options(options))?;
    let (nodes, graph) = (nodes(&opened.program, function, &plan), Graph::of(function, &plan));
    Ok(Report {
        container: opened.container,
        function: function.name.to_string(),
        nodes,
        inputs: graph.inputs,
        outputs: graph.outputs,
        edges: graph.edges,
        timeline: timeline(&opened.program, function, &plan, options),
        findings: checked.findings.into_iter().filter(|f| f.finding.function == function.name).collect(),
        summary: anemone_package::summary(&opened.program),
        bytes: files::size_of(path),
        notes: opened.notes.clone(),
        plan,
    })
}

fn check_options(options: &ReportOptions) -> CheckOptions {
    CheckOptions {
        device: Arc::clone(&options.device),
        units: options.units,
        severities: BTreeMap::<String, Option<Severity>>::new(),
        gates: Vec::new(),
    }
}

/// The simulation; where there is none, because it plans for other extents or fails, the estimates.
fn timeline(program: &Program, function: &Function, plan: &Plan, options: &ReportOptions) -> Timeline {
    let simulate = SimulateOptions::new(Arc::clone(&options.device), options.units);
    match simulated(program, function, &simulate) {
        Ok(simulated) if simulated.plan.ops.len() == plan.ops.len() => of_simulation(&simulated),
        Ok(_) => estimated(plan, "the simulation has other ops than the plan".into()),
        Err(error) => estimated(plan, error.to_string()),
    }
}

fn of_simulation(simulated: &Simulated) -> Timeline {
    let from = &simulated.timeline;
    let mut spans = vec![Span::default(); from.ops.len()];
    for op in &from.ops {
        if let Some(span) = spans.get_mut(op.index) {
            *span = Span { start: op.start, ms: op.time.ms, bound: Some(op.bound), fused: op.fused };
        }
    }
    Timeline {
        simulated: true,
        spans,
        latency: from.latency,
        millijoules: from.energy.millijoules,
        changes: from.changes.iter().map(|c| (c.what.clone(), c.saves)).collect(),
        notes: from.notes.clone(),
    }
}

/// The plan's estimates one after the other, with the fixed costs where units change.
fn estimated(plan: &Plan, why: String) -> Timeline {
    let fixed = &plan.device.fixed;
    let enters = |unit: Unit| if unit == Unit::Ane { fixed.enter_ane } else { 0.0 };
    let mut now = plan.ops.first().map_or(0.0, |op| enters(op.preferred));
    let changes: HashMap<usize, f64> = plan.boundaries.iter().map(|b| (b.at, b.ms)).collect();
    let mut spans = Vec::with_capacity(plan.ops.len());
    for (index, op) in plan.ops.iter().enumerate() {
        now += changes.get(&index).copied().unwrap_or(0.0);
        let ms = op.cost_share.unwrap_or(0.0) * plan.cost_ms;
        spans.push(Span { start: now, ms, bound: None, fused: false });
        now += ms;
    }
    let total = plan.cost_ms + plan.fixed_ms;
    Timeline {
        simulated: false,
        spans,
        latency: Interval { ms: total, low: total, high: total },
        millijoules: None,
        changes: Vec::new(),
        notes: vec![format!("times are the planner's estimates, because it was not simulated: {why}")],
    }
}

fn nodes(program: &Program, function: &Function, plan: &Plan) -> Vec<Node> {
    let lines = lines(program, function);
    let node = |planned: &anemone_ane::OpPlan| {
        let op = function.op(planned.id);
        let last = op.outputs.last().map_or(&op.name, |&v| &function.value(v).name);
        let mut seen = HashSet::new();
        Node {
            line: lines.get(&**last).cloned().unwrap_or_default(),
            results: op.outputs.iter().map(|&v| port(function, v)).collect(),
            source: op.origin.source.as_ref().map(ToString::to_string),
            weight_bytes: op
                .operands()
                .map(|v| constant_bytes(function, v, &mut seen))
                .fold(0, u64::saturating_add),
        }
    };
    plan.ops.iter().map(node).collect()
}

/// Longest line of text that a report keeps, in characters.
const LONGEST_LINE: usize = 600;

/// Compact text of each op by the name of its last result.
fn lines(program: &Program, function: &Function) -> HashMap<String, String> {
    let mut one = program.clone();
    one.functions.retain(|f| f.name == function.name);
    let options = PrintOptions { compact: true, order: ConstOrder::FirstUse, ..PrintOptions::default() };
    let text = text::print(&one, &options);
    let mut found = HashMap::new();
    for line in text.lines().map(str::trim) {
        let Some((results, _)) = line.split_once(" = ") else { continue };
        let Some(name) = results.split_whitespace().next_back() else { continue };
        let kept = if line.chars().count() > LONGEST_LINE {
            line.chars().take(LONGEST_LINE).collect::<String>() + "…"
        } else {
            line.to_owned()
        };
        found.entry(name.to_owned()).or_insert(kept);
    }
    found
}

fn port(function: &Function, value: ValueId) -> Port {
    let value = function.value(value);
    Port { name: value.name.to_string(), ty: type_text(&value.ty) }
}

/// `fp16 [1, 3, 224, 224]`.
fn type_text(ty: &Type) -> String {
    match ty {
        Type::Tensor(t) | Type::State(t) => {
            let dims: Vec<String> = t.dims.iter().map(ToString::to_string).collect();
            let state = if matches!(ty, Type::State(_)) { "state " } else { "" };
            format!("{state}{} [{}]", t.dtype, dims.join(", "))
        }
        Type::List { elem, .. } => format!("list of {}", type_text(elem)),
        Type::Tuple(each) => {
            format!("({})", each.iter().map(type_text).collect::<Vec<_>>().join(", "))
        }
        Type::Dict(..) => "dictionary".into(),
    }
}

/// Bytes of the constants behind a value, through the ops that unpack them; each counts once.
fn constant_bytes(function: &Function, value: ValueId, seen: &mut HashSet<ValueId>) -> u64 {
    let (mut bytes, mut open) = (0_u64, vec![value]);
    while let Some(value) = open.pop() {
        if !seen.insert(value) {
            continue;
        }
        let info = function.value(value);
        match &info.def {
            Def::Const(_) => {
                let size = info.ty.tensor().and_then(anemone_mil::TensorType::byte_len).unwrap_or(0);
                bytes = bytes.saturating_add(u64::try_from(size).unwrap_or(u64::MAX));
            }
            Def::Result(id, _) if unpacks(function, *id) => open.extend(function.op(*id).operands()),
            _ => {}
        }
    }
    bytes
}

fn unpacks(function: &Function, id: OpId) -> bool {
    function.op(id).kind.def().is_some_and(|d| d.effect == Effect::Constexpr)
}

/// Ports and edges.
#[derive(Default)]
struct Graph {
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    edges: Vec<Edge>,
}

impl Graph {
    fn of(function: &Function, plan: &Plan) -> Graph {
        let mut graph = Graph::default();
        let mut made: HashMap<ValueId, End> = HashMap::new();
        let body = function.block(function.body());
        for &value in &function.inputs {
            made.insert(value, End::Input(graph.inputs.len()));
            graph.inputs.push(port(function, value));
        }
        let mut seen = HashSet::new();
        for (index, planned) in plan.ops.iter().enumerate() {
            for value in read(function, planned.id) {
                if let Some(&from) = made.get(&value) {
                    graph.edge(function, from, End::Op(index), value, &mut seen);
                }
            }
            let results = &function.op(planned.id).outputs;
            made.extend(results.iter().map(|&v| (v, End::Op(index))));
        }
        for &value in &body.outputs {
            let to = End::Output(graph.outputs.len());
            graph.outputs.push(port(function, value));
            if let Some(&from) = made.get(&value) {
                graph.edge(function, from, to, value, &mut seen);
            }
        }
        graph
    }

    /// Two values between the same ends are one edge.
    fn edge(
        &mut self,
        function: &Function,
        from: End,
        to: End,
        value: ValueId,
        seen: &mut HashSet<(End, End)>,
    ) {
        if seen.insert((from, to)) {
            let bytes = function.value(value).ty.tensor().and_then(anemone_mil::TensorType::byte_len);
            self.edges.push(Edge { from, to, bytes: bytes.and_then(|b| u64::try_from(b).ok()).unwrap_or(0) });
        }
    }
}

/// Values that an op reads, those of its nested blocks included.
fn read(function: &Function, id: OpId) -> Vec<ValueId> {
    let (mut values, mut open) = (Vec::new(), vec![id]);
    while let Some(id) = open.pop() {
        let op = function.op(id);
        values.extend(op.operands());
        for &block in &op.blocks {
            let block = function.block(block);
            open.extend(block.ops.iter().copied());
            values.extend(block.outputs.iter().copied());
        }
    }
    values
}
