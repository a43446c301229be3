//! Patterns that people know from traces, and what to do about each: those of the field guide, and those that facts tell of.

use super::{Comparison, Lane, Part, Predictions, Trace, TracedOp};
use anemone_ane::{Fact, Unit};
use std::collections::BTreeMap;

/// A pattern that was recognised.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// Name, such as `alternating`.
    pub key: &'static str,
    /// What was seen, with numbers; one sentence without a full stop.
    pub seen: String,
    /// What it means and what to do; sentences.
    pub advice: String,
    /// True when nothing needs to be done.
    pub good: bool,
    /// The facts behind it.
    pub facts: Vec<&'static Fact>,
}

impl Pattern {
    fn new(key: &'static str, seen: String, advice: impl Into<String>, facts: &[&str]) -> Pattern {
        let facts = facts.iter().filter_map(|f| Fact::named(f)).collect();
        Pattern { key, seen, advice: advice.into(), good: false, facts }
    }

    fn good(self) -> Pattern {
        Pattern { good: true, ..self }
    }
}

/// Ops of attention.
const ATTENTION: &[&str] = &["matmul", "softmax", "scaled_dot_product_attention", "transpose"];
/// Normalisations.
const NORMS: &[&str] = &["layer_norm", "instance_norm", "batch_norm", "l2_norm", "local_response_norm"];
/// Changes of unit from which a plan alternates.
const ALTERNATING: usize = 4;
/// Extent from which the engine works in several passes, by the field guide.
pub(super) const LONG: usize = 16384;
/// How many times as long as estimated counts as slow.
const SLOW: f64 = 3.0;

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// Every pattern of a trace, in the order of its parts; `against` lets times be judged, too.
pub fn patterns(trace: &Trace, against: Option<&Comparison>) -> Vec<(usize, Pattern)> {
    let mut found: Vec<(usize, Pattern)> = Vec::new();
    for (i, part) in trace.parts.iter().enumerate() {
        found.extend(of_part(part).into_iter().map(|p| (i, p)));
    }
    if let Some(timeline) = &trace.timeline {
        found.extend(of_lanes(trace, against).into_iter().map(|p| (0, p)));
        if timeline.compile_ms > 1000.0 || timeline.load_ms > 1000.0 {
            let seen = format!(
                "{:.1} s of compiling, {:.1} s of loading",
                timeline.compile_ms / 1e3,
                timeline.load_ms / 1e3
            );
            let advice = "The first load compiles for the device, and does so again after each system update; keep the \
                          loaded model, and load it before it is needed.";
            found.push((0, Pattern::new("cold", seen, advice, &["first-compile", "hw-cold"])));
        }
    }
    found
}

/// `1 op`, `2 ops`.
fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Kinds with their numbers, the most frequent first: `12 matmul, 6 softmax`.
fn kinds<'o>(ops: impl Iterator<Item = &'o TracedOp>) -> String {
    const SHOWN: usize = 5;
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for op in ops {
        *counts.entry(if op.kind.is_empty() { "ops" } else { &op.kind }).or_default() += 1;
    }
    let mut all: Vec<(&str, usize)> = counts.into_iter().collect();
    all.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    let rest: usize = all.iter().skip(SHOWN).map(|(_, n)| n).sum();
    let mut shown: Vec<String> = all.iter().take(SHOWN).map(|(k, n)| format!("{n} {k}")).collect();
    if rest > 0 {
        shown.push(format!("{rest} others"));
    }
    shown.join(", ")
}

