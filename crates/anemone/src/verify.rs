//! `verify`: a prediction against what is expected.

use crate::compare::{Difference, Tolerance, compare};
use crate::data::{Inputs, read_tensors};
use crate::{Error, LoadOptions, run};
use anemone_model::Features;
use std::path::Path;

/// Runs a model and compares its outputs with the tensors of a `.safetensors` or `.npz` file.
///
/// # Errors
/// When something does not load, nothing is expected, or the prediction fails; differences are the result, not an error.
pub fn verify(
    path: &Path,
    options: LoadOptions,
    inputs: &Inputs,
    expected: &Path,
    tolerance: Tolerance,
) -> Result<Vec<Difference>, Error> {
    let file = expected;
    let expected: Features = read_tensors(file)?.into_iter().collect();
    if expected.is_empty() {
        return Err(Error::new("holds no tensor, so there is nothing to compare with").at(file));
    }
    let actual = run(path, options, inputs)?;
    Ok(compare(&actual, &expected, tolerance))
}
