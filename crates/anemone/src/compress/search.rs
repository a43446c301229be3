//! `compress --budget` and `--max-loss`: a scheme for each weight, chosen by what it does to the outputs.

use super::effect::{self, add, interface, load, predict};
use super::spill::Spill;
use super::{CompressOptions, Compression, SampleOptions, Task, finish};
use crate::{Error, Opened, files, open};
use anemone_ane::{Device, Units};
use anemone_compress::config::{Granularity, Linear, Palette};
use anemone_compress::search::{Choice, Step, path};
use anemone_compress::{Config, Fit, Progress, Rule, Scheme};
use anemone_mil::{Opset, Program};
use anemone_model::Features;
use anemone_tensor::DType;
use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// What to reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// A package of at most so many bytes.
    Bytes(u64),
    /// At most so many bits per element, tables and scales included, on average over the weights that are compressed.
    Bits(f64),
    /// A loss of at most so much: see [`super::Effect::loss`].
    Loss(f64),
}

/// How to search.
#[derive(Clone, Debug)]
pub struct SearchOptions {
    /// What to reach.
    pub goal: Goal,
    /// The data that losses are measured on.
    pub samples: SampleOptions,
    /// Weights of more elements than this are compressed.
    pub weight_threshold: usize,
    /// Device whose Neural Engine must take the schemes, and its units.
    pub device: Option<(Arc<Device>, Units)>,
}

/// A point of the Pareto front.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Bytes of the package, estimated.
    pub bytes: u64,
    /// Bits per element of the weights.
    pub bits: f64,
    /// Loss as the losses of single weights add up to.
    pub predicted: f64,
    /// Loss of the whole model, measured.
    pub measured: f64,
    /// True for the point that was chosen.
    pub chosen: bool,
}

/// What a search found.
#[derive(Clone, Debug)]
pub struct Found {
    /// What was done.
    pub compression: Compression,
    /// The configuration that does it.
    pub recipe: Vec<Config>,
    /// Points of the front, large to small.
    pub front: Vec<Point>,
    /// Predictions with other weights than the package's, times samples.
    pub runs: usize,
}

/// Points of the front that are measured, besides the chosen one.
const POINTS: usize = 10;
/// While weights times schemes are no more than this, each pair is measured; else one scheme per weight.
const PAIRS: usize = 240;
/// Largest number of smaller points that are tried when a written package is above its budget.
const RETRIES: usize = 32;
/// What a weight costs in a package beside its bytes: entries of the weight file and lines of the program.
const OVERHEAD: u64 = 512;

/// Searches, and compresses the model as found.
///
/// # Errors
/// As [`super::compress`], and when nothing reaches the goal.
pub fn search(
    source: &Path,
    output: &Path,
    options: &SearchOptions,
    progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
) -> Result<Found, Error> {
    let opened = open(source)?;
    let mut search =
        Search::new(&opened, files::size_of(source), output, options, progress).map_err(|e| e.at(source))?;
    let steps = search.path().map_err(|e| e.at(source))?;
    let mut at = search.goal(&steps).map_err(|e| e.at(source))?;
    for _ in 0..RETRIES {
        let recipe = search.recipe(&steps[..at]);
        let task = CompressOptions {
            steps: recipe.clone(),
            joint: false,
            samples: Some(options.samples.clone()),
            device: options.device.clone(),
        };
        let task = Task { source, output, options: &task };
        let (compression, staging) = finish(&opened, &task, &mut *search.progress)?;
        let size = compression.bytes.1;
        if let Goal::Bytes(budget) = options.goal
            && size > budget
            && at < steps.len()
        {
            at += 1;
            continue;
        }
        let front = search.front(&steps, at).map_err(|e| e.at(source))?;
        staging.finish()?;
        return Ok(Found { compression, recipe, front, runs: search.runs });
    }
    Err(Error::new("no package within the budget was found; try a smaller one").at(source))
}

/// A weight and what each scheme makes of it.
struct Weight {
    name: String,
    elements: usize,
    /// As it is, then per scheme.
    choices: Vec<Choice>,
    /// Error of the weight itself, per scheme; none where the scheme was refused.
    fits: Vec<Option<Fit>>,
}

