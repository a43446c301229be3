//! Memory that outlives a prediction.

use crate::{Error, ErrorKind, nearest};
use anemone_tensor::Tensor;

/// The states of one model, such as a key-value cache: tensors by name, zeros at first.
///
/// Made by [`crate::Model::new_state`] and given to [`crate::Model::predict_with_state`], which changes it. A model may
/// have any number of them side by side; a clone is a snapshot.
#[derive(Clone, Debug)]
pub struct State {
    /// One for each program of the model.
    pub(super) stages: Vec<anemone_exec::State>,
}

impl State {
    /// Names of the tensors.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.stages.iter().flat_map(anemone_exec::State::names)
    }

    /// A copy of the tensor of that name, in the declared type and shape.
    ///
    /// # Errors
    /// When there is none; the error lists those there are.
    pub fn read(&self, name: &str) -> Result<Tensor, Error> {
        self.stages.iter().find_map(|s| s.tensor(name)).ok_or_else(|| self.unknown(name))
    }

    /// Replaces the tensor of that name; any float type becomes the declared one, any integer type, too.
    ///
    /// # Errors
    /// When there is none of that name, or it has another shape or another kind of number.
    pub fn write(&mut self, name: &str, tensor: &Tensor) -> Result<(), Error> {
        let held = self.read(name)?;
        let (dtype, shape) = (held.dtype(), held.shape());
        if shape != tensor.shape() {
            let what = format!("state `{name}` has shape {shape:?}, but {:?} is given", tensor.shape());
            return Err(Error::new(what).of_kind(ErrorKind::WrongShape));
        }
        if dtype.is_float() != tensor.dtype().is_float() {
            let what = format!("state `{name}` holds {dtype}, but {} is given", tensor.dtype());
            return Err(Error::new(what).of_kind(ErrorKind::WrongType));
        }
        let holder = self.stages.iter_mut().find(|s| s.names().any(|n| n == name));
        holder.map_or(Ok(()), |s| s.set(name, &tensor.cast(dtype)).map_err(Error::from))
    }

    /// Copies of all tensors by name.
    ///
    /// # Errors
    /// As [`State::read`].
    pub fn tensors(&self) -> Result<Vec<(String, Tensor)>, Error> {
        self.names().map(|n| Ok((n.to_owned(), self.read(n)?))).collect()
    }

    fn unknown(&self, name: &str) -> Error {
        let known: Vec<&str> = self.names().collect();
        let hint = nearest::hint(name, self.names());
        Error::new(format!("there is no state `{name}`; there are {known:?}{hint}"))
            .of_kind(ErrorKind::UnknownState)
    }
}
