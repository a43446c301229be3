//! Times of a recording: lanes, and predictions with what happened in them.

use super::{Activity, Lane, Span};
use anemone_tensor::num::{f64_of, f64_of_usize};

/// What happened when.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// Intervals by start.
    pub spans: Vec<Span>,
    /// Lanes that did something, with their times.
    pub lanes: Vec<LaneTime>,
    /// From the first start to the last end, in ms.
    pub ms: f64,
    /// Predictions, where Core ML's own account or the engine's intervals tell of them.
    pub predictions: Option<Predictions>,
    /// Time of compiling, in ms.
    pub compile_ms: f64,
    /// Time of loading, in ms.
    pub load_ms: f64,
}

/// One lane.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LaneTime {
    /// The lane.
    pub lane: Lane,
    /// Intervals of predictions.
    pub intervals: usize,
    /// Time in predictions, overlaps counted once, in ms.
    pub busy_ms: f64,
    /// Part of the time of all units, 0 to 1; 0 for Core ML's own account.
    pub share: f64,
}

/// Predictions, as medians.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Predictions {
    /// How many.
    pub count: usize,
    /// Time of one, in ms.
    pub ms: f64,
    /// Time of the Neural Engine within one, in ms.
    pub engine_ms: f64,
    /// Time of the GPU within one, in ms.
    pub gpu_ms: f64,
    /// Time in which neither worked, in ms.
    pub rest_ms: f64,
    /// Changes between Neural Engine and GPU within one.
    pub changes: f64,
    /// Intervals of the Neural Engine within one.
    pub engine_intervals: f64,
    /// True when Core ML's own account says when predictions begin and end.
    pub whole: bool,
}

/// Nanoseconds as milliseconds.
fn ms(ns: u64) -> f64 {
    f64_of(i64::try_from(ns).unwrap_or(i64::MAX)) / 1e6
}

fn end(span: &Span) -> u64 {
    span.start.saturating_add(span.duration)
}

/// The middle of some values, 0 of none.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

impl Timeline {
    /// The timeline of intervals, which are in order of their starts.
    pub(super) fn of(spans: Vec<Span>) -> Timeline {
        let sum = |activity| {
            spans
                .iter()
                .filter(|s| s.activity == activity && s.lane != Lane::CoreMl)
                .map(|s| ms(s.duration))
                .sum()
        };
        let begin = spans.first().map_or(0, |s| s.start);
        let last = spans.iter().map(end).max().unwrap_or(0);
        Timeline {
            lanes: lanes(&spans),
            ms: ms(last.saturating_sub(begin)),
            predictions: predictions(&spans),
            compile_ms: sum(Activity::Compile),
            load_ms: sum(Activity::Load),
            spans,
        }
    }

    /// The time of a lane.
    pub fn lane(&self, lane: Lane) -> Option<&LaneTime> {
        self.lanes.iter().find(|l| l.lane == lane)
    }
}

/// Time within a window that spans cover together, in ns.
fn covered<'s>(spans: impl Iterator<Item = &'s Span>, from: u64, to: u64) -> u64 {
    let (mut sum, mut until) = (0_u64, from);
    for span in spans {
        let (start, end) = (span.start.max(until), end(span).min(to));
        sum += end.saturating_sub(start);
        until = until.max(end);
    }
    sum
}

fn lanes(spans: &[Span]) -> Vec<LaneTime> {
    let of = |lane| spans.iter().filter(move |s| s.lane == lane && s.activity == Activity::Prediction);
    let mut found: Vec<LaneTime> = [Lane::CoreMl, Lane::NeuralEngine, Lane::Gpu, Lane::Cpu]
        .into_iter()
        .map(|lane| LaneTime {
            lane,
            intervals: of(lane).count(),
            busy_ms: ms(covered(of(lane), 0, u64::MAX)),
            share: 0.0,
        })
        .filter(|l| l.intervals > 0)
        .collect();
    let whole: f64 = found.iter().filter(|l| l.lane != Lane::CoreMl).map(|l| l.busy_ms).sum();
    for lane in found.iter_mut().filter(|l| l.lane != Lane::CoreMl && whole > 0.0) {
        lane.share = lane.busy_ms / whole;
    }
    found
}

/// Most intervals within calls that are looked at: calls that overlap share them.
const MOST_LOOKED: usize = 1 << 24;

fn predictions(spans: &[Span]) -> Option<Predictions> {
    let calls: Vec<&Span> =
        spans.iter().filter(|s| s.lane == Lane::CoreMl && s.activity == Activity::Prediction).collect();
    let work: Vec<&Span> =
        spans.iter().filter(|s| s.lane != Lane::CoreMl && s.activity == Activity::Prediction).collect();
    if calls.is_empty() {
        return alone(&work);
    }
    let mut within: Vec<[f64; 6]> = Vec::new();
    let mut looked = 0;
    for call in &calls {
        let work = inside(&work, call);
        looked += work.len();
        if looked > MOST_LOOKED && !within.is_empty() {
            break;
        }
        within.push(measured(call, work));
    }
    let middle = |i: usize| median(within.iter().map(|w| w[i]).collect());
    Some(Predictions {
        count: calls.len(),
        ms: middle(0),
        engine_ms: middle(1),
        gpu_ms: middle(2),
        rest_ms: middle(3),
        changes: middle(4),
        engine_intervals: middle(5),
        whole: true,
    })
}

/// What begins within a call; `work` is in order of the starts.
fn inside<'w, 's>(work: &'w [&'s Span], call: &Span) -> &'w [&'s Span] {
    let from = work.partition_point(|s| s.start < call.start);
    let to = work.partition_point(|s| s.start < end(call));
    &work[from..to.max(from)]
}

/// Time, engine, GPU, rest, changes, intervals of the engine: of one call.
fn measured(call: &Span, work: &[&Span]) -> [f64; 6] {
    let (from, to) = (call.start, end(call));
    let on = |lane| work.iter().copied().filter(move |s| s.lane == lane);
    let both = work.iter().copied().filter(|s| matches!(s.lane, Lane::NeuralEngine | Lane::Gpu));
    let lanes: Vec<Lane> = both.clone().map(|s| s.lane).collect();
    let changes = lanes.windows(2).filter(|w| w[0] != w[1]).count();
    let busy = covered(both, from, to);
    [
        ms(call.duration),
        ms(covered(on(Lane::NeuralEngine), from, to)),
        ms(covered(on(Lane::Gpu), from, to)),
        ms(call.duration.saturating_sub(busy)),
        f64_of_usize(changes),
        f64_of_usize(on(Lane::NeuralEngine).count()),
    ]
}

/// Intervals of the engine as predictions, where nothing says when calls begin and end.
fn alone(work: &[&Span]) -> Option<Predictions> {
    let engine: Vec<f64> =
        work.iter().filter(|s| s.lane == Lane::NeuralEngine).map(|s| ms(s.duration)).collect();
    let count = engine.len();
    let engine_ms = median(engine);
    let one = Predictions {
        count,
        ms: engine_ms,
        engine_ms,
        gpu_ms: 0.0,
        rest_ms: 0.0,
        changes: 0.0,
        engine_intervals: 1.0,
        whole: false,
    };
    (count > 0).then_some(one)
}