struct Search<'a> {
    opened: &'a Opened,
    output: &'a Path,
    options: &'a SearchOptions,
    progress: &'a mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
    schemes: Vec<Scheme>,
    weights: Vec<Weight>,
    samples: Vec<Features>,
    wanted: Vec<Features>,
    /// Bytes of the source that are not those of the weights.
    rest: u64,
    /// Losses of prefixes of the path that were measured.
    measured: HashMap<usize, f64>,
    runs: usize,
    done: usize,
    total: usize,
}

impl<'a> Search<'a> {
    fn new(
        opened: &'a Opened,
        size: u64,
        output: &'a Path,
        options: &'a SearchOptions,
        progress: &'a mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
    ) -> Result<Search<'a>, Error> {
        let mut session = load(&opened.program)?;
        let samples = options.samples.gather(&interface(&opened.program), &session)?;
        let wanted = samples.iter().map(|s| predict(&mut session, s)).collect::<Result<_, _>>()?;
        let opset = opened.program.functions.iter().map(|f| f.opset).min().unwrap_or(Opset::Ios18);
        let schemes = schemes(opset, options.device.is_some());
        let mut search = Search {
            opened,
            output,
            options,
            progress,
            schemes,
            weights: Vec::new(),
            samples,
            wanted,
            rest: size,
            measured: HashMap::new(),
            runs: 0,
            done: 0,
            total: 1,
        };
        search.weigh()?;
        Ok(search)
    }

    fn rule(&self, scheme: usize) -> Rule {
        Rule { scheme: self.schemes[scheme].clone(), weight_threshold: self.options.weight_threshold }
    }

    /// What each scheme makes of each weight by itself.
    fn weigh(&mut self) -> Result<(), Error> {
        let mut found: BTreeMap<String, Weight> = BTreeMap::new();
        let mut order = Vec::new();
        for scheme in 0..self.schemes.len() {
            let config = Config { global: Some(self.rule(scheme)), ..Config::default() };
            let all = self.schemes.len();
            for one in self.apply(vec![config], Some((scheme, all)))?.1 {
                let weight = found.entry(one.weight.clone()).or_insert_with(|| {
                    order.push(one.weight.clone());
                    let choices = vec![Choice { bytes: 0, loss: f64::INFINITY }; all + 1];
                    Weight { name: one.weight.clone(), elements: 0, choices, fits: vec![None; all] }
                });
                if scheme == 0 {
                    weight.choices[0].bytes += one.bytes.0;
                    weight.choices[0].loss = 0.0;
                    weight.elements += one.shape.iter().product::<usize>();
                }
                if let Ok(fit) = one.result {
                    weight.choices[scheme + 1].bytes += one.bytes.1 + OVERHEAD;
                    weight.fits[scheme] = Some(weight.fits[scheme].unwrap_or_default().and(fit));
                }
            }
        }
        self.weights = order.iter().filter_map(|name| found.remove(name)).collect();
        let before: u64 = self.weights.iter().map(|w| w.choices[0].bytes).sum();
        self.rest = self.rest.saturating_sub(before);
        if self.weights.is_empty() {
            let least = self.options.weight_threshold;
            return Err(Error::new(format!("has no float weight of more than {least} elements to compress")));
        }
        Ok(())
    }

    /// Compresses a copy of the program; with `pass`, as one of so many passes over all weights.
    fn apply(
        &mut self,
        steps: Vec<Config>,
        pass: Option<(usize, usize)>,
    ) -> Result<(Program, Vec<anemone_compress::Outcome>), Error> {
        let options = CompressOptions { steps, ..CompressOptions::default() };
        let mut spill = Spill::beside(self.output)?;
        let progress = &mut *self.progress;
        let mut hear = |p: Progress<'_>| match pass {
            // Passes are about half of the work.
            Some((at, of)) => {
                progress(Progress { weight: p.weight, done: (at * p.done.1 + p.done.0, of * p.done.1 * 2) })
            }
            None => ControlFlow::Continue(()),
        };
        let made = super::apply(&self.opened.program, &options, &mut spill, &mut hear)?;
        Ok((made.program, made.steps.into_iter().flat_map(|r| r.weights).collect()))
    }

    /// Tells what comes next, and ends the work when asked to.
    fn tell(&mut self, what: &str) -> Result<(), Error> {
        self.done += 1;
        let done = (self.total + self.done.min(self.total), self.total * 2);
        match (self.progress)(Progress { weight: what, done }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::new("stopped before it was done")),
        }
    }

    /// Squared loss of the model with some weights compressed.
    fn measure(&mut self, steps: Vec<Config>) -> Result<f64, Error> {
        let program = self.apply(steps, None)?.0;
        let mut session = load(&program)?;
        let mut outputs = Vec::new();
        for (given, wanted) in self.samples.iter().zip(&self.wanted) {
            add(&mut outputs, wanted, &predict(&mut session, given)?);
        }
        self.runs += self.samples.len();
        let loss = effect::loss(&outputs);
        Ok(if loss.is_nan() { f64::INFINITY } else { loss * loss })
    }

    /// Measures losses and orders the steps.
    fn path(&mut self) -> Result<Vec<Step>, Error> {
        let every = self.weights.len() * self.schemes.len() <= PAIRS;
        let pairs = if every { self.weights.len() * self.schemes.len() } else { self.weights.len() };
        self.total = pairs + POINTS + 8;
        for w in 0..self.weights.len() {
            let accepted: Vec<usize> =
                (0..self.schemes.len()).filter(|&s| self.weights[w].fits[s].is_some()).collect();
            let noise = |s: usize| self.weights[w].fits[s].map_or(0.0, |f| f.mean_squared_error());
            // The scheme whose error is nearest to the middle: neither rounding nor ruin.
            let mut noisy: Vec<usize> = accepted.iter().copied().filter(|&s| noise(s) > 0.0).collect();
            noisy.sort_by(|&a, &b| noise(a).total_cmp(&noise(b)));
            let probes =
                if every { noisy.clone() } else { noisy.get(noisy.len() / 2).copied().into_iter().collect() };
            let mut known: Vec<(f64, f64)> = Vec::new();
            let noises: Vec<f64> = (0..self.schemes.len()).map(noise).collect();
            for s in probes {
                let name = self.weights[w].name.clone();
                self.tell(&name)?;
                let loss = self.measure(self.only(&[(w, s)]))?;
                self.weights[w].choices[s + 1].loss = loss;
                known.push((noises[s], loss));
            }
            for s in accepted {
                let loss = &mut self.weights[w].choices[s + 1].loss;
                if loss.is_infinite() && !every {
                    *loss = known.first().map_or(0.0, |(n, l)| l * noises[s] / n);
                } else if noises[s] == 0.0 {
                    *loss = 0.0;
                }
            }
        }
        let choices: Vec<Vec<Choice>> = self.weights.iter().map(|w| w.choices.clone()).collect();
        Ok(path(&choices))
    }

    /// The configuration that compresses these weights in these schemes, and no other.
    fn only(&self, chosen: &[(usize, usize)]) -> Vec<Config> {
        let is_palette = |s: usize| matches!(self.schemes[s], Scheme::Palette(_));
        let mut steps = Vec::new();
        for palettes in [true, false] {
            if !chosen.iter().any(|c| is_palette(c.1) == palettes) {
                continue;
            }
            let mut config = Config::default();
            for w in &self.weights {
                config.op_names.insert(w.name.clone(), None);
            }
            for &(w, s) in chosen.iter().filter(|c| is_palette(c.1) == palettes) {
                config.op_names.insert(self.weights[w].name.clone(), Some(self.rule(s)));
            }
            steps.push(config);
        }
        steps
    }

    /// What each weight is after these steps.
    fn state(&self, steps: &[Step]) -> Vec<usize> {
        let mut at = vec![0; self.weights.len()];
        steps.iter().for_each(|s| at[s.weight] = s.choice);
        at
    }

    fn recipe(&self, steps: &[Step]) -> Vec<Config> {
        let state = self.state(steps);
        let chosen: Vec<(usize, usize)> =
            state.iter().enumerate().filter(|(_, c)| **c > 0).map(|(w, &c)| (w, c - 1)).collect();
        self.only(&chosen)
    }

    fn bytes(&self, steps: &[Step]) -> u64 {
        let weights: u64 =
            self.state(steps).iter().zip(&self.weights).map(|(&c, w)| w.choices[c].bytes).sum();
        self.rest + weights
    }

    /// Bits per element, without what a package adds.
    fn bits(&self, steps: &[Step]) -> f64 {
        let elements: usize = self.weights.iter().map(|w| w.elements).sum();
        let extra = self.state(steps).iter().filter(|c| **c > 0).count() as u64 * OVERHEAD;
        (self.bytes(steps) - self.rest - extra) as f64 * 8.0 / elements.max(1) as f64
    }

    /// Loss of the model after so many steps, measured.
    fn loss(&mut self, steps: &[Step], at: usize) -> Result<f64, Error> {
        if at == 0 {
            return Ok(0.0);
        }
        if let Some(&known) = self.measured.get(&at) {
            return Ok(known);
        }
        self.tell("the model as a whole")?;
        let loss = self.measure(self.recipe(&steps[..at]))?.sqrt();
        self.measured.insert(at, loss);
        Ok(loss)
    }

    /// Number of steps that reach the goal: the fewest for a budget, the most for a loss.
    fn goal(&mut self, steps: &[Step]) -> Result<usize, Error> {
        let all = steps.len();
        match self.options.goal {
            Goal::Bytes(budget) => {
                let least = self.bytes(steps);
                let at = (0..=all).find(|&n| self.bytes(&steps[..n]) <= budget);
                at.ok_or_else(|| {
                    Error::new(format!(
                        "the smallest package that was found has {least} bytes, above {budget}"
                    ))
                })
            }
            Goal::Bits(budget) => {
                let least = self.bits(steps);
                let at = (0..=all).find(|&n| self.bits(&steps[..n]) <= budget);
                at.ok_or_else(|| {
                    Error::new(format!("the fewest bits per element are {least:.2}, above {budget}"))
                })
            }
            Goal::Loss(most) => {
                let (mut low, mut high) = (0, all + 1);
                while high - low > 1 {
                    let middle = (low + high) / 2;
                    if self.loss(steps, middle)? <= most { low = middle } else { high = middle }
                }
                Ok(low)
            }
        }
    }

    /// Points of the front, evenly spread in bytes.
    fn front(&mut self, steps: &[Step], chosen: usize) -> Result<Vec<Point>, Error> {
        let (first, last) = (self.bytes(&[]), self.bytes(steps));
        let mut shown: Vec<usize> = (0..=POINTS)
            .map(|i| first - (first - last) * i as u64 / POINTS as u64)
            .map(|bytes| (0..steps.len()).find(|&n| self.bytes(&steps[..n]) <= bytes).unwrap_or(steps.len()))
            .collect();
        shown.push(chosen);
        shown.sort_unstable();
        shown.dedup();
        let mut front = Vec::new();
        for at in shown {
            let measured = self.loss(steps, at)?;
            let state = self.state(&steps[..at]);
            let sum: f64 = state.iter().zip(&self.weights).map(|(&c, w)| w.choices[c].loss).sum();
            front.push(Point {
                bytes: self.bytes(&steps[..at]),
                bits: self.bits(&steps[..at]),
                predicted: sum.sqrt(),
                measured,
                chosen: at == chosen,
            });
        }
        Ok(front)
    }
}

/// Schemes that are tried, as far as the op set has them; for a device only those that its Neural Engine reads compressed.
fn schemes(opset: Opset, for_device: bool) -> Vec<Scheme> {
    let palette =
        |bits, granularity| Scheme::Palette(Palette { bits: Some(bits), granularity, ..Palette::default() });
    let tensor = |bits| palette(bits, Granularity::PerTensor);
    let grouped = |bits| palette(bits, Granularity::PerGroupedChannel { size: 16, axis: None });
    let mut all = vec![Scheme::Linear(Linear::default()), tensor(6), tensor(4), tensor(2), tensor(1)];
    if opset >= Opset::Ios18 {
        all.extend([tensor(3), grouped(4), grouped(3), grouped(2)]);
        if !for_device {
            let granularity = Granularity::PerBlock(32);
            all.push(Scheme::Linear(Linear { dtype: DType::I4, granularity, ..Linear::default() }));
        }
    }
    all
}