fn of_part(part: &Part) -> Vec<Pattern> {
    let placed: Vec<(&TracedOp, Unit)> = part.placed().collect();
    if placed.is_empty() || part.ops.iter().all(|op| op.measured_ms.is_some()) {
        return Vec::new();
    }
    let off: Vec<&TracedOp> = placed.iter().filter(|(_, u)| *u != Unit::Ane).map(|(op, _)| *op).collect();
    let share = part.share_by_count(Unit::Ane);
    if off.is_empty() {
        return vec![whole(placed.len())];
    }
    if share == 0.0 {
        return vec![nothing(part, &off)];
    }
    let mut found = Vec::new();
    let runs = part.runs();
    let gpu = off.iter().filter(|op| op.unit == Some(Unit::Gpu)).count();
    let other = if gpu * 2 > off.len() { "GPU" } else { "CPU" };
    let cost = part.share_by_cost(Unit::Ane);
    let how = cost.map_or(String::new(), |c| format!(" ({} of the cost)", percent(c)));
    let seen = format!(
        "{} of the ops on the ANE{how}; on the {other} and others: {}",
        percent(share),
        kinds(off.iter().copied())
    );
    if off.iter().all(|op| NORMS.contains(&&*op.kind)) {
        let advice = "Normalisations fell back, which is usually fine: leave it if the model is fast enough.";
        found.push(Pattern::new("norm-fallback", seen, advice, &["trace-patterns", "ane-norms"]).good());
    } else if runs.len() > ALTERNATING {
        found.push(alternating(seen, runs.len() - 1, &off));
    } else {
        found.push(edges(part, seen, &off));
    }
    found.extend(int32(&off));
    found
}

fn whole(ops: usize) -> Pattern {
    let advice =
        "This is the ideal: ship it, once a recording from the device shows that it runs there, too.";
    Pattern::new(
        "all-ane",
        format!("100 % ANE: {}", counted(ops, "op")),
        advice,
        &["trace-patterns", "planner-three-questions", "profiler-truth"],
    )
    .good()
}

/// Nothing on the Neural Engine: not allowed, refused, taken but not worth it, or one op that sinks the rest.
fn nothing(part: &Part, off: &[&TracedOp]) -> Pattern {
    let gpu = off.iter().filter(|op| op.unit == Some(Unit::Gpu)).count();
    let where_ = if gpu * 2 > off.len() { "the GPU" } else { "the CPU" };
    let setting = part.units.map_or(String::new(), |u| format!(" with {u}"));
    let seen = format!("0 % ANE{setting}: {}, most on {where_}", counted(off.len(), "op"));
    if !part.asked_ane() {
        let advice =
            "The setting or the trace leaves the ANE out; ask for CPU and ANE to see what it would take.";
        return Pattern::new("ane-not-asked", seen, advice, &["pkg-units", "units-ne"]);
    }
    let refused: Vec<&TracedOp> = off.iter().copied().filter(|op| refuses(op)).collect();
    let told = off.iter().any(|op| !op.supported.is_empty());
    if told && refused.is_empty() && gpu * 2 > off.len() {
        let advice =
            "Every op is eligible, and the GPU is preferred; with CPU and ANE alone no op can go there.";
        return Pattern::new("whole-gpu", seen, advice, &["units-all-slower", "units-ne"]);
    }
    if told && refused.is_empty() {
        let advice = "Every op is eligible, but what the ANE saves is less than what entering and leaving it costs: the \
                      model is too small, or in pieces that are. Join models, or make one of them do more work per call.";
        return Pattern::new("too-small", seen, advice, &["planner-fixed-cost", "size-minimum"]);
    }
    if told && refused.len() == 1 && off.len() > 1 {
        let op = refused[0];
        let advice = format!(
            "One op is refused, {} \"{}\"{}: replace it, or move it to an end of the model.",
            op.kind,
            op.name,
            because(op)
        );
        return Pattern::new("one-op-sinks", seen, advice, &["one-op-sinks", "planner-fixed-cost"]);
    }
    let because = reasons(&refused);
    if told && refused.len() * 2 < off.len() {
        let advice = format!(
            "{} ops are eligible, but those that the ANE refuses ({}{because}) cut them into pieces that save less than \
             entering and leaving costs. Replace the refused ops, or move them to an end of the model.",
            off.len() - refused.len(),
            kinds(refused.iter().copied())
        );
        return Pattern::new(
            "cut-apart",
            seen,
            advice,
            &["planner-fixed-cost", "planner-crossings", "one-op-sinks"],
        );
    }
    let advice = format!(
        "The compiler refuses what keeps the model off the ANE ({}{because}). Check that it computes in fp16 and that its \
         shapes are fixed; `anemone check` names each op and what to use instead.",
        kinds(if refused.is_empty() { off } else { &refused }.iter().copied())
    );
    Pattern::new(
        "refused",
        seen,
        advice,
        &["trace-patterns", "ane-fp32", "ane-dynamic-shape", "network-fallback"],
    )
}

