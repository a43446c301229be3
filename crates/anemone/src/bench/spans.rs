//! Steps as they happen.

use super::profile::{Profile, StepTime};
use anemone_exec::pool::Watch;
use anemone_exec::{Profiler, StepInfo};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Instant;

/// Something that took time in a profiled prediction. Times are in microseconds since the first one began.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// The step, as an index into [`Profile::steps`]; `None`: a whole prediction.
    pub step: Option<usize>,
    /// 0 for the calling thread's steps; `1 + n` for the part that thread `n` of the pool took in a step.
    pub track: usize,
    /// When it began.
    pub start: f64,
    /// How long it took.
    pub duration: f64,
}

/// Spans that are kept; more would make no readable picture.
const MOST: usize = 200_000;

/// When a thread worked on a job.
struct Busy {
    thread: ThreadId,
    start: Instant,
    end: Instant,
}

/// Notes when threads of a pool work.
#[derive(Default)]
pub(super) struct Threads {
    inside: Mutex<Vec<(ThreadId, Instant)>>,
    busy: Mutex<Vec<Busy>>,
}

impl Watch for Threads {
    fn enter(&self) {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.push((thread::current().id(), Instant::now()));
    }

    fn leave(&self) {
        let (end, thread) = (Instant::now(), thread::current().id());
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(at) = inside.iter().rposition(|(t, _)| *t == thread) else { return };
        let (_, start) = inside.swap_remove(at);
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if busy.len() < MOST {
            busy.push(Busy { thread, start, end });
        }
    }
}

/// One step of one prediction.
struct Done {
    /// Index into the profile's steps.
    at: usize,
    run: usize,
    start: Instant,
    end: Instant,
}

/// Records profiled predictions.
pub(super) struct Recorder {
    steps: Vec<StepInfo>,
    /// From the engine's number of a step to its index here.
    index: BTreeMap<usize, usize>,
    done: Vec<Done>,
    /// When each prediction began to run its steps, and when the last step ended.
    runs: Vec<(Instant, Instant)>,
    last: Instant,
    threads: Arc<Threads>,
}

impl Profiler for Recorder {
    fn start(&mut self) {
        self.last = Instant::now();
        if let Some(run) = self.runs.last_mut() {
            *run = (self.last, self.last);
        }
    }

    fn step(&mut self, step: usize, describe: &dyn Fn() -> StepInfo) {
        let end = Instant::now();
        let steps = &mut self.steps;
        let at = *self.index.entry(step).or_insert_with(|| {
            steps.push(describe());
            steps.len() - 1
        });
        let run = self.runs.len().saturating_sub(1);
        self.done.push(Done { at, run, start: self.last, end });
        if let Some(run) = self.runs.last_mut() {
            run.1 = end;
        }
        // Describing a step that is new is no part of the next one.
        self.last = Instant::now();
    }
}

impl Recorder {
    pub(super) fn new() -> Recorder {
        Recorder {
            steps: Vec::new(),
            index: BTreeMap::new(),
            done: Vec::new(),
            runs: Vec::new(),
            last: Instant::now(),
            threads: Arc::default(),
        }
    }

    /// The next prediction comes.
    pub(super) fn begin(&mut self) {
        let now = Instant::now();
        self.runs.push((now, now));
    }

    /// What the pool tells of its threads.
    pub(super) fn threads(&self) -> Arc<Threads> {
        self.threads.clone()
    }

    /// Time per step: the median over the predictions of what it took in each.
    pub(super) fn profile(&self) -> Profile {
        let mut times = vec![vec![0.0; self.runs.len()]; self.steps.len()];
        let mut calls = vec![0; self.steps.len()];
        for d in &self.done {
            times[d.at][d.run] += (d.end - d.start).as_secs_f64() * 1e3;
            calls[d.at] += 1;
        }
        let timed = self.steps.iter().zip(times).zip(calls).map(|((info, mut times), calls)| {
            times.sort_by(f64::total_cmp);
            let time = times.get(times.len() / 2).copied().unwrap_or(0.0);
            StepTime { info: info.clone(), time, calls: calls as f64 / self.runs.len().max(1) as f64 }
        });
        Profile { steps: timed.collect(), runs: self.runs.len() }
    }

    /// Everything that happened, in order of time per track.
    pub(super) fn into_spans(self) -> Vec<Span> {
        let Some(&(origin, _)) = self.runs.first() else { return Vec::new() };
        let at = |t: Instant| t.saturating_duration_since(origin).as_secs_f64() * 1e6;
        let span = |step, track, start: Instant, end: Instant| Span {
            step,
            track,
            start: at(start),
            duration: at(end) - at(start),
        };
        let mut spans: Vec<Span> = self.runs.iter().map(|&(start, end)| span(None, 0, start, end)).collect();
        spans.extend(self.done.iter().map(|d| span(Some(d.at), 0, d.start, d.end)));
        let busy = std::mem::take(&mut *self.threads.busy.lock().unwrap_or_else(PoisonError::into_inner));
        let mut known: Vec<ThreadId> = vec![thread::current().id()];
        for b in busy {
            // The last step that began before the thread did.
            let step = self.done.partition_point(|d| d.start <= b.start).checked_sub(1);
            let thread = known.iter().position(|t| *t == b.thread).unwrap_or_else(|| {
                known.push(b.thread);
                known.len() - 1
            });
            spans.push(span(step.map(|d| self.done[d].at), 1 + thread, b.start, b.end));
        }
        spans.truncate(MOST);
        spans
    }
}
