//! `anemone.bench/1`.

use anemone::bench::{self, KindTime, Profile, StepTime};
use serde::Serialize;

/// Measurements of one model or several. Times are in milliseconds, memory in bytes.
#[derive(Debug, Serialize)]
pub(crate) struct Bench {
    schema: &'static str,
    models: Vec<Model>,
}

#[derive(Debug, Serialize)]
struct Model {
    package: String,
    function: String,
    threads: usize,
    instructions: &'static str,
    inputs: Vec<Tensor>,
    startup: Startup,
    latency: Latency,
    memory: Memory,
    profile: Steps,
}

#[derive(Debug, Serialize)]
struct Tensor {
    name: String,
    dtype: String,
    shape: Vec<usize>,
}

#[derive(Debug, Serialize)]
struct Startup {
    open_ms: f64,
    load_ms: f64,
    plan_ms: f64,
    first_ms: f64,
}

#[derive(Debug, Serialize)]
struct Latency {
    count: usize,
    min_ms: f64,
    p50_ms: f64,
    p90_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    mean_ms: f64,
    per_second: f64,
    histogram: Vec<Bin>,
}

#[derive(Debug, Serialize)]
struct Bin {
    from_ms: f64,
    to_ms: f64,
    count: usize,
}

#[derive(Debug, Serialize)]
struct Memory {
    peak: Option<u64>,
    before: Option<u64>,
    arena: u64,
    package: u64,
}

#[derive(Debug, Serialize)]
struct Steps {
    runs: usize,
    total_ms: f64,
    flops: f64,
    flops_per_second: f64,
    bytes: f64,
    kinds: Vec<Kind>,
    steps: Vec<Step>,
}

#[derive(Debug, Serialize)]
struct Kind {
    kind: String,
    steps: usize,
    time_ms: f64,
    share: f64,
    flops: f64,
    bytes: f64,
}

#[derive(Debug, Serialize)]
struct Step {
    name: String,
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fused: Vec<String>,
    kernel: String,
    outputs: Vec<Output>,
    calls: f64,
    time_ms: f64,
    share: f64,
    flops: Option<f64>,
    flops_per_second: Option<f64>,
    bytes: f64,
}

#[derive(Debug, Serialize)]
struct Output {
    dtype: String,
    shape: Vec<usize>,
}

/// Bars of the histogram.
const BINS: usize = 20;

impl Bench {
    pub(crate) fn of(measured: &[bench::Bench]) -> Bench {
        Bench { schema: "anemone.bench/1", models: measured.iter().map(Model::of).collect() }
    }
}

impl Model {
    fn of(b: &bench::Bench) -> Model {
        let tensor = |(name, dtype, shape): &(String, anemone::DType, Vec<usize>)| Tensor {
            name: name.clone(),
            dtype: dtype.to_string(),
            shape: shape.clone(),
        };
        let (s, m) = (&b.startup, &b.memory);
        Model {
            package: b.path.display().to_string(),
            function: b.function.clone(),
            threads: b.threads,
            instructions: b.instructions,
            inputs: b.inputs.iter().map(tensor).collect(),
            startup: Startup { open_ms: s.open, load_ms: s.load, plan_ms: s.plan, first_ms: s.first },
            latency: Latency::of(&b.latencies),
            memory: Memory { peak: m.peak, before: m.before, arena: m.arena, package: m.package },
            profile: Steps::of(&b.profile, b.flops_per_second()),
        }
    }
}

impl Latency {
    fn of(l: &bench::Latencies) -> Latency {
        let bin = |b: &bench::Bin| Bin { from_ms: b.from, to_ms: b.to, count: b.count };
        Latency {
            count: l.count(),
            min_ms: l.percentile(0.0),
            p50_ms: l.percentile(50.0),
            p90_ms: l.percentile(90.0),
            p95_ms: l.percentile(95.0),
            p99_ms: l.percentile(99.0),
            max_ms: l.percentile(100.0),
            mean_ms: l.mean(),
            per_second: l.per_second(),
            histogram: l.histogram(BINS).iter().map(bin).collect(),
        }
    }
}

impl Steps {
    fn of(p: &Profile, flops_per_second: f64) -> Steps {
        Steps {
            runs: p.runs,
            total_ms: p.time(),
            flops: p.flops(),
            flops_per_second,
            bytes: p.bytes(),
            kinds: p.kinds().into_iter().map(|k| Kind::of(k, p)).collect(),
            steps: p.steps.iter().map(|s| Step::of(s, p)).collect(),
        }
    }
}

impl Kind {
    fn of(k: KindTime, profile: &Profile) -> Kind {
        let share = profile.share(k.time);
        Kind { kind: k.kind, steps: k.steps, time_ms: k.time, share, flops: k.flops, bytes: k.bytes }
    }
}

impl Step {
    fn of(s: &StepTime, profile: &Profile) -> Step {
        let output = |(dtype, shape): &(anemone::DType, Vec<usize>)| Output {
            dtype: dtype.to_string(),
            shape: shape.clone(),
        };
        Step {
            name: s.info.name.clone(),
            kind: s.info.kind.clone(),
            source: s.info.source.clone(),
            fused: s.info.fused.clone(),
            kernel: s.info.kernel.clone(),
            outputs: s.info.results.iter().map(output).collect(),
            calls: s.calls,
            time_ms: s.time,
            share: profile.share(s.time),
            flops: s.flops(),
            flops_per_second: s.flops().filter(|_| s.time > 0.0).map(|f| f * 1e3 / s.time),
            bytes: s.bytes(),
        }
    }
}