fn refuses(op: &TracedOp) -> bool {
    !op.supported.is_empty() && !op.supported.contains(&Unit::Ane)
}

fn because(op: &TracedOp) -> String {
    if op.why.is_empty() { String::new() } else { format!(" ({})", op.why.trim_end_matches('.')) }
}

/// The compiler's reasons, each once.
fn reasons(ops: &[&TracedOp]) -> String {
    let mut all: Vec<&str> =
        ops.iter().map(|op| op.why.trim_end_matches('.')).filter(|w| !w.is_empty()).collect();
    all.sort_unstable();
    all.dedup();
    if all.is_empty() { String::new() } else { format!("; it says: {}", all.join("; ")) }
}

fn alternating(seen: String, crossings: usize, off: &[&TracedOp]) -> Pattern {
    let attention = off.iter().filter(|op| ATTENTION.contains(&&*op.kind)).count();
    let softmax = off.iter().any(|op| matches!(&*op.kind, "softmax" | "scaled_dot_product_attention"));
    let seen = format!("{crossings} changes of unit: {seen}");
    if softmax && attention * 2 >= off.len() {
        let advice = "Attention bails out of every layer. Check the length of the sequence, fix it, and cut attention into \
                      windows of 256 or 512; with CPU and ANE alone it cannot go to the GPU.";
        return Pattern::new(
            "attention-bails",
            seen,
            advice,
            &["trace-patterns", "ane-attention-window", "ane-score-matrix", "units-ne"],
        );
    }
    let refused: Vec<&TracedOp> = off.iter().copied().filter(|op| refuses(op)).collect();
    let advice = format!(
        "Some op of the structure falls back again and again, and every change of unit costs{}. Replace it, or move such ops \
         together.",
        if refused.is_empty() {
            String::new()
        } else {
            format!(" (refused are {}{})", kinds(refused.iter().copied()), reasons(&refused))
        }
    );
    Pattern::new("alternating", seen, advice, &["trace-patterns", "planner-crossings", "network-fallback"])
}

/// Some ops are off the Neural Engine, in few runs.
fn edges(part: &Part, seen: String, off: &[&TracedOp]) -> Pattern {
    let refused: Vec<&TracedOp> = off.iter().copied().filter(|op| refuses(op)).collect();
    let runs = part.runs();
    let ends = runs.iter().all(|r| r.unit == Unit::Ane || r.ops.start == 0 || r.ops.end == part.ops.len());
    let because = if refused.is_empty() {
        String::new()
    } else {
        format!(" Refused are {}{}.", kinds(refused.iter().copied()), reasons(&refused))
    };
    if ends {
        let advice =
            format!("What is off the ANE stands at the ends of the model, where it costs least.{because}");
        return Pattern::new("off-at-the-ends", seen, advice, &["planner-crossings"]).good();
    }
    let advice = format!(
        "An island in the middle costs two changes of unit: replace its ops, or move them to an end.{because}"
    );
    Pattern::new("island", seen, advice, &["planner-fixed-cost", "planner-crossings"])
}

/// Whole numbers that keep ops off the Neural Engine.
fn int32(off: &[&TracedOp]) -> Option<Pattern> {
    let named = |op: &&&TracedOp| op.why.contains("int32");
    let ops: Vec<&TracedOp> = off.iter().filter(named).copied().collect();
    let seen = || format!("int32 keeps {} ops off the ANE: {}", ops.len(), kinds(ops.iter().copied()));
    let advice = "Keep 32-bit integers out of the graph: fp16 or 16-bit integers inside, casts at its edge.";
    (!ops.is_empty()).then(|| Pattern::new("int32", seen(), advice, &["ane-int32", "ane-int32-tail"]))
}

