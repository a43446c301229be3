//! What it means to predict: features in, features out, and the trait that every engine implements.
//!
//! An engine takes a whole program when it is made (each in its own way) and then answers [`Predict::predict`].
//! The rooms above know engines through this trait alone.
#![forbid(unsafe_code)]

mod error;
mod feature;

pub use error::PredictError;
pub use feature::{DictKey, Feature, Features};

use anemone_tensor::DType;

/// What a loaded model takes or gives under one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Name.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Dims, outermost first; `None` where the extent is free.
    pub shape: Vec<Option<usize>>,
}

impl Port {
    /// True when a tensor of that shape may be given here.
    pub fn accepts(&self, shape: &[usize]) -> bool {
        self.shape.len() == shape.len()
            && self.shape.iter().zip(shape).all(|(p, s)| p.is_none_or(|p| p == *s))
    }
}

/// Sees each intermediate tensor by the name of its value.
pub type Observer<'a> = &'a mut dyn FnMut(&str, &anemone_tensor::Tensor);

/// A loaded model.
pub trait Predict {
    /// Tensors that a prediction takes.
    fn inputs(&self) -> &[Port];

    /// Tensors that a prediction gives.
    fn outputs(&self) -> &[Port];

    /// One prediction.
    ///
    /// # Errors
    /// When an input is missing, unknown or of another type or shape, or an op cannot be computed.
    fn predict(&mut self, inputs: &Features) -> Result<Features, PredictError>;

    /// One prediction that shows every intermediate tensor, in program order.
    ///
    /// # Errors
    /// As [`Predict::predict`].
    fn predict_observed(
        &mut self,
        inputs: &Features,
        observer: Observer<'_>,
    ) -> Result<Features, PredictError>;
}
