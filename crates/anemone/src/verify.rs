//! `verify`: a prediction against what is expected.

use crate::compare::{Difference, Tolerance, compare};
use crate::data::{Inputs, read_tensors};
use crate::{Error, run};
use anemone_model::Features;
use std::path::Path;

/// Runs a model and compares its outputs with the tensors of a `.safetensors` or `.npz` file.
///
/// # Errors
/// When something does not load or the prediction fails; differences are the result, not an error.
pub fn verify(
    path: &Path,
    function: Option<&str>,
    inputs: &Inputs,
    expected: &Path,
    tolerance: Tolerance,
) -> Result<Vec<Difference>, Error> {
    let expected: Features = read_tensors(expected)?.into_iter().collect();
    let actual = run(path, function, inputs)?;
    Ok(compare(&actual, &expected, tolerance))
}
