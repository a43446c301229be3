//! `verify`: predictions against what is expected.

use crate::compare::{Difference, Tolerance, compare};
use crate::data::{Inputs, read_tensors};
use crate::{Error, LoadOptions, run};
use anemone_model::Features;
use std::path::{Path, PathBuf};

/// What one prediction is expected to give.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// Tensors by name: a `.safetensors` or `.npz` file.
    pub file: Option<PathBuf>,
    /// Labels and probabilities.
    pub labels: Features,
}

impl Expected {
    fn read(&self) -> Result<Features, Error> {
        let mut all = self.labels.clone();
        if let Some(file) = &self.file {
            let tensors = read_tensors(file)?;
            if tensors.is_empty() && all.is_empty() {
                return Err(Error::new("holds no tensor, so there is nothing to compare with").at(file));
            }
            tensors.into_iter().for_each(|(name, tensor)| all.insert(name, tensor));
        }
        if all.is_empty() {
            Err(Error::new("nothing is expected, so there is nothing to compare with"))
        } else {
            Ok(all)
        }
    }
}

/// Runs predictions as [`run`] does and compares the outputs of each with what is expected of it.
///
/// # Errors
/// When something does not load, nothing is expected, there are more or fewer expectations than predictions, or a
/// prediction fails; differences are the result, not an error.
pub fn verify(
    path: &Path,
    options: LoadOptions,
    inputs: &Inputs,
    state: Option<&Path>,
    expected: &[Expected],
    tolerance: Tolerance,
) -> Result<Vec<Vec<Difference>>, Error> {
    let wanted = expected.iter().map(Expected::read).collect::<Result<Vec<Features>, Error>>()?;
    let predictions = if inputs.steps { inputs.files.len().max(1) } else { 1 };
    if predictions != wanted.len() {
        return Err(Error::new(format!(
            "{predictions} predictions are asked for, but the outputs of {} are given; give one file of expected \
             outputs for each",
            wanted.len()
        )));
    }
    let found = run(path, options, inputs, state)?;
    Ok(found.steps.iter().zip(&wanted).map(|(actual, wanted)| compare(actual, wanted, tolerance)).collect())
}
