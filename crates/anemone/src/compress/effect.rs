//! What a compression does to the outputs of a model, and in which layers.

use super::samples::SampleOptions;
use crate::Error;
use crate::open::verified;
use crate::run::engine_options;
use anemone_compress::Fit;
use anemone_exec::Session;
use anemone_mil::interface::FunctionInterface;
use anemone_mil::ops::Effect as OpEffect;
use anemone_mil::{Function, Program};
use anemone_model::{Features, Predict};
use anemone_tensor::Tensor;
use std::collections::HashMap;

/// How far a compressed model's results are from those of the model that it was made from.
#[derive(Clone, Debug)]
pub struct Effect {
    /// Predictions that were compared.
    pub samples: usize,
    /// True when they were made of random inputs.
    pub random: bool,
    /// Each float output, over all samples.
    pub outputs: Vec<(String, Fit)>,
    /// The ops in the order of the program, each with the error that it inherits and that it hands on.
    pub layers: Vec<Layer>,
}

/// The error of one op's first result.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Kind of the op.
    pub kind: String,
    /// Name of the result.
    pub name: String,
    /// The result in both models.
    pub fit: Fit,
    /// Largest relative error among its operands.
    pub inherited: f64,
}

impl Layer {
    /// Relative error that comes in at this op: that of the result less the largest of its operands.
    pub fn growth(&self) -> f64 {
        self.fit.relative() - self.inherited
    }
}

impl Effect {
    /// The loss: root of the mean, over outputs, of the squared relative error `||is - was||^2 / ||was||^2`.
    pub fn loss(&self) -> f64 {
        loss(&self.outputs)
    }

    /// The `count` layers at which the error grows most, largest growth first.
    pub fn worst(&self, count: usize) -> Vec<&Layer> {
        let mut layers: Vec<&Layer> = self.layers.iter().filter(|l| l.growth() > 0.0).collect();
        layers.sort_by(|a, b| b.growth().total_cmp(&a.growth()));
        layers.truncate(count);
        layers
    }
}

/// Root of the mean squared relative error of outputs.
pub(super) fn loss(outputs: &[(String, Fit)]) -> f64 {
    let sum: f64 = outputs.iter().map(|(_, f)| f.relative().powi(2)).sum();
    (sum / outputs.len().max(1) as f64).sqrt()
}

/// A function of a program, loaded.
pub(super) fn load(program: &Program) -> Result<Session, Error> {
    Ok(Session::new(verified(program, None)?, &engine_options())?)
}

/// What the default function takes, as the program describes it.
pub(super) fn interface(program: &Program) -> FunctionInterface {
    let function = program.default_function();
    function.and_then(|f| program.interface.function(&f.name)).cloned().unwrap_or_default()
}

/// Runs both programs on the same inputs; states begin as zeros for each sample.
///
/// # Errors
/// When one of them does not load, an input does not fit, or a prediction fails.
pub(super) fn effect(was: &Program, is: &Program, options: &SampleOptions) -> Result<Effect, Error> {
    let (mut before, mut after) = (load(was)?, load(is)?);
    let samples = options.gather(&interface(was), &before)?;
    let mut outputs: Vec<(String, Fit)> = Vec::new();
    let mut inner: HashMap<String, Fit> = HashMap::new();
    for given in &samples {
        let mut kept: HashMap<String, Tensor> = HashMap::new();
        observe(&mut before, given, &mut |name, t| {
            if t.dtype().is_float() {
                kept.insert(name.to_owned(), t.clone());
            }
        })?;
        observe(&mut after, given, &mut |name, t| {
            if let Some(old) = kept.remove(name).filter(|old| old.shape() == t.shape()) {
                inner.entry(name.to_owned()).or_default().add(&old.to_f32s(), &t.to_f32s());
            }
        })?;
        // Without a look inside ops are fused, which rounds less: that is what users get.
        add(&mut outputs, &predict(&mut before, given)?, &predict(&mut after, given)?);
    }
    let layers = was.default_function().map_or_else(Vec::new, |f| layers(f, &inner));
    Ok(Effect { samples: samples.len(), random: options.is_random(), outputs, layers })
}

/// One prediction on a state of zeros, with a look at every result.
pub(super) fn observe(
    session: &mut Session,
    given: &Features,
    see: &mut dyn FnMut(&str, &Tensor),
) -> Result<(), Error> {
    if !session.has_states() {
        return Ok(session.predict_observed(given, see).map(drop)?);
    }
    let mut state = session.new_state()?;
    Ok(session.run_observed(given, Some(&mut state), see).map(drop)?)
}

/// One prediction on a state of zeros, without a look inside.
pub(super) fn predict(session: &mut Session, given: &Features) -> Result<Features, Error> {
    if !session.has_states() {
        return Ok(session.predict(given)?);
    }
    let mut state = session.new_state()?;
    Ok(session.run(given, Some(&mut state))?)
}

/// Adds the float outputs of one prediction.
pub(super) fn add(outputs: &mut Vec<(String, Fit)>, wanted: &Features, found: &Features) {
    for (name, feature) in wanted.iter() {
        let pair = feature.tensor().zip(found.tensor(name));
        let Some((was, is)) = pair.filter(|(a, b)| a.dtype().is_float() && a.shape() == b.shape()) else {
            continue;
        };
        let at = outputs.iter().position(|(n, _)| n == name).unwrap_or_else(|| {
            outputs.push((name.to_owned(), Fit::default()));
            outputs.len() - 1
        });
        outputs[at].1.add(&was.to_f32s(), &is.to_f32s());
    }
}

/// The ops of a function whose results were seen in both models.
fn layers(function: &Function, seen: &HashMap<String, Fit>) -> Vec<Layer> {
    let mut found = Vec::new();
    for (_, id) in function.walk() {
        let op = function.op(id);
        if op.kind.def().is_some_and(|d| d.effect == OpEffect::Constexpr) {
            continue;
        }
        let name_of = |v| function.value(v).name.as_ref();
        let Some((name, fit)) = op.outputs.first().and_then(|&v| Some((name_of(v), *seen.get(name_of(v))?)))
        else {
            continue;
        };
        let inherited =
            op.operands().filter_map(|v| seen.get(name_of(v))).map(Fit::relative).fold(0.0, f64::max);
        found.push(Layer { kind: op.kind.name().to_owned(), name: name.to_owned(), fit, inherited });
    }
    found
}
