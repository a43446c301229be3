//! Ranges of activations, from sample data.

use super::effect::{interface, load, observe};
use super::samples::SampleOptions;
use crate::Error;
use anemone_compress::{Config, Quantised, Range, quantize_activations};
use anemone_mil::Program;
use anemone_tensor::Tensor;
use std::collections::HashMap;

/// The error where there is nothing to calibrate on.
pub(super) fn without_data() -> Error {
    Error::new(
        "activations are calibrated on data; give samples (--inputs FILE), or a seed of random ones (--random 1)",
    )
}

/// Runs the default function on the samples and quantises its activations by the ranges that were seen.
///
/// # Errors
/// When the model does not run on the data, or its op set has no `quantize`.
pub(super) fn activations(
    program: &mut Program,
    config: &Config,
    options: &SampleOptions,
) -> Result<Vec<Quantised>, Error> {
    let mut session = load(program)?;
    let mut ranges: HashMap<String, Range> = HashMap::new();
    for given in options.gather(&interface(program), &session)? {
        for (name, tensor) in given.iter().filter_map(|(n, f)| Some((n, f.tensor()?))) {
            see(&mut ranges, name, tensor);
        }
        observe(&mut session, &given, &mut |name, t| see(&mut ranges, name, t))?;
    }
    drop(session);
    let name = program.default_function().map(|f| f.name.clone());
    let Some(function) = program.functions.iter_mut().find(|f| Some(&f.name) == name.as_ref()) else {
        return Ok(Vec::new());
    };
    quantize_activations(function, config, &ranges).map_err(Error::from_cause)
}

/// Widens the range of a value; what is not finite does not count.
fn see(ranges: &mut HashMap<String, Range>, name: &str, tensor: &Tensor) {
    if !tensor.dtype().is_float() {
        return;
    }
    let empty = Range { min: f32::INFINITY, max: f32::NEG_INFINITY };
    let finite = tensor.to_f32s().into_iter().filter(|v| v.is_finite());
    let range = finite.fold(empty, |r, v| r.and(Range { min: v, max: v }));
    ranges.entry(name.to_owned()).and_modify(|r| *r = r.and(range)).or_insert(range);
}
