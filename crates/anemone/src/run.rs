//! `run`: predictions on files, and what to say of their outputs.

use crate::data::{self, Inputs};
use crate::{Detection, Error, LoadOptions, Model, State};
use anemone_exec::{EmulatedOp, Options};
use anemone_mil::interface;
use anemone_model::{DictKey, Feature, Features};
use anemone_tensor::Tensor;
use std::path::Path;

/// What predictions in a row gave.
#[derive(Clone, Debug)]
pub struct Ran {
    /// The outputs of each, in order; at least one.
    pub steps: Vec<Features>,
    /// The state that they left.
    pub state: State,
    /// The outputs as the package describes them.
    pub described: Vec<interface::Feature>,
    /// The objects that a detector found in the last one.
    pub detections: Vec<Detection>,
    /// The ops that were computed as a Neural Engine does, in program order.
    pub emulated: Vec<EmulatedOp>,
}

/// Runs predictions on inputs from files, one after the other on one state.
///
/// The state starts as zeros, or with what a `.safetensors` or `.npz` file holds; states that it does not name are zeros.
///
/// # Errors
/// When the model, an input or the state does not load, or a prediction fails.
pub fn run(path: &Path, options: LoadOptions, inputs: &Inputs, state: Option<&Path>) -> Result<Ran, Error> {
    let mut model = options.load(path)?;
    let all = data::gather_steps(inputs, model.interface(), model.ports()).map_err(|e| e.at(path))?;
    let mut held = initial_state(&model, state).map_err(|e| e.at(path))?;
    let mut steps = Vec::with_capacity(all.len());
    for (i, features) in all.iter().enumerate() {
        let made = model.predict_with_state(features, &mut held);
        let place = |e: Error| if all.len() > 1 { e.within(&format!("step {i}")) } else { e };
        steps.push(made.map_err(|e| place(e).at(path))?);
    }
    let detections = steps.last().map(|last| model.detections(last)).unwrap_or_default();
    let described = model.outputs().to_vec();
    Ok(Ran { steps, state: held, described, detections, emulated: model.emulated() })
}

/// A state of zeros, or of what a file holds as far as it holds it.
///
/// # Errors
/// When the file does not read, or does not fit the model.
pub(crate) fn initial_state(model: &Model, file: Option<&Path>) -> Result<State, Error> {
    let mut held = model.new_state()?;
    if let Some(file) = file {
        for (name, tensor) in data::read_tensors(file)? {
            held.write(&name, &tensor).map_err(|e| e.at(file))?;
        }
    }
    Ok(held)
}

/// Numbers that say what is in a tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Statistics {
    /// Smallest element that is a number.
    pub min: f64,
    /// Largest element that is a number.
    pub max: f64,
    /// Mean of the elements that are numbers.
    pub mean: f64,
    /// Elements that are infinite or not a number.
    pub not_finite: usize,
}

/// Looks at every element once.
pub fn statistics(tensor: &Tensor) -> Statistics {
    let values = tensor.to_f64s();
    let finite = || values.iter().copied().filter(|v| v.is_finite());
    let count = finite().count();
    let mean = finite().fold(0.0, |sum, v| sum + v) / anemone_tensor::num::f64_of_usize(count.max(1));
    Statistics {
        min: finite().fold(f64::INFINITY, f64::min),
        max: finite().fold(f64::NEG_INFINITY, f64::max),
        mean,
        not_finite: values.len() - count,
    }
}

/// One of the best classes.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranked {
    /// Label.
    pub label: String,
    /// Probability.
    pub probability: f64,
}

/// The `count` best classes among the outputs, with labels.
///
/// A dictionary of probabilities has labels of its own. Otherwise the first float tensor with one element per label
/// counts; where its elements do not sum to 1, they are taken as logits and normalised by softmax.
///
/// # Errors
/// When no output has one element per label.
pub fn best_labels(outputs: &Features, labels: &[String], count: usize) -> Result<Vec<Ranked>, Error> {
    for (_, feature) in outputs.iter() {
        if let Feature::Dict(entries) = feature {
            let label = |k: &DictKey| match k {
                DictKey::Text(t) => t.clone(),
                DictKey::Int(i) => {
                    let named = usize::try_from(*i).ok().and_then(|i| labels.get(i));
                    named.cloned().unwrap_or_else(|| i.to_string())
                }
            };
            return Ok(rank(
                entries.iter().map(|(k, p)| Ranked { label: label(k), probability: *p }).collect(),
                count,
            ));
        }
    }
    let tensors = || outputs.iter().filter_map(|(_, f)| f.tensor()).filter(|t| t.dtype().is_float());
    let Some(scores) = tensors().find(|t| t.len() == labels.len() && !t.is_empty()) else {
        let shapes: Vec<&[usize]> = tensors().map(Tensor::shape).collect();
        let what = format!(
            "{} labels are given, but no output has as many elements; outputs are {shapes:?}",
            labels.len()
        );
        return Err(Error::new(what));
    };
    let values = probabilities(&scores.to_f64s());
    let ranked = labels.iter().zip(values).map(|(l, p)| Ranked { label: l.clone(), probability: p });
    Ok(rank(ranked.collect(), count))
}

fn probabilities(scores: &[f64]) -> Vec<f64> {
    let sum: f64 = scores.iter().sum();
    if (sum - 1.0).abs() < 1e-2 && scores.iter().all(|&v| (0.0..=1.0).contains(&v)) {
        return scores.to_vec();
    }
    let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exps: Vec<f64> = scores.iter().map(|v| (v - top).exp()).collect();
    let total: f64 = exps.iter().sum();
    exps.into_iter().map(|e| e / total).collect()
}

fn rank(mut all: Vec<Ranked>, count: usize) -> Vec<Ranked> {
    all.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    all.truncate(count);
    all
}

/// Reads a labels file: one label a line.
///
/// # Errors
/// When it does not read or is not UTF-8.
pub fn read_labels(path: &Path) -> Result<Vec<String>, Error> {
    let bytes = crate::files::map(path)?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|e| Error::new(format!("is not UTF-8 at byte {}", e.valid_up_to())).at(path))?;
    Ok(text.lines().map(str::trim).map(str::to_owned).filter(|l| !l.is_empty()).collect())
}

/// As many threads as the machine runs at once.
pub(crate) fn engine_options() -> Options {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    Options { threads, ..Options::default() }
}
