//! Traces in the JSON of Chrome's and Perfetto's viewers ("Trace Event Format": complete events and metadata).

use anemone::bench::{Bench, Span};
use serde::Serialize;

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