/// Patterns in times.
fn of_lanes(trace: &Trace, against: Option<&Comparison>) -> Vec<Pattern> {
    let Some(timeline) = &trace.timeline else { return Vec::new() };
    let share = |lane| timeline.lane(lane).map_or(0.0, |l| l.share);
    let (ane, gpu) = (share(Lane::NeuralEngine), share(Lane::Gpu));
    let mut found = Vec::new();
    let Some(p) = timeline.predictions else { return vec![idle(trace)] };
    if ane == 0.0 {
        let seen = format!("0 % ANE in {} predictions of {:.3} ms", p.count, p.ms);
        let advice = "Whatever the plan says, the engine did not run: the compiler may have refused the model as a whole. Look \
                      for a failed compile, check for fp16 and fixed shapes, and ask for CPU and ANE alone.";
        return vec![Pattern::new(
            "never-ran",
            seen,
            advice,
            &["trace-patterns", "network-fallback", "profiler-truth"],
        )];
    }
    if gpu > 0.0 && p.changes >= 4.0 {
        let seen = format!(
            "alternating: {} ANE, {} GPU, {:.0} changes in each prediction",
            percent(ane),
            percent(gpu),
            p.changes
        );
        let advice = "Attention or another op of the structure bails out of every layer: check the length of the sequence, cut \
                      attention into windows of 256 or 512, or ask for CPU and ANE alone.";
        found.push(Pattern::new(
            "alternating",
            seen,
            advice,
            &["trace-patterns", "ane-attention-window", "planner-crossings"],
        ));
    } else if gpu > 0.0 && ane >= 0.9 {
        let seen = format!("{} ANE, {} GPU", percent(ane), percent(gpu));
        let advice = "A short spell of the GPU, as of a normalisation, is usually fine: leave it if the model is fast enough.";
        found.push(Pattern::new("gpu-spike", seen, advice, &["trace-patterns", "ane-norms"]).good());
    } else if gpu == 0.0 {
        let seen = format!("engine alone: {} predictions, {:.3} ms of the ANE in each", p.count, p.engine_ms);
        let advice = "No GPU beside the engine: ship it, if it is fast enough. What the CPU did in between is not in these tables.";
        found.push(Pattern::new("all-ane", seen, advice, &["trace-patterns", "profiler-truth"]).good());
    }
    found.extend(waiting(&p));
    found.extend(against.and_then(|c| slow(&p, c)));
    found
}

fn idle(trace: &Trace) -> Pattern {
    let tables = trace.timeline.as_ref().map_or(0, |t| t.spans.len());
    let seen = format!("no prediction in {tables} intervals");
    let advice = "Record while the model predicts, and export ane-hw-intervals and coreml-os-signpost; an empty table does not \
                  prove that nothing ran.";
    Pattern::new("nothing-recorded", seen, advice, &["profiler-truth"])
}

/// Calls in which most of the time is spent outside of the units.
fn waiting(p: &Predictions) -> Option<Pattern> {
    let waits = p.whole && p.rest_ms > 0.5 * p.ms;
    let seen = || {
        format!(
            "in {} of a prediction neither engine nor GPU works ({:.3} of {:.3} ms)",
            percent(p.rest_ms / p.ms),
            p.rest_ms,
            p.ms
        )
    };
    let advice = "Dispatch and handing over take longer than the work: do more in a call, with a larger batch or models joined.";
    waits.then(|| Pattern::new("dispatch-bound", seen(), advice, &["hw-dispatch", "planner-fixed-cost"]))
}

/// The engine is active, but slower than what the plan expects.
fn slow(p: &Predictions, against: &Comparison) -> Option<Pattern> {
    let expected = against.predicted_ane_ms;
    if expected <= 0.0 || p.engine_ms < SLOW * expected {
        return None;
    }
    let times = p.engine_ms / expected;
    let seen = format!(
        "active but slow: {:.3} ms of the ANE where the planner estimates {expected:.3} ms ({times:.1} times)",
        p.engine_ms
    );
    Some(match &against.longest {
        Some((name, extent)) if *extent > LONG => {
            let advice = format!(
                "\"{name}\" has an extent of {extent}: beyond {LONG} the engine tiles and passes several times. Make the hidden size \
                 or the sequence shorter, or split it."
            );
            Pattern::new("tiling", seen, advice, &["trace-patterns", "ane-score-matrix", "ane-extent"])
        }
        _ => {
            let advice = "No extent is above 16384, so tiling is not the reason: look at weights that stream (compress them), at \
                          topk and at transposes, whose estimates are far from measured times.";
            Pattern::new("slow", seen, advice, &["estimate-holes", "hw-bandwidth", "ane-topk-cost"])
        }
    })
}
