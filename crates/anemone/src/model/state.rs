//! Memory that outlives a prediction.

use crate::{Error, ErrorKind, nearest};
use anemone_mil::{Function, Literal, Name, Type};
use anemone_tensor::Tensor;
use std::collections::BTreeMap;

/// The states of one function by name.
pub(super) type Memory = BTreeMap<Name, Literal>;

/// The states of one model: tensors by name, zeros at first.
///
/// Made by [`crate::Model::new_state`] and given to [`crate::Model::predict_with_state`], which changes it. A model may
/// have any number of them side by side.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// One for each program of the model.
    pub(super) stages: Vec<Memory>,
}

/// Zeros for every state of a function.
pub(super) fn zeros(function: &Function) -> Result<Memory, Error> {
    let mut tensors = Memory::new();
    for value in function.inputs.iter().map(|&v| function.value(v)) {
        let Type::State(ty) = &value.ty else { continue };
        let shape = ty.known_shape().ok_or_else(|| {
            let what = format!("state `{}` is {ty}, but a state must have fixed dims", value.name);
            Error::new(what).of_kind(ErrorKind::Unsupported)
        })?;
        let zeros = Tensor::zeros(ty.dtype, shape).map_err(Error::from_cause)?;
        tensors.insert(value.name.clone(), zeros.into());
    }
    Ok(tensors)
}

impl State {
    /// Names of the tensors.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.stages.iter().flat_map(|s| s.keys()).map(|n| &**n)
    }

    /// A copy of the tensor of that name, in the declared type and shape.
    ///
    /// # Errors
    /// When there is none; the error lists those there are.
    pub fn read(&self, name: &str) -> Result<Tensor, Error> {
        let found = self.stages.iter().find_map(|s| s.get(name)).and_then(Literal::as_tensor);
        found.cloned().ok_or_else(|| self.unknown(name))
    }

    /// Replaces the tensor of that name; any float type becomes the declared one.
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
        let slot = self.stages.iter_mut().find_map(|s| s.get_mut(name));
        slot.into_iter().for_each(|s| *s = tensor.cast(dtype).into());
        Ok(())
    }

    /// All tensors by name.
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

    /// Checks that it is one that `other` could be.
    pub(super) fn check_like(&self, other: &State) -> Result<(), Error> {
        let types = |s: &State| {
            s.stages
                .iter()
                .map(|m| m.iter().map(|(n, l)| (n.clone(), l.ty())).collect::<Vec<_>>())
                .collect::<Vec<_>>()
        };
        if types(self) == types(other) {
            return Ok(());
        }
        let names = |s: &State| s.names().map(str::to_owned).collect::<Vec<_>>();
        let what = format!(
            "the state is of another model: it holds {:?}, but the model needs {:?}; make one with new_state",
            names(self),
            names(other)
        );
        Err(Error::new(what).of_kind(ErrorKind::UnknownState))
    }
}
