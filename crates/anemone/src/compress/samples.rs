//! Sample data for compressed models.

use crate::data::{self, Inputs};
use crate::{Error, features};
use anemone_exec::Session;
use anemone_mil::interface::FunctionInterface;
use anemone_model::{Feature, Features, Predict};
use anemone_tensor::{Bytes, Tensor};

/// Most samples that one file may hold along an outermost dim of its own.
const MOST: usize = 4096;

/// Seed of the inputs where none are given.
const SEED: u64 = 1;

/// What a model is run on.
#[derive(Clone, Debug, Default)]
pub struct SampleOptions {
    /// Files and pictures; each file of `files` is a sample, or several stacked along an outermost dim of its own.
    pub inputs: Inputs,
    /// Samples to make when there are no files: random ones, 1 at least.
    pub count: usize,
}

impl SampleOptions {
    /// The inputs of each prediction, as the function takes them.
    ///
    /// # Errors
    /// When a file does not read, or what it holds are no inputs of the model.
    pub(super) fn gather(
        &self,
        interface: &FunctionInterface,
        session: &Session,
    ) -> Result<Vec<Features>, Error> {
        let ports = session.inputs();
        let mut inputs = Inputs { steps: true, ..self.inputs.clone() };
        let mut given = Vec::new();
        if self.is_random() {
            let first = *inputs.random.get_or_insert(SEED);
            for i in 0..u64::try_from(self.count.max(1)).unwrap_or(1) {
                inputs.random = Some(first.wrapping_add(i));
                given.push(data::gather(&inputs, interface, ports)?);
            }
        } else {
            given = data::gather_steps(&inputs, interface, ports)?;
        }
        let mut taken = Vec::new();
        for features in given {
            match (features::take(interface, ports, &features), unstacked(&features)) {
                (Ok(one), _) => taken.push(one),
                (Err(why), None) => return Err(why),
                (Err(why), Some(apart)) => {
                    let each = apart.iter().map(|f| features::take(interface, ports, f));
                    taken.extend(each.collect::<Result<Vec<_>, _>>().map_err(|_| why)?);
                }
            }
        }
        Ok(taken)
    }

    /// True when no data is given, so that random numbers stand in for it.
    pub fn is_random(&self) -> bool {
        self.inputs.files.is_empty() && self.inputs.tensors.is_empty() && self.inputs.images.is_empty()
    }
}

/// The features of each sample, where every one is a tensor with as many samples along an outermost dim.
fn unstacked(features: &Features) -> Option<Vec<Features>> {
    let tensors: Option<Vec<(&str, &Tensor)>> =
        features.iter().map(|(n, f)| Some((n, f.tensor()?))).collect();
    let tensors = tensors?;
    let count = *tensors.first()?.1.shape().first()?;
    if count == 0 || count > MOST || tensors.iter().any(|(_, t)| t.shape().first() != Some(&count)) {
        return None;
    }
    let sample = |i| tensors.iter().map(|(n, t)| Some((*n, Feature::Tensor(part(t, i, count)?)))).collect();
    (0..count).map(sample).collect()
}

/// Element `i` of `count` along the outermost dim.
fn part(tensor: &Tensor, i: usize, count: usize) -> Option<Tensor> {
    let bytes = tensor.bytes();
    let size = bytes.len() / count;
    if !tensor.dtype().bits().is_multiple_of(8) {
        return None;
    }
    let bytes = Bytes::copy_from_slice(&bytes[i * size..(i + 1) * size]);
    Tensor::new(tensor.dtype(), &tensor.shape()[1..], bytes).ok()
}
