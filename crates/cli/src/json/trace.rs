//! Traces in the JSON of Chrome's and Perfetto's viewers ("Trace Event Format": complete events and metadata).

use anemone::Simulated;
use anemone::ane::Unit;
use anemone::ane::simulate::OpTime;
use anemone::bench::{Bench, Span};
use anemone::trace::{self, Lane};
use serde::Serialize;
use std::path::Path;

/// A file that `ui.perfetto.dev` and `chrome://tracing` open.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Trace {
    trace_events: Vec<Event>,
    display_time_unit: &'static str,
}

/// Times are in microseconds.
#[derive(Debug, Serialize)]
struct Event {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cat: Option<String>,
    ph: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ts: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<f64>,
    pid: usize,
    tid: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    args: Option<Args>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Args {
    Named {
        name: String,
    },
    Step {
        op: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        source: Option<String>,
        kernel: String,
        output: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        flops: Option<f64>,
        bytes: u64,
    },
    Simulated {
        op: String,
        bound: &'static str,
        compute_us: f64,
        weights_us: f64,
        activations_us: f64,
        flops: f64,
        weight_bytes: f64,
        activation_bytes: f64,
    },
}

impl Trace {
    /// One process for each model, with a track for the steps and one for each thread of its pool.
    pub(crate) fn of(measured: &[Bench]) -> Trace {
        let mut events = Vec::new();
        for (i, bench) in measured.iter().enumerate() {
            let pid = i + 1;
            events.push(named("process_name", pid, 0, bench.path.display().to_string()));
            let tracks = bench.spans.iter().map(|s| s.track).max().unwrap_or(0);
            events.push(named("thread_name", pid, 0, "steps".into()));
            events.extend((1..=tracks).map(|t| named("thread_name", pid, t, format!("thread {}", t - 1))));
            events.extend(bench.spans.iter().map(|s| event(bench, pid, s)));
        }
        Trace { trace_events: events, display_time_unit: "ms" }
    }

    /// One process with a track for each unit: handing over and starting a run, then its ops.
    pub(crate) fn simulated(package: &Path, simulated: &Simulated) -> Trace {
        let chip = &simulated.plan.device.chip;
        let mut events =
            vec![named("process_name", 1, 0, format!("{} on {chip}, simulated", package.display()))];
        events.extend(Unit::ALL.into_iter().map(|u| named("thread_name", 1, track(u), u.to_string())));
        for op in simulated.timeline.ops.iter().filter(|o| o.time.ms > 0.0) {
            let mut at = op.start;
            for (what, ms) in [("handoff", op.parts.handoff), ("dispatch", op.parts.dispatch)] {
                if ms > 0.0 {
                    events.push(span(what, what, at, ms, op.unit, None));
                    at += ms;
                }
            }
            let own = op.time.ms - op.parts.handoff - op.parts.dispatch;
            if own > 0.0 {
                events.push(span(&op.name, &op.kind, at, own, op.unit, Some(simulated_args(op))));
            }
        }
        Trace { trace_events: events, display_time_unit: "ms" }
    }
}

const fn track(unit: Unit) -> usize {
    match unit {
        Unit::Ane => 1,
        Unit::Gpu => 2,
        Unit::Cpu => 3,
    }
}

/// `at` and `ms` are milliseconds; a trace has microseconds.
fn span(name: &str, kind: &str, at: f64, ms: f64, unit: Unit, args: Option<Args>) -> Event {
    Event {
        name: name.to_owned(),
        cat: Some(kind.to_owned()),
        ph: "X",
        ts: Some(at * 1e3),
        dur: Some(ms * 1e3),
        pid: 1,
        tid: track(unit),
        args,
    }
}

fn simulated_args(op: &OpTime) -> Args {
    Args::Simulated {
        op: op.kind.clone(),
        bound: op.bound.name(),
        compute_us: op.parts.compute * 1e3,
        weights_us: op.parts.weights * 1e3,
        activations_us: op.parts.activations * 1e3,
        flops: op.flops,
        weight_bytes: op.weight_bytes,
        activation_bytes: op.activation_bytes,
    }
}

impl Trace {
    /// One process with a track for each lane; `None` when the trace tells no times.
    ///
    /// Ops whose times are told, but not when they ran, are laid one behind the other.
    pub(crate) fn of_lanes(trace: &trace::Trace) -> Option<Trace> {
        let mut events = Vec::new();
        let recorded = trace.timeline.iter().map(|t| (String::new(), t.spans.clone()));
        let laid = trace.parts.iter().map(|p| (p.name.clone(), p.laid_out()));
        for (i, (name, spans)) in recorded.chain(laid).filter(|(_, s)| !s.is_empty()).enumerate() {
            let pid = i + 1;
            let file = trace.path.display().to_string();
            events.push(named("process_name", pid, 0, if name.is_empty() { file } else { name }));
            for (lane, name) in LANES {
                events.push(named("thread_name", pid, lane_track(*lane), (*name).to_owned()));
            }
            events.extend(spans.iter().map(|s| Event {
                name: if s.label.is_empty() { "prediction".to_owned() } else { s.label.to_string() },
                cat: Some(format!("{:?}", s.activity).to_lowercase()),
                ph: "X",
                ts: Some(s.start as f64 / 1e3),
                dur: Some(s.duration as f64 / 1e3),
                pid,
                tid: lane_track(s.lane),
                args: None,
            }));
        }
        (!events.is_empty()).then_some(Trace { trace_events: events, display_time_unit: "ms" })
    }
}

const LANES: &[(Lane, &str)] = &[
    (Lane::CoreMl, "Core ML"),
    (Lane::NeuralEngine, "Neural Engine"),
    (Lane::Gpu, "GPU"),
    (Lane::Cpu, "CPU"),
];

fn lane_track(lane: Lane) -> usize {
    LANES.iter().position(|(l, _)| *l == lane).unwrap_or(0)
}

fn named(what: &str, pid: usize, tid: usize, name: String) -> Event {
    let (cat, ts, dur) = (None, None, None);
    Event { name: what.into(), cat, ph: "M", ts, dur, pid, tid, args: Some(Args::Named { name }) }
}

fn event(bench: &Bench, pid: usize, span: &Span) -> Event {
    let step = span.step.and_then(|at| bench.profile.steps.get(at));
    let args = step.filter(|_| span.track == 0).map(|s| Args::Step {
        op: s.info.name.clone(),
        source: s.info.source.clone(),
        kernel: s.info.kernel.clone(),
        output: s.info.results.first().map_or_else(String::new, |(d, shape)| format!("{d} {shape:?}")),
        flops: s.info.work.map(|w| w.flops as f64 + w.transcendental as f64),
        bytes: s.info.bytes,
    });
    Event {
        name: step.map_or_else(|| "prediction".to_owned(), |s| s.label()),
        cat: Some(step.map_or_else(|| "prediction".to_owned(), |s| s.info.kind.clone())),
        ph: "X",
        ts: Some(span.start),
        dur: Some(span.duration),
        pid,
        tid: span.track,
        args,
    }
}
