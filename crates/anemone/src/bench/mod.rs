//! `bench`: how long predictions take, and where the time goes.

mod latency;
mod memory;
mod profile;
mod spans;

pub use latency::{Bin, Latencies};
pub use profile::{KindTime, Profile, StepTime};
pub use spans::Span;

use crate::data::{self, Inputs};
use crate::run::initial_state;
use crate::{Error, LoadOptions, Model, State, files};
use anemone_model::Features;
use anemone_tensor::DType;
use spans::Recorder;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What to measure.
#[derive(Clone, Debug)]
pub struct BenchOptions {
    /// How the models are loaded.
    pub load: LoadOptions,
    /// Where the inputs come from.
    pub inputs: Inputs,
    /// What states hold at first: a `.safetensors` or `.npz` file; zeros when there is none.
    pub state: Option<PathBuf>,
    /// Predictions before the measured ones.
    pub warmup: usize,
    /// Measured predictions of each model; `None`: as many as fit into the time.
    pub iterations: Option<usize>,
    /// Time for the measured predictions of each model, where they are not counted, in seconds.
    pub seconds: f64,
}

impl Default for BenchOptions {
    fn default() -> BenchOptions {
        let (load, inputs) = (LoadOptions::default(), Inputs::default());
        BenchOptions { load, inputs, state: None, warmup: 3, iterations: None, seconds: 2.0 }
    }
}

/// Predictions that are measured at least, however long they take, and at most.
const COUNTS: (usize, usize) = (5, 100_000);

/// Rounds in which models that are compared take turns, so that a slow spell of the machine meets all of them.
const TURNS: usize = 10;

/// Share of the measuring time that the profile takes in addition.
const PROFILE_SHARE: f64 = 0.25;

/// Profiled predictions at least and at most.
const PROFILED: (usize, usize) = (3, 50);

/// What is going on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BenchStage {
    /// Model `n` is opened, loaded and run for the first times.
    Load(usize),
    /// This share of all measured predictions is done.
    Measure(f64),
    /// Model `n` is run step by step.
    Profile(usize),
}

/// What was measured of one model. Times are in milliseconds.
#[derive(Clone, Debug)]
pub struct Bench {
    /// The package.
    pub path: PathBuf,
    /// The function.
    pub function: String,
    /// Threads that shared the work.
    pub threads: usize,
    /// Instruction set of the kernels.
    pub instructions: &'static str,
    /// Name, type and shape of each input given.
    pub inputs: Vec<(String, DType, Vec<usize>)>,
    /// From the path to the first result.
    pub startup: Startup,
    /// The measured predictions.
    pub latencies: Latencies,
    /// Where their time goes.
    pub profile: Profile,
    /// Memory.
    pub memory: Memory,
    /// Steps of the profiled predictions as they happened.
    pub spans: Vec<Span>,
}

/// What comes before the first result, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Startup {
    /// Reading the package; weights are mapped.
    pub open: f64,
    /// Checking it, folding constants.
    pub load: f64,
    /// Choosing kernels and packing weights; 0 where shapes are free, as the first prediction does it then.
    pub plan: f64,
    /// The first prediction.
    pub first: f64,
}

/// Memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Highest resident memory of the process up to the end of the warm-up; `None` where the system does not say.
    pub peak: Option<u64>,
    /// Resident memory before the model was opened.
    pub before: Option<u64>,
    /// The arena of intermediate tensors.
    pub arena: u64,
    /// Files of the package.
    pub package: u64,
}

impl Bench {
    /// Floating-point operations a second at the median latency; 0 where the arithmetic is not known.
    pub fn flops_per_second(&self) -> f64 {
        let median = self.latencies.percentile(50.0);
        if median > 0.0 { self.profile.flops() * 1e3 / median } else { 0.0 }
    }
}

/// Measures models one by one, or in turns where there are several.
///
/// # Errors
/// When a model or an input does not load, or a prediction fails.
pub fn bench(
    paths: &[PathBuf],
    options: &BenchOptions,
    progress: &mut dyn FnMut(BenchStage),
) -> Result<Vec<Bench>, Error> {
    let mut subjects = Vec::with_capacity(paths.len());
    for (i, path) in paths.iter().enumerate() {
        progress(BenchStage::Load(i));
        subjects.push(Subject::load(path, options).map_err(|e| e.at(path))?);
    }
    for turn in 0..TURNS {
        for (i, subject) in subjects.iter_mut().enumerate() {
            subject.measure(turn, options, &mut |share| {
                let done = (turn * paths.len() + i) as f64 + share;
                progress(BenchStage::Measure(done / (TURNS * paths.len()) as f64));
            })?;
        }
    }
    let profiled = |(i, subject): (usize, Subject)| {
        progress(BenchStage::Profile(i));
        subject.finish(options)
    };
    subjects.into_iter().enumerate().map(profiled).collect()
}

/// A model that is being measured.
struct Subject {
    path: PathBuf,
    model: Model,
    inputs: Features,
    state: State,
    startup: Startup,
    memory: Memory,
    latencies: Vec<f64>,
}

fn milliseconds(d: Duration) -> f64 {
    d.as_secs_f64() * 1e3
}

impl Subject {
    /// Loads it, runs it for the first time and warms up.
    fn load(path: &Path, options: &BenchOptions) -> Result<Subject, Error> {
        memory::reset_peak();
        let before = memory::resident();
        let (mut model, open, load) = Model::load_timed(path, options.load.clone())?;
        let inputs = data::gather(&options.inputs, model.interface(), model.ports())?;
        let start = Instant::now();
        for session in model.sessions() {
            session.prepare()?;
        }
        let plan = start.elapsed();
        let mut state = initial_state(&model, options.state.as_deref())?;
        let start = Instant::now();
        model.predict_with_state(&inputs, &mut state)?;
        let first = start.elapsed();
        for _ in 0..options.warmup {
            model.predict_with_state(&inputs, &mut state)?;
        }
        let [open, load, plan, first] = [open, load, plan, first].map(milliseconds);
        let arena = model.sessions().map(|s| s.arena_bytes()).sum::<usize>();
        let memory = Memory {
            peak: memory::peak(),
            before,
            arena: u64::try_from(arena).unwrap_or(u64::MAX),
            package: files::size_of(path),
        };
        let startup = Startup { open, load, plan, first };
        Ok(Subject { path: path.to_path_buf(), model, inputs, state, startup, memory, latencies: Vec::new() })
    }

    /// Its share of one turn.
    fn measure(
        &mut self,
        turn: usize,
        options: &BenchOptions,
        progress: &mut dyn FnMut(f64),
    ) -> Result<(), Error> {
        let (least, most) = COUNTS;
        let budget = Duration::try_from_secs_f64(options.seconds / TURNS as f64).unwrap_or(Duration::ZERO);
        let until = |total: usize| total * (turn + 1) / TURNS;
        let start = Instant::now();
        loop {
            let (count, elapsed) = (self.latencies.len(), start.elapsed());
            let share = match options.iterations {
                Some(total) if count >= until(total) => return Ok(()),
                Some(total) => count as f64 * TURNS as f64 / total as f64 - turn as f64,
                None if count >= most || elapsed >= budget && count >= until(least) => return Ok(()),
                None => (elapsed.as_secs_f64() / budget.as_secs_f64().max(1e-9)).min(1.0),
            };
            progress(share);
            let start = Instant::now();
            self.model.predict_with_state(&self.inputs, &mut self.state)?;
            self.latencies.push(milliseconds(start.elapsed()));
        }
    }

    /// Runs it step by step, and tells everything.
    fn finish(mut self, options: &BenchOptions) -> Result<Bench, Error> {
        let latencies = Latencies::of(self.latencies);
        let fit = PROFILE_SHARE * options.seconds * 1e3 / latencies.percentile(50.0).max(1e-3);
        let runs = (fit as usize).clamp(PROFILED.0, PROFILED.1);
        let mut recorder = Recorder::new();
        self.model.sessions().for_each(|s| s.watch(Some(recorder.threads())));
        for _ in 0..runs {
            recorder.begin();
            self.model.predict_profiled(&self.inputs, &mut recorder)?;
        }
        self.model.sessions().for_each(|s| s.watch(None));
        let (threads, instructions) =
            self.model.sessions().next().map_or((1, ""), |s| (s.threads(), s.isa().name()));
        let tensors = self.inputs.iter().filter_map(|(n, f)| Some((n, f.tensor()?)));
        Ok(Bench {
            path: self.path,
            function: self.model.name().to_owned(),
            threads,
            instructions,
            inputs: tensors.map(|(n, t)| (n.to_owned(), t.dtype(), t.shape().to_vec())).collect(),
            startup: self.startup,
            latencies,
            profile: recorder.profile(),
            memory: self.memory,
            spans: recorder.into_spans(),
        })
    }
}
